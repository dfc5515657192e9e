//! Experimentally resolved prediction (supplement 1.9.10).

use crate::graph::Tensor;
use crate::ops::basic::sigmoid_cross_entropy::SigmoidCrossEntropy;
use crate::ops::loss::masked_mean::MaskedMean;

/// Equation 43: `logits [n_res, 37]`, which atoms the experiment resolved `[n_res, 37]`, which atoms the residue types have `[n_res, 37]`,
/// and `weight [1]`, [`super::resolution_weight`], to the loss `[1]`.
pub fn experimentally_resolved<'g>(logits: Tensor<'g>, resolved: Tensor<'g>, exists: Tensor<'g>, weight: Tensor<'g>) -> Tensor<'g> {
    let graph = logits.graph();
    let errors = graph.apply(SigmoidCrossEntropy, &[logits, resolved]); // [n_res, 37]
    graph.apply(MaskedMean::over(1e-8).weighted(), &[errors, exists, weight])
}
