//! Masked MSA prediction (supplement 1.9.9).

use crate::graph::Tensor;
use crate::ops::basic::softmax_cross_entropy::SoftmaxCrossEntropy;
use crate::ops::loss::masked_mean::MaskedMean;

/// Equation 42: `logits [n_seq, n_res, 23]`, the letters before masking `true_msa [n_seq, n_res] i32`, and `bert_mask [n_seq, n_res]`, 1
/// where a letter was masked, to the loss `[1]`.
pub fn masked_msa<'g>(logits: Tensor<'g>, true_msa: Tensor<'g>, bert_mask: Tensor<'g>) -> Tensor<'g> {
    let graph = logits.graph();
    let errors = graph.apply(SoftmaxCrossEntropy { soft: false }, &[logits, true_msa]); // [n_seq, n_res]
    graph.apply(MaskedMean::over(1e-8), &[errors, bert_mask])
}
