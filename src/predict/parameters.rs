//! Which parameters a prediction is made with: files and folders, recognised by their names. Reading them is the network's business.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::data::features::FeatureConfig;
use crate::error::{Error, Result};
use crate::predict::Model;
use crate::predict::names::Names;

/// Parameters that were found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// The model that they are for, such as `model_1_ptm`.
    pub preset: String,
    /// The model as the batch knows it; its name is the file's where that is no preset's, and unique.
    pub model: Model,
}

/// Files whose names end so are parameters.
const ENDINGS: [&str; 2] = ["npz", "safetensors"];

/// The parameters that `paths` name, in order: files, and all files of folders in the order of their names. `preset` says what files are for whose
/// names do not (`params_model_1_ptm.npz` does); `only` keeps presets of these names.
pub fn find(paths: &[PathBuf], preset: Option<&str>, only: &[String]) -> Result<Vec<Found>> {
    let mut files = Vec::new();
    for path in paths {
        match path.is_dir() {
            true => files.extend(in_folder(path)?),
            false => files.push(path.clone()),
        }
    }
    let mut names = Names::default();
    let mut all = Vec::new();
    for path in files {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let plain = stem.strip_prefix("params_").unwrap_or(&stem);
        let known = features_of(plain).map(|_| plain);
        let Some(preset) = known.or(preset) else {
            return Err(Error::Config(format!(
                "{}: the name does not say which model these parameters are for (params_model_1_ptm.npz does); give --preset",
                path.display()
            )));
        };
        let features = features_of(preset).ok_or_else(|| {
            Error::Config(format!("no preset `{preset}`; there are model_1 to model_5, with _ptm or without, small and tiny"))
        })?;
        if only.is_empty() || only.iter().any(|o| o == preset) {
            let model = Model { name: names.unique(plain), identity: checksum(&path)?, features };
            all.push(Found { preset: preset.to_owned(), model, path });
        }
    }
    match (all.is_empty(), only.is_empty()) {
        (false, _) => Ok(all),
        (true, true) => Err(Error::Config("no parameters: name a file (params_model_1_ptm.npz) or a folder of them with --params".into())),
        (true, false) => Err(Error::Config(format!("no parameters for {}", only.join(", ")))),
    }
}

/// Whether a folder holds files of parameters.
pub fn any(folder: &Path) -> bool {
    folder.is_dir() && in_folder(folder).is_ok()
}

fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = std::fs::read_dir(folder).and_then(|all| all.map(|e| e.map(|e| e.path())).collect::<std::io::Result<Vec<_>>>());
    let mut files = listed.map_err(|e| Error::io(folder, e))?;
    files.retain(|f| f.is_file() && f.extension().is_some_and(|e| ENDINGS.iter().any(|k| e.eq_ignore_ascii_case(k))));
    files.sort();
    match files.is_empty() {
        true => Err(Error::format(folder, "no parameters (.npz, .safetensors, .ckpt) in this folder")),
        false => Ok(files),
    }
}

/// How features are drawn for a model. The published ones (supplement Table 5) have 512 cluster rows, of which models with templates leave 4 to
/// these, and 5120 or 1024 extra rows; the small ones, which are trained with less, 128 and 1024. `None` for other names.
pub fn features_of(preset: &str) -> Option<FeatureConfig> {
    let (extra, templates) = match preset.strip_suffix("_ptm").unwrap_or(preset) {
        "model_1" => (5120, 4),
        "model_2" => (1024, 4),
        "model_3" | "model_4" => (5120, 0),
        "model_5" => (1024, 0),
        "small" | "tiny" => return Some(FeatureConfig::prediction(128, 1024, 4)),
        _ => return None,
    };
    Some(FeatureConfig::prediction(512, extra, templates))
}

/// Length and CRC-32 of a file: a batch that resumes must go on with the same parameters.
pub fn checksum(path: &Path) -> Result<String> {
    let failed = |e| Error::io(path, e);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let (mut digest, mut length, mut part) = (crc32fast::Hasher::new(), 0u64, vec![0; 1 << 20]);
    loop {
        match file.read(&mut part).map_err(failed)? {
            0 => return Ok(format!("{length} bytes, crc32 {:08x}", digest.finalize())),
            n => {
                digest.update(&part[..n]);
                length += n as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_names_are_recognised_and_others_need_a_preset() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["params_model_3.npz", "params_model_1_ptm.npz", "LICENSE", "mine.safetensors"] {
            std::fs::write(at(name), name).unwrap();
        }
        let all = [folder.path().to_path_buf()];
        assert!(find(&all, None, &[]).unwrap_err().to_string().contains("mine.safetensors: the name does not say"));
        let found = find(&all, Some("model_5"), &[]).unwrap();
        let names: Vec<_> = found.iter().map(|f| (f.model.name.as_str(), f.preset.as_str())).collect();
        assert_eq!(names, [("mine", "model_5"), ("model_1_ptm", "model_1_ptm"), ("model_3", "model_3")]);
        assert_eq!((found[1].model.features.max_clusters, found[1].model.features.max_extra), (508, 5120));
        assert!(found[2].model.identity.starts_with("18 bytes, crc32 "));
        assert_eq!(find(&all, Some("model_5"), &["model_3".into()]).unwrap().len(), 1);
        assert!(find(&all, Some("model_9"), &[]).unwrap_err().to_string().contains("no preset `model_9`"));
        assert!(find(&[], None, &[]).is_err());
        // The same file twice is two models.
        let twice = find(&[at("params_model_3.npz"), at("params_model_3.npz")], None, &[]).unwrap();
        assert_eq!((twice[0].model.name.as_str(), twice[1].model.name.as_str()), ("model_3", "model_3_2"));
    }
}
