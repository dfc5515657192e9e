//! Which chains of which set are drawn, and how often: filters, sampling weights, the mix of sets.

use crate::data::draws::{ALL_PASSES, Draws, Keyed, Purpose};
use crate::data::set::Set;
use crate::data::set::index::Entry;
use crate::error::{Error, Result};

/// Published filters of training chains (supplement 1.2.5), and what a run adds to them.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Chains of a poorer resolution, Angstrom, are left out; those without any are kept.
    pub max_resolution: f64,
    /// Chains of which one residue type makes up more than this share are left out.
    pub max_single_type: f64,
    /// Chains released after this day (`yyyy-mm-dd`) are left out.
    pub max_date: Option<String>,
    /// Only chains of this split.
    pub split: Option<String>,
    /// Chains with fewer alignment rows are left out.
    pub min_rows: usize,
}

impl Default for Filter {
    fn default() -> Self {
        Self { max_resolution: 9.0, max_single_type: 0.8, max_date: None, split: None, min_rows: 0 }
    }
}

impl Filter {
    /// Why a chain is left out, `None` when it is not.
    pub fn refuses(&self, entry: &Entry) -> Option<String> {
        if let Some(r) = entry.resolution.filter(|&r| r >= self.max_resolution) {
            return Some(format!("resolution {r} A, not below {}", self.max_resolution));
        }
        let mut counts = [0usize; 256];
        entry.sequence.bytes().for_each(|b| counts[usize::from(b)] += 1);
        let most = counts.into_iter().max().unwrap_or(0) as f64 / entry.length.max(1) as f64;
        if most > self.max_single_type {
            return Some(format!("one residue type makes up {:.0} %", most * 100.0));
        }
        if let (Some(limit), Some(date)) = (&self.max_date, &entry.release_date)
            && date > limit
        {
            return Some(format!("released {date}, after {limit}"));
        }
        if entry.n_seq < self.min_rows {
            return Some(format!("{} alignment rows, fewer than {}", entry.n_seq, self.min_rows));
        }
        self.split.as_ref().filter(|s| **s != entry.split).map(|s| format!("of the split `{}`, not `{s}`", entry.split))
    }
}

/// How likely a chain of this length is kept when drawn: `max(min(length, 512), 256) / 512`.
pub fn length_weight(length: usize) -> f64 {
    length.clamp(256, 512) as f64 / 512.0
}

/// One set's share of a mix.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Part {
    /// The set's folder.
    pub set: std::path::PathBuf,
    /// Share of examples, relative to the other parts': 1 and 3 give the published 25 % and 75 %.
    pub share: f64,
    /// Which of its chains.
    #[serde(default)]
    pub filter: Filter,
}

/// Sets with their chains' probabilities.
pub struct Mix {
    /// The sets.
    pub sets: Vec<Set>,
    /// Running sums of shares, the last 1.
    shares: Vec<f64>,
    /// For each set its chains, and the running sums of their probabilities.
    chains: Vec<(Vec<usize>, Vec<f64>)>,
}

impl Mix {
    /// Opens the sets and weighs their chains: 1/(size of the cluster among the kept chains) times [`length_weight`].
    pub fn open(parts: &[Part]) -> Result<Self> {
        let mut mix = Self { sets: Vec::new(), shares: Vec::new(), chains: Vec::new() };
        if let Some(bad) = parts.iter().find(|p| !(p.share > 0.0 && p.share.is_finite())) {
            return Err(Error::Config(format!("the share of {} is {}; it must be above 0", bad.set.display(), bad.share)));
        }
        for part in parts {
            let set = Set::open(&part.set)?;
            let kept: Vec<usize> = (0..set.entries().len()).filter(|&i| part.filter.refuses(&set.entries()[i]).is_none()).collect();
            if kept.is_empty() {
                let n = set.entries().len();
                return Err(Error::Data(format!("no chain of {} is left by its filter (it holds {n})", part.set.display())));
            }
            let mut sizes = std::collections::HashMap::new();
            kept.iter().for_each(|&i| *sizes.entry(set.entries()[i].cluster.clone()).or_insert(0usize) += 1);
            let weight = |&i: &usize| length_weight(set.entries()[i].length) / sizes[&set.entries()[i].cluster] as f64;
            mix.chains.push((kept.clone(), running_sums(kept.iter().map(weight))));
            mix.sets.push(set);
        }
        if mix.sets.is_empty() {
            return Err(Error::Config("no data set is given".into()));
        }
        mix.shares = running_sums(parts.iter().map(|p| p.share));
        Ok(mix)
    }

    /// Set and chain of example number `example` of a run.
    pub fn draw(&self, seed: u64, example: u64) -> (usize, usize) {
        let draws = Keyed::new(seed, example);
        let number = |k: u64| (draws.word(ALL_PASSES, Purpose::Chain, k) >> 11) as f64 / (1u64 << 53) as f64;
        let set = place(&self.shares, number(0));
        let (chains, sums) = &self.chains[set];
        (set, chains[place(sums, number(1))])
    }

    /// Chains that can be drawn, over all sets.
    pub fn n_chains(&self) -> usize {
        self.chains.iter().map(|(c, _)| c.len()).sum()
    }

    /// Chains of a set that can be drawn, in the order of their ids.
    pub fn chains(&self, set: usize) -> &[usize] {
        &self.chains[set].0
    }
}

/// Running sums, scaled to end at 1.
fn running_sums(weights: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut total = 0.0;
    let mut sums: Vec<f64> = weights
        .map(|w| {
            total += w;
            total
        })
        .collect();
    sums.iter_mut().for_each(|s| *s /= total);
    sums
}

fn place(sums: &[f64], x: f64) -> usize {
    sums.partition_point(|&s| s <= x).min(sums.len() - 1)
}
