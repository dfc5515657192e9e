//! Distogram prediction (supplement 1.9.8).

use std::rc::Rc;

use crate::graph::Tensor;
use crate::ops::basic::softmax_cross_entropy::SoftmaxCrossEntropy;
use crate::ops::evoformer::distance_bins::DistanceBins;
use crate::ops::loss::masked_mean::MaskedMean;

/// The first and the last edge of the bins, Angstrom, as AlphaFold's configuration has them.
pub const EDGES: [f32; 2] = [2.3125, 21.6875];

/// Equation 41: `logits [n_res, n_res, bins]`, the true CB atoms (CA of glycine) `pseudo_beta [n_res, 3]` and their mask `[n_res]`, to the
/// loss `[1]` and the squared true distances `[n_res, n_res]`.
pub fn distogram<'g>(logits: Tensor<'g>, pseudo_beta: Tensor<'g>, mask: Tensor<'g>, edges: [f32; 2]) -> (Tensor<'g>, Tensor<'g>) {
    let graph = logits.graph();
    let bins = *logits.shape().last().expect("an axis");
    let truth = graph.apply_all(Rc::new(DistanceBins::count(edges[0], edges[1], bins)), &[pseudo_beta]);
    let errors = graph.apply(SoftmaxCrossEntropy { soft: false }, &[logits, truth[0]]); // [n_res, n_res]
    let loss = graph.apply(MaskedMean::over_pairs(1e-6), &[errors, mask]);
    (loss, truth[1])
}
