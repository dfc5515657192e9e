//! A training run's checkpoint as parameters for prediction.

use std::path::Path;

use crate::data::features::FeatureConfig;
use crate::error::{Error, Result};
use crate::model::network::Network;
use crate::predict::weights::Weights;
use crate::train::checkpoint;
use crate::train::config::Config;

/// Whether a file's name says that it is a checkpoint.
pub fn is(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("ckpt"))
}

/// The model's name, and how its features are drawn: as in training, for whole chains.
pub fn described(path: &Path) -> Result<(String, FeatureConfig)> {
    let config: Config = toml::from_str(&checkpoint::read_state(path)?.config)
        .map_err(|e| Error::format(path, format!("the configuration in it: {}", e.message())))?;
    Ok((config.model.preset.clone(), FeatureConfig { crop: None, training: None, ..config.features() }))
}

/// The averaged parameters.
pub fn weights(path: &Path) -> Result<Weights> {
    let found = checkpoint::read(path)?;
    let config = found.config()?;
    let mut sizes = config.sizes()?;
    if config.data.templates == 0 {
        // A model that was trained without templates has no parameters for them.
        sizes.template = None;
    }
    let params = Network::parameters(&sizes);
    if checkpoint::layout(&params) != found.state.layout {
        return Err(Error::format(path, "its parameters lie in another order: it was written by another version of this program"));
    }
    let official = params.unpack(found.arena("ema", params.len())?);
    Weights::new(sizes, official).map_err(|e| Error::format(path, e.to_string()))
}
