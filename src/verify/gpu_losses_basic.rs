//! Runs the golden cases of cross entropies, binned distances and the heads with their losses on the device.
//!
//! Each case becomes a small graph of what the model uses. Knows what the cases hold, not how close is close enough.

use std::rc::Rc;

use super::Context;
use super::bench::Bench;
use super::golden::Golden;
use super::host_structure::Outputs;
use crate::error::Result;
use crate::graph::Tensor;
use crate::loss::aligned_error::aligned_error;
use crate::loss::distogram::distogram;
use crate::loss::masked_msa::masked_msa;
use crate::loss::plddt::plddt;
use crate::loss::resolution_weight;
use crate::loss::resolved::experimentally_resolved;
use crate::model::heads;
use crate::ops::basic::one_hot::OneHot;
use crate::ops::basic::sigmoid_cross_entropy::SigmoidCrossEntropy;
use crate::ops::basic::softmax_cross_entropy::SoftmaxCrossEntropy;
use crate::ops::basic::unary::Unary;
use crate::ops::evoformer::distance_bins::DistanceBins;
use crate::ops::structure::affine_frames::AffineFrames;
use crate::tensor::HostTensor;

/// The outputs of a case, or `None` when its module is not one of this file's.
pub fn run(context: &Context, case: &Golden) -> Option<Result<Outputs>> {
    let module: fn(&Bench) -> Result<()> = match case.module.as_str() {
        "softmax_cross_entropy" => softmax_cross_entropy,
        "sigmoid_cross_entropy" => sigmoid_cross_entropy,
        "dgram_from_positions" => dgram_from_positions,
        "masked_msa_head" => masked_msa_head,
        "distogram_head" => distogram_head,
        "predicted_lddt_head" => predicted_lddt_head,
        "experimentally_resolved_head" => experimentally_resolved_head,
        "predicted_aligned_error_head" => predicted_aligned_error_head,
        _ => return None,
    };
    Some(Bench::run(context, case, module))
}

/// `n` numbers at equal distances from `first` to `last`, as an output.
fn edges(b: &Bench, name: &str, first: f64, last: f64, n: usize) -> Result<()> {
    let values = (0..n).map(|k| (first + k as f64 * (last - first) / (n - 1) as f64) as f32).collect();
    b.output(name, b.graph.constant(name, &HostTensor::f32(&[n], values)))
}

/// The weight that training gives the case's resolution.
fn weight<'a>(b: &Bench<'a>) -> Result<Tensor<'a>> {
    let resolution = b.case.input("resolution")?.as_f32()[0];
    Ok(b.value("resolution weight", HostTensor::f32(&[1], vec![resolution_weight(resolution)]), false))
}

fn softmax_cross_entropy(b: &Bench) -> Result<()> {
    let inputs = [b.input("logits")?, b.input("labels")?];
    b.output("errors", b.graph.apply(SoftmaxCrossEntropy { soft: true }, &inputs))
}

fn sigmoid_cross_entropy(b: &Bench) -> Result<()> {
    let inputs = [b.input("logits")?, b.input("labels")?];
    b.output("errors", b.graph.apply(SigmoidCrossEntropy, &inputs))
}

fn dgram_from_positions(b: &Bench) -> Result<()> {
    let positions = b.input("positions")?; // [n_res, 3]
    for name in ["prev", "template"] {
        let part = b.config().child(name)?;
        let (first, last, classes) = (part.number("min_bin")? as f32, part.number("max_bin")? as f32, part.size("num_bins")?);
        let bins = b.graph.apply_all(Rc::new(DistanceBins::dgram(first, last, classes)), &[positions])[0]; // [n_res, n_res]
        b.output(name, b.graph.apply(OneHot { classes }, &[bins]))?; // [n_res, n_res, classes]
    }
    Ok(())
}

fn masked_msa_head(b: &Bench) -> Result<()> {
    let logits = heads::masked_msa_head(&b.scope, b.input("msa")?, b.config().size("num_output")?);
    b.output("logits", logits)?;
    b.output("loss", masked_msa(logits, b.input("true_msa")?, b.input("bert_mask")?))
}

fn distogram_head(b: &Bench) -> Result<()> {
    let (first, last, bins) = (b.config().number("first_break")?, b.config().number("last_break")?, b.config().size("num_bins")?);
    let logits = heads::distogram_head(&b.scope, b.input("pair")?, bins);
    b.output("logits", logits)?;
    let (loss, square) = distogram(logits, b.input("pseudo_beta")?, b.input("pseudo_beta_mask")?, [first as f32, last as f32]);
    b.output("loss", loss)?;
    b.output("true_dist", b.graph.apply(Unary::Sqrt(1e-6), &[square]))?;
    edges(b, "bin_edges", first, last, bins - 1)
}

fn predicted_lddt_head(b: &Bench) -> Result<()> {
    let (channels, bins) = (b.config().size("num_channels")?, b.config().size("num_bins")?);
    let logits = heads::predicted_lddt_head(&b.scope, b.input("act")?, channels, bins);
    b.output("logits", logits)?;
    let (predicted, truth) = (b.input("final_atom_positions")?, b.input("all_atom_positions")?);
    b.output("loss", plddt(logits, predicted, truth, b.input("all_atom_mask")?, weight(b)?))
}

fn experimentally_resolved_head(b: &Bench) -> Result<()> {
    let (resolved, exists) = (b.input("all_atom_mask")?, b.input("atom37_atom_exists")?);
    let logits = heads::experimentally_resolved_head(&b.scope, b.input("single")?, 37);
    b.output("logits", logits)?;
    b.output("loss", experimentally_resolved(logits, resolved, exists, weight(b)?))
}

fn predicted_aligned_error_head(b: &Bench) -> Result<()> {
    let (last, bins) = (b.config().number("max_error_bin")?, b.config().size("num_bins")?);
    let logits = heads::predicted_aligned_error_head(&b.scope, b.input("pair")?, bins);
    b.output("logits", logits)?;
    let frames = |affine| b.graph.apply_all(Rc::new(AffineFrames { scale: 1.0 }), &[affine])[0]; // [n_res, 12]
    let (predicted, truth) = (frames(b.input("final_affines")?), frames(b.input("backbone_affine_tensor")?));
    b.output("loss", aligned_error(logits, predicted, truth, b.input("backbone_affine_mask")?, weight(b)?, last as f32))?;
    edges(b, "breaks", 0.0, last, bins - 1)
}
