//! One training step on the device: recycling passes, the example with its losses and gradients, the update.
//!
//! Knows the network and the optimiser's states; knows neither files nor the command line.

use std::collections::BTreeMap;

use crate::data::features::Features;
use crate::data::full::{self, Size};
use crate::data::ship;
use crate::data::template_angles::template_angles;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::gpu::program::Cache;
use crate::graph::finite::NonFinite;
use crate::graph::run::Session;
use crate::loss::resolution_weight;
use crate::model::alphafold::PREVIOUS;
use crate::nn::dropout::{SEED, seed_words};
use crate::nn::params::Params;
use crate::ops::train::Status;
use crate::protein::Positions37;
use crate::tensor::HostTensor;
use crate::train::fit::Fitted;
use crate::train::lists::{self, Recipe};
use crate::train::optimizer;

/// What identifies an example's chance: everything random in it is a function of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// The run's seed.
    pub seed: u64,
    /// The step.
    pub step: u64,
    /// The example's number in the run.
    pub number: u64,
}

/// What an example gave.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its losses by name.
    pub losses: Vec<(&'static str, f64)>,
    /// What the device says after it: its gradient's norm, and whether it counts.
    pub status: Status,
}

/// What a chain is predicted to be, after its last pass.
#[derive(Debug, Clone)]
pub struct Predicted {
    /// atom37 coordinates of its residues, Angstrom, `[n_crop]`.
    pub positions: Vec<Positions37>,
    /// Logits of the letters of the last pass's centres, `[n_clust, n_res, 23]`, padded to the recipe's extents.
    pub masked_msa: HostTensor,
    /// Logits of the distogram, `[n_res, n_res, 64]`, padded alike.
    pub distogram: HostTensor,
}

/// Features or labels by AlphaFold's names.
pub type Arrays = BTreeMap<String, HostTensor>;

/// A training step on a device.
pub struct Step<'a> {
    /// The command lists `pass`, `example`, `update` and `predict`.
    pub session: Session<'a>,
    /// The parameters' places.
    pub params: Params,
    recipe: Recipe,
    terms: Vec<&'static str>,
}

impl<'a> Step<'a> {
    /// Records and plans all lists as the recipe says; an error says what would make them fit.
    pub fn new(gpu: &'a Gpu, cache: &Cache, recipe: Recipe) -> Result<Self> {
        Self::fitted(gpu, cache, Fitted::exactly(gpu, recipe)?)
    }

    /// Allocates and compiles what was planned.
    pub fn fitted(gpu: &'a Gpu, cache: &Cache, fitted: Fitted) -> Result<Self> {
        let session = Session::planned(gpu, cache, fitted.planned)?;
        Ok(Self { session, params: fitted.lists.params, recipe: fitted.recipe, terms: fitted.lists.terms })
    }

    /// The arrays of every pass of an example, padded to the recipe's extents, under AlphaFold's names.
    pub fn passes(&self, f: &Features) -> Result<Vec<Arrays>> {
        let e = self.recipe.extents;
        let size = Size { n_res: e.n_res, n_clust: e.n_clust, n_extra: e.n_extra, n_templ: e.n_templ };
        let within = f.n_crop() <= e.n_res && f.n_clust() <= e.n_clust && f.n_extra() <= e.n_extra && f.templates.len() <= e.n_templ;
        match within {
            true => Ok((0..f.passes.len()).map(|r| full::pass(f, r, size)).collect()),
            false => Err(Error::Data(format!("chain {}: {:?} does not fit into {:?}", f.id, Size::of(f), size))),
        }
    }

    /// Sets the inputs of a pass. Templates are the same in all of an example's, and inputs keep what they hold: their torsions are found for
    /// the `first` one only.
    pub fn feed(&self, mut values: Arrays, first: bool) {
        if first && self.recipe.extents.n_templ > 0 {
            values.extend(template_angles(&values));
        }
        self.set_all(values);
    }

    fn set_all(&self, values: Arrays) {
        values.into_iter().filter(|(name, _)| self.session.takes(name)).for_each(|(name, value)| self.session.set(&name, &value));
    }

    /// Zeros in the memory that passes hand on.
    pub fn forget(&self) {
        PREVIOUS.iter().for_each(|state| self.session.clear(state));
    }

    /// Sets what the losses compare with.
    pub fn label(&self, labels: Arrays) {
        let resolution = labels["resolution"].as_f32()[0];
        self.set_all(labels);
        self.session.set("resolution_weight", &HostTensor::f32(&[1], vec![resolution_weight(resolution)]));
    }

    fn labels(&self, f: &Features) -> Result<Arrays> {
        ship::labels(f, self.recipe.extents.n_res).ok_or_else(|| Error::Data(format!("chain {} has no structure to train on", f.id)))
    }

    /// Runs an example of a data set; see [`Step::arrays`].
    pub fn example(&self, f: &Features, draw: Draw) -> Result<Ran> {
        self.arrays(self.passes(f)?, self.labels(f)?, draw)
    }

    /// Runs an example: its passes without gradient, then the last one with its labels, whose clipped gradient is added to the step's.
    pub fn arrays(&self, passes: Vec<Arrays>, labels: Arrays, draw: Draw) -> Result<Ran> {
        self.lists(passes, labels, draw, |name| self.session.replay_list(name).map(|()| None::<()>))?;
        let names: Vec<String> = self.terms.iter().map(|name| format!("loss/{name}")).chain([optimizer::STATUS_STATE.into()]).collect();
        let read = self.session.get_all(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        let losses = self.terms.iter().zip(&read).map(|(name, value)| (*name, f64::from(value.as_f32()[0]))).collect();
        Ok(Ran { losses, status: Status::unpack(read[self.terms.len()].as_f32()) })
    }

    /// Runs an example again, command by command, until one makes a value that is not finite. The step's gradient stays as it is when the
    /// example was left out of it.
    pub fn first_non_finite(&self, f: &Features, draw: Draw) -> Result<Option<NonFinite>> {
        self.lists(self.passes(f)?, self.labels(f)?, draw, |name| self.session.first_non_finite(name))
    }

    /// Runs the lists of an example with what each reads set, until `run` gives something.
    fn lists<T>(&self, passes: Vec<Arrays>, labels: Arrays, draw: Draw, run: impl Fn(&str) -> Result<Option<T>>) -> Result<Option<T>> {
        self.forget();
        self.label(labels);
        let last = passes.len() - 1;
        for (r, values) in passes.into_iter().enumerate() {
            self.feed(values, r == 0);
            if self.session.takes(SEED) {
                self.session.set(SEED, &seed_words(draw.seed, draw.step as u32, draw.number as u32, r as u32));
            }
            let found = run(if r < last { "pass" } else { "example" })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Takes the step that [`optimizer::steer`] began, with the gradients of all examples since the last one.
    pub fn update(&self) -> Result<Status> {
        self.session.replay_list("update")?;
        optimizer::status(&self.session)
    }

    /// Predicts a chain with the parameters as they are, by all of the features' passes.
    pub fn predict(&self, f: &Features) -> Result<Predicted> {
        self.forget();
        for (r, values) in self.passes(f)?.into_iter().enumerate() {
            self.feed(values, r == 0);
            self.session.replay_list("predict")?;
        }
        let [positions, masked_msa, distogram]: [HostTensor; 3] =
            self.session.get_all(&["prev_pos", lists::MASKED_MSA, lists::DISTOGRAM])?.try_into().expect("three tensors");
        let residue = |flat: &[f32]| std::array::from_fn(|a| std::array::from_fn(|x| flat[a * 3 + x]));
        let positions = positions.as_f32().chunks(111).take(f.n_crop()).map(residue).collect();
        Ok(Predicted { positions, masked_msa, distogram })
    }

    /// Runs `body` with the averaged parameters in the place of the raw ones.
    pub fn with_average<R>(&self, body: impl FnOnce(&Self) -> Result<R>) -> Result<R> {
        let both = self.session.get_all(&["parameters", "ema"])?;
        self.session.set("parameters", &both[1]);
        let result = body(self);
        self.session.set("parameters", &both[0]);
        result
    }
}
