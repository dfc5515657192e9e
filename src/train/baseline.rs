//! What a network must beat before anything is said of what it has learned: two predictors that know next to nothing.
//!
//! [`Profile`] guesses a masked letter from the other letters of its column, [`Separations`] a distance from how far apart in the chain two
//! residues are. Both are counted on training chains and made as good as they can be there: a weak baseline would flatter the network.
//! Plain host code in double precision; must not know the network nor a device.

use std::collections::BTreeMap;
use std::ops::Range;

use glam::DVec3;

use crate::data::alignment::Alignment;
use crate::data::example::{Example, Labels};
use crate::data::policy::Mix;
use crate::error::Result;
use crate::protein::truth::pseudo_beta;

/// Letters that stand in an alignment before masking: the residues, X and the gap. The mask token, the head's last class, is none of them.
const LETTERS: usize = 22;

/// What may be added to a column's counts, in letters.
const STRENGTHS: [f64; 9] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0];

/// What may be given to all bins alike, as a share of the probability.
const SHARES: [f64; 9] = [1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3];

/// Training chains that are counted, at most: a run must not wait for all chains of a large set.
const MOST: usize = 200;

/// How often each letter stands in each column of an alignment.
#[derive(Debug, Clone, PartialEq)]
pub struct Columns {
    rows: usize,
    counts: Vec<[u32; LETTERS]>,
}

impl Columns {
    /// Of all rows, in the columns `crop`.
    pub fn of(alignment: &Alignment, crop: Range<usize>) -> Self {
        let mut counts = vec![[0; LETTERS]; crop.len()];
        for row in (0..alignment.n_seq()).map(|i| &alignment.row(i)[crop.clone()]) {
            counts.iter_mut().zip(row).for_each(|(count, &letter)| count[usize::from(letter)] += 1);
        }
        Self { rows: alignment.n_seq(), counts }
    }
}

/// Predicts a letter of an alignment as what else stands in its column, with pseudocounts.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// How frequent letters are in general.
    pub background: [f64; LETTERS],
    /// Letters of this frequency that are added to every column.
    pub strength: f64,
}

impl Profile {
    /// The background of some training chains with their weights, and the strength that predicts them best.
    fn fit(chains: &[(f64, &Columns)]) -> Self {
        // A trace of every letter, so that none is impossible.
        let mut background = [1e-3 / LETTERS as f64; LETTERS];
        for (weight, columns) in chains {
            let each = weight / (columns.rows * columns.counts.len()) as f64;
            columns.counts.iter().for_each(|c| background.iter_mut().zip(c).for_each(|(b, &n)| *b += each * f64::from(n)));
        }
        let total: f64 = background.iter().sum();
        let of = |strength| Self { background: background.map(|b| b / total), strength };
        let error = |strength: f64| chains.iter().map(|(weight, columns)| weight * of(strength).mean_error(columns)).sum();
        of(best(&STRENGTHS, error))
    }

    /// The cross entropy of a letter that stands in a column. It is left out of the counts itself: a predictor of masked letters sees the
    /// others only.
    pub fn error(&self, columns: &Columns, column: usize, letter: u8) -> f64 {
        let (letter, others) = (usize::from(letter), columns.rows - 1);
        let seen = columns.counts[column][letter].checked_sub(1).expect("the letter is one of its column");
        let pseudo = self.strength * self.background[letter];
        -((f64::from(seen) + pseudo) / (others as f64 + self.strength)).ln()
    }

    /// The mean error of all letters of an alignment.
    fn mean_error(&self, columns: &Columns) -> f64 {
        let of = |column: usize| {
            let letters = columns.counts[column].iter().enumerate().filter(|(_, n)| **n > 0);
            letters.map(|(letter, &n)| f64::from(n) * self.error(columns, column, letter as u8)).sum::<f64>()
        };
        (0..columns.counts.len()).map(of).sum::<f64>() / (columns.rows * columns.counts.len()) as f64
    }
}

/// The bins of a distogram: as many as there are, parted by edges at equal distances.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bins {
    /// The first and the last edge, Angstrom.
    pub edges: [f64; 2],
    /// Bins: one more than edges.
    pub count: usize,
}

impl Bins {
    /// The bin of a distance: the number of edges below it.
    pub fn of(&self, distance: f64) -> usize {
        let step = (self.edges[1] - self.edges[0]) / (self.count - 2) as f64;
        // A negative number becomes 0.
        (((distance - self.edges[0]) / step).ceil() as usize).min(self.count - 1)
    }
}

/// Separations that are told apart, each by itself up to [`ALONE`] and then in steps of an eighth of an octave.
const CLASSES: usize = 64;
const ALONE: u32 = 32;

/// The class of the distance between two residue numbers.
fn class(separation: u32) -> usize {
    match separation {
        s if s < ALONE => s as usize,
        s => (ALONE as usize + (8.0 * (f64::from(s) / f64::from(ALONE)).log2()) as usize).min(CLASSES - 1),
    }
}

/// CB atoms (CA of glycine) where they are known, which the distogram is of.
pub fn points(aatype: &[u8], labels: &Labels) -> Vec<Option<DVec3>> {
    let of = |i: usize| {
        let (at, known) = pseudo_beta(aatype[i].into(), &labels.positions[i], &labels.mask[i]);
        (known > 0.0).then(|| DVec3::from(at.map(f64::from)))
    };
    (0..aatype.len()).map(of).collect()
}

/// How often a pair of a chain's crops is of each class and bin, `[CLASSES, bins]`, 1 in all; `None` where no atom is known. A pair counts as
/// often as crops of `size` residues hold it.
fn histogram(bins: Bins, example: &Example, size: usize) -> Option<Vec<f64>> {
    let points = points(&example.aatype, example.labels.as_ref()?);
    let (n_res, size) = (points.len(), size.min(points.len()));
    let mut out = vec![0.0; CLASSES * bins.count];
    for i in 0..n_res {
        for j in i..(i + size).min(n_res) {
            if let (Some(a), Some(b)) = (points[i], points[j]) {
                let crops = i.min(n_res - size) + 1 - (j + 1).saturating_sub(size);
                let times = if i == j { crops } else { 2 * crops };
                let apart = example.residue_index[i].abs_diff(example.residue_index[j]);
                out[class(apart) * bins.count + bins.of(a.distance(b))] += times as f64;
            }
        }
    }
    let total: f64 = out.iter().sum();
    (total > 0.0).then(|| out.into_iter().map(|n| n / total).collect())
}

/// Predicts the bin of a distance as what it is in other chains at this separation.
#[derive(Debug, Clone, PartialEq)]
pub struct Separations {
    /// The bins.
    pub bins: Bins,
    /// The share of the probability that all bins have alike.
    pub share: f64,
    /// Cross entropies, `[CLASSES, bins]`.
    errors: Vec<f64>,
}

impl Separations {
    /// The table of the histograms of some training chains, given as their weight, their half and the histogram, with the share with which
    /// each half predicts the other best.
    fn fit(bins: Bins, chains: &[(f64, bool, &[f64])]) -> Self {
        let sum = |of: &dyn Fn(bool) -> bool| {
            let mut sum = vec![0.0; CLASSES * bins.count];
            for (weight, _, histogram) in chains.iter().filter(|c| of(c.1)) {
                sum.iter_mut().zip(*histogram).for_each(|(s, h)| *s += weight * h);
            }
            sum
        };
        let halves = [sum(&|half| !half), sum(&|half| half)];
        let cross = |share: f64, from: usize| -> f64 {
            let table = Self::table(bins, &halves[from], share);
            table.errors.iter().zip(&halves[1 - from]).map(|(error, n)| error * n).sum()
        };
        let share = best(&SHARES, |share| cross(share, 0) + cross(share, 1));
        Self::table(bins, &sum(&|_| true), share)
    }

    /// A class that is not in the sum has the nearest one's below; where there is none, all bins are alike.
    fn table(bins: Bins, sum: &[f64], share: f64) -> Self {
        let mut last = vec![1.0 / bins.count as f64; bins.count];
        let mut errors = Vec::with_capacity(sum.len());
        for row in sum.chunks(bins.count) {
            let total: f64 = row.iter().sum();
            if total > 0.0 {
                last = row.iter().map(|n| (1.0 - share) * n / total + share / bins.count as f64).collect();
            }
            errors.extend(last.iter().map(|p| -p.ln()));
        }
        Self { bins, share, errors }
    }

    /// The cross entropy of the distance between two residues whose numbers are `separation` apart.
    pub fn error(&self, separation: u32, distance: f64) -> f64 {
        self.errors[class(separation) * self.bins.count + self.bins.of(distance)]
    }
}

/// The candidate of the least error; the first of equals.
fn best(candidates: &[f64], error: impl Fn(f64) -> f64) -> f64 {
    let errors: Vec<(f64, f64)> = candidates.iter().map(|&c| (c, error(c))).collect();
    errors.into_iter().min_by(|a, b| a.1.total_cmp(&b.1)).expect("a candidate").0
}

/// Both predictors.
#[derive(Debug, Clone, PartialEq)]
pub struct Baselines {
    /// Training chains that were counted.
    pub chains: usize,
    /// Of masked letters.
    pub profile: Profile,
    /// Of distances.
    pub separations: Separations,
}

impl Baselines {
    /// What was found best on the training chains, for people.
    pub fn said(&self) -> String {
        let (n, strength, share) = (self.chains, self.profile.strength, self.separations.share);
        format!("baselines of {n} training chains: profiles with {strength} pseudocounts, separations with {share} shared by all bins")
    }

    /// Counts training chains, evenly chosen when there are many, for crops of `size` residues. All chains of a cluster weigh as much as
    /// one that is alone in its cluster, as they do when examples are drawn.
    pub fn count(mix: &Mix, size: usize, bins: Bins) -> Result<Self> {
        let all: Vec<(usize, usize)> = (0..mix.sets.len()).flat_map(|s| mix.chains(s).iter().map(move |&chain| (s, chain))).collect();
        let chosen: Vec<(usize, usize)> = all.iter().copied().step_by(all.len().div_ceil(MOST).max(1)).collect();
        let cluster = |(set, chain): (usize, usize)| {
            let entry = &mix.sets[set].entries()[chain];
            (set, if entry.cluster.is_empty() { &entry.id } else { &entry.cluster })
        };
        let mut members = BTreeMap::new();
        chosen.iter().for_each(|&c| *members.entry(cluster(c)).or_insert(0usize) += 1);
        // Whole clusters are in one half: chains of both would be the same protein.
        let half: BTreeMap<_, bool> = members.keys().enumerate().map(|(i, &c)| (c, i % 2 == 1)).collect();
        let (mut columns, mut histograms) = (Vec::new(), Vec::new());
        for &(set, chain) in &chosen {
            let example = mix.sets[set].example(chain)?;
            let cluster = cluster((set, chain));
            let weight = 1.0 / members[&cluster] as f64;
            columns.push((weight, Columns::of(&example.alignment, 0..example.n_res())));
            histograms.extend(histogram(bins, &example, size).map(|h| (weight, half[&cluster], h)));
        }
        let columns: Vec<(f64, &Columns)> = columns.iter().map(|(weight, c)| (*weight, c)).collect();
        let histograms: Vec<(f64, bool, &[f64])> = histograms.iter().map(|(weight, half, h)| (*weight, *half, h.as_slice())).collect();
        Ok(Self { chains: chosen.len(), profile: Profile::fit(&columns), separations: Separations::fit(bins, &histograms) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Array, Op};
    use crate::ops::evoformer::distance_bins::DistanceBins;
    use crate::protein::letters::slot37::{CA, CB};

    const BINS: Bins = Bins { edges: [2.3125, 21.6875], count: 64 };

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }

    /// An alignment of rows of letters, given as types.
    fn alignment(rows: &[&[u8]]) -> Alignment {
        let mut all = Alignment { n_res: rows[0].len(), ..Alignment::default() };
        for row in rows {
            all.rows.extend_from_slice(row);
            all.deletions.push_dense(&vec![0; row.len()]);
        }
        all
    }

    #[test]
    fn a_letter_is_predicted_from_the_others_of_its_column() {
        let rows = alignment(&[&[9, 0, 3], &[9, 0, 5], &[9, 0, 3], &[9, 1, 21]]);
        let columns = Columns::of(&rows, 1..3);
        let mut background = [0.0; LETTERS];
        (background[0], background[1], background[3], background[5], background[21]) = (0.4, 0.1, 0.2, 0.1, 0.2);
        let profile = Profile { background, strength: 2.0 };
        // Of three other letters two are zeros, and 0.8 of two more.
        near(profile.error(&columns, 0, 0), -(2.8f64 / 5.0).ln());
        near(profile.error(&columns, 0, 1), -(0.2f64 / 5.0).ln());
        near(profile.error(&columns, 1, 3), -(1.4f64 / 5.0).ln());
        near(profile.error(&columns, 1, 21), -(0.4f64 / 5.0).ln());
        let of = |p: [f64; 4]| p.map(|p| -(p / 5.0).ln()).iter().sum::<f64>();
        near(profile.mean_error(&columns), (of([2.8, 2.8, 2.8, 0.2]) + of([1.4, 1.4, 0.2, 0.4])) / 8.0);
        // A letter without relatives is as frequent as it is anywhere.
        let alone = Columns::of(&alignment(&[&[0, 5]]), 0..2);
        near(profile.error(&alone, 0, 0), -(0.4f64).ln());
    }

    #[test]
    fn pseudocounts_are_as_strong_as_the_chains_want_them() {
        // Columns that never change want next to none; letters without any order want many.
        let same = Columns::of(&alignment(&[&[0u8, 1, 2, 3][..]; 40]), 0..4);
        let mixed: Vec<Vec<u8>> =
            (0..40u32).map(|i| (0..4u32).map(|j| (i.wrapping_mul(2_654_435_761 + j) >> 7) as u8 % 20).collect()).collect();
        let mixed = Columns::of(&alignment(&mixed.iter().map(Vec::as_slice).collect::<Vec<_>>()), 0..4);
        let strength = |columns: &Columns| Profile::fit(&[(1.0, columns)]).strength;
        assert_eq!(strength(&same), STRENGTHS[0]);
        assert!(strength(&mixed) >= 10.0, "{}", strength(&mixed));
        let both = Profile::fit(&[(1.0, &same), (3.0, &mixed)]);
        near(both.background.iter().sum(), 1.0);
        assert!(both.background.iter().all(|b| *b > 0.0));
        // A quarter of the first chain's letters and a trace; no X in either.
        near(both.background[20], 1e-3 / 22.0 / 4.001);
    }

    #[test]
    fn bins_are_those_of_the_loss() {
        let distances: Vec<f64> = (0..240).map(|i| 0.1 * f64::from(i) + 0.0123).chain([1000.0]).collect();
        let op = DistanceBins::count(2.3125, 21.6875, 64);
        for d in distances {
            let x = Array::new(&[2, 3], vec![0.0, 0.0, 0.0, d, 0.0, 0.0]);
            assert_eq!(BINS.of(d) as f64, op.reference(&[x])[0].data[1], "{d}");
        }
        assert_eq!((BINS.of(0.0), BINS.of(2.3125), BINS.of(2.32), BINS.of(1e9)), (0, 0, 1, 63));
    }

    #[test]
    fn far_separations_are_pooled() {
        let classes: Vec<usize> = (0..2000).map(class).collect();
        assert!((0..32).all(|s| classes[s] == s) && classes[32] == 32 && classes[33] == 32 && classes[63] == 39 && classes[64] == 40);
        assert!(classes.windows(2).all(|w| w[1] == w[0] || w[1] == w[0] + 1) && classes[1999] == CLASSES - 1);
    }

    /// Residues (alanine) on a line with CB atoms `step` apart; the one at `missing` has none.
    fn line(n: usize, step: f32, missing: usize) -> Example {
        let mut labels = Labels { positions: vec![[[0.0; 3]; 37]; n], mask: vec![[0.0; 37]; n], ..Labels::default() };
        for i in 0..n {
            labels.positions[i][CB] = [step * i as f32, 0.0, 0.0];
            (labels.mask[i][CA], labels.mask[i][CB]) = (1.0, f32::from(u8::from(i != missing)));
        }
        Example { aatype: vec![0; n], residue_index: (0..n as i32).collect(), labels: Some(labels), ..Example::default() }
    }

    #[test]
    fn a_pair_counts_as_often_as_crops_hold_it() {
        // Crops of two of residues 0, 1, 2, 3 are 01, 12, 23; without residue 3 they hold 00 01 10 11, 11 12 21 22 and 22.
        let found = histogram(BINS, &line(4, 3.0, 3), 2).unwrap();
        let at = |class: usize, distance: f64| found[class * 64 + BINS.of(distance)];
        near(at(0, 0.0), 5.0 / 9.0);
        near(at(1, 3.0), 4.0 / 9.0);
        near(found.iter().sum(), 1.0);
        // Whole chains have every pair once; numbers may have gaps.
        let mut gap = line(3, 3.0, 9);
        gap.residue_index = vec![0, 1, 7];
        let found = histogram(BINS, &gap, 99).unwrap();
        let at = |class: usize, distance: f64| found[class * 64 + BINS.of(distance)];
        near(at(0, 0.0), 3.0 / 9.0);
        [at(1, 3.0), at(6, 3.0), at(7, 6.0)].into_iter().for_each(|share| near(share, 2.0 / 9.0));
        assert_eq!(histogram(BINS, &line(1, 3.0, 0), 9), None);
    }

    #[test]
    fn a_table_knows_what_separations_say() {
        let chain = |step| histogram(BINS, &line(4, step, 9), 4).unwrap();
        let (short, long) = (chain(3.0), chain(5.0));
        let of = |chains: &[(f64, bool, &[f64])]| Separations::fit(BINS, chains);
        // Chains that are alike need next to no smoothing; a distance that was never seen costs what is left for it.
        let alike = of(&[(1.0, false, &short), (1.0, true, &short)]);
        assert_eq!(alike.share, SHARES[0]);
        near(alike.error(1, 3.0), -(1.0 - SHARES[0] + SHARES[0] / 64.0).ln());
        near(alike.error(1, 9.0), -(SHARES[0] / 64.0).ln());
        // Beyond the longest separation its distances stand for all.
        near(alike.error(500, 9.0), alike.error(3, 9.0));
        assert!(alike.error(500, 9.0) < 0.01);
        // Of three chains one is longer: its distances are a third of what is seen, and halves that differ want much smoothing.
        let three = of(&[(1.0, false, &short), (1.0, true, &short), (0.5, true, &long), (0.5, true, &long)]);
        near(three.error(2, 10.0), -((1.0 - three.share) / 3.0 + three.share / 64.0).ln());
        assert_eq!(of(&[(1.0, false, &short), (1.0, true, &long)]).share, SHARES[8]);
        // Without any chain nothing is known.
        near(of(&[]).error(3, 9.0), 64f64.ln());
    }
}
