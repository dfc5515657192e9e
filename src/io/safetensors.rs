//! safetensors: named arrays behind a JSON header.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::error::{Error, Result};
use crate::io::text;
use crate::tensor::{Data, HostTensor};

/// Writes tensors as F32 or I32 under their names.
pub fn write(path: impl AsRef<Path>, tensors: &BTreeMap<String, HostTensor>) -> Result<()> {
    let path = path.as_ref();
    let view = |(name, tensor): (&String, &HostTensor)| {
        let (kind, bytes): (Dtype, Vec<u8>) = match &tensor.data {
            Data::F32(v) => (Dtype::F32, v.iter().flat_map(|x| x.to_le_bytes()).collect()),
            Data::I32(v) => (Dtype::I32, v.iter().flat_map(|x| x.to_le_bytes()).collect()),
        };
        (name.clone(), kind, tensor.shape.clone(), bytes)
    };
    let all: Vec<_> = tensors.iter().map(view).collect();
    let views = all.iter().map(|(name, kind, shape, bytes)| {
        let view = TensorView::new(*kind, shape.clone(), bytes).expect("the shape fits the elements");
        (name, view)
    });
    let bytes = safetensors::serialize(views, None).map_err(|e| Error::format(path, e.to_string()))?;
    text::write_whole(path, &bytes)
}

/// Reads all tensors: F16, BF16 and F64 as F32.
pub fn read(path: impl AsRef<Path>) -> Result<BTreeMap<String, HostTensor>> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let all = SafeTensors::deserialize(&bytes).map_err(|e| Error::format(path, format!("not a whole safetensors file: {e}")))?;
    let tensor = |(name, view): (String, TensorView)| {
        let (bytes, shape) = (view.data(), view.shape());
        let f32 = |values: Vec<f32>| HostTensor::f32(shape, values);
        let half = |b: &[u8]| [b[0], b[1]];
        let word = |b: &[u8]| [b[0], b[1], b[2], b[3]];
        let tensor = match view.dtype() {
            Dtype::F32 => f32(bytes.chunks_exact(4).map(|b| f32::from_le_bytes(word(b))).collect()),
            Dtype::F64 => f32(bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().expect("eight bytes")) as f32).collect()),
            Dtype::F16 => f32(bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes(half(b)).to_f32()).collect()),
            Dtype::BF16 => f32(bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes(half(b)).to_f32()).collect()),
            Dtype::I32 => HostTensor::i32(shape, bytes.chunks_exact(4).map(|b| i32::from_le_bytes(word(b))).collect()),
            other => return Err(Error::format(path, format!("tensor `{name}` is {other:?}, which is not read here"))),
        };
        Ok((name, tensor))
    };
    all.tensors().into_iter().map(tensor).collect()
}
