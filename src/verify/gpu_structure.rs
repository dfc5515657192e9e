//! Runs the golden cases of the structure module's operations on the device, outputs and gradients.
//!
//! Each case becomes a small graph of the operations that the model uses. Knows what the cases hold, not how close is close enough.

use std::rc::Rc;

use super::Context;
use super::bench::{Bench, rows, same};
use super::golden::Golden;
use super::host_structure::Outputs;
use crate::error::Result;
use crate::model::structure;
use crate::ops::structure::affine_frames::AffineFrames;
use crate::ops::structure::affine_update::AffineUpdate;
use crate::ops::structure::atom_gather::AtomGather;
use crate::ops::structure::frame_algebra::FrameAlgebra;
use crate::ops::structure::frame_points::FramePoints;
use crate::tensor::HostTensor;

/// The outputs of a case, or `None` when its module is not one of this file's.
pub fn run(context: &Context, case: &Golden) -> Option<Result<Outputs>> {
    let module: fn(&Bench) -> Result<()> = match case.module.as_str() {
        "quat_to_rot" => quat_to_rot,
        "quat_affine_pre_compose" => pre_compose,
        "quat_affine_points" => affine_points,
        "quat_multiply" => quaternions,
        "rigids" => rigids,
        "atom14_to_atom37" => layouts,
        "torsion_angles_to_frames" => torsion_frames,
        "frames_and_literature_positions_to_atom14_pos" => literature_atoms,
        _ => return None,
    };
    Some(Bench::run(context, case, module))
}

/// Quaternions as affines without translation, rotations as the first nine numbers of a frame.
fn quat_to_rot(b: &Bench) -> Result<()> {
    let affine = b.input_as("quat", |x| rows(&x, 4, 7), |x| rows(&x, 7, 4))?;
    let frames = b.graph.apply_all(Rc::new(AffineFrames { scale: 1.0 }), &[affine])[0];
    b.output_as("rot", frames, |x| rows(&x, 12, 9), |x| rows(&x, 9, 12))
}

fn pre_compose(b: &Bench) -> Result<()> {
    let affine = b.graph.apply(AffineUpdate, &[b.input("affine")?, b.input("update")?]);
    b.output("affine", affine)?;
    let frames = b.graph.apply_all(Rc::new(AffineFrames { scale: 1.0 }), &[affine])[0];
    b.output_as("rot", frames, |x| rows(&x, 12, 9), |x| rows(&x, 9, 12))
}

fn affine_points(b: &Bench) -> Result<()> {
    let frames = b.graph.apply_all(Rc::new(AffineFrames { scale: 1.0 }), &[b.input("affine")?])[0];
    let point = b.input("point")?;
    b.output("apply", b.graph.apply(FramePoints { inverse: false }, &[frames, point]))?;
    b.output("invert", b.graph.apply(FramePoints { inverse: true }, &[frames, point]))
}

fn quaternions(b: &Bench) -> Result<()> {
    b.output("prod", b.graph.apply(FrameAlgebra::Quaternions, &[b.input("q1")?, b.input("q2")?]))
}

/// Frames from three points, the given frames' inverses, the first times the second, and the second applied to one of the points.
fn rigids(b: &Bench) -> Result<()> {
    let (xy, rigid) = (b.input("xy")?, b.input("rigid")?);
    let made = b.graph.apply(FrameAlgebra::ThreePoints, &[b.input("neg_x")?, b.input("origin")?, xy]);
    b.output("from_3_points", made)?;
    b.output("inverse", b.graph.apply(FrameAlgebra::Inverse, &[rigid]))?;
    b.output("product", b.graph.apply(FrameAlgebra::Product, &[made, rigid]))?;
    let n = xy.shape()[0];
    let moved = b.graph.apply(FramePoints { inverse: false }, &[rigid, xy.reshape(&[n, 1, 3])]);
    b.output("mul_vec", moved.reshape(&[n, 3]))
}

fn layouts(b: &Bench) -> Result<()> {
    for (from, to) in [("atom14", "atom37"), ("atom37", "atom14")] {
        let index = b.input(&format!("residx_{to}_to_{from}"))?;
        let exists = b.input(&format!("{to}_atom_exists"))?;
        b.output(to, b.graph.apply(AtomGather, &[b.input(from)?, index, exists]))?;
    }
    Ok(())
}

fn torsion_frames(b: &Bench) -> Result<()> {
    let flat = |x: HostTensor| rows(&x, 14, 14);
    let angles = b.input_as("torsion_angles_sin_cos", flat, same)?;
    b.output("frames", structure::rigid_group_frames(b.input("backb_to_global")?, angles, b.input("aatype")?))
}

fn literature_atoms(b: &Bench) -> Result<()> {
    b.output("atom14_pos", structure::atom14_positions(b.input("frames")?, b.input("aatype")?))
}
