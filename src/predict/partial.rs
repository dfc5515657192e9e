//! Predictions of a target that is not finished: kept beside its record, so that a run which is stopped among many seeds and models loses one of
//! them and not all. Read back they give the same bytes as if they had just been made.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::Result;
use crate::io::npz;
use crate::predict::{Binned, Cycle, Raw};
use crate::tensor::{Data, HostTensor};

/// How the files' names begin.
pub const PREFIX: &str = "partial_";

/// The file of a prediction.
pub fn file(label: &str) -> String {
    format!("{PREFIX}{label}.npz")
}

/// Doubles by their bits, since arrays are of 32 bits; nothing is a NaN.
fn bits(values: impl IntoIterator<Item = Option<f64>>) -> Vec<i32> {
    let halves = |x: f64| [(x.to_bits() >> 32) as i32, x.to_bits() as i32];
    values.into_iter().flat_map(|x| halves(x.unwrap_or(f64::NAN))).collect()
}

fn doubles(bits: &[i32]) -> Vec<Option<f64>> {
    let double = |[high, low]: &[i32; 2]| f64::from_bits(u64::from(*high as u32) << 32 | u64::from(*low as u32));
    bits.as_chunks::<2>().0.iter().map(|b| Some(double(b)).filter(|x| !x.is_nan())).collect()
}

/// Keeps what the network made, without distogram and representations, and the confidences that were made of the distogram.
pub fn write(folder: &Path, label: &str, raw: &Raw, confidence: Option<&[f64]>) -> Result<()> {
    let n = raw.positions.len();
    let mut all = BTreeMap::from([
        ("positions".to_owned(), HostTensor::f32(&[n, 37, 3], raw.positions.as_flattened().as_flattened().to_vec())),
        ("mask".to_owned(), HostTensor::f32(&[n, 37], raw.mask.as_flattened().to_vec())),
        ("plddt_logits".to_owned(), raw.plddt_logits.clone()),
    ]);
    let history = bits(raw.history.iter().flat_map(|c| [c.plddt, c.ptm, c.change]));
    all.insert("history".to_owned(), HostTensor::i32(&[raw.history.len(), 3, 2], history));
    if let Some(pae) = &raw.pae {
        all.insert("pae_logits".to_owned(), pae.logits.clone());
        all.insert("pae_breaks".to_owned(), HostTensor::f32(&[pae.breaks.len()], pae.breaks.clone()));
    }
    if let Some(confidence) = confidence {
        all.insert("confidence".to_owned(), HostTensor::i32(&[confidence.len(), 2], bits(confidence.iter().map(|&c| Some(c)))));
    }
    // Not compressed: logits of a long target would take longer to pack than they are worth for a while.
    npz::write_plain(folder.join(file(label)), &all)
}

/// What [`write`] kept of `n` residues; `None` where there is nothing, or nothing whole: it is predicted again then.
pub fn read(folder: &Path, label: &str, n: usize) -> Option<(Raw, Option<Vec<f64>>)> {
    parse(npz::read(folder.join(file(label))).ok()?, n)
}

fn parse(mut all: BTreeMap<String, HostTensor>, n: usize) -> Option<(Raw, Option<Vec<f64>>)> {
    let mut floats = |name: &str, shape: &[Option<usize>]| {
        let tensor = all.remove(name)?;
        let fits = tensor.shape.len() == shape.len() && tensor.shape.iter().zip(shape).all(|(d, s)| s.is_none_or(|s| s == *d));
        (fits && matches!(tensor.data, Data::F32(_))).then_some(tensor)
    };
    let positions = floats("positions", &[Some(n), Some(37), Some(3)])?;
    let mask = floats("mask", &[Some(n), Some(37)])?;
    let plddt_logits = floats("plddt_logits", &[Some(n), None])?;
    let pae = match floats("pae_breaks", &[None]) {
        None => None,
        Some(breaks) => {
            let logits = floats("pae_logits", &[Some(n), Some(n), Some(breaks.len() + 1)])?;
            Some(Binned { logits, breaks: breaks.as_f32().to_vec() })
        }
    };
    let integers = |name: &str| all.get(name).and_then(|t| if let Data::I32(v) = &t.data { Some(v.as_slice()) } else { None });
    let history = doubles(integers("history")?);
    let confidence = integers("confidence").map(|bits| doubles(bits).into_iter().flatten().collect::<Vec<f64>>());
    if !history.len().is_multiple_of(3) || confidence.as_ref().is_some_and(|c| c.len() != n) {
        return None;
    }
    let xyz = positions.as_f32().as_chunks::<3>().0;
    let raw = Raw {
        positions: xyz.as_chunks::<37>().0.to_vec(),
        mask: mask.as_f32().as_chunks::<37>().0.to_vec(),
        plddt_logits,
        pae,
        distogram: None,
        representations: BTreeMap::new(),
        history: history.as_chunks::<3>().0.iter().map(|&[plddt, ptm, change]| Cycle { plddt, ptm, change }).collect(),
    };
    Some((raw, confidence))
}
