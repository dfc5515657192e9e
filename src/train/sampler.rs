//! Which examples a run sees, and in what order: a function of its seed and of the sets, so that all a checkpoint needs is the next step.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::config::Config;
use crate::data::loader::{Loader, LoaderConfig, passes_of_step};
use crate::data::policy::{Mix, Part};
use crate::error::{Error, Result};

/// The state of sampling, as a checkpoint holds it. There is no other random state: crops, masks, dropout and the number of passes are
/// functions of the seed and the example's number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SamplerState {
    /// The run's seed.
    pub seed: u64,
    /// The step that comes next, skipped ones counted.
    pub next_step: u64,
    /// The sets that examples are drawn from.
    pub sets: Vec<SetState>,
}

/// What identifies a set's content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetState {
    /// Its folder, as the configuration names it.
    pub folder: String,
    /// Chains that can be drawn.
    pub chains: usize,
    /// Checksum over the chains' names, clusters and bytes.
    pub crc32: u32,
}

/// Open training sets and the order of their examples.
pub struct Sampler {
    /// The sets with their chains' probabilities.
    pub mix: Arc<Mix>,
    loader: LoaderConfig,
    sets: Vec<SetState>,
}

impl Sampler {
    /// Opens the training sets.
    pub fn open(config: &Config) -> Result<Self> {
        let parts: Vec<Part> = config.data.train.iter().map(super::config::SetPart::part).collect();
        let mix = Mix::open(&parts)?;
        let sets = parts.iter().enumerate().map(|(i, part)| state_of(&part.set, &mix, i)).collect();
        let loader = LoaderConfig {
            features: config.features(),
            seed: config.seed,
            first: 0,
            stride: 1,
            batch: config.optimizer.batch as u64,
            max_passes: config.data.max_passes,
            threads: config.run.threads,
            queue: config.run.queue,
        };
        Ok(Self { mix: Arc::new(mix), loader, sets })
    }

    /// What a checkpoint holds before step `next_step`.
    pub fn state(&self, next_step: u64) -> SamplerState {
        SamplerState { seed: self.loader.seed, next_step, sets: self.sets.clone() }
    }

    /// Refuses to go on when the sets are not those of the checkpoint, or the seed is not.
    pub fn check(&self, state: &SamplerState) -> Result<()> {
        if state.seed != self.loader.seed {
            return Err(Error::Config(format!("`seed` is {} and was {} in the checkpoint", self.loader.seed, state.seed)));
        }
        if state.sets.len() != self.sets.len() {
            return Err(Error::Config(format!("`data.train` has {} sets and the checkpoint {}", self.sets.len(), state.sets.len())));
        }
        let differs = |(a, b): &(&SetState, &SetState)| (a.chains, a.crc32) != (b.chains, b.crc32);
        if let Some((now, then)) = self.sets.iter().zip(&state.sets).find(differs) {
            return Err(Error::Data(format!(
                "the data set {} has {} chains (checksum {:08x}), and the run began with {} ({:08x}): it was prepared anew or extended since; \
                 go on with the set as it was, or begin a new run with `start.from` naming the checkpoint",
                now.folder, now.chains, now.crc32, then.chains, then.crc32
            )));
        }
        Ok(())
    }

    /// The passes of a step, the same for all of its examples.
    pub fn passes(&self, step: u64) -> usize {
        passes_of_step(self.loader.seed, step, self.loader.max_passes)
    }

    /// The numbers of the examples of a step that process `rank` of `ranks` takes.
    pub fn numbers(&self, step: u64, rank: u64, ranks: u64) -> impl Iterator<Item = u64> {
        let batch = self.loader.batch;
        (step * batch + rank..(step + 1) * batch).step_by(ranks as usize)
    }

    /// A loader of those examples from a step on, endless.
    pub fn loader(&self, step: u64, rank: u64, ranks: u64) -> Result<Loader> {
        check_shares(self.loader.batch, ranks)?;
        let first = step * self.loader.batch + rank;
        Loader::new(self.mix.clone(), LoaderConfig { first, stride: ranks, ..self.loader.clone() })
    }
}

/// Refuses a batch that the processes cannot share evenly.
pub fn check_shares(batch: u64, ranks: u64) -> Result<()> {
    match batch.is_multiple_of(ranks) {
        true => Ok(()),
        false => Err(Error::Config(format!("`optimizer.batch` is {batch}, which {ranks} processes cannot share evenly"))),
    }
}

fn state_of(folder: &Path, mix: &Mix, set: usize) -> SetState {
    let mut hasher = crc32fast::Hasher::new();
    let chains = mix.chains(set);
    for entry in chains.iter().map(|&i| &mix.sets[set].entries()[i]) {
        hasher.update(entry.id.as_bytes());
        hasher.update(&[0]);
        hasher.update(entry.cluster.as_bytes());
        hasher.update(&entry.crc32.to_le_bytes());
    }
    SetState { folder: folder.display().to_string(), chains: chains.len(), crc32: hasher.finalize() }
}

/// Refuses validation chains that training could have seen: the same chain, or another of its cluster.
pub fn check_apart(train: &Mix, validation: &Mix) -> Result<()> {
    let entries = |mix: &Mix| -> Vec<(String, String)> {
        let of = |set: usize| mix.chains(set).iter().map(move |&i| &mix.sets[set].entries()[i]);
        (0..mix.sets.len()).flat_map(|set| of(set).map(|e| (e.id.clone(), e.cluster.clone())).collect::<Vec<_>>()).collect()
    };
    let seen = entries(train);
    for (id, cluster) in entries(validation) {
        let near = |(other, theirs): &&(String, String)| *other == id || (!cluster.is_empty() && *theirs == cluster);
        if let Some((other, _)) = seen.iter().find(near) {
            return Err(Error::Data(format!(
                "validation chain `{id}` is in cluster `{cluster}` with training chain `{other}`: its score would say nothing; \
                 give `data.train` and `data.validation` different splits"
            )));
        }
    }
    Ok(())
}
