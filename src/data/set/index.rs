//! The index of a data set: one record per chain, and one per thing that could not be used.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::io::text;

/// The index's name within a set.
pub const FILE: &str = "index.json";
/// The version that this program writes and reads.
const VERSION: u32 = 1;

/// All of a set's index.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// Format version.
    pub version: u32,
    /// Shard files, by number.
    pub shards: Vec<String>,
    /// Chains, sorted by id.
    pub entries: Vec<Entry>,
    /// What was left out.
    pub skipped: Vec<Skipped>,
}

/// One chain.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Such as `1enx_A`.
    pub id: String,
    /// One-letter codes.
    pub sequence: String,
    /// Residues.
    pub length: usize,
    /// Residues with at least one atom.
    pub observed: usize,
    /// Share of N, CA, C and O atoms that are there.
    pub backbone_observed: f64,
    /// Angstrom; absent for NMR and predictions.
    pub resolution: Option<f64>,
    /// Experimental method in lower case, `prediction` for distillation.
    pub method: String,
    /// `yyyy-mm-dd`.
    pub release_date: Option<String>,
    /// Name of the cluster that its sampling weight is divided by.
    pub cluster: String,
    /// `train`, `validation` or whatever the list says.
    pub split: String,
    /// Whether a network predicted it.
    pub is_distillation: bool,
    /// Alignment rows, the query included.
    pub n_seq: usize,
    /// Templates.
    pub n_templates: usize,
    /// Number of the shard.
    pub shard: usize,
    /// First byte in it.
    pub offset: u64,
    /// Bytes.
    pub bytes: u64,
    /// Checksum of those bytes.
    pub crc32: u32,
    /// Digest of the settings and the file list that it was made with.
    pub recipe: u32,
    /// The files it was made of.
    pub inputs: Vec<Input>,
}

/// A file that an entry was made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// As given, relative to the prepared folder where it lies within.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
    /// Nanoseconds since 1970; only a hint that it may have changed.
    pub modified: u64,
    /// Checksum of its bytes as they lie on disk.
    pub crc32: u32,
}

/// Something left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The chain or file.
    pub what: String,
    /// Why, in words.
    pub why: String,
}

impl Index {
    /// The index of a set, `None` where there is no set.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let index: Self = serde_json::from_slice(&text::read(&path)?).map_err(|e| Error::at_line(&path, e.line(), e.to_string()))?;
        if index.version != VERSION {
            return Err(Error::format(
                &path,
                format!("format {} of a data set; this program reads {VERSION}: prepare the set anew", index.version),
            ));
        }
        // A shard's name is joined to the folder and must not lead out of it.
        if let Some(bad) = index.shards.iter().find(|s| Path::new(s).file_name().is_none_or(|n| n != s.as_str())) {
            return Err(Error::format(&path, format!("shard `{bad}` is not a plain file name")));
        }
        if !index.entries.is_sorted_by(|a, b| a.id < b.id) {
            return Err(Error::format(&path, "entries are not sorted by id"));
        }
        Ok(Some(index))
    }

    /// Writes the index whole.
    pub fn write(&mut self, folder: &Path) -> Result<()> {
        self.version = VERSION;
        self.entries.sort_by(|a, b| a.id.cmp(&b.id));
        let json = serde_json::to_vec(self).expect("an index is JSON");
        text::write_whole(folder.join(FILE), &json)
    }
}
