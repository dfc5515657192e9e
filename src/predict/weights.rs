//! Parameters for prediction: a model's sizes, and its tensors by AlphaFold's names.

use crate::error::{Error, Result};
use crate::model::config::Config;
use crate::model::network::Network;
use crate::model::parameters::{self, Tensors};
use crate::model::presets::preset;
use crate::nn::params::Params;
use crate::predict::parameters::Found;

/// A model with its parameters, all of them there.
#[derive(Debug, Clone)]
pub struct Weights {
    /// Its sizes.
    pub config: Config,
    official: Tensors,
}

impl Weights {
    /// Parameters for a model of these sizes, by their official names. One that is missing, misshapen or not finite is an error that names it.
    pub fn new(config: Config, official: Tensors) -> Result<Self> {
        Network::parameters(&config).pack(&official)?;
        match official.iter().find(|(_, t)| t.as_f32().iter().any(|x| !x.is_finite())) {
            Some((name, _)) => Err(Error::Data(format!("parameter `{name}` holds values that are not finite"))),
            None => Ok(Self { config, official }),
        }
    }

    /// Reads an npz or safetensors file, which must hold exactly the parameters of its model.
    pub fn read(found: &Found) -> Result<Self> {
        let config = preset(&found.preset)?;
        let official = parameters::read(&found.path)?;
        parameters::check(&found.path, &official, &Network::parameters(&config), &format!("`{}`", found.preset))?;
        Self::new(config, official).map_err(|e| Error::format(&found.path, e.to_string()))
    }

    /// The arena of a recorded model.
    pub fn arena(&self, params: &Params) -> Result<Vec<f32>> {
        params.pack(&self.official)
    }
}
