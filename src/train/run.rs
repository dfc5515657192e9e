//! A training run: steps, logs, checkpoints and validations, until its end or until it is asked to stop.
//!
//! Must not know the command line.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::data::features::{FeatureConfig, Features};
use crate::data::policy::Mix;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::gpu::program::Cache;
use crate::model::features::Extents;
use crate::model::parameters;
use crate::protein::Positions37;
use crate::train::VALIDATION;
use crate::train::checkpoint::{self, Checkpoint, Folder, State};
use crate::train::config::{Config, SetPart};
use crate::train::fit;
use crate::train::lists::Recipe;
use crate::train::log::{Kind, Log, Progress, Record, Shown};
use crate::train::optimizer;
use crate::train::sampler::{Sampler, check_apart};
use crate::train::schedule;
use crate::train::step::{Draw, Step};
use crate::train::validation::{self, Score};

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
    validation: Option<Mix>,
    folder: Folder,
    log: Log,
    began: Instant,
    before: f64,
    score: Option<f64>,
}

/// Trains until the configuration's last step, or until asked to stop.
pub fn run(gpu: &Gpu, start: &Start) -> Result<Ended> {
    let config = start.config;
    let cache = Cache::default();
    let limit = fit::limit(gpu, config.device.memory_gib);
    let fitted = fit::fit(gpu, recipe(config)?, limit, config.device.recompute)?;
    tracing::info!("{} bytes on the device; {}", fitted.planned.plan.peak_bytes, fitted.saves());
    let step = Step::fitted(gpu, &cache, fitted)?;
    let sampler = Sampler::open(config)?;
    let open = |parts: &[SetPart]| Mix::open(&parts.iter().map(SetPart::part).collect::<Vec<_>>());
    let validation = match (config.run.validate_training, config.data.validation.as_slice()) {
        (true, _) => Some(open(&config.data.train)?),
        (false, []) => None,
        (false, parts) => {
            let mix = open(parts)?;
            check_apart(&sampler.mix, &mix)?;
            Some(mix)
        }
    };
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
    let log = Log::open(start.folder, at)?;
    let folder = Folder::open(&start.folder.join("checkpoints"), config.run.keep)?;
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
        let config = self.start.config;
        let (steps, batch) = (config.steps(), config.optimizer.batch as u64);
        let mut loader = self.sampler.loader(*at, 0, 1)?;
        let progress = Progress::new(steps, *at);
        let mut lap = Instant::now();
        let mut bad = 0;
        let mut cause: Option<String> = None;
        let mut saved = None;
        let asked = |run: &Self| run.start.stop.load(Ordering::Relaxed);
        while *at < steps && !asked(self) {
            let control = schedule::control(&config.optimizer, *at);
            optimizer::steer(&self.step.session, &control);
            let mut sums: Vec<(&'static str, f64)> = Vec::new();
            let mut norms = 0.0;
            for _ in 0..batch {
                let loaded = loader.next()?;
                let draw = Draw { seed: config.seed, step: *at, number: loaded.number };
                let ran = self.step.example(&loaded.features, draw)?;
                // Only an example that was left out has the scale 0. One search a run of bad steps is enough, since it takes long.
                if ran.status.scale == 0.0 && cause.is_none() {
                    let found = self.step.first_non_finite(&loaded.features, draw)?;
                    let found = found.map_or("not found again when it was run a second time".into(), |f| f.to_string());
                    let what = format!("step {}, chain {}: not finite; first {found}", *at + 1, loaded.features.id);
                    progress.say(&what);
                    cause = Some(what);
                }
                norms += f64::from(ran.status.norm);
                sums = match sums.is_empty() {
                    true => ran.losses,
                    false => sums.iter().zip(&ran.losses).map(|(a, b)| (a.0, a.1 + b.1)).collect(),
                };
            }
            let status = self.step.update(&control)?;
            *at += 1;
            bad = if status.taken { 0 } else { bad + 1 };
            if status.taken {
                cause = None;
            }
            let means: Vec<(&str, f64)> = sums.iter().map(|(name, x)| (*name, x / batch as f64)).collect();
            let norm = norms / batch as f64;
            let waiting = loader.report().waited_s / lap.elapsed().as_secs_f64().max(1e-9);
            lap = Instant::now();
            progress
                .show(*at, &Shown { losses: &means, lr: control.lr, norm, lddt: self.score, waiting, memory: self.step.session.memory() });
            if at.is_multiple_of(config.run.log_every) || *at == steps {
                self.log_step(*at, &means, (control.lr, norm, status.taken))?;
            }
            if bad > config.run.max_bad_steps {
                self.save(*at, gpu)?;
                return Err(self.given_up(bad, *at, cause.as_deref().unwrap_or_default()));
            }
            let validate = config.run.validate_every > 0 && (at.is_multiple_of(config.run.validate_every) || *at == steps);
            if validate {
                self.validate(*at)?;
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
        self.log.write(&record)
    }

    /// Predicts the validation chains with the averaged parameters, and logs each and the means.
    fn validate(&mut self, at: u64) -> Result<()> {
        let Some(mix) = &self.validation else { return Ok(()) };
        let config = self.start.config;
        let features = FeatureConfig { training: None, ..config.features() };
        let folder = self.start.folder.join(VALIDATION);
        let keep = |f: &Features, positions: &[Positions37]| validation::keep(&folder, f, positions);
        let (passes, seed) = (config.run.validation_passes, config.seed);
        let scores = self.step.with_average(|step| validation::scores(step, mix, &features, (passes, seed), keep))?;
        let (seconds, samples) = (self.seconds(), at * config.optimizer.batch as u64);
        let record = |values: &[(&str, f64)]| Record::new(Kind::Validation, at, samples, seconds, values);
        for s in &scores {
            self.log.write(&record(&s.named()).of_chain(&s.chain))?;
        }
        if scores.is_empty() {
            return Ok(());
        }
        let means = Score::mean(&scores);
        self.score = Some(means.lddt_ca);
        self.log.write(&record(&means.named()))
    }

    fn save(&self, at: u64, gpu: &Gpu) -> Result<PathBuf> {
        let arenas = optimizer::states(&self.step.session)?;
        let state = State {
            step: at,
            sampler: self.sampler.state(at),
            config: self.start.config.to_toml(),
            layout: checkpoint::layout(&self.step.params),
            kernels: gpu.traits.clone(),
            seconds: self.seconds(),
            score: self.score,
        };
        let arenas: Vec<(&str, &[f32])> = arenas.iter().map(|(name, data)| (*name, data.as_slice())).collect();
        self.folder.save(&state, &arenas)
    }
}
