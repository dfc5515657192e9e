//! Numbers of confidence from the heads' logits (AlphaFold's `common/confidence.py`), ranking, and when recycling has settled.
//!
//! All in f64 on the host: a prediction needs them once. Knows nothing of files or of how logits are made.

use crate::error::{Error, Result};
use crate::protein::Positions37;
use crate::protein::letters::slot37::CA;

/// Shortest length that the TM-score's scale is made for (QUIRKS 49): shorter chains would give a scale near zero or none.
const SHORTEST: usize = 19;

/// Softmax over rows of `n_bins` logits.
pub fn probabilities(logits: &[f32], n_bins: usize) -> Vec<f64> {
    let mut out = Vec::with_capacity(logits.len());
    for row in logits.chunks_exact(n_bins) {
        softmax(row, &mut out);
    }
    out
}

fn softmax(row: &[f32], out: &mut Vec<f64>) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let start = out.len();
    out.extend(row.iter().map(|&x| f64::from(x - largest).exp()));
    let sum: f64 = out[start..].iter().sum();
    out[start..].iter_mut().for_each(|p| *p /= sum);
}

/// [`probabilities`] in single precision and in place of the logits: a distogram is large.
pub fn to_probabilities(logits: &mut [f32], n_bins: usize) {
    let mut row = Vec::with_capacity(n_bins);
    for logits in logits.chunks_exact_mut(n_bins) {
        row.clear();
        softmax(logits, &mut row);
        logits.iter_mut().zip(&row).for_each(|(l, &p)| *l = p as f32);
    }
}

/// pLDDT per residue, 0 to 100 (supplement 1.9.6): the mean over bins of equal width in [0, 1]. `logits` is `[n_res, n_bins]`.
pub fn plddt(logits: &[f32], n_bins: usize) -> Vec<f64> {
    let width = 1.0 / n_bins as f64;
    let mean = |row: &[f64]| row.iter().enumerate().map(|(k, p)| p * (k as f64 + 0.5) * width).sum::<f64>();
    probabilities(logits, n_bins).chunks_exact(n_bins).map(|row| 100.0 * mean(row)).collect()
}

/// Predicted aligned errors of one prediction.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AlignedErrors {
    /// Expected error at residue j when residue i's frame is aligned, Angstrom, `[n_res, n_res]`.
    pub pae: Vec<f64>,
    /// The largest value that the bins can give, Angstrom.
    pub max_pae: f64,
    /// Predicted TM-score.
    pub ptm: f64,
}

/// Centres of the error bins: half a step above each break, and one more for what lies beyond the last.
fn error_centres(breaks: &[f32]) -> Vec<f64> {
    let step = f64::from(breaks[1]) - f64::from(breaks[0]);
    let mut centres: Vec<f64> = breaks.iter().map(|&b| f64::from(b) + step / 2.0).collect();
    centres.push(centres[centres.len() - 1] + step);
    centres
}

/// Expected aligned errors and pTM (supplement 1.9.7, equations 38-40). `logits` is `[n_res, n_res, n_bins]` with one break less than bins.
pub fn aligned_errors(logits: &[f32], breaks: &[f32], n_res: usize) -> AlignedErrors {
    let centres = error_centres(breaks);
    let n_bins = centres.len();
    assert_eq!(logits.len(), n_res * n_res * n_bins, "logits of aligned errors of {n_res} residues");
    let d0 = 1.24 * (n_res.max(SHORTEST) as f64 - 15.0).cbrt() - 1.8;
    let tm: Vec<f64> = centres.iter().map(|c| 1.0 / (1.0 + (c / d0).powi(2))).collect();
    // The published weights of a row sum to n / (n + 1e-8).
    let weight = 1.0 / (1e-8 + n_res as f64);
    let mut out = AlignedErrors { pae: Vec::with_capacity(n_res * n_res), max_pae: centres[n_bins - 1], ptm: 0.0 };
    let mut row = Vec::with_capacity(n_bins);
    for i in 0..n_res {
        let mut score = 0.0;
        for j in 0..n_res {
            row.clear();
            softmax(&logits[(i * n_res + j) * n_bins..][..n_bins], &mut row);
            out.pae.push(row.iter().zip(&centres).map(|(p, c)| p * c).sum());
            score += weight * row.iter().zip(&tm).map(|(p, t)| p * t).sum::<f64>();
        }
        out.ptm = out.ptm.max(score);
    }
    out
}

/// What predictions are ranked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RankBy {
    /// Mean pLDDT, as AlphaFold ranks monomers.
    Plddt,
    /// Predicted TM-score; only models with the aligned error head have it.
    Ptm,
}

/// The order of predictions by their scores, best first; equal ones keep theirs. Scores are finite.
pub fn rank(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order
}

/// How far CA distances have moved between two passes, Angstrom: the root of the mean over all pairs of the squared difference, as the published
/// early stop has it (`recycle_early_stop_tolerance`).
pub fn ca_change(before: &[Positions37], after: &[Positions37]) -> f64 {
    assert_eq!(before.len(), after.len(), "two passes of one chain");
    let distance = |all: &[Positions37], i: usize, j: usize| {
        (0..3).map(|k| (f64::from(all[i][CA][k]) - f64::from(all[j][CA][k])).powi(2)).sum::<f64>().sqrt()
    };
    let n = before.len();
    // Both halves of the matrix are the same, and its diagonal is zero.
    let half: f64 =
        (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| (distance(before, i, j) - distance(after, i, j)).powi(2)).sum();
    (2.0 * half / (n * n).max(1) as f64 + 1e-8).sqrt()
}

/// Whether another pass is worth its time: never before a second one, and then as long as the structure moves by more than the tolerance.
pub fn settled(change: Option<f64>, tolerance: f64) -> bool {
    tolerance > 0.0 && change.is_some_and(|c| c <= tolerance)
}

/// Refuses numbers that are not finite, with the name of what they are.
pub fn finite(what: &str, values: impl IntoIterator<Item = f32>) -> Result<()> {
    match values.into_iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(at) => {
            Err(Error::Data(format!("the network's {what} are not finite (element {at}): check the parameters, or try f32 storage")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certain_logits_give_their_bins() {
        let mut logits = vec![-1e4f32; 2 * 50];
        (logits[49], logits[50]) = (1e4, 1e4);
        assert_eq!(plddt(&logits, 50).iter().map(|p| (p * 1e6).round() / 1e6).collect::<Vec<_>>(), [99.0, 1.0]);
    }

    #[test]
    fn a_short_chain_of_certain_pairs_has_a_score_of_one() {
        let breaks: Vec<f32> = (0..63).map(|i| 0.5 * i as f32).collect();
        let logits: Vec<f32> = (0..16).flat_map(|_| (0..64).map(|b| if b == 0 { 1e4 } else { 0.0 })).collect();
        let errors = aligned_errors(&logits, &breaks, 4);
        assert!(errors.pae.iter().all(|p| (p - 0.25).abs() < 1e-9) && errors.max_pae == 31.75);
        // d0 of 19 residues is 0.168...: 1 / (1 + (0.25 / d0)^2).
        let d0 = 1.24 * 4.0_f64.cbrt() - 1.8;
        assert!((errors.ptm - 1.0 / (1.0 + (0.25 / d0).powi(2))).abs() < 1e-8);
    }

    #[test]
    fn ranks_keep_the_order_of_equals() {
        assert_eq!(rank(&[1.0, 3.0, 3.0, 2.0]), [1, 2, 3, 0]);
    }

    #[test]
    fn a_moved_structure_has_not_changed_and_a_stretched_one_has() {
        let at = |scale: f32, shift: f32| (0..3).map(|i| [[scale * i as f32 + shift, 0.0, 0.0]; 37]).collect::<Vec<_>>();
        assert!(ca_change(&at(1.0, 0.0), &at(1.0, 5.0)) < 1.1e-4);
        // Differences of 1 (four times) and 2 (twice) over nine pairs.
        assert!((ca_change(&at(1.0, 0.0), &at(2.0, 0.0)) - (12.0_f64 / 9.0).sqrt()).abs() < 1e-6);
        assert!(!settled(None, 0.5) && settled(Some(0.4), 0.5) && !settled(Some(0.4), 0.0));
    }
}
