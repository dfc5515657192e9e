//! A training run: steps, logs, checkpoints and validations, until its end or until it is asked to stop.
//!
//! Must not know the command line.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use glam::DVec3;

use crate::data::features::{FeatureConfig, Features};
use crate::data::loader::prepare_chain;
use crate::data::policy::Mix;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::gpu::program::Cache;
use crate::model::features::Extents;
use crate::model::parameters;
use crate::protein::letters::slot37::CA;
use crate::protein::metrics::lddt::alphafold_lddt;
use crate::protein::metrics::superpose::rmsd;
use crate::protein::metrics::{drmsd, tm};
use crate::train::checkpoint::{self, Checkpoint, Folder, State};
use crate::train::config::{Config, SetPart};
use crate::train::lists::Recipe;
use crate::train::log::{Kind, Log, Progress, Record, Shown};
use crate::train::optimizer;
use crate::train::sampler::{Sampler, check_apart};
use crate::train::schedule;
use crate::train::step::{Draw, Step};

/// Number of the first validation example's draws: apart from every training example's.
const VALIDATION: u64 = 1 << 40;

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

/// A chain's scores.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Score {
    /// The chain.
    pub chain: String,
    /// lDDT-Cα, 0 to 1.
    pub lddt_ca: f64,
    /// RMSD of CA atoms after superposition, Angstrom.
    pub rmsd_ca: f64,
    /// Root mean square difference of CA distances, Angstrom.
    pub drmsd_ca: f64,
    /// TM-score.
    pub tm: f64,
    /// GDT-TS.
    pub gdt_ts: f64,
}

/// Scores predicted positions against the example's labels, over the residues whose CA is known.
pub fn score(f: &Features, positions: &[[[f32; 3]; 37]]) -> Option<Score> {
    let labels = f.labels.as_ref()?;
    let point = |p: &[f32; 3]| DVec3::from(p.map(f64::from));
    let known: Vec<usize> = (0..f.n_crop()).filter(|&i| labels.mask[i][CA] > 0.0).collect();
    if known.len() < 3 {
        return None;
    }
    let predicted: Vec<DVec3> = known.iter().map(|&i| point(&positions[i][CA])).collect();
    let truth: Vec<DVec3> = known.iter().map(|&i| point(&labels.positions[i][CA])).collect();
    let tm = tm::tm_scores(&predicted, &truth, truth.len());
    Some(Score {
        chain: f.id.clone(),
        lddt_ca: alphafold_lddt(&predicted, &truth, &vec![true; truth.len()], 15.0).global,
        rmsd_ca: rmsd(&predicted, &truth),
        drmsd_ca: drmsd(&predicted, &truth),
        tm: tm.tm,
        gdt_ts: tm.gdt_ts,
    })
}

/// The recipe of a configuration's step.
pub fn recipe(config: &Config) -> Result<Recipe> {
    let model = config.sizes()?;
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
    let step = Step::new(gpu, &cache, recipe(config)?)?;
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
                norms += f64::from(ran.status.norm);
                sums = match sums.is_empty() {
                    true => ran.losses,
                    false => sums.iter().zip(&ran.losses).map(|(a, b)| (a.0, a.1 + b.1)).collect(),
                };
            }
            let status = self.step.update(&control)?;
            *at += 1;
            bad = if status.taken { 0 } else { bad + 1 };
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
                return Err(Error::Data(format!(
                    "{bad} steps in a row had a loss or gradient that is not finite, the last one step {at}; a checkpoint is in {}: lower \
                     `optimizer.lr` or lengthen `optimizer.warmup_samples`, and resume",
                    self.start.folder.display()
                )));
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
        let scores = self.step.with_average(|step| scores(step, mix, &features, config.run.validation_passes, config.seed))?;
        let (seconds, samples) = (self.seconds(), at * config.optimizer.batch as u64);
        let record = |values: &[(&str, f64)]| Record::new(Kind::Validation, at, samples, seconds, values);
        for s in &scores {
            self.log.write(&record(&named(s)).of_chain(&s.chain))?;
        }
        let n = scores.len().max(1) as f64;
        let mean = |part: fn(&Score) -> f64| scores.iter().map(part).sum::<f64>() / n;
        let means = Score {
            chain: String::new(),
            lddt_ca: mean(|s| s.lddt_ca),
            rmsd_ca: mean(|s| s.rmsd_ca),
            drmsd_ca: mean(|s| s.drmsd_ca),
            tm: mean(|s| s.tm),
            gdt_ts: mean(|s| s.gdt_ts),
        };
        self.score = Some(means.lddt_ca);
        self.log.write(&record(&named(&means)))
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

fn named(s: &Score) -> [(&'static str, f64); 5] {
    [("lddt_ca", s.lddt_ca), ("rmsd_ca", s.rmsd_ca), ("drmsd_ca", s.drmsd_ca), ("tm", s.tm), ("gdt_ts", s.gdt_ts)]
}

/// Predicts and scores every chain of some sets with the parameters as they are.
pub fn scores(step: &Step, mix: &Mix, features: &FeatureConfig, passes: usize, seed: u64) -> Result<Vec<Score>> {
    let mut all = Vec::new();
    for (s, set) in mix.sets.iter().enumerate() {
        for &chain in mix.chains(s) {
            let loaded = prepare_chain(set, chain, features, passes, seed, VALIDATION + chain as u64)?;
            let positions = step.predict(&loaded.features)?;
            all.extend(score(&loaded.features, &positions));
        }
    }
    Ok(all)
}
