//! BERT masking of the cluster centres (supplement 1.2.7), and the profile it draws from.

use crate::data::alphabet::MASK;
use crate::data::draws::{Draws, Purpose};

/// Probabilities of the masking. What the three kinds of replacement leave over is the mask token's.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Masking {
    /// Share of positions that are masked.
    pub replace_fraction: f32,
    /// Of those: replaced by a residue drawn uniformly.
    pub uniform: f32,
    /// Replaced by a residue from the column's profile.
    pub profile: f32,
    /// Left as they are.
    pub same: f32,
}

impl Default for Masking {
    fn default() -> Self {
        Self { replace_fraction: 0.15, uniform: 0.1, profile: 0.1, same: 0.1 }
    }
}

/// Frequencies of the 22 types in each column, over all rows: `[n_res, 22]` (`make_hhblits_profile`).
pub fn profile(rows: &[u8], n_res: usize) -> Vec<f32> {
    let mut counts = vec![0u32; n_res * 22];
    for row in rows.chunks_exact(n_res) {
        for (column, &kind) in row.iter().enumerate() {
            counts[column * 22 + usize::from(kind)] += 1;
        }
    }
    let n_seq = rows.len() / n_res.max(1);
    counts.iter().map(|&c| c as f32 / n_seq as f32).collect()
}

/// Probabilities of the 23 types that a masked position becomes, for a residue of type `kind` in a column with the given profile.
pub fn replacement(masking: &Masking, profile: &[f32], kind: u8) -> [f32; 23] {
    let mut weights = [0.0; 23];
    for (i, w) in weights[..22].iter_mut().enumerate() {
        let uniform = if i < 20 { 0.05 } else { 0.0 };
        *w = masking.uniform * uniform + masking.profile * profile[i];
    }
    weights[usize::from(kind)] += masking.same;
    weights[usize::from(MASK)] = 1.0 - masking.profile - masking.same - masking.uniform;
    weights
}

/// Masks rows `[n, n_res]` in place (`make_masked_msa`) and gives the mask, 1 where a position counts for the loss.
pub fn mask(rows: &mut [u8], n_res: usize, profile: &[f32], masking: &Masking, draws: &dyn Draws, pass: usize) -> Vec<u8> {
    let mut masked = vec![0; rows.len()];
    for (i, kind) in rows.iter_mut().enumerate() {
        if draws.uniform(pass, Purpose::MaskPosition, i as u64) < masking.replace_fraction {
            let column = &profile[i % n_res * 22..][..22];
            *kind = draws.categorical(pass, Purpose::MaskResidue, i as u64, &replacement(masking, column, *kind));
            masked[i] = 1;
        }
    }
    masked
}
