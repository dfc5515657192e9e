//! Golden training runs: what a case of the module `train_trajectory` gives a trainer to begin with, and what it asks of it.
//!
//! Knows the files; the trainer that makes the run is handed in by whoever judges it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::golden::Golden;
use super::host_structure::Outputs;
use crate::error::{Error, Result};
use crate::tensor::HostTensor;
use crate::train::config::Optimizer;

/// A golden training run: fixed examples, each once in every step.
#[derive(Debug)]
pub struct Trajectory<'a> {
    golden: &'a Golden,
    /// Steps.
    pub steps: usize,
    /// The optimiser as AlphaFold ran it: a constant learning rate, no dropout. `batch` is the number of examples.
    pub optimizer: Optimizer,
}

/// Parameters by AlphaFold's names.
pub type Parameters = BTreeMap<String, HostTensor>;

/// What a trainer did, in the terms of the goldens.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Loss of each step's examples, before the step's update.
    pub losses: Vec<Vec<f32>>,
    /// Norms of their gradients, before clipping.
    pub norms: Vec<Vec<f32>>,
    /// Terms of the loss by the goldens' names, such as `distogram/loss`.
    pub terms: BTreeMap<String, Vec<Vec<f32>>>,
    /// Losses after the last update.
    pub final_losses: Vec<f32>,
    /// The first step's gradient: clipped by example, averaged.
    pub first_gradient: Parameters,
    /// Parameters after some numbers of steps; the goldens have 1, 3 and the last.
    pub parameters: BTreeMap<usize, Parameters>,
    /// The averaged parameters at the end.
    pub ema: Parameters,
}

impl<'a> Trajectory<'a> {
    /// Reads a case, refusing one without a part that a run needs.
    pub fn read(golden: &'a Golden) -> Result<Self> {
        let number = |key: &str| {
            let wrong = || Error::format(&golden.path, format!("`{key}` of the configuration is missing: not a golden training run"));
            golden.config.get(key).and_then(Value::as_f64).ok_or_else(wrong)
        };
        let count = |key: &str| number(key).map(|v| v as usize);
        let optimizer = Optimizer {
            lr: number("lr")?,
            b1: number("b1")?,
            b2: number("b2")?,
            eps: number("eps")?,
            clip: number("clip_global_norm_per_example")?,
            batch: count("batch")?,
            warmup_samples: 0,
            decay_after_samples: 0,
            decay_factor: 1.0,
            ema_decay: number("ema_decay")?,
            dropout: false,
            rates: Vec::new(),
        };
        let trajectory = Self { golden, steps: count("steps")?, optimizer };
        let shape = &golden.get("out:total_loss")?.shape;
        if *shape != [trajectory.steps, trajectory.optimizer.batch] {
            let (steps, batch) = (trajectory.steps, trajectory.optimizer.batch);
            return Err(Error::format(&golden.path, format!("`out:total_loss` is {shape:?}, not [{steps}, {batch}]")));
        }
        for i in 0..trajectory.optimizer.batch {
            if trajectory.example(i).is_empty() {
                return Err(Error::format(&golden.path, format!("there is no `in:example{i}/…`")));
            }
        }
        Ok(trajectory)
    }

    /// The parameters that the run begins with.
    pub fn parameters(&self) -> Parameters {
        self.tensors("param:")
    }

    /// Example number `i`: AlphaFold's features by name, with a leading axis of one pass.
    pub fn example(&self, i: usize) -> BTreeMap<String, HostTensor> {
        self.tensors(&format!("in:example{i}/"))
    }

    fn tensors(&self, prefix: &str) -> BTreeMap<String, HostTensor> {
        self.golden.with_prefix(prefix).map(|(name, t)| (name.to_owned(), t.clone())).collect()
    }
}

impl Observed {
    /// As outputs under the goldens' names, for [`super::rules::compare`].
    pub fn outputs(self) -> Outputs {
        let mut out = Outputs::default();
        let by_step = |v: Vec<Vec<f32>>| {
            let shape = [v.len(), v.first().map_or(0, Vec::len)];
            HostTensor::f32(&shape, v.into_iter().flatten().collect())
        };
        let terms = self.terms.into_iter().map(|(name, v)| (format!("terms/{name}"), by_step(v)));
        out.tensors.extend(terms);
        out.tensors.insert("total_loss".into(), by_step(self.losses));
        out.tensors.insert("grad_norm".into(), by_step(self.norms));
        out.put("final_total_loss", &[self.final_losses.len()], self.final_losses.clone());
        let mut all = |prefix: &str, p: Parameters| out.tensors.extend(p.into_iter().map(|(n, t)| (format!("{prefix}/{n}"), t)));
        all("first_update_gradient", self.first_gradient);
        all("ema_params", self.ema);
        let last = self.parameters.keys().max().copied();
        for (steps, parameters) in self.parameters {
            let prefix = if Some(steps) == last { "final_params".into() } else { format!("params_after_step{steps}") };
            all(&prefix, parameters);
        }
        out
    }
}
