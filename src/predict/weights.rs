//! Reading parameters for prediction: a model's sizes, and its tensors by AlphaFold's names.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use crate::error::{Error, Result};
use crate::io::npz;
use crate::model::config::Config;
use crate::model::network::Network;
use crate::model::presets;
use crate::nn::params::Params;
use crate::predict::parameters::Found;
use crate::tensor::{Data, HostTensor};

/// A model with its parameters, all of them there.
#[derive(Debug, Clone)]
pub struct Weights {
    /// Its sizes.
    pub config: Config,
    /// Its parameters by their official names.
    pub official: BTreeMap<String, HostTensor>,
}

impl Weights {
    /// Parameters for a model of these sizes. A tensor that is missing, misshapen, of integers or not finite is an error that names it; tensors
    /// that no parameter takes are left out.
    pub fn new(config: Config, mut official: BTreeMap<String, HostTensor>) -> Result<Self> {
        let known = Network::parameters(&config);
        let shapes = known.official();
        official.retain(|name, _| shapes.contains_key(name));
        for (name, tensor) in &official {
            match &tensor.data {
                Data::I32(_) => return Err(Error::Data(format!("parameter `{name}` holds integers"))),
                Data::F32(v) if v.iter().any(|x| !x.is_finite()) => {
                    return Err(Error::Data(format!("parameter `{name}` holds values that are not finite")));
                }
                Data::F32(_) => {}
            }
        }
        known.pack(&official)?;
        Ok(Self { config, official })
    }

    /// Reads an npz or safetensors file of a model by name.
    pub fn read(found: &Found) -> Result<Self> {
        let path = found.path.as_path();
        let safe = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors"));
        let all = if safe { safetensors(path)? } else { npz::read(path)? };
        let made = Self::new(presets::preset(&found.preset)?, all);
        made.map_err(|e| Error::format(path, format!("as parameters of `{}`: {e}", found.preset)))
    }

    /// The arena of a recorded model.
    pub fn arena(&self, params: &Params) -> Result<Vec<f32>> {
        params.pack(&self.official)
    }
}

/// The single precision tensors of a safetensors file.
fn safetensors(path: &Path) -> Result<BTreeMap<String, HostTensor>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let all = SafeTensors::deserialize(&bytes).map_err(|e| Error::format(path, format!("not a whole safetensors file: {e}")))?;
    let single = |(name, view): (String, safetensors::tensor::TensorView)| match view.dtype() {
        Dtype::F32 => {
            let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            Ok((name, HostTensor::f32(view.shape(), values)))
        }
        other => Err(Error::format(path, format!("tensor `{name}` is {other:?}; parameters are F32"))),
    };
    all.tensors().into_iter().map(single).collect()
}
