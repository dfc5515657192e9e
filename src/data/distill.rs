//! Self-distillation: which predictions become examples, and which of their residues count.
//!
//! The published rule (supplement 1.3) goes by the distogram: a residue's confidence is how far its predicted distances are from what
//! sequence separation alone would give. Files of other programs hold no distogram; for them the rule by pLDDT here is ours.

use crate::protein::letters::slot37::CA;
use crate::protein::structure::Chain;

/// When a prediction becomes an example.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Rules {
    /// Fewest residues (published: 200).
    pub min_length: usize,
    /// Most residues (published: 1024).
    pub max_length: usize,
    /// Fewest alignment rows (published: 200).
    pub min_rows: usize,
    /// Residues whose distogram confidence is below are masked (published: 0.5).
    pub min_confidence: f64,
    /// Residues whose pLDDT is below are masked where there is no distogram confidence (ours: 50).
    pub min_residue_plddt: f64,
    /// Chains whose mean pLDDT is below are left out where there is no distogram confidence (ours: 70).
    pub min_mean_plddt: f64,
}

impl Default for Rules {
    fn default() -> Self {
        Self { min_length: 200, max_length: 1024, min_rows: 200, min_confidence: 0.5, min_residue_plddt: 50.0, min_mean_plddt: 70.0 }
    }
}

/// Residues further apart than this along the chain do not count for each other's confidence.
pub const MAX_SEPARATION: usize = 128;

/// Confidence of every residue from a distogram (supplement 1.3): the mean over residues at most 128 away of the Kullback-Leibler divergence
/// of the predicted distribution from the reference for that separation.
///
/// `probabilities` is `[n, n, n_bins]`, `reference` is `[129, n_bins]` by separation, both positive and summing to 1 over bins.
pub fn distogram_confidence(probabilities: &[f32], reference: &[f32], n: usize, n_bins: usize) -> Vec<f64> {
    assert_eq!((probabilities.len(), reference.len()), (n * n * n_bins, (MAX_SEPARATION + 1) * n_bins), "distogram of {n} residues");
    let divergence = |i: usize, j: usize| {
        let p = &probabilities[(i * n + j) * n_bins..][..n_bins];
        let r = &reference[i.abs_diff(j) * n_bins..][..n_bins];
        let term = |(&r, &p): (&f32, &f32)| if r > 0.0 { f64::from(r) * (f64::from(r) / f64::from(p).max(1e-30)).ln() } else { 0.0 };
        r.iter().zip(p).map(term).sum::<f64>()
    };
    let mean = |i: usize| {
        let near = i.saturating_sub(MAX_SEPARATION)..(i + MAX_SEPARATION + 1).min(n);
        near.clone().map(|j| divergence(i, j)).sum::<f64>() / near.len() as f64
    };
    (0..n).map(mean).collect()
}

/// Which residues of a prediction count, or why it is no example. `confidence` is the distogram's where the prediction came with one.
pub fn kept_residues(chain: &Chain, n_rows: usize, confidence: Option<&[f64]>, rules: &Rules) -> Result<Vec<bool>, String> {
    let n = chain.len();
    if n < rules.min_length || n > rules.max_length {
        return Err(format!("{n} residues; distillation takes {} to {}", rules.min_length, rules.max_length));
    }
    if n_rows < rules.min_rows {
        return Err(format!("an alignment of {n_rows} rows; distillation takes {} and more", rules.min_rows));
    }
    if let Some(confidence) = confidence {
        if confidence.len() != n {
            return Err(format!("{} confidences for {n} residues", confidence.len()));
        }
        return Ok(confidence.iter().map(|&c| c >= rules.min_confidence).collect());
    }
    let plddt: Vec<f64> = chain.b_factors.iter().map(|b| f64::from(b[CA])).collect();
    let highest = plddt.iter().copied().fold(0.0, f64::max);
    if plddt.iter().any(|p| !(0.0..=100.0).contains(p)) || highest <= 1.0 {
        return Err("its B-factors are no pLDDT on the scale 0-100".into());
    }
    let mean = plddt.iter().sum::<f64>() / n as f64;
    if mean < rules.min_mean_plddt {
        return Err(format!("a mean pLDDT of {mean:.1}; {} is the least", rules.min_mean_plddt));
    }
    Ok(plddt.iter().map(|&p| p >= rules.min_residue_plddt).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distogram_like_its_reference_has_no_confidence_and_a_sharp_one_has_much() {
        let (n, bins) = (5, 4);
        let reference = vec![0.25f32; (MAX_SEPARATION + 1) * bins];
        let flat = distogram_confidence(&vec![0.25; n * n * bins], &reference, n, bins);
        assert!(flat.iter().all(|c| c.abs() < 1e-12));
        let sharp: Vec<f32> = (0..n * n).flat_map(|_| [0.97, 0.01, 0.01, 0.01]).collect();
        // 1/4 ln(0.25/0.97) + 3/4 ln(0.25/0.01) = 2.07519...
        assert!(distogram_confidence(&sharp, &reference, n, bins).iter().all(|c| (c - 2.075_19).abs() < 1e-3));
    }
}
