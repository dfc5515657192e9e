//! Files of parameters: AlphaFold's released `params_model_*.npz` and safetensors under the same names, compared with what a model declares.
//!
//! There is no table of names: the network's own declarations are the specification.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::io::{npz, safetensors};
use crate::model::network::Network;
use crate::model::presets::{PRESETS, preset};
use crate::nn::params::Params;
use crate::tensor::{Data, HostTensor};

/// Official tensors by name, stack axis included.
pub type Tensors = BTreeMap<String, HostTensor>;

/// Names and shapes of official tensors.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// Which form a file has, from its name.
fn is_npz(path: &Path) -> Result<bool> {
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    match ending.as_deref() {
        Some("npz") => Ok(true),
        Some("safetensors") => Ok(false),
        _ => Err(Error::Config(format!("{}: parameters are kept in .npz or .safetensors files", path.display()))),
    }
}

/// Reads all tensors of a file of parameters.
pub fn read(path: &Path) -> Result<Tensors> {
    let tensors = if is_npz(path)? { npz::read(path)? } else { safetensors::read(path)? };
    match tensors.iter().find(|(_, t)| matches!(t.data, Data::I32(_))) {
        Some((name, t)) => Err(Error::format(path, format!("parameter `{name}` {:?} holds integers, expected floats", t.shape))),
        None if tensors.is_empty() => Err(Error::format(path, "no arrays in this file")),
        None => Ok(tensors),
    }
}

/// Writes tensors in the form that the file's name asks for: `.npz` as AlphaFold releases them, or `.safetensors`.
pub fn write(path: &Path, tensors: &Tensors) -> Result<()> {
    if is_npz(path)? { npz::write_plain(path, tensors) } else { safetensors::write(path, tensors) }
}

/// The shapes of tensors.
pub fn shapes(tensors: &Tensors) -> Shapes {
    tensors.iter().map(|(name, t)| (name.clone(), t.shape.clone())).collect()
}

/// How a file differs from a model.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Differences {
    /// What the model has and the file has not, with the model's shape.
    pub missing: Vec<(String, Vec<usize>)>,
    /// What the file has and the model has not, with the file's shape.
    pub extra: Vec<(String, Vec<usize>)>,
    /// What both have in different shapes: the file's, and the model's.
    pub misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl Differences {
    /// Compares what a file holds with what a model declares.
    pub fn of(given: &Shapes, expected: &Shapes) -> Self {
        let lacking = |a: &Shapes, b: &Shapes| {
            a.iter().filter(|(name, _)| !b.contains_key(*name)).map(|(name, shape)| (name.clone(), shape.clone())).collect()
        };
        let other = |(name, shape): (&String, &Vec<usize>)| {
            let want = expected.get(name).filter(|want| *want != shape)?;
            Some((name.clone(), shape.clone(), want.clone()))
        };
        Self { missing: lacking(expected, given), extra: lacking(given, expected), misshapen: given.iter().filter_map(other).collect() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.missing.len() + self.extra.len() + self.misshapen.len()
    }

    /// Whether the file fits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first difference, and how many more there are.
    pub fn first(&self) -> String {
        let what = match (self.misshapen.first(), self.missing.first(), self.extra.first()) {
            (Some((name, is, want)), ..) => format!("parameter `{name}` is {is:?}, expected {want:?}"),
            (_, Some((name, want)), _) => format!("parameter `{name}` {want:?} is missing"),
            (_, _, Some((name, is))) => format!("parameter `{name}` {is:?} is none of the model's"),
            _ => return "no difference".into(),
        };
        match self.len() {
            1 => what,
            n => format!("{what} (and {} more differences)", n - 1),
        }
    }
}

/// The presets that these shapes fit.
pub fn fitting(given: &Shapes) -> Vec<&'static str> {
    let fits = |name: &&str| preset(name).is_ok_and(|c| Differences::of(given, &Network::parameters(&c).official()).is_empty());
    PRESETS.iter().map(|p| p.0).filter(fits).collect()
}

/// Refuses tensors that are not exactly the model's: names the first difference, and the presets that do fit.
pub fn check(path: &Path, given: &Tensors, params: &Params, model: &str) -> Result<()> {
    let shapes = shapes(given);
    let differences = Differences::of(&shapes, &params.official());
    if differences.is_empty() {
        return Ok(());
    }
    let fitting = fitting(&shapes);
    let hint = match fitting.is_empty() {
        true => format!("`anyfold params show {} --preset NAME` lists all", path.display()),
        false => format!("they fit {}", fitting.join(", ")),
    };
    Err(Error::format(path, format!("these are not the parameters of {model}: {}; {hint}", differences.first())))
}

/// The arena of `params` with a file's values, which must be exactly those of the model; `model` is its name for messages.
pub fn load(path: &Path, params: &Params, model: &str) -> Result<Vec<f32>> {
    let tensors = read(path)?;
    check(path, &tensors, params, model)?;
    params.pack(&tensors)
}
