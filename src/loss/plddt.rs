//! Model confidence (supplement 1.9.6).

use std::rc::Rc;

use crate::graph::Tensor;
use crate::ops::basic::softmax_cross_entropy::SoftmaxCrossEntropy;
use crate::ops::loss::lddt::Lddt;
use crate::ops::loss::masked_mean::MaskedMean;
use crate::protein::letters::slot37::CA;

/// Distances of the truth that lDDT scores, Angstrom.
const CUTOFF: f32 = 15.0;

/// Algorithm 29 predictPerResidueLDDT_Ca, lines 4-6: `logits [n_res, bins]` against the lDDT-Ca of the prediction, to the loss `[1]`.
/// Positions are `[n_res, 37, 3]`, the mask of true atoms `[n_res, 37]`, `weight [1]` is [`super::resolution_weight`]. Positions have no
/// gradient: AlphaFold stops it at the score.
pub fn plddt<'g>(logits: Tensor<'g>, predicted: Tensor<'g>, truth: Tensor<'g>, mask: Tensor<'g>, weight: Tensor<'g>) -> Tensor<'g> {
    let graph = logits.graph();
    let bins = *logits.shape().last().expect("an axis");
    let lddt = graph.apply_all(Rc::new(Lddt { atom: CA, cutoff: CUTOFF, bins }), &[predicted, truth, mask]);
    let [_, class, has_ca] = lddt[..] else { unreachable!("three outputs") };
    let errors = graph.apply(SoftmaxCrossEntropy { soft: false }, &[logits, class]); // [n_res]
    graph.apply(MaskedMean::over(1e-8).weighted(), &[errors, has_ca, weight])
}
