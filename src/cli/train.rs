//! `anyfold train`: from a configuration to a run's folder.

use std::path::PathBuf;

use clap::Args;

use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::gpu::device::Choice;
use crate::hash::fnv1a64;
use crate::io::text;
use crate::model::network::Network;
use crate::train::checkpoint::{self, Folder};
use crate::train::config::Config;
use crate::train::ranks::Ranks;
use crate::train::run::{self, Ended, Start};
use crate::train::sampler::check_shares;

/// Train a network on data sets.
#[derive(Debug, Args)]
pub struct Train {
    /// The run's folder: configuration, logs and checkpoints. A run that is there is resumed with --resume.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Where settings begin: initial_training, fine_tuning, small or tiny.
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Settings that differ, as TOML.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting that differs, such as optimizer.lr=1e-4; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Train on this data set (short for --set data.train.0.set=FOLDER).
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Validate on this data set.
    #[arg(long, value_name = "FOLDER")]
    validation: Option<PathBuf>,
    /// Go on with the run in --out from its newest checkpoint.
    #[arg(long)]
    resume: bool,
    /// The run's seed.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Part of an adapter's name, or its index in `anyfold devices`.
    #[arg(long, value_name = "NAME|INDEX")]
    adapter: Option<String>,
    /// Write what the run ended with as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Train {
    fn resolved(&self) -> Result<Config> {
        let folder = |key: &str, path: &Option<PathBuf>| path.as_ref().map(|p| format!("data.{key}.0.set={}", p.display()));
        let mut sets: Vec<String> = [folder("train", &self.data), folder("validation", &self.validation)].into_iter().flatten().collect();
        sets.extend(self.seed.map(|seed| format!("seed={seed}")));
        sets.extend(self.sets.iter().cloned());
        let written = self.out.join("config.toml");
        if self.resume && self.config.is_none() && self.preset.is_none() && written.exists() {
            return Config::resolve(None, Some(&written), &sets);
        }
        Config::resolve(self.preset.as_deref(), self.config.as_deref(), &sets)
    }
}

/// Runs the command. Under `mpirun` all processes do, and process 0 says what there is to say.
pub fn run(args: &Train) -> Result<u8> {
    let ranks = Ranks::join()?;
    let first = ranks.first();
    let ended = train(args, &ranks);
    let ended = ranks.close(ended);
    if !first {
        // The launcher ends all processes when one has another status than 0, and process 0 may not be done.
        return Ok(0);
    }
    let ended = ended?;
    let score = ended.score.map(|s| format!(", lDDT-Cα {s:.3}")).unwrap_or_default();
    println!("{} steps in {:.0} s{score}; {}", ended.step, ended.seconds, ended.checkpoint.display());
    if let Some(path) = &args.json {
        text::write_whole(path, &serde_json::to_vec_pretty(&ended).expect("plain data is JSON"))?;
    }
    if ended.stopped { Err(Error::Interrupted) } else { Ok(0) }
}

fn train(args: &Train, ranks: &Ranks) -> Result<Ended> {
    let config = args.resolved()?;
    config.check_run()?;
    check_shares(config.optimizer.batch as u64, ranks.place().count as u64)?;
    let checksum = |text: &str| format!("checksum {:016x}", fnv1a64(text));
    ranks.same("the configuration", checksum(&config.to_toml()), "start all processes with the same options and files")?;
    let there = Folder::at(&args.out.join("checkpoints"), config.run.keep);
    if ranks.first() {
        there.tidy()?;
    }
    ranks.meet()?;
    let from = match (args.resume, there.latest()?) {
        (true, Some((path, found))) => {
            found.check(&path, &config, checkpoint::layout(&Network::parameters(&config.trained()?)))?;
            if ranks.first() {
                eprintln!("going on from {}, step {}", path.display(), found.state.step);
            }
            Some(found)
        }
        (false, Some((path, _))) => {
            let found = path.display();
            return Err(Error::Config(format!("there is a run already ({found}): give --resume to go on with it, or another --out")));
        }
        (_, None) => None,
    };
    let found = from.as_ref().map_or("none".into(), |found| {
        format!(
            "step {}, {}",
            found.state.step,
            checkpoint::digest(found.arenas.iter().map(|(name, data)| (name.as_str(), data.as_slice())))
        )
    });
    ranks.same("the checkpoint", found, "all processes must see the same folder --out")?;
    if ranks.first() {
        config.write(&args.out.join("config.toml"))?;
    }
    let gpu = Gpu::open(&Choice { adapter: args.adapter.clone(), turn: ranks.place().local, ..Choice::default() })?;
    let adapter = format!("{}, {} {}, {:?}", gpu.info.name, gpu.info.driver, gpu.info.driver_info, gpu.traits);
    ranks.same("the adapter", adapter, "their parameters would come apart: give all processes adapters of one kind (--adapter)")?;
    if let Some(what) = from.as_ref().filter(|_| ranks.first()).and_then(|found| found.other_kernels(&gpu.traits)) {
        eprintln!(
            "warning: the checkpoint was written with other kernels than {} uses ({what}): the run goes on, but its numbers will differ in \
             their last bits from those of a run that was not interrupted",
            gpu.info.name
        );
    }
    let stop = super::stop::flag();
    run::run(&gpu, &Start { config: &config, folder: &args.out, from, stop: &stop, ranks })
}
