//! TM-score (Zhang and Skolnick 2004, Proteins 57:702) and GDT (Zemla 2003): the best superpositions of paired CA atoms.
//!
//! Both are maxima over superpositions that no formula gives. The search is that of the program TMscore, so that values agree with it: every
//! fragment of several lengths seeds a superposition, which is refined on the pairs that come close until they no longer change.

use glam::DVec3;

use super::superpose::superpose;
use crate::protein::rigid::Rigid;

/// Scores of a prediction against a reference of `length` residues, in 0..1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TmScores {
    /// TM-score normalised by the reference's length.
    pub tm: f64,
    /// Mean of the shares of residues within 1, 2, 4 and 8 Angstrom, each under its own best superposition.
    pub gdt_ts: f64,
    /// The same with 0.5, 1, 2 and 4.
    pub gdt_ha: f64,
    /// The superposition of the TM-score, prediction onto reference.
    pub superposition: Rigid,
}

/// Distances of the GDT, Angstrom.
const GDT: [f64; 5] = [0.5, 1.0, 2.0, 4.0, 8.0];
/// Rounds of refinement of one seed.
const ROUNDS: usize = 20;
/// Seed lengths are n, n/2, … down to this, at most six of them.
const SHORTEST_SEED: usize = 4;

/// The length scale of the TM-score, Angstrom.
pub fn d0(length: usize) -> f64 {
    let d0 = 1.24 * (length as f64 - 15.0).cbrt() - 1.8;
    d0.max(0.5)
}

/// Scores of paired CA atoms; `length` is the number of residues of the reference. All zero without pairs.
pub fn tm_scores(predicted: &[DVec3], reference: &[DVec3], length: usize) -> TmScores {
    assert_eq!(predicted.len(), reference.len(), "TM-score of {} and {} points", predicted.len(), reference.len());
    let n = predicted.len();
    let mut search = Search { predicted, reference, d0: d0(length), best: -1.0, motion: Rigid::IDENTITY, within: [0; 5] };
    for seed in seed_lengths(n) {
        for start in 0..=n - seed {
            search.refine((start..start + seed).collect());
        }
    }
    let share = |counts: &[usize]| counts.iter().sum::<usize>() as f64 / (4 * length.max(1)) as f64;
    TmScores {
        tm: search.best.max(0.0) / length.max(1) as f64,
        gdt_ts: share(&search.within[1..]),
        gdt_ha: share(&search.within[..4]),
        superposition: search.motion,
    }
}

fn seed_lengths(n: usize) -> Vec<usize> {
    let shortest = SHORTEST_SEED.min(n);
    let mut lengths: Vec<usize> = (0..5).map(|k| n >> k).take_while(|&l| l > shortest).collect();
    if n > 0 {
        lengths.push(shortest);
    }
    lengths
}

struct Search<'a> {
    predicted: &'a [DVec3],
    reference: &'a [DVec3],
    d0: f64,
    /// Best sum of the TM-score's terms.
    best: f64,
    motion: Rigid,
    /// Most pairs seen within each distance of the GDT.
    within: [usize; 5],
}

impl Search<'_> {
    /// From a seed to pairs that come close, until they repeat.
    fn refine(&mut self, mut pairs: Vec<usize>) {
        let near = self.d0.clamp(4.5, 8.0);
        let mut next = self.try_pairs(&pairs, near - 1.0);
        for _ in 0..ROUNDS {
            pairs = next;
            next = self.try_pairs(&pairs, near + 1.0);
            if next == pairs {
                break;
            }
        }
    }

    /// Superposes on `pairs`, keeps what is best so far, and gives the pairs closer than `cutoff`: widened until there are three.
    fn try_pairs(&mut self, pairs: &[usize], cutoff: f64) -> Vec<usize> {
        let pick = |points: &[DVec3]| pairs.iter().map(|&i| points[i]).collect::<Vec<_>>();
        let motion = superpose(&pick(self.predicted), &pick(self.reference));
        let distances: Vec<f64> = self.predicted.iter().zip(self.reference).map(|(p, r)| motion.apply(*p).distance(*r)).collect();
        let score: f64 = distances.iter().map(|d| 1.0 / (1.0 + (d / self.d0).powi(2))).sum();
        if score > self.best {
            self.best = score;
            self.motion = motion;
        }
        for (most, limit) in self.within.iter_mut().zip(GDT) {
            *most = (*most).max(distances.iter().filter(|d| **d <= limit).count());
        }
        closer_than(&distances, cutoff)
    }
}

/// The pairs closer than `cutoff`, which grows in steps of half an Angstrom until there are three. Coordinates of damaged files may be so far
/// apart that no step counts: then the three nearest do.
fn closer_than(distances: &[f64], cutoff: f64) -> Vec<usize> {
    let within = |limit: f64| (0..distances.len()).filter(|&i| distances[i] < limit).collect::<Vec<_>>();
    let close = within(cutoff);
    if close.len() >= 3 || distances.len() <= 3 {
        return close;
    }
    let mut sorted = distances.to_vec();
    sorted.sort_by(f64::total_cmp);
    let steps = ((sorted[2] - cutoff) / 0.5).floor() + 1.0;
    within((cutoff + 0.5 * steps).max(sorted[2].next_up()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identical_structures_score_one_and_lengths_are_halved() {
        let points: Vec<DVec3> = (0..40).map(|i| DVec3::new((i as f64).sin() * 5.0, (i as f64).cos() * 5.0, i as f64 * 1.5)).collect();
        let scores = tm_scores(&points, &points, 40);
        assert!((scores.tm - 1.0).abs() < 1e-9 && scores.gdt_ts == 1.0 && scores.gdt_ha == 1.0);
        assert!((tm_scores(&points[..20], &points[..20], 40).gdt_ts - 0.5).abs() < 1e-12);
        assert_eq!(seed_lengths(100), [100, 50, 25, 12, 6, 4]);
        assert_eq!(seed_lengths(3), [3]);
        assert_eq!(tm_scores(&[], &[], 10).tm, 0.0);
    }

    #[test]
    fn absurd_distances_end() {
        let far: Vec<DVec3> = (0..6).map(|i| DVec3::new(1e30 * f64::from(i * i), 1e20, f64::from(i))).collect();
        let near: Vec<DVec3> = (0..6).map(|i| DVec3::new(f64::from(i), 0.0, 0.0)).collect();
        assert!(tm_scores(&far, &near, 6).tm < 0.9);
        assert_eq!(closer_than(&[10.0, 3.0, 4.2, 9.0], 2.5), [1, 2, 3]);
    }
}
