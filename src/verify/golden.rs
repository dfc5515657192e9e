//! Golden cases: reference inputs, parameters, outputs and gradients in one safetensors file each.
//!
//! Knows the file format and nothing of what the modules compute.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::tensor::HostTensor;

/// One golden case.
#[derive(Debug, Clone)]
pub struct Golden {
    /// The file it came from.
    pub path: PathBuf,
    /// From the metadata, or else the folder's name: `primitives`, `evoformer`, `structure`, `losses`, `model` or `data`.
    pub group: String,
    /// The case's name, which is the file's stem.
    pub case: String,
    /// The stable module id.
    pub module: String,
    /// The module's configuration.
    pub config: Value,
    /// All of the metadata, as strings.
    pub meta: BTreeMap<String, String>,
    /// Tensors by their full names (`in:x`, `param:linear//weights`, `out:output`, …).
    pub tensors: BTreeMap<String, HostTensor>,
}

impl Golden {
    /// Reads a case, refusing what is truncated, of another type or without the metadata that makes it a case.
    pub fn read(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
        // SAFETY: the mapping is read-only and lives within this function; a golden that another program truncates meanwhile is not supported.
        let bytes = unsafe { memmap2::Mmap::map(&file) }.map_err(|e| Error::io(path, e))?;
        let wrong = |what: String| Error::format(path, what);
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| wrong(format!("not a whole safetensors file: {e}")))?;
        let all = SafeTensors::deserialize(&bytes).map_err(|e| wrong(format!("not a whole safetensors file: {e}")))?;
        let meta: BTreeMap<String, String> = header.metadata().clone().unwrap_or_default().into_iter().collect();
        let mut tensors = BTreeMap::new();
        for (name, view) in all.tensors() {
            let words = view.data().chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]);
            let tensor = match view.dtype() {
                Dtype::F32 => HostTensor::f32(view.shape(), words.map(f32::from_le_bytes).collect()),
                Dtype::I32 => HostTensor::i32(view.shape(), words.map(i32::from_le_bytes).collect()),
                other => return Err(wrong(format!("tensor `{name}` is {other:?}; goldens hold F32 and I32 only"))),
            };
            tensors.insert(name, tensor);
        }
        let module = meta.get("module").ok_or_else(|| wrong("no `module` in the metadata: not a golden case".into()))?.clone();
        let config = match meta.get("config") {
            Some(text) => serde_json::from_str(text).map_err(|e| wrong(format!("metadata `config` is not JSON: {e}")))?,
            None => Value::Null,
        };
        // A file keeps its group wherever it is copied to.
        let folder = || path.parent().and_then(Path::file_name).map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let group = meta.get("case").and_then(|c| c.split_once('/')).map_or_else(folder, |(group, _)| group.to_owned());
        let case = path.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { path: path.to_path_buf(), group, case, module, config, meta, tensors })
    }

    /// A tensor by its full name, or an error that names file and tensor.
    pub fn get(&self, name: &str) -> Result<&HostTensor> {
        self.tensors.get(name).ok_or_else(|| Error::format(&self.path, format!("tensor `{name}` is missing")))
    }

    /// The input `name` (without the prefix `in:`).
    pub fn input(&self, name: &str) -> Result<&HostTensor> {
        self.get(&format!("in:{name}"))
    }

    /// Tensors whose names start with `prefix`, with the prefix taken off.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a HostTensor)> {
        self.tensors.iter().filter_map(move |(n, t)| n.strip_prefix(prefix).map(|n| (n, t)))
    }

    /// A JSON entry of the metadata, `Null` when absent.
    pub fn json(&self, key: &str) -> Result<Value> {
        match self.meta.get(key) {
            None => Ok(Value::Null),
            Some(text) => serde_json::from_str(text).map_err(|e| Error::format(&self.path, format!("metadata `{key}` is not JSON: {e}"))),
        }
    }
}
