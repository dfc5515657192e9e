//! A run's log: JSON lines, the same scalars for TensorBoard, and the line that shows progress.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::events::Events;
use crate::error::{Error, Result};
use crate::io::text;

/// The log's name within a run.
pub const FILE: &str = "metrics.jsonl";

/// What a record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A step of training.
    Train,
    /// A validation: means over its chains.
    Validation,
    /// One chain of a validation.
    Chain,
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What it is of.
    pub kind: Kind,
    /// Steps done.
    pub step: u64,
    /// Samples seen.
    pub samples: u64,
    /// Wall-clock seconds of the run, over all its legs.
    pub seconds: f64,
    /// The chain, for a chain's validation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// Values by name, such as `loss/distogram`, `grad_norm`, `lddt_ca`. What is not finite is `null` in the file.
    pub values: BTreeMap<String, Option<f64>>,
}

impl Record {
    /// A record of these values.
    pub fn new(kind: Kind, step: u64, samples: u64, seconds: f64, values: &[(&str, f64)]) -> Self {
        let values = values.iter().map(|(name, v)| ((*name).to_owned(), v.is_finite().then_some(*v))).collect();
        Self { kind, step, samples, seconds, chain: None, values }
    }

    /// The same for one chain.
    pub fn of_chain(self, chain: &str) -> Self {
        Self { kind: Kind::Chain, chain: Some(chain.into()), ..self }
    }
}

/// Reads a log. A last line without its end is what an interrupted write left, and is not there; any other bad line is an error.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    let bytes = text::read(path)?;
    let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
    let line = |(n, line): (usize, &[u8])| serde_json::from_slice(line).map_err(|e| Error::at_line(path, n, e.to_string()));
    text::lines(&bytes[..whole]).map(line).collect()
}

/// An open log.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    events: Events,
}

impl Log {
    /// Opens the log of a run that goes on after `step` steps: records of later steps, of a leg that was interrupted after its last
    /// checkpoint, are taken out, since those steps are done again.
    pub fn open(run: &Path, step: u64) -> Result<Self> {
        std::fs::create_dir_all(run).map_err(|e| Error::io(run, e))?;
        let path = run.join(FILE);
        if path.exists() {
            let kept: Vec<Record> = read(&path)?.into_iter().filter(|r| r.step <= step).collect();
            let lines: String = kept.iter().map(line).collect();
            text::write_whole(&path, lines.as_bytes())?;
        }
        let file = File::options().create(true).append(true).open(&path).map_err(|e| Error::io(&path, e))?;
        Ok(Self { path, file, events: Events::create(&run.join("events"))? })
    }

    /// Appends a record, to TensorBoard's file as well (single chains excepted).
    pub fn write(&mut self, record: &Record) -> Result<()> {
        self.file.write_all(line(record).as_bytes()).map_err(|e| Error::io(&self.path, e))?;
        let group = match record.kind {
            Kind::Train => "train",
            Kind::Validation => "validation",
            Kind::Chain => return Ok(()),
        };
        let named: Vec<(String, f64)> = record.values.iter().filter_map(|(n, v)| Some((format!("{group}/{n}"), (*v)?))).collect();
        self.events.scalars(record.step, named.iter().map(|(n, v)| (n.as_str(), *v)))
    }
}

fn line(record: &Record) -> String {
    serde_json::to_string(record).expect("a record is JSON") + "\n"
}

/// What the progress line shows of a step.
#[derive(Debug, Clone, Default)]
pub struct Shown<'a> {
    /// Loss and its terms, in the order in which they are shown.
    pub losses: &'a [(&'a str, f64)],
    /// Learning rate.
    pub lr: f64,
    /// Gradient norm, mean over the examples.
    pub norm: f64,
    /// lDDT-Cα of the last validation.
    pub lddt: Option<f64>,
    /// Share of the time that was spent waiting for examples.
    pub waiting: f64,
    /// Memory on the device, bytes.
    pub memory: u64,
}

/// The line that shows progress, on a terminal only.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    began: Instant,
    first: u64,
}

impl Progress {
    /// A line for a run of `steps` steps of which `done` are done.
    pub fn new(steps: u64, done: u64) -> Self {
        let bar = ProgressBar::new(steps).with_position(done);
        let style = ProgressStyle::with_template("{bar:12} {pos}/{len} {msg}").expect("a template");
        bar.set_style(style);
        Self { bar, began: Instant::now(), first: done }
    }

    /// Shows a step that is done.
    pub fn show(&self, step: u64, shown: &Shown<'_>) {
        self.bar.set_position(step);
        let left = self.bar.length().unwrap_or(step).saturating_sub(step);
        self.bar.set_message(message(step - self.first, left, self.began.elapsed(), shown));
    }

    /// Prints a line above it.
    pub fn say(&self, what: &str) {
        self.bar.suspend(|| eprintln!("{what}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.abandon();
    }
}

/// The text after the bar: `done` steps took `time`, `left` are left.
fn message(done: u64, left: u64, time: Duration, shown: &Shown<'_>) -> String {
    let mut out = String::new();
    for (name, value) in shown.losses {
        out += &format!("{name} {value:.3} ");
    }
    out += &format!("lr {:.1e} |g| {:.3} ", shown.lr, shown.norm);
    if let Some(lddt) = shown.lddt {
        out += &format!("lDDT {lddt:.3} ");
    }
    let per_step = time.as_secs_f64() / done.max(1) as f64;
    if done > 0 && per_step > 0.0 {
        let minutes = (per_step * left as f64 / 60.0).round() as u64;
        out += &format!("{:.0} steps/h, {}:{:02} h left ", 3600.0 / per_step, minutes / 60, minutes % 60);
    }
    out + &format!("wait {:.0} % mem {:.1} GiB", shown.waiting * 100.0, shown.memory as f64 / f64::from(1u32 << 30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_is_left() {
        let losses = [("loss", 12.3456), ("fape", 0.987)];
        let shown = Shown { losses: &losses, lr: 1e-3, norm: 0.25, lddt: Some(0.4), waiting: 0.031, memory: 3 << 29 };
        let line = message(10, 120, Duration::from_secs(600), &shown);
        assert_eq!(line, "loss 12.346 fape 0.987 lr 1.0e-3 |g| 0.250 lDDT 0.400 60 steps/h, 2:00 h left wait 3 % mem 1.5 GiB");
        assert!(!message(0, 120, Duration::ZERO, &Shown::default()).contains("left"), "nothing is known before the first step");
    }
}
