//! Runs the golden cases of the structural losses on the device, outputs and gradients.
//!
//! Knows what the cases hold, not how close is close enough.

use std::rc::Rc;

use super::Context;
use super::bench::Bench;
use super::golden::Golden;
use super::host_structure::Outputs;
use crate::error::Result;
use crate::graph::Tensor;
use crate::loss::fape::{FAPE, backbone_loss};
use crate::ops::loss::fape::Fape;
use crate::tensor::HostTensor;

/// The outputs of a case, or `None` when its module is not one of this file's.
pub fn run(context: &Context, case: &Golden) -> Option<Result<Outputs>> {
    let module: fn(&Bench) -> Result<()> = match case.module.as_str() {
        "frame_aligned_point_error" => frame_aligned_point_error,
        "backbone_loss" => backbone,
        _ => return None,
    };
    Some(Bench::run(context, case, module))
}

/// A number of the case's configuration; `None` where it is null.
fn number(b: &Bench, key: &str) -> Option<f32> {
    key.split('/').try_fold(&b.case.config, |at, key| at.get(key)).and_then(|v| v.as_f64()).map(|v| v as f32)
}

/// The clamped error's share: the case's, or all of it where the case has none.
fn use_clamped_fape<'a>(b: &Bench<'a>) -> Result<Tensor<'a>> {
    match b.case.tensors.contains_key("in:use_clamped_fape") {
        true => b.input("use_clamped_fape"),
        false => Ok(b.graph.constant("always clamped", &HostTensor::f32(&[1], vec![1.0]))),
    }
}

fn one_layer(x: Tensor) -> Tensor {
    x.reshape(&[&[1], x.shape().as_slice()].concat())
}

fn frame_aligned_point_error(b: &Bench) -> Result<()> {
    let op = Fape { clamp: number(b, "l1_clamp_distance"), scale: number(b, "length_scale").unwrap_or(FAPE.scale), eps: FAPE.eps };
    let (frames, points) = (one_layer(b.input("pred_frames")?), one_layer(b.input("pred_positions")?));
    let truth = (b.input("target_frames")?, b.input("target_positions")?);
    let masks = (b.input("frames_mask")?, b.input("positions_mask")?);
    let y = b.graph.apply_all(Rc::new(op), &[frames, points, truth.0, masks.0, truth.1, masks.1, use_clamped_fape(b)?]);
    b.output("fape", y[0])
}

fn fape_of(b: &Bench) -> Fape {
    Fape { clamp: number(b, "fape/clamp_distance"), scale: number(b, "fape/loss_unit_distance").unwrap_or(FAPE.scale), eps: FAPE.eps }
}

fn backbone(b: &Bench) -> Result<()> {
    let truth = (b.input("backbone_affine_tensor")?, b.input("backbone_affine_mask")?);
    let y = backbone_loss(fape_of(b), b.input("traj")?, truth.0, truth.1, use_clamped_fape(b)?);
    b.output("fape", y.fape)?;
    b.output("loss", y.loss)
}
