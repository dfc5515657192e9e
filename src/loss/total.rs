//! The weighted sum of all losses (supplement 1.9, equation 7).

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::graph::Tensor;
use crate::loss::structure::{StructureLoss, StructureLossConfig};
use crate::ops::basic::sum::Sum;
use crate::ops::basic::unary::Unary;
use crate::ops::loss::weighted_sum::WeightedSum;

/// Weights of the terms. By default those of the paper's initial training, which are the public code's but for the terms that both switch
/// on in fine-tuning (QUIRKS 37, 48).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// Backbone FAPE, mean over layers.
    pub fape: f64,
    /// All-atom FAPE of the last layer.
    pub sidechain_fape: f64,
    /// Torsion angles.
    pub chi: f64,
    /// Torsions' distance from the unit circle.
    pub angle_norm: f64,
    /// Distogram.
    pub distogram: f64,
    /// Masked MSA.
    pub masked_msa: f64,
    /// Predicted lDDT.
    pub plddt: f64,
    /// Which atoms are resolved.
    pub experimentally_resolved: f64,
    /// Bonds, angles and clashes.
    pub violations: f64,
    /// Predicted aligned error; only `_ptm` models have it.
    pub predicted_aligned_error: f64,
    /// Whether an example's loss is multiplied by the square root of its residues (the paper does, the public code does not).
    pub by_sqrt_length: bool,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            fape: 0.5,
            sidechain_fape: 0.5,
            chi: 0.5,
            angle_norm: 0.01,
            distogram: 0.3,
            masked_msa: 2.0,
            plddt: 0.01,
            experimentally_resolved: 0.0,
            violations: 0.0,
            predicted_aligned_error: 0.0,
            by_sqrt_length: true,
        }
    }
}

impl Weights {
    /// Fine-tuning of `_ptm` models: violations and every confidence count.
    pub fn fine_tuning() -> Self {
        Self { experimentally_resolved: 0.01, violations: 1.0, predicted_aligned_error: 0.1, ..Self::default() }
    }

    /// The structure module's part of the sum.
    pub fn structure(&self) -> StructureLossConfig {
        StructureLossConfig {
            backbone_fape: self.fape as f32,
            sidechain_fape: self.sidechain_fape as f32,
            chi: self.chi as f32,
            angle_norm: self.angle_norm as f32,
            violation: self.violations as f32,
            ..StructureLossConfig::default()
        }
    }
}

/// The losses of one example, each `[1]`. A head that does not exist, or has no weight, has none.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'g> {
    /// The structure module's, made with [`Weights::structure`].
    pub structure: StructureLoss<'g>,
    /// Distogram.
    pub distogram: Tensor<'g>,
    /// Masked MSA.
    pub masked_msa: Tensor<'g>,
    /// Predicted lDDT.
    pub plddt: Tensor<'g>,
    /// Which atoms are resolved.
    pub experimentally_resolved: Option<Tensor<'g>>,
    /// Predicted aligned error.
    pub predicted_aligned_error: Option<Tensor<'g>>,
}

/// Equation 7: the sum of `terms`, times the root of the number of residues in `seq_mask [n_res]` where the weights ask for it, `[1]`.
pub fn total<'g>(weights: &Weights, terms: &Terms<'g>, seq_mask: Tensor<'g>) -> Tensor<'g> {
    let graph = seq_mask.graph();
    let heads = [
        (weights.distogram, Some(terms.distogram)),
        (weights.masked_msa, Some(terms.masked_msa)),
        (weights.plddt, Some(terms.plddt)),
        (weights.experimentally_resolved, terms.experimentally_resolved),
        (weights.predicted_aligned_error, terms.predicted_aligned_error),
    ];
    let heads = heads.into_iter().filter_map(|(weight, term)| (weight != 0.0).then_some(weight as f32).zip(term));
    let (weights_used, used): (Vec<f32>, Vec<Tensor>) = [(1.0, terms.structure.loss)].into_iter().chain(heads).unzip();
    let sum = graph.apply_all(Rc::new(WeightedSum { weights: weights_used }), &used)[0];
    if !weights.by_sqrt_length {
        return sum;
    }
    graph.precise(|| {
        let n_res = graph.apply(Sum::over(&[0]), &[seq_mask]); // [1]
        sum * graph.apply(Unary::Sqrt(0.0), &[n_res])
    })
}
