//! Operations of the structure module: rigid algebra, torsions and atoms, invariant point attention. Always in single precision.
//!
//! An affine `[n, 7]` is a quaternion (w, x, y, z) and a translation; a frame `[n, 12]` is a rotation row by row and a translation.

pub mod affine_frames;
pub mod affine_update;
pub mod atom_gather;
pub mod frame_algebra;
pub mod frame_atoms;
pub mod frame_points;
pub mod ipa_features;
pub mod ipa_heads;
pub mod ipa_logits;
pub mod stop_rotation;
pub mod torsion_frames;
pub mod unit_pairs;

use crate::protein::rigid::Rigid;

/// Frame number `i` of references' flat arrays.
fn frame(data: &[f64], i: usize) -> Rigid {
    Rigid::from_flat12(std::array::from_fn(|k| data[12 * i + k]))
}
