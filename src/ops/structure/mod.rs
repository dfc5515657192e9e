//! Operations of the structure module: rigid algebra, torsions and atoms, invariant point attention. Always in single precision.
//!
//! An affine `[n, 7]` is a quaternion (w, x, y, z) and a translation; a frame `[n, 12]` is a rotation row by row and a translation.

pub mod affine_frames;
pub mod affine_update;
