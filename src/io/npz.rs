//! NumPy archives out: named arrays in one zip, as AlphaFold and its descendants keep features.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use npyz::WriterBuilder;
use npyz::npz::NpzWriter;

use crate::error::{Error, Result};
use crate::io::text;
use crate::tensor::{Data, HostTensor};

/// Writes tensors as `name.npy` each, float32 or int32 in C order, and strings as one-dimensional arrays of bytes. `/` in a name becomes `.`,
/// so that no entry is a path.
pub fn write(path: impl AsRef<Path>, tensors: &BTreeMap<String, HostTensor>, strings: &BTreeMap<String, Vec<String>>) -> Result<()> {
    let path = path.as_ref();
    let failed = |e: std::io::Error| Error::io(path, e);
    let mut buffer = Cursor::new(Vec::new());
    let mut archive = NpzWriter::new(&mut buffer);
    for (name, tensor) in tensors {
        let shape: Vec<u64> = tensor.shape.iter().map(|&d| d as u64).collect();
        let name = name.replace('/', ".");
        match &tensor.data {
            Data::F32(v) => {
                let entry = archive.array(&name, Default::default()).map_err(failed)?;
                let mut w = entry.default_dtype().shape(&shape).begin_nd().map_err(failed)?;
                w.extend(v.iter().copied()).and_then(|()| w.finish()).map_err(failed)?;
            }
            Data::I32(v) => {
                let entry = archive.array(&name, Default::default()).map_err(failed)?;
                let mut w = entry.default_dtype().shape(&shape).begin_nd().map_err(failed)?;
                w.extend(v.iter().copied()).and_then(|()| w.finish()).map_err(failed)?;
            }
        }
    }
    for (name, lines) in strings {
        let width = lines.iter().map(String::len).max().unwrap_or(0).max(1);
        let entry = archive.array(&name.replace('/', "."), Default::default()).map_err(failed)?;
        let kind = format!("|S{width}").parse().map_err(|e| Error::format(path, format!("array `{name}`: {e}")))?;
        let mut w = entry.dtype(npyz::DType::Plain(kind)).shape(&[lines.len() as u64]).begin_nd().map_err(failed)?;
        for line in lines {
            w.push(line.as_bytes()).map_err(failed)?;
        }
        w.finish().map_err(failed)?;
    }
    drop(archive);
    text::write_whole(path, &buffer.into_inner())
}
