//! Self-distillation: which predictions become examples, and which of their residues count.
//!
//! The published rule (supplement 1.3) goes by the distogram: a residue's confidence is how far its predicted distances are from what
//! sequence separation alone would give. Files of other programs hold no distogram; for them the rule by pLDDT here is ours.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::io::npz;
use crate::protein::letters::slot37::CA;
use crate::protein::structure::Chain;
use crate::tensor::HostTensor;

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

/// Mean predicted distributions of distances by separation along the chain: over many sequences, what a distogram says that knows nothing more
/// (supplement 1.3: over 1,000 sequences drawn at random).
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    n_bins: usize,
    /// `[MAX_SEPARATION + 1, n_bins]`; zeros where there is no pair.
    mean: Vec<f64>,
    /// Pairs that each mean is of.
    pairs: Vec<u64>,
}

impl Reference {
    /// Of no pair yet.
    pub fn new(n_bins: usize) -> Self {
        Self { n_bins, mean: vec![0.0; (MAX_SEPARATION + 1) * n_bins], pairs: vec![0; MAX_SEPARATION + 1] }
    }

    /// The mean over one prediction, `[n, n, n_bins]`.
    pub fn of(probabilities: &[f32], n: usize, n_bins: usize) -> Self {
        assert_eq!(probabilities.len(), n * n * n_bins, "distogram of {n} residues");
        let mut made = Self::new(n_bins);
        for (k, p) in probabilities.chunks_exact(n_bins).enumerate() {
            let apart = (k / n).abs_diff(k % n);
            if apart <= MAX_SEPARATION {
                made.pairs[apart] += 1;
                made.mean[apart * n_bins..][..n_bins].iter_mut().zip(p).for_each(|(m, &p)| *m += f64::from(p));
            }
        }
        for (mean, &pairs) in made.mean.chunks_exact_mut(n_bins).zip(&made.pairs) {
            mean.iter_mut().for_each(|m| *m /= pairs.max(1) as f64);
        }
        made
    }

    /// Takes the pairs of another in.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.n_bins != other.n_bins {
            return Err(Error::Data(format!("distograms of {} and of {} bins have no mean", self.n_bins, other.n_bins)));
        }
        for apart in 0..=MAX_SEPARATION {
            let all = self.pairs[apart] + other.pairs[apart];
            let share = other.pairs[apart] as f64 / all.max(1) as f64;
            let of = apart * self.n_bins..(apart + 1) * self.n_bins;
            self.mean[of.clone()].iter_mut().zip(&other.mean[of]).for_each(|(a, b)| *a += share * (b - *a));
            self.pairs[apart] = all;
        }
        Ok(())
    }

    /// Bins of the distograms.
    pub fn n_bins(&self) -> usize {
        self.n_bins
    }

    /// What tells it from others.
    pub fn identity(&self) -> String {
        let bytes: Vec<u8> = self.mean.iter().flat_map(|&m| (m as f32).to_le_bytes()).collect();
        format!("{} pairs, crc32 {:08x}", self.pairs.iter().sum::<u64>(), crc32fast::hash(&bytes))
    }

    /// The distribution at a separation; beyond the longest chain that was seen, that of its ends.
    fn at(&self, apart: usize) -> &[f64] {
        let seen = (0..=apart).rev().find(|&d| self.pairs[d] > 0).unwrap_or(0);
        &self.mean[seen * self.n_bins..][..self.n_bins]
    }

    /// Writes it as npz: `mean` `[129, n_bins]` and `pairs` `[129]`.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mean = HostTensor::f32(&[MAX_SEPARATION + 1, self.n_bins], self.mean.iter().map(|&m| m as f32).collect());
        let pairs = self.pairs.iter().map(|&p| i32::try_from(p).unwrap_or(i32::MAX)).collect();
        let all = [("mean".to_owned(), mean), ("pairs".to_owned(), HostTensor::i32(&[MAX_SEPARATION + 1], pairs))];
        npz::write(path, &all.into(), &BTreeMap::new())
    }

    /// Reads what [`Reference::write`] wrote.
    pub fn read(path: &Path) -> Result<Self> {
        let all = npz::read(path)?;
        let wrong = |what: &str| Error::format(path, format!("no reference of distograms: {what}"));
        let (Some(mean), Some(pairs)) = (all.get("mean"), all.get("pairs")) else { return Err(wrong("it has no `mean` and `pairs`")) };
        let &[MAX_ROWS, n_bins] = &mean.shape[..] else { return Err(wrong("`mean` is not [129, bins]")) };
        let (mean, counts) = (mean.to_f64(), pairs.to_f64());
        let sums = mean.chunks_exact(n_bins.max(1)).map(|row| row.iter().sum::<f64>());
        let fits = |(sum, &n): (f64, &f64)| if n > 0.0 { (sum - 1.0).abs() < 1e-3 } else { sum == 0.0 };
        if n_bins == 0 || counts.len() != MAX_ROWS || counts[0] <= 0.0 || !sums.zip(&counts).all(fits) || mean.iter().any(|&p| p < 0.0) {
            return Err(wrong("its rows are no distributions"));
        }
        Ok(Self { n_bins, mean, pairs: counts.into_iter().map(|n| n as u64).collect() })
    }
}

/// Rows of a reference.
const MAX_ROWS: usize = MAX_SEPARATION + 1;

/// Confidence of every residue from a distogram (supplement 1.3): the mean, over the other residues at most 128 away, of the Kullback-Leibler
/// divergence of the predicted distribution from the reference for that separation.
///
/// `probabilities` is `[n, n, n_bins]`, each row summing to 1.
pub fn distogram_confidence(probabilities: &[f32], reference: &Reference, n: usize) -> Vec<f64> {
    let n_bins = reference.n_bins;
    assert_eq!(probabilities.len(), n * n * n_bins, "distogram of {n} residues");
    let divergence = |i: usize, j: usize| {
        let p = &probabilities[(i * n + j) * n_bins..][..n_bins];
        let term = |(&r, &p): (&f64, &f32)| if r > 0.0 { r * (r / f64::from(p).max(1e-30)).ln() } else { 0.0 };
        reference.at(i.abs_diff(j)).iter().zip(p).map(term).sum::<f64>()
    };
    let mean = |i: usize| {
        let near = (i.saturating_sub(MAX_SEPARATION)..(i + MAX_SEPARATION + 1).min(n)).filter(|&j| j != i);
        let (sum, count) = near.fold((0.0, 0), |(sum, count), j| (sum + divergence(i, j), count + 1));
        sum / f64::from(count.max(1))
    };
    (0..n).map(mean).collect()
}

/// Which residues of a prediction count, or why it is no example. `confidence` is the distogram's where the prediction came with one.
pub fn kept_residues(chain: &Chain, n_rows: usize, confidence: Option<&[f64]>, rules: &Rules) -> std::result::Result<Vec<bool>, String> {
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
        return some(confidence.iter().map(|&c| c >= rules.min_confidence).collect());
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
    some(plddt.iter().map(|&p| p >= rules.min_residue_plddt).collect())
}

/// An example without any residue to learn from is none.
fn some(kept: Vec<bool>) -> std::result::Result<Vec<bool>, String> {
    if kept.contains(&true) { Ok(kept) } else { Err("no residue is confident".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distogram_like_its_reference_has_no_confidence_and_a_sharp_one_has_much() {
        let (n, bins) = (5, 4);
        let flat = vec![0.25; n * n * bins];
        let reference = Reference::of(&flat, n, bins);
        assert!(distogram_confidence(&flat, &reference, n).iter().all(|c| c.abs() < 1e-12));
        let sharp: Vec<f32> = (0..n * n).flat_map(|_| [0.97, 0.01, 0.01, 0.01]).collect();
        // 1/4 ln(0.25/0.97) + 3/4 ln(0.25/0.01) = 2.07519...
        assert!(distogram_confidence(&sharp, &reference, n).iter().all(|c| (c - 2.075_19).abs() < 1e-3));
        // A residue's pair with itself says nothing and does not count.
        let own: Vec<f32> = (0..n * n).flat_map(|k| if k / n == k % n { [0.97, 0.01, 0.01, 0.01] } else { [0.25; 4] }).collect();
        assert!(distogram_confidence(&own, &reference, n).iter().all(|c| c.abs() < 1e-12));
    }

    #[test]
    fn a_reference_is_the_mean_over_all_pairs_and_survives_its_file() {
        let flat = |n: usize| vec![0.5_f32; n * n * 2];
        let sharp = |n: usize| [1.0_f32, 0.0].repeat(n * n);
        let mut all = Reference::new(2);
        all.merge(&Reference::of(&flat(3), 3, 2)).unwrap();
        all.merge(&Reference::of(&sharp(2), 2, 2)).unwrap();
        // Two residues apart: only the chain of three has such pairs; one apart: four pairs of it and two of the other.
        assert_eq!(all.pairs[..4], [5, 6, 2, 0]);
        assert!((all.mean[4] - 0.5).abs() < 1e-12 && (all.mean[2] - (4.0 * 0.5 + 2.0) / 6.0).abs() < 1e-12);
        assert_eq!((all.at(100), all.at(2)), (&[0.5, 0.5][..], &[0.5, 0.5][..]));
        assert!(all.merge(&Reference::new(3)).is_err());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reference.npz");
        all.write(&path).unwrap();
        let back = Reference::read(&path).unwrap();
        assert!(back.pairs == all.pairs && back.mean.iter().zip(&all.mean).all(|(a, b)| (a - b).abs() < 1e-7));
        let mut bad = all.clone();
        bad.mean[0] = 0.9;
        bad.write(&path).unwrap();
        assert!(Reference::read(&path).unwrap_err().to_string().contains("its rows are no distributions"));
    }
}
