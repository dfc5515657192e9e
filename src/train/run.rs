//! A training run: steps, logs, checkpoints and validations, until its end or until it is asked to stop.
//!
//! Must not know the command line.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::data::features::Features;
use crate::data::loader::Loader;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::gpu::program::Cache;
use crate::model::features::Extents;
use crate::model::parameters;
use crate::protein::Positions37;
use crate::train::VALIDATION;
use crate::train::checkpoint::{self, Checkpoint, Folder, State};
use crate::train::config::Config;
use crate::train::fit;
use crate::train::lists::Recipe;
use crate::train::log::{Kind, Log, Progress, Record, Shown};
use crate::train::optimizer;
use crate::train::ranks::Ranks;
use crate::train::sampler::Sampler;
use crate::train::schedule;
use crate::train::step::{Draw, Step};
use crate::train::sum::{Outcome, Sum};
use crate::train::validation::{self, Score, Validation};

/// How a run is started.
pub struct Start<'a> {
    /// The resolved configuration.
    pub config: &'a Config,
    /// The run's folder.
    pub folder: &'a Path,
    /// A checkpoint to go on from.
    pub from: Option<Checkpoint>,
    /// Set when the user wants to stop.
    pub stop: &'a AtomicBool,
    /// The processes that share the run. All of them are started alike; the first writes.
    pub ranks: &'a Ranks,
}

/// What a run ended with.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Ended {
    /// Steps done.
    pub step: u64,
    /// Whether it was asked to stop before its end.
    pub stopped: bool,
    /// Wall-clock seconds, over all legs.
    pub seconds: f64,
    /// Mean lDDT-Cα of the last validation.
    pub score: Option<f64>,
    /// The last checkpoint.
    pub checkpoint: PathBuf,
}

/// The recipe of a configuration's step.
pub fn recipe(config: &Config) -> Result<Recipe> {
    let model = config.trained()?;
    let d = &config.data;
    let n_templ = if model.template.is_some() { d.templates } else { 0 };
    Ok(Recipe {
        model,
        extents: Extents { n_res: d.crop, n_clust: d.clusters, n_extra: d.extra_rows, n_templ },
        storage: config.device.storage,
        weights: config.loss.clone(),
        dropout: config.optimizer.dropout,
        scaled: !config.optimizer.rates.is_empty(),
        saving: crate::graph::Saving::default(),
    })
}

/// A run in progress.
struct Run<'a> {
    start: &'a Start<'a>,
    step: Step<'a>,
    sampler: Sampler,
    validation: Option<Validation>,
    folder: Folder,
    log: Option<Log>,
    began: Instant,
    before: f64,
    score: Option<f64>,
}

/// Trains until the configuration's last step, or until asked to stop.
pub fn run(gpu: &Gpu, start: &Start) -> Result<Ended> {
    let config = start.config;
    let cache = Cache::default();
    let limit = fit::limit(gpu, config.device.memory_gib, start.ranks.place().neighbours);
    let fitted = fit::fit(gpu, recipe(config)?, limit, config.device.recompute)?;
    tracing::info!("{} bytes on the device; {}", fitted.planned.plan.peak_bytes, fitted.saves());
    let step = Step::fitted(gpu, &cache, fitted)?;
    let sampler = Sampler::open(config)?;
    let validation = Validation::open(config, &sampler.mix)?;
    if let Some(factors) = schedule::factors(&config.optimizer, &step.params)? {
        step.session.set("factor", &crate::tensor::HostTensor::f32(&[factors.len()], factors));
    }
    let (mut at, mut before, mut best) = (0, 0.0, None);
    match &start.from {
        Some(checkpoint) => {
            optimizer::restore(&step.session, checkpoint, step.params.len())?;
            sampler.check(&checkpoint.state.sampler)?;
            (at, before, best) = (checkpoint.state.step, checkpoint.state.seconds, checkpoint.state.score);
        }
        None => optimizer::begin(&step.session, &beginning(config, &step)?),
    }
    let log = start.ranks.first().then(|| Log::open(start.folder, at)).transpose()?;
    let folder = Folder::at(&start.folder.join("checkpoints"), config.run.keep);
    if start.ranks.first() {
        folder.tidy()?;
    }
    let began = Instant::now();
    let mut run = Run { start, step, sampler, validation, folder, log, began, before, score: best };
    run.steps(gpu, &mut at)
}

/// The parameters that a run begins with.
fn beginning(config: &Config, step: &Step) -> Result<Vec<f32>> {
    if config.start.from == "random" {
        return Ok(step.params.initial(config.seed));
    }
    let path = Path::new(&config.start.from);
    if path.extension().is_some_and(|e| e == "npz" || e == "safetensors") {
        return parameters::load(path, &step.params, "the run's model");
    }
    let checkpoint = checkpoint::read(path)?;
    Ok(checkpoint.arena(if config.start.ema { "ema" } else { "parameters" }, step.params.len())?.to_vec())
}

impl Run<'_> {
    fn seconds(&self) -> f64 {
        self.before + self.began.elapsed().as_secs_f64()
    }

    fn steps(&mut self, gpu: &Gpu, at: &mut u64) -> Result<Ended> {
        let (config, ranks) = (self.start.config, self.start.ranks);
        let (steps, place) = (config.steps(), ranks.place());
        let mut loader = self.sampler.loader(*at, place.rank as u64, place.count as u64)?;
        let progress = ranks.first().then(|| Progress::new(steps, *at));
        self.validation.iter().zip(&progress).for_each(|(validation, progress)| progress.say(&validation.baselines.said()));
        let mut lap = Instant::now();
        let mut bad = 0;
        let mut cause: Option<String> = None;
        let mut saved = None;
        // Whether to stop, too, is for all processes to agree on.
        while *at < steps && !ranks.any(self.start.stop.load(Ordering::Relaxed))? {
            let control = schedule::control(&config.optimizer, *at);
            optimizer::steer(&self.step.session, &control);
            let outcomes = self.examples(&mut loader, *at, cause.is_none())?;
            if cause.is_none() {
                cause = outcomes.iter().find_map(|o| o.cause.clone());
                cause.iter().zip(&progress).for_each(|(what, progress)| progress.say(what));
            }
            let status = self.step.update()?;
            *at += 1;
            bad = if status.taken { 0 } else { bad + 1 };
            if status.taken {
                cause = None;
            }
            let (means, norm) = means(&outcomes);
            let waiting = loader.report().waited_s / lap.elapsed().as_secs_f64().max(1e-9);
            lap = Instant::now();
            if let Some(progress) = &progress {
                let memory = self.step.session.memory();
                progress.show(*at, &Shown { losses: &means, lr: control.lr, norm, lddt: self.score, waiting, memory });
            }
            if at.is_multiple_of(config.run.log_every) || *at == steps {
                self.log_step(*at, &means, (control.lr, norm, status.taken))?;
            }
            if bad > config.run.max_bad_steps {
                self.save(*at, gpu)?;
                return Err(self.given_up(bad, *at, cause.as_deref().unwrap_or_default()));
            }
            let validate = config.run.validate_every > 0 && (at.is_multiple_of(config.run.validate_every) || *at == steps);
            if validate {
                let said = self.validate(*at)?;
                said.iter().zip(&progress).for_each(|(what, progress)| progress.say(what));
            }
            saved = None;
            if at.is_multiple_of(config.run.checkpoint_every) {
                saved = Some(self.save(*at, gpu)?);
            }
        }
        let checkpoint = match saved {
            Some(path) => path,
            None => self.save(*at, gpu)?,
        };
        Ok(Ended { step: *at, stopped: *at < steps, seconds: self.seconds(), score: self.score, checkpoint })
    }

    /// Runs this process's examples of step number `at`, and gives what all processes' came to, in the order of the examples. Where the first
    /// value that is not finite comes from is looked for when `search` says so.
    fn examples(&self, loader: &mut Loader, at: u64, mut search: bool) -> Result<Vec<Outcome>> {
        let (config, ranks) = (self.start.config, self.start.ranks);
        let mut sum = Sum::new(ranks);
        for _ in 0..config.optimizer.batch / ranks.place().count {
            let loaded = loader.next()?;
            let draw = Draw { seed: config.seed, step: at, number: loaded.number };
            let ran = self.step.example(&loaded.features, draw)?;
            let mut cause = None;
            // Only an example that was left out has the scale 0. One search a run of bad steps is enough, since it takes long.
            if ran.status.scale == 0.0 && search {
                let found = self.step.first_non_finite(&loaded.features, draw)?;
                let found = found.map_or("not found again when it was run a second time".into(), |f| f.to_string());
                cause = Some(format!("step {}, chain {}: not finite; first {found}", at + 1, loaded.features.id));
                search = false;
            }
            sum.add(&self.step, Outcome { losses: ran.losses, status: ran.status, cause })?;
        }
        sum.finish(&self.step)
    }

    fn given_up(&self, bad: u64, at: u64, cause: &str) -> Error {
        Error::Data(format!(
            "{bad} steps in a row were left out because a loss or gradient was not finite, the last one step {at}. {cause}. The parameters are \
             those before these steps, in the checkpoint that was written to {}. A lower `optimizer.lr`, a longer \
             `optimizer.warmup_samples` or `device.storage` = \"f32\" may help, in a new run with `start.from` naming a checkpoint; \
             `run.max_bad_steps` says how many steps may be left out",
            self.start.folder.display()
        ))
    }

    fn log_step(&mut self, at: u64, means: &[(&str, f64)], (lr, norm, taken): (f64, f64, bool)) -> Result<()> {
        let mut values: Vec<(String, f64)> = means.iter().map(|(name, x)| (format!("loss/{name}"), *x)).collect();
        values.extend([("lr".into(), lr), ("grad_norm".into(), norm), ("taken".into(), f64::from(u8::from(taken)))]);
        let values: Vec<(&str, f64)> = values.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        let samples = at * self.start.config.optimizer.batch as u64;
        let record = Record::new(Kind::Train, at, samples, self.seconds(), &values);
        self.log.as_mut().map_or(Ok(()), |log| log.write(&record))
    }

    /// Predicts the validation chains with the averaged parameters, and logs each and the means. What they say in words is the result.
    fn validate(&mut self, at: u64) -> Result<Option<String>> {
        let Some(validation) = &self.validation else { return Ok(None) };
        let folder = self.start.folder.join(VALIDATION);
        let keep = |f: &Features, positions: &[Positions37]| validation::keep(&folder, f, positions);
        let ranks = self.start.ranks;
        let own = self.step.with_average(|step| validation.scores(step, ranks.place(), keep))?;
        let scores = validation::gather(ranks, &own)?;
        let (seconds, samples) = (self.seconds(), at * self.start.config.optimizer.batch as u64);
        let record = |values: &[(&str, f64)]| Record::new(Kind::Validation, at, samples, seconds, values);
        if scores.is_empty() {
            return Ok(None);
        }
        let means = Score::mean(&scores);
        self.score = means.get("lddt_ca");
        if let Some(log) = &mut self.log {
            for s in &scores {
                log.write(&record(&s.named()).of_chain(&s.chain))?;
            }
            log.write(&record(&means.named()))?;
        }
        Ok(Some(means.said(at)))
    }

    /// Writes a checkpoint, after all processes have shown that they hold the same.
    fn save(&self, at: u64, gpu: &Gpu) -> Result<PathBuf> {
        let arenas = optimizer::states(&self.step.session)?;
        let arenas: Vec<(&str, &[f32])> = arenas.iter().map(|(name, data)| (*name, data.as_slice())).collect();
        let ranks = self.start.ranks;
        if ranks.place().count > 1 {
            let advice = "the processes have come apart, so that nothing was written; go on from the checkpoint before";
            ranks.same(&format!("the state after step {at}"), checkpoint::digest(arenas.iter().copied()), advice)?;
        }
        if !ranks.first() {
            return Ok(self.folder.file(at));
        }
        let state = State {
            step: at,
            sampler: self.sampler.state(at),
            config: self.start.config.to_toml(),
            layout: checkpoint::layout(&self.step.params),
            kernels: gpu.traits.clone(),
            seconds: self.seconds(),
            score: self.score,
        };
        self.folder.save(&state, &arenas)
    }
}

/// The mean losses of some examples, and the mean norm of their gradients.
fn means(outcomes: &[Outcome]) -> (Vec<(&'static str, f64)>, f64) {
    let n = outcomes.len() as f64;
    let mean = |of: &dyn Fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>() / n;
    let names = outcomes.first().map_or(&[][..], |o| &o.losses);
    let losses = names.iter().enumerate().map(|(i, (name, _))| (*name, mean(&|o| o.losses[i].1))).collect();
    (losses, mean(&|o| f64::from(o.status.norm)))
}
