//! lDDT (Mariani et al. 2013, Bioinformatics 29:2722): the share of local distances of the reference that a prediction keeps.
//!
//! Two forms: AlphaFold's over one point per residue, and the published one over all heavy atoms, in which atoms that the prediction lacks count
//! as wrong and the names of symmetric side chains are chosen to the prediction's advantage.

use glam::DVec3;

use crate::protein::Mask37;
use crate::protein::Positions37;
use crate::protein::tables::TABLES;
use crate::protein::truth::{Mask14, Positions14, mask_to_atom14, to_atom14};

/// Distances of the reference up to this are scored, Angstrom.
pub const CUTOFF: f64 = 15.0;
/// A distance counts a quarter for each of these deviations (Angstrom) that it stays below.
pub const THRESHOLDS: [f64; 4] = [0.5, 1.0, 2.0, 4.0];

/// lDDT in 0..1.
#[derive(Debug, Clone, PartialEq)]
pub struct Lddt {
    /// Over all distances.
    pub global: f64,
    /// Per residue. In AlphaFold's form a residue without any scored distance gets 1 (QUIRKS 45); in the published form it gets NaN.
    pub per_residue: Vec<f64>,
}

/// The share of thresholds that a deviation stays below.
fn kept(deviation: f64) -> f64 {
    THRESHOLDS.iter().filter(|&&t| deviation < t).count() as f64 / THRESHOLDS.len() as f64
}

/// AlphaFold's `lddt`: pairs of points that are both in the mask and closer than `cutoff` in the reference.
pub fn alphafold_lddt(predicted: &[DVec3], reference: &[DVec3], mask: &[bool], cutoff: f64) -> Lddt {
    assert!(
        predicted.len() == reference.len() && mask.len() == reference.len(),
        "lDDT of {} and {} points",
        predicted.len(),
        reference.len()
    );
    let n = reference.len();
    let distance = |p: &[DVec3], i: usize, j: usize| (1e-10 + p[i].distance_squared(p[j])).sqrt();
    let (mut sums, mut counts) = (vec![0.0; n], vec![0.0; n]);
    for i in 0..n {
        for j in (0..n).filter(|&j| j != i && mask[i] && mask[j]) {
            let true_distance = distance(reference, i, j);
            if true_distance < cutoff {
                sums[i] += kept((true_distance - distance(predicted, i, j)).abs());
                counts[i] += 1.0;
            }
        }
    }
    let ratio = |sum: f64, count: f64| (1e-10 + sum) / (1e-10 + count);
    let per_residue = sums.iter().zip(&counts).map(|(&s, &c)| ratio(s, c)).collect();
    Lddt { global: ratio(sums.iter().sum(), counts.iter().sum()), per_residue }
}

/// One residue of a pair of structures: the reference's type and the atoms of both under that type's names.
#[derive(Debug, Clone, Copy)]
pub struct ResiduePair<'a> {
    /// Residue type 0-20.
    pub restype: usize,
    /// The prediction's coordinates and mask; `None` where it lacks the residue.
    pub predicted: Option<(&'a Positions37, &'a Mask37)>,
    /// The reference's coordinates and mask.
    pub reference: (&'a Positions37, &'a Mask37),
}

struct Residue {
    predicted: Positions14,
    predicted_mask: Mask14,
    reference: Positions14,
    reference_mask: Mask14,
    /// atom14 slots of the prediction under the other naming.
    other_names: [usize; 14],
    ambiguous: [bool; 14],
}

impl Residue {
    fn new(pair: &ResiduePair) -> Self {
        let row = pair.restype;
        let (predicted, mask) = pair.predicted.map_or(([[0.0; 3]; 37], [0.0; 37]), |(p, m)| (*p, *m));
        Self {
            predicted: to_atom14(row, &predicted),
            predicted_mask: mask_to_atom14(row, &mask),
            reference: to_atom14(row, pair.reference.0),
            reference_mask: mask_to_atom14(row, pair.reference.1),
            other_names: TABLES.atom14_renamed_from[row].map(|s| s as usize),
            ambiguous: TABLES.atom14_is_ambiguous[row].map(|x| x == 1.0),
        }
    }

    /// Whether some reference atom can be within the cutoff of one of the other residue's, judged by CA and the size of side chains.
    fn is_near(&self, other: &Self) -> bool {
        let any = |r: &Self| (0..14).find(|&s| r.reference_mask[s] == 1.0).map(|s| r.reference[s]);
        // No side chain is longer than 10 Angstrom from any of its atoms to another.
        any(self).zip(any(other)).is_some_and(|(a, b)| distance(a, b) < CUTOFF + 20.0)
    }
}

fn distance(a: [f32; 3], b: [f32; 3]) -> f64 {
    (0..3).map(|k| f64::from(a[k] - b[k]).powi(2)).sum::<f64>().sqrt()
}

/// Sum of kept shares and number of the distances between two residues. `slot_a` and `slot_b` name the prediction's atoms; `skip` leaves
/// out pairs in which an atom of `b` is ambiguous.
fn score_pair(a: &Residue, slot_a: &[usize; 14], b: &Residue, slot_b: &[usize; 14], skip_ambiguous_b: bool) -> (f64, f64) {
    let (mut sum, mut count) = (0.0, 0.0);
    for i in (0..14).filter(|&i| a.reference_mask[i] == 1.0) {
        for j in (0..14).filter(|&j| b.reference_mask[j] == 1.0 && !(skip_ambiguous_b && b.ambiguous[j])) {
            let true_distance = distance(a.reference[i], b.reference[j]);
            if true_distance >= CUTOFF {
                continue;
            }
            count += 1.0;
            let (p, q) = (slot_a[i], slot_b[j]);
            if a.predicted_mask[p] * b.predicted_mask[q] == 1.0 {
                sum += kept((true_distance - distance(a.predicted[p], b.predicted[q])).abs());
            }
        }
    }
    (sum, count)
}

/// The published lDDT over all heavy atoms of the reference, distances within a residue left out. Where a half turn of a side chain only
/// exchanges names (Asp, Glu, Phe, Tyr; Arg, Leu and Val are told apart by geometry), the naming is used that scores better
/// against atoms whose names are certain.
pub fn all_atom_lddt(pairs: &[ResiduePair]) -> Lddt {
    let residues: Vec<Residue> = pairs.iter().map(Residue::new).collect();
    let plain: [usize; 14] = std::array::from_fn(|s| s);
    let near: Vec<Vec<usize>> =
        (0..residues.len()).map(|i| (0..residues.len()).filter(|&j| j != i && residues[i].is_near(&residues[j])).collect()).collect();
    let mut names = vec![plain; residues.len()];
    for (i, residue) in residues.iter().enumerate().filter(|(_, r)| r.ambiguous.contains(&true)) {
        let score = |slots: &[usize; 14]| near[i].iter().map(|&j| score_pair(residue, slots, &residues[j], &plain, true).0).sum::<f64>();
        if score(&residue.other_names) > score(&plain) {
            names[i] = residue.other_names;
        }
    }
    let (mut all_sum, mut all_count) = (0.0, 0.0);
    let mut per_residue = Vec::with_capacity(residues.len());
    for (i, residue) in residues.iter().enumerate() {
        let (mut sum, mut count) = (0.0, 0.0);
        for &j in &near[i] {
            let (s, c) = score_pair(residue, &names[i], &residues[j], &names[j], false);
            sum += s;
            count += c;
        }
        per_residue.push(sum / count);
        all_sum += sum;
        all_count += count;
    }
    Lddt { global: all_sum / all_count, per_residue }
}

/// The published lDDT over one point per residue; a point that the prediction lacks counts as wrong.
pub fn point_lddt(predicted: &[Option<DVec3>], reference: &[DVec3]) -> Lddt {
    assert_eq!(predicted.len(), reference.len(), "lDDT of {} and {} points", predicted.len(), reference.len());
    let n = reference.len();
    let (mut all_sum, mut all_count) = (0.0, 0.0);
    let mut per_residue = Vec::with_capacity(n);
    for i in 0..n {
        let (mut sum, mut count) = (0.0, 0.0);
        for j in (0..n).filter(|&j| j != i) {
            let true_distance = reference[i].distance(reference[j]);
            if true_distance < CUTOFF {
                count += 1.0;
                sum += predicted[i].zip(predicted[j]).map_or(0.0, |(a, b)| kept((true_distance - a.distance(b)).abs()));
            }
        }
        per_residue.push(sum / count);
        all_sum += sum;
        all_count += count;
    }
    Lddt { global: all_sum / all_count, per_residue }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protein::letters::{atom37_slot, restype_of_letter};

    /// Aspartates along a line, each as its CA, OD1 and OD2.
    fn chain() -> (Vec<Positions37>, Vec<Mask37>) {
        let slots = ["CA", "OD1", "OD2"].map(|n| atom37_slot(n).unwrap());
        let residue = |i: usize| {
            let (mut p, mut m) = ([[0.0; 3]; 37], [0.0; 37]);
            for (slot, (dx, dy, dz)) in slots.into_iter().zip([(0.0, 0.0, 0.0), (0.0, 2.0, 0.0), (1.0, 0.0, 2.0)]) {
                p[slot] = [4.0 * i as f32 + dx, dy, dz];
                m[slot] = 1.0;
            }
            (p, m)
        };
        (0..4).map(residue).unzip()
    }

    fn score(predicted: &(Vec<Positions37>, Vec<Mask37>), present: impl Fn(usize) -> bool) -> Lddt {
        let truth = chain();
        let pairs: Vec<ResiduePair> = (0..4)
            .map(|i| ResiduePair {
                restype: restype_of_letter(b'D'),
                predicted: present(i).then_some((&predicted.0[i], &predicted.1[i])),
                reference: (&truth.0[i], &truth.1[i]),
            })
            .collect();
        all_atom_lddt(&pairs)
    }

    #[test]
    fn a_copy_is_perfect_and_exchanged_oxygens_are_forgiven() {
        assert_eq!(score(&chain(), |_| true).global, 1.0);
        let mut swapped = chain();
        let [a, b] = ["OD1", "OD2"].map(|n| atom37_slot(n).unwrap());
        swapped.0[2].swap(a, b);
        assert_eq!(score(&swapped, |_| true).global, 1.0);
    }

    #[test]
    fn what_the_prediction_lacks_counts_as_wrong() {
        // Residue 3 is gone: of 6 residue pairs with 9 distances each, 3 are lost. All are within the cutoff.
        let partial = score(&chain(), |i| i != 3);
        assert!((partial.global - 0.5).abs() < 1e-12, "{}", partial.global);
        assert_eq!(partial.per_residue[3], 0.0);
        assert!((partial.per_residue[0] - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn both_point_forms_agree_where_nothing_is_missing() {
        let reference: Vec<DVec3> = (0..20).map(|i| DVec3::new(f64::from(i) * 1.7, f64::from(i * i % 7), f64::from(i % 3) * 2.0)).collect();
        let predicted: Vec<DVec3> = reference.iter().map(|p| *p * 1.1).collect();
        let ours = point_lddt(&predicted.iter().copied().map(Some).collect::<Vec<_>>(), &reference);
        let alphafolds = alphafold_lddt(&predicted, &reference, &[true; 20], CUTOFF);
        assert!((ours.global - alphafolds.global).abs() < 1e-9 && ours.global < 0.95);
    }
}
