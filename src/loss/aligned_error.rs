//! Predicted aligned error (supplement 1.9.7).

use crate::graph::Tensor;
use crate::ops::basic::softmax_cross_entropy::SoftmaxCrossEntropy;
use crate::ops::loss::aligned_error_bins::AlignedErrorBins;
use crate::ops::loss::masked_mean::MaskedMean;

/// The last edge of the bins, Angstrom, as AlphaFold's configuration has it.
pub const LAST_EDGE: f32 = 31.0;

/// The cross entropy of section 1.9.7: `logits [n_res, n_res, bins]` against the aligned errors of backbone frames `[n_res, 12]` in
/// Angstrom, under the mask of true frames `[n_res]`, to the loss `[1]`. `weight [1]` is [`super::resolution_weight`]. Frames have no
/// gradient: AlphaFold stops it at the error.
pub fn aligned_error<'g>(
    logits: Tensor<'g>,
    predicted: Tensor<'g>,
    truth: Tensor<'g>,
    mask: Tensor<'g>,
    weight: Tensor<'g>,
    last_edge: f32,
) -> Tensor<'g> {
    let graph = logits.graph();
    let bins = *logits.shape().last().expect("an axis");
    let class = graph.apply(AlignedErrorBins { max: last_edge, bins }, &[predicted, truth]); // [n_res, n_res]
    let errors = graph.apply(SoftmaxCrossEntropy { soft: false }, &[logits, class]); // [n_res, n_res]
    graph.apply(MaskedMean::over_pairs(1e-8).weighted(), &[errors, mask, weight])
}
