//! Runs the golden cases of the structure module's operations on the device, outputs and gradients.
//!
//! Each case becomes a small graph of the operations that the model uses. Knows what the cases hold, not how close is close enough.

use std::rc::Rc;

use super::Context;
use super::bench::{Bench, rows};
use super::golden::Golden;
use super::host_structure::Outputs;
use crate::error::Result;
use crate::ops::structure::affine_frames::AffineFrames;
use crate::ops::structure::affine_update::AffineUpdate;

/// The outputs of a case, or `None` when its module is not one of this file's.
pub fn run(context: &Context, case: &Golden) -> Option<Result<Outputs>> {
    let module: fn(&Bench) -> Result<()> = match case.module.as_str() {
        "quat_to_rot" => quat_to_rot,
        "quat_affine_pre_compose" => pre_compose,
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
