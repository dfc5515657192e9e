//! A run's configuration: a preset, changed by a TOML file, changed by `--set key=value`, checked, and written beside the results.
//!
//! Every key is known: one that is not is refused with the nearest that is, a value of another type with the type that is wanted, and what
//! contradicts itself with the fields at fault.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::presets::preset;
use super::settings::{self, Rules};
use crate::data::features::{FeatureConfig, TrainingRules};
use crate::data::mask::Masking;
use crate::data::policy::{Filter, Part};
use crate::error::{Error, Result};
use crate::io::text;
use crate::loss::total::Weights;
use crate::tensor::DType;

/// Everything a run is a function of, apart from its files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The preset that it began as.
    pub preset: String,
    /// The run's seed.
    pub seed: u64,
    /// The network.
    pub model: Model,
    /// Where parameters come from.
    pub start: Start,
    /// Examples.
    pub data: Data,
    /// Weights of the loss (supplement 1.9).
    pub loss: Weights,
    /// Optimiser and schedule (supplement 1.11).
    pub optimizer: Optimizer,
    /// Length, checkpoints, validation.
    pub run: Run,
    /// How the device is used.
    pub device: Device,
}

/// The network's size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// A model by name, such as `model_1`.
    pub preset: String,
    /// Sizes that differ from it; the model knows their names.
    pub overrides: toml::Table,
}

/// Where parameters come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// `random`, or a file: AlphaFold's npz or one of our checkpoints.
    pub from: String,
    /// Of a checkpoint: the averaged parameters rather than the raw ones.
    pub ema: bool,
}

/// Examples and how features are made of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Sets that are trained on.
    pub train: Vec<SetPart>,
    /// Sets that validate.
    pub validation: Vec<SetPart>,
    /// Residues of a crop.
    pub crop: usize,
    /// Cluster centres.
    pub clusters: usize,
    /// Extra rows.
    pub extra_rows: usize,
    /// Templates, at most.
    pub templates: usize,
    /// Passes through the network: uniform in 1 to this.
    pub max_passes: usize,
    /// Share of examples whose backbone loss is not clamped.
    pub unclamped_fraction: f64,
    /// Blocks of rows deleted from the alignment.
    pub deleted_blocks: usize,
    /// Rows of such a block, as a share of all.
    pub block_fraction: f64,
    /// Rows that a distillation example's alignment keeps.
    pub distillation_rows: usize,
    /// BERT masking.
    pub masking: MaskingShares,
}

/// BERT masking of the cluster centres; what the three kinds of replacement leave over is the mask token's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskingShares {
    /// Share of positions that are masked.
    pub masked: f64,
    /// Of those: replaced by a residue drawn uniformly.
    pub uniform: f64,
    /// Replaced by a residue from the column's profile.
    pub profile: f64,
    /// Left as they are.
    pub same: f64,
}

/// A data set's part in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPart {
    /// The set's folder.
    pub set: String,
    /// Share of examples, relative to the other parts'.
    pub share: f64,
    /// Only chains of this split; empty for all.
    pub split: String,
    /// Only chains released until this day (`yyyy-mm-dd`); empty for all.
    pub max_date: String,
    /// Poorer resolutions, Angstrom, are left out.
    pub max_resolution: f64,
    /// Chains of which one residue type makes up more are left out.
    pub max_single_type: f64,
    /// Chains with fewer alignment rows are left out.
    pub min_rows: usize,
}

/// Adam, its schedule, and the average of the parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimizer {
    /// Learning rate after warm-up.
    pub lr: f64,
    /// Decay of the first moment.
    pub b1: f64,
    /// Decay of the second moment.
    pub b2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Largest norm of one example's gradient.
    pub clip: f64,
    /// Examples of a step, over all processes.
    pub batch: usize,
    /// Samples over which the learning rate rises linearly.
    pub warmup_samples: u64,
    /// Samples after which it is multiplied by `decay_factor`, once; 0 for never.
    pub decay_after_samples: u64,
    /// What it is multiplied by.
    pub decay_factor: f64,
    /// Decay of the averaged parameters.
    pub ema_decay: f64,
    /// Whether dropout is on.
    pub dropout: bool,
    /// Factors on the learning rate by parameter name; the first pattern that fits counts.
    pub rates: Vec<Rate>,
}

/// A factor on the learning rate of some parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Part of AlphaFold's parameter names; `*` stands for anything.
    pub pattern: String,
    /// 0 freezes them.
    pub factor: f64,
}

/// Length, checkpoints, validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Samples in all.
    pub samples: u64,
    /// Steps between lines of the log.
    pub log_every: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Newest checkpoints that are kept; the best is kept besides.
    pub keep: usize,
    /// Steps between validations; 0 for none.
    pub validate_every: u64,
    /// Passes of a validation.
    pub validation_passes: usize,
    /// Whether validations score the training chains in place of `data.validation`: how well they are memorised, and nothing else.
    pub validate_training: bool,
    /// Steps that may be skipped in a row because something was not finite.
    pub max_bad_steps: u64,
    /// Threads that prepare examples.
    pub threads: usize,
    /// Examples held ready.
    pub queue: usize,
}

/// How the device is used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Storage of activations: `f32` or `bf16`.
    pub storage: DType,
    /// Whether activations may be computed again in the backward pass, as much as memory asks for; it changes no bit.
    pub recompute: bool,
    /// Memory that a step may take, GiB; 0 for most of what the adapter has.
    pub memory_gib: f64,
}

impl Default for SetPart {
    fn default() -> Self {
        let f = Filter::default();
        Self {
            set: String::new(),
            share: 1.0,
            split: String::new(),
            max_date: String::new(),
            max_resolution: f.max_resolution,
            max_single_type: f.max_single_type,
            min_rows: f.min_rows,
        }
    }
}

impl SetPart {
    /// As the sampling policy takes it.
    pub fn part(&self) -> Part {
        let some = |s: &String| (!s.is_empty()).then(|| s.clone());
        let filter = Filter {
            max_resolution: self.max_resolution,
            max_single_type: self.max_single_type,
            max_date: some(&self.max_date),
            split: some(&self.split),
            min_rows: self.min_rows,
        };
        Part { set: PathBuf::from(&self.set), share: self.share, filter }
    }
}

/// What the tree of a preset does not say: the model knows the names of its sizes, and lists begin empty.
const RULES: Rules = Rules {
    free: &["model.overrides"],
    element: |path| match path {
        "data.train" | "data.validation" => toml::Value::try_from(SetPart::default()).ok(),
        "optimizer.rates" => toml::Value::try_from(Rate { pattern: String::new(), factor: 1.0 }).ok(),
        _ => None,
    },
};

fn read_table(path: &Path) -> Result<toml::Table> {
    let text = text::read_string(path)?;
    let wrong = |e: toml::de::Error| {
        let line = e.span().map(|s| 1 + text[..s.start.min(text.len())].matches('\n').count());
        Error::Format { path: path.to_path_buf(), line, what: e.message().to_owned() }
    };
    toml::from_str(&text).map_err(wrong)
}

impl Config {
    /// The preset (`--preset`, or the file's, or `initial_training`), the file's keys, then each `key=value`, checked.
    pub fn resolve(preset_name: Option<&str>, file: Option<&Path>, sets: &[String]) -> Result<Self> {
        let given = match file {
            None => toml::Table::new(),
            Some(path) => read_table(path)?,
        };
        let named = match (preset_name, given.get("preset")) {
            (Some(name), _) => name,
            (None, None) => "initial_training",
            (None, Some(toml::Value::String(name))) => name,
            (None, Some(other)) => return Err(Error::Config(format!("`preset` is {}, expected a string", other.type_str()))),
        };
        let base = preset(named).map_err(|e| match (file, preset_name) {
            (Some(path), None) => Error::format(path, e.to_string()),
            _ => e,
        })?;
        let mut tree = toml::Value::try_from(&base).expect("a configuration is TOML");
        let mut changes = given;
        changes.remove("preset");
        settings::merge(&mut tree, changes, &RULES).map_err(|what| match file {
            Some(path) => Error::format(path, what),
            None => Error::Config(what),
        })?;
        for set in sets {
            let wrong = |what: String| Error::Config(format!("`--set {set}`: {what}"));
            let (key, value) = set.split_once('=').ok_or_else(|| wrong("expected key=value, such as optimizer.lr=1e-4".into()))?;
            if key.trim() == "preset" {
                return Err(wrong("a preset is where settings begin; give it as `--preset`".into()));
            }
            settings::assign(&mut tree, key.trim(), value.trim(), &RULES).map_err(wrong)?;
        }
        let config: Self = tree.try_into().map_err(|e: toml::de::Error| Error::Config(e.message().to_owned()))?;
        config.check()?;
        Ok(config)
    }

    /// The resolved configuration as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a configuration is TOML")
    }

    /// Writes it whole.
    pub fn write(&self, path: &Path) -> Result<()> {
        text::write_whole(path, self.to_toml().as_bytes())
    }

    /// Reads a resolved configuration: every key must be there.
    pub fn read(path: &Path) -> Result<Self> {
        let tree = read_table(path)?;
        let config: Self = tree.try_into().map_err(|e: toml::de::Error| Error::format(path, e.message()))?;
        config.check()?;
        Ok(config)
    }

    /// Steps of the run.
    pub fn steps(&self) -> u64 {
        self.run.samples.div_ceil(self.optimizer.batch as u64)
    }

    /// The network's sizes: the named model's, changed by the overrides.
    pub fn sizes(&self) -> Result<crate::model::config::Config> {
        let wrong = |what: String| Error::Config(format!("`model.overrides`: {what}"));
        let base = crate::model::presets::preset(&self.model.preset).map_err(|e| Error::Config(format!("`model.preset`: {e}")))?;
        let mut tree = toml::Value::try_from(&base).expect("sizes are TOML");
        let rules = Rules { free: &[], element: |_| None };
        settings::merge(&mut tree, self.model.overrides.clone(), &rules).map_err(wrong)?;
        tree.try_into().map_err(|e: toml::de::Error| wrong(e.message().to_owned()))
    }

    /// The network as this run trains it: without parameters for templates where there are none.
    pub fn trained(&self) -> Result<crate::model::config::Config> {
        let sizes = self.sizes()?;
        Ok(crate::model::config::Config { template: sizes.template.filter(|_| self.data.templates > 0), ..sizes })
    }

    /// How training examples are made.
    pub fn features(&self) -> FeatureConfig {
        let (d, m) = (&self.data, &self.data.masking);
        let rules = TrainingRules {
            deleted_blocks: d.deleted_blocks,
            block_fraction: d.block_fraction as f32,
            distillation_rows: d.distillation_rows,
            unclamped_fraction: d.unclamped_fraction as f32,
        };
        let share = |v: f64| v as f32;
        FeatureConfig {
            crop: Some(d.crop),
            max_clusters: d.clusters,
            max_extra: d.extra_rows,
            max_templates: d.templates,
            masking: Masking {
                replace_fraction: share(m.masked),
                uniform: share(m.uniform),
                profile: share(m.profile),
                same: share(m.same),
            },
            training: Some(rules),
        }
    }

    /// Refuses values that no run can mean, and those that contradict each other.
    pub fn check(&self) -> Result<()> {
        let wrong = |field: &str, what: String| Err(Error::Config(format!("`{field}` {what}")));
        for (field, value, low, high) in self.bounds() {
            if !(low..=high).contains(&value) {
                let range = if high.is_finite() { format!("between {low} and {high}") } else { format!("at least {low}") };
                return wrong(field, format!("is {value}; it must be {range}"));
            }
        }
        let (d, o) = (&self.data, &self.optimizer);
        for (field, value) in [("optimizer.lr", o.lr), ("optimizer.eps", o.eps), ("optimizer.clip", o.clip)] {
            if value <= 0.0 {
                return wrong(field, format!("is {value}; it must be above 0"));
            }
        }
        for (field, value) in [("optimizer.b1", o.b1), ("optimizer.b2", o.b2), ("optimizer.ema_decay", o.ema_decay)] {
            if value >= 1.0 {
                return wrong(field, format!("is {value}; it must be below 1"));
            }
        }
        if d.masking.uniform + d.masking.profile + d.masking.same > 1.0 + 1e-12 {
            return wrong("data.masking", "has `uniform`, `profile` and `same` above 1 together".into());
        }
        if o.decay_after_samples != 0 && o.decay_after_samples < o.warmup_samples {
            return wrong(
                "optimizer.decay_after_samples",
                format!("is {}, within the warm-up of `optimizer.warmup_samples` = {}", o.decay_after_samples, o.warmup_samples),
            );
        }
        if !matches!(self.device.storage, DType::F32 | DType::Bf16) {
            return wrong("device.storage", format!("is {}; activations are stored as `f32` or `bf16`", self.device.storage));
        }
        let sizes = self.sizes()?;
        if sizes.template.is_none() && d.templates > 0 {
            return wrong(
                "data.templates",
                format!("is {} and `model.preset` = `{}` takes none: set it to 0", d.templates, self.model.preset),
            );
        }
        if sizes.heads.pae.is_none() && self.loss.predicted_aligned_error > 0.0 {
            let (weight, model) = (self.loss.predicted_aligned_error, &self.model.preset);
            return wrong(
                "loss.predicted_aligned_error",
                format!("is {weight} and `model.preset` = `{model}` does not predict it: set it to 0"),
            );
        }
        self.check_lists()
    }

    /// What a training run needs besides: a beginning, and something to train and validate on.
    pub fn check_run(&self) -> Result<()> {
        let wrong = |field: &str, what: String| Err(Error::Config(format!("`{field}` {what}")));
        if self.start.from.is_empty() {
            return wrong(
                "start.from",
                format!("is empty: `{}` goes on from trained parameters; name their file, or `random`", self.preset),
            );
        }
        if self.data.train.is_empty() {
            return wrong("data.train", "is empty: name a data set, such as --set data.train.0.set=FOLDER".into());
        }
        if self.run.validate_every > 0 && self.data.validation.is_empty() && !self.run.validate_training {
            let every = self.run.validate_every;
            return wrong("data.validation", format!("is empty and `run.validate_every` is {every}: name a set, or set it to 0"));
        }
        Ok(())
    }

    /// Refuses to go on with a run of another configuration: everything that decides its bits must be the same. Its length, its
    /// checkpoints, its threads and its memory may change.
    pub fn check_resumes(&self, before: &Config) -> Result<()> {
        let tree = |c: &Config| toml::Value::try_from(c).expect("a configuration is TOML");
        // What memory a device has decides no bit.
        let portable = |c: &Config| Config { device: Device { storage: c.device.storage, ..self.device.clone() }, ..c.clone() };
        let then = tree(&portable(before));
        let free = ["run", "start", "preset"];
        for (key, new) in tree(self).as_table().expect("a table").iter().filter(|(k, _)| !free.contains(&k.as_str())) {
            if let Some((field, new, old)) = difference(key, new, then.get(key)) {
                return Err(Error::Config(format!(
                    "`{field}` is {new} and was {old} in the checkpoint: a resumed run keeps its configuration; to go on with another one, \
                     begin a new run with `start.from` naming the checkpoint"
                )));
            }
        }
        Ok(())
    }

    fn check_lists(&self) -> Result<()> {
        let wrong = |field: String, what: String| Err(Error::Config(format!("`{field}` {what}")));
        for (list, parts) in [("train", &self.data.train), ("validation", &self.data.validation)] {
            for (i, part) in parts.iter().enumerate() {
                let field = |name: &str| format!("data.{list}.{i}.{name}");
                if part.set.is_empty() {
                    return wrong(field("set"), "is empty: name the data set's folder".into());
                }
                if !(part.share > 0.0 && part.share.is_finite()) {
                    return wrong(field("share"), format!("is {}; it must be above 0", part.share));
                }
            }
        }
        for (i, rate) in self.optimizer.rates.iter().enumerate() {
            if rate.pattern.is_empty() {
                return wrong(format!("optimizer.rates.{i}.pattern"), "is empty; `*` fits every parameter".into());
            }
            if !(rate.factor >= 0.0 && rate.factor.is_finite()) {
                return wrong(format!("optimizer.rates.{i}.factor"), format!("is {}; it must be at least 0", rate.factor));
            }
        }
        Ok(())
    }

    /// Numbers with the range that each may take, ends included.
    #[rustfmt::skip]
    fn bounds(&self) -> Vec<(&'static str, f64, f64, f64)> {
        let (d, l, o, r) = (&self.data, &self.loss, &self.optimizer, &self.run);
        let most = f64::MAX;
        vec![
            ("data.crop", d.crop as f64, 16.0, 4096.0),
            ("data.clusters", d.clusters as f64, 1.0, 65536.0),
            ("data.extra_rows", d.extra_rows as f64, 1.0, 65536.0),
            ("data.templates", d.templates as f64, 0.0, 64.0),
            ("data.max_passes", d.max_passes as f64, 1.0, 64.0),
            ("data.unclamped_fraction", d.unclamped_fraction, 0.0, 1.0),
            ("data.block_fraction", d.block_fraction, 0.0, 1.0),
            ("data.masking.masked", d.masking.masked, 0.0, 1.0),
            ("data.masking.uniform", d.masking.uniform, 0.0, 1.0),
            ("data.masking.profile", d.masking.profile, 0.0, 1.0),
            ("data.masking.same", d.masking.same, 0.0, 1.0),
            ("loss.fape", l.fape, 0.0, most),
            ("loss.sidechain_fape", l.sidechain_fape, 0.0, most),
            ("loss.chi", l.chi, 0.0, most),
            ("loss.angle_norm", l.angle_norm, 0.0, most),
            ("loss.distogram", l.distogram, 0.0, most),
            ("loss.masked_msa", l.masked_msa, 0.0, most),
            ("loss.plddt", l.plddt, 0.0, most),
            ("loss.experimentally_resolved", l.experimentally_resolved, 0.0, most),
            ("loss.violations", l.violations, 0.0, most),
            ("loss.predicted_aligned_error", l.predicted_aligned_error, 0.0, most),
            ("optimizer.lr", o.lr, 0.0, most),
            ("optimizer.b1", o.b1, 0.0, 1.0),
            ("optimizer.b2", o.b2, 0.0, 1.0),
            ("optimizer.eps", o.eps, 0.0, 1.0),
            ("optimizer.clip", o.clip, 0.0, most),
            ("optimizer.batch", o.batch as f64, 1.0, 1e6),
            ("optimizer.decay_factor", o.decay_factor, 0.0, most),
            ("optimizer.ema_decay", o.ema_decay, 0.0, 1.0),
            ("run.samples", r.samples as f64, 1.0, 1e15),
            ("run.log_every", r.log_every as f64, 1.0, 1e15),
            ("run.checkpoint_every", r.checkpoint_every as f64, 1.0, 1e15),
            ("run.keep", r.keep as f64, 1.0, 1e6),
            ("run.validation_passes", r.validation_passes as f64, 1.0, 64.0),
            ("run.threads", r.threads as f64, 1.0, 1024.0),
            ("run.queue", r.queue as f64, 1.0, 65536.0),
            ("device.memory_gib", self.device.memory_gib, 0.0, 1e6),
        ]
    }
}

/// The first leaf that differs: its path and both values.
fn difference(path: &str, new: &toml::Value, old: Option<&toml::Value>) -> Option<(String, String, String)> {
    match (new, old) {
        (toml::Value::Table(a), Some(toml::Value::Table(b))) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            keys.into_iter().find_map(|k| match a.get(k) {
                Some(v) => difference(&format!("{path}.{k}"), v, b.get(k)),
                None => Some((format!("{path}.{k}"), "not set".into(), b[k].to_string())),
            })
        }
        (new, Some(old)) if new == old => None,
        (new, old) => Some((path.to_owned(), new.to_string(), old.map_or("not set".into(), toml::Value::to_string))),
    }
}
