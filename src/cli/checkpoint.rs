//! A training run's checkpoint as parameters for prediction.

use std::path::{Path, PathBuf};

use crate::data::features::FeatureConfig;
use crate::error::{Error, Result};
use crate::predict::weights::Weights;
use crate::train::checkpoint;
use crate::train::config::Config;

/// Whether a file's name says that it is a checkpoint.
pub fn is(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("ckpt"))
}

/// The checkpoints that a path names: a file itself, and of a folder each checkpoint. Of a training run's folder, or of its `checkpoints`, it is
/// the one with the best validation, or the newest where there was none; which one is said.
pub fn of_path(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(if is(path) { vec![path.to_path_buf()] } else { Vec::new() });
    }
    let inner = path.join("checkpoints");
    let folder = if inner.is_dir() { inner } else { path.to_path_buf() };
    let listed = std::fs::read_dir(&folder).and_then(|all| all.map(|e| e.map(|e| e.path())).collect::<std::io::Result<Vec<_>>>());
    let mut all = listed.map_err(|e| Error::io(&folder, e))?;
    all.retain(|p| is(p) && p.is_file());
    all.sort();
    let is_step = |p: &PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("step-"));
    let (steps, mut chosen): (Vec<PathBuf>, Vec<PathBuf>) = all.into_iter().partition(is_step);
    // The newest comes last, and of equal scores the last counts.
    let scored = steps.iter().filter_map(|p| Some((p, checkpoint::read_state(p).ok()?.score?)));
    let best = scored.max_by(|a, b| a.1.total_cmp(&b.1));
    if let Some(step) = best.map(|(p, _)| p).or(steps.last()) {
        let why = best.map_or("the newest, since none was validated".to_owned(), |(_, score)| format!("the best, validated at {score:.4}"));
        eprintln!("note: of the {} checkpoints in {} {} is taken, {why}", steps.len(), folder.display(), step.display());
        chosen.push(step.clone());
    }
    Ok(chosen)
}

/// The model's name, and how its features are drawn: as in training, for whole chains.
pub fn described(path: &Path) -> Result<(String, FeatureConfig)> {
    let config: Config = toml::from_str(&checkpoint::read_state(path)?.config)
        .map_err(|e| Error::format(path, format!("the configuration in it: {}", e.message())))?;
    Ok((config.model.preset.clone(), FeatureConfig { crop: None, training: None, ..config.features() }))
}

/// The averaged parameters.
pub fn weights(path: &Path) -> Result<Weights> {
    let (sizes, official) = checkpoint::read(path)?.parameters(path, true)?;
    Weights::new(sizes, official).map_err(|e| Error::format(path, e.to_string()))
}
