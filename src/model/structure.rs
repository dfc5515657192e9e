//! The structure module (supplement 1.8): positions from the single and pair representations.

use crate::graph::Tensor;
use crate::ops::structure::frame_atoms::FrameAtoms;
use crate::ops::structure::torsion_frames::TorsionFrames;
use crate::protein::tables::{N_TYPES, TABLES};
use crate::tensor::HostTensor;

/// Algorithm 24 computeAllAtomCoordinates, lines 1-10: backbone frames `[n_res, 12]`, angles `[n_res, 14]` as (sin, cos) and `aatype
/// [n_res]`, to the frames of all rigid groups `[n_res, 8, 12]`. Lengths in Angstrom.
pub fn rigid_group_frames<'g>(backbone: Tensor<'g>, angles: Tensor<'g>, aatype: Tensor<'g>) -> Tensor<'g> {
    let literature = TABLES.default_frame.as_flattened().as_flattened().to_vec();
    let literature = backbone.graph().constant("literature frames", &HostTensor::f32(&[N_TYPES, 96], literature));
    backbone.graph().apply(TorsionFrames, &[backbone, angles, aatype, literature]) // [n_res, 8, 12]
}

/// Algorithm 24 computeAllAtomCoordinates, line 11: frames of all rigid groups `[n_res, 8, 12]` to positions `[n_res, 14, 3]`.
pub fn atom14_positions<'g>(frames: Tensor<'g>, aatype: Tensor<'g>) -> Tensor<'g> {
    let graph = frames.graph();
    let groups = graph.constant("atom groups", &HostTensor::i32(&[N_TYPES, 14], TABLES.atom14_group.as_flattened().to_vec()));
    let places = TABLES.atom14_position.as_flattened().as_flattened().to_vec();
    let places = graph.constant("literature positions", &HostTensor::f32(&[N_TYPES, 14, 3], places));
    let exists = graph.constant("atoms of types", &HostTensor::f32(&[N_TYPES, 14], TABLES.atom14_exists.as_flattened().to_vec()));
    graph.apply(FrameAtoms, &[frames, aatype, groups, places, exists]) // [n_res, 14, 3]
}
