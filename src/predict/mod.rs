//! Prediction: what goes into the network and what is made of what comes out.
//!
//! [`input`] finds targets and [`batch`] takes them one after the other; [`scored`] is one run's structure with its confidences, which
//! [`confidence`] computes; [`output`] writes a target's folder, [`report`] its page, [`plots`] its pictures. [`names`] makes folders' names of
//! headers, [`coverage`] counts an alignment, [`parameters`] finds what to predict with,
//! [`distill`] makes a training set of what came out, [`mod@estimate`] says what a prediction will take, [`partial`] keeps
//! what a target has when it is stopped. The network is one function, [`Run`]; [`mod@network`] makes it of [`weights`], and [`feed`]
//! gives it features. Knows nothing of clap or exit codes.

use std::collections::BTreeMap;

use crate::data::features::{FeatureConfig, Features};
use crate::data::full::{self, Size};
use crate::error::Result;
use crate::predict::estimate::Estimate;
use crate::protein::{Mask37, Positions37};
use crate::tensor::HostTensor;

pub mod batch;
pub mod confidence;
pub mod coverage;
pub mod distill;
pub mod estimate;
pub mod feed;
pub mod input;
pub mod names;
pub mod network;
pub mod output;
pub mod parameters;
pub mod partial;
pub mod plots;
pub mod raster;
pub mod report;
pub mod scored;
pub mod weights;

/// One set of parameters to predict with.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Its name in files, such as `model_1_ptm`.
    pub name: String,
    /// What tells it from other parameters of that name, such as a checksum: a batch that resumes must not mix them.
    pub identity: String,
    /// How features are drawn for it.
    pub features: FeatureConfig,
}

/// What a run of the network is given.
#[derive(Debug, Clone, Copy)]
pub enum Inputs<'a> {
    /// Features of `(n_recycle + 1) * n_ensemble` passes; those of one recycling iteration are neighbours.
    Features(&'a Features),
    /// AlphaFold's processed arrays with the leading pass axis, as a file has them.
    Arrays(&'a BTreeMap<String, HostTensor>),
}

impl Inputs<'_> {
    /// AlphaFold's arrays of pass `r`, without the pass axis.
    pub fn pass(&self, r: usize) -> BTreeMap<String, HostTensor> {
        match self {
            Inputs::Features(features) => full::pass(features, r, Size::of(features)),
            Inputs::Arrays(arrays) => {
                let one = |t: &HostTensor| t.rows(r..r + 1).reshape(&t.shape[1..]);
                arrays.iter().filter(|(_, t)| t.shape.first().is_some_and(|&n| n > r)).map(|(n, t)| (n.clone(), one(t))).collect()
            }
        }
    }
}

/// What one run is asked for.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The parameters.
    pub model: &'a Model,
    /// Residues, without padding.
    pub n_res: usize,
    /// Passes after the first.
    pub n_recycle: usize,
    /// Members of the ensemble of each pass.
    pub n_ensemble: usize,
    /// Recycling stops early when CA distances change by no more than this, Angstrom ([`confidence::settled`]); 0 never stops.
    pub tolerance: f64,
    /// Whether the distogram, representations and logits are wanted for a file.
    pub tensors: bool,
    /// Whether the distogram is wanted in any case.
    pub distogram: bool,
    /// Called before each pass with its number, from 0. An error (the user wants to stop) ends the run.
    pub pass: &'a dyn Fn(usize) -> Result<()>,
    /// Called with what the prediction will take, where that is another than the one before.
    pub estimate: &'a dyn Fn(&Estimate),
}

/// Logits over bins with the borders between them, one less than bins.
#[derive(Debug, Clone, PartialEq)]
pub struct Binned {
    /// `[n_res, n_res, n_bins]`.
    pub logits: HostTensor,
    /// Angstrom, `[n_bins - 1]`.
    pub breaks: Vec<f32>,
}

/// One pass of recycling.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cycle {
    /// Mean pLDDT after it, 0 to 100, where it was computed.
    pub plddt: Option<f64>,
    /// pTM after it, where it was computed.
    pub ptm: Option<f64>,
    /// How far CA distances moved since the pass before, Angstrom; nothing for the first.
    pub change: Option<f64>,
}

/// What the network makes of one target; no padding is left in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Raw {
    /// atom37 coordinates, Angstrom, `[n_res]`.
    pub positions: Vec<Positions37>,
    /// 1 for atoms that the residue has, `[n_res]`.
    pub mask: Vec<Mask37>,
    /// `[n_res, n_bins]`.
    pub plddt_logits: HostTensor,
    /// Logits of the predicted aligned error, of models that have the head.
    pub pae: Option<Binned>,
    /// Logits of the distogram, where asked for.
    pub distogram: Option<Binned>,
    /// Further tensors for the file, by AlphaFold's names, where asked for.
    pub representations: BTreeMap<String, HostTensor>,
    /// One entry a pass.
    pub history: Vec<Cycle>,
}

/// The network: features and parameters in, structure and logits out.
pub type Run<'a> = dyn FnMut(Inputs, &Request) -> Result<Raw> + 'a;
