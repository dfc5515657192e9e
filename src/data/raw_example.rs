//! An example from AlphaFold's raw features, as other programs save them (`features.pkl` turned npz).

use std::collections::BTreeMap;
use std::path::Path;

use crate::data::alignment::{Alignment, Deletions};
use crate::data::example::{Example, Labels, Template};
use crate::data::raw;
use crate::error::{Error, Result};
use crate::io::npz;
use crate::tensor::HostTensor;

/// Reads raw features: `aatype` (types or one-hot) and, where they are there, `msa` with `deletion_matrix` or `deletion_matrix_int` (HHblits
/// order), `template_*`, `label_all_atom_positions` with `label_all_atom_mask`, `resolution`, `residue_index`.
pub fn read(path: impl AsRef<Path>) -> Result<Example> {
    let path = path.as_ref();
    from_arrays(npz::read(path)?, path)
}

/// [`read`] on arrays already in memory; `path` is for messages.
pub fn from_arrays(features: BTreeMap<String, HostTensor>, path: &Path) -> Result<Example> {
    Raw { path, features }.example()
}

struct Raw<'a> {
    path: &'a Path,
    features: BTreeMap<String, HostTensor>,
}

impl Raw<'_> {
    fn wrong(&self, what: String) -> Error {
        Error::format(self.path, what)
    }

    /// A feature of the given shape; 0 fits any extent, and a last extent of 1 may be missing.
    fn get(&self, name: &str, shape: &[usize]) -> Result<&HostTensor> {
        let tensor = self.features.get(name).ok_or_else(|| self.wrong(format!("feature `{name}` is missing")))?;
        let fits = |shape: &[usize]| tensor.shape.len() == shape.len() && tensor.shape.iter().zip(shape).all(|(a, b)| *b == 0 || a == b);
        let shorter = shape.strip_suffix(&[1]);
        if fits(shape) || shorter.is_some_and(fits) {
            Ok(tensor)
        } else {
            Err(self.wrong(format!("feature `{name}` has the shape {:?}, not {shape:?} (0: any)", tensor.shape)))
        }
    }

    fn has(&self, name: &str) -> bool {
        self.features.contains_key(name)
    }

    fn example(&self) -> Result<Example> {
        if let Some(name) = ["target_feat", "msa_feat", "true_msa"].into_iter().find(|n| self.has(n)) {
            // Their types are in another order, which nothing but the names tells.
            return Err(self.wrong(format!("feature `{name}` shows that these are processed features; raw ones are needed")));
        }
        let aatype = self.features.get("aatype").ok_or_else(|| self.wrong("feature `aatype` is missing".into()))?;
        let kinds = match aatype.shape.as_slice() {
            [_] => aatype.to_f64().into_iter().map(|t| t as i32).collect(),
            [_, 21] => raw::squeeze(BTreeMap::from([("aatype".to_owned(), aatype.clone())]))["aatype"].as_i32().to_vec(),
            other => return Err(self.wrong(format!("`aatype` has the shape {other:?}, not [n] or [n, 21]"))),
        };
        let kind = |&t: &i32| u8::try_from(t).ok().filter(|&t| t <= 20);
        let aatype: Vec<u8> =
            kinds.iter().map(kind).collect::<Option<_>>().ok_or_else(|| self.wrong("`aatype` holds a type outside 0..=20".into()))?;
        let n = aatype.len();
        if n == 0 || n > usize::from(u16::MAX) {
            return Err(self.wrong(format!("{n} residues")));
        }
        let residue_index = match self.has("residue_index") {
            true => self.get("residue_index", &[n])?.to_f64().into_iter().map(|x| x as i32).collect(),
            false => (0..n as i32).collect(),
        };
        let alignment = self.alignment(&aatype)?;
        let (templates, labels) = (self.templates(n)?, self.labels(n)?);
        let id = self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Example { id, aatype, residue_index, alignment, templates, labels })
    }

    fn alignment(&self, aatype: &[u8]) -> Result<Alignment> {
        let n_res = aatype.len();
        let mut deletions = Deletions::default();
        if !self.has("msa") {
            deletions.push_dense(&vec![0; n_res]);
            return Ok(Alignment { n_res, rows: aatype.to_vec(), deletions });
        }
        let msa = self.get("msa", &[0, n_res])?;
        let types: Vec<i32> = msa.to_f64().into_iter().map(|t| t as i32).collect();
        let rows = raw::to_our_order(&types).ok_or_else(|| self.wrong("`msa` holds a type outside HHblits' 0..=21".into()))?;
        if rows.is_empty() {
            return Err(self.wrong("`msa` has no row".into()));
        }
        let name = if self.has("deletion_matrix") { "deletion_matrix" } else { "deletion_matrix_int" };
        for row in self.get(name, &msa.shape)?.to_f64().chunks_exact(n_res) {
            if row.iter().any(|d| !(0.0..65536.0).contains(d)) {
                return Err(self.wrong(format!("`{name}` holds a count outside 0..=65535")));
            }
            deletions.push_dense(&row.iter().map(|&d| d as u16).collect::<Vec<_>>());
        }
        Ok(Alignment { n_res, rows, deletions })
    }

    fn templates(&self, n: usize) -> Result<Vec<Template>> {
        if !self.has("template_aatype") {
            return Ok(Vec::new());
        }
        let given = &self.features["template_aatype"];
        let t = given.shape.first().copied().unwrap_or(0);
        let kinds = match given.shape.as_slice() {
            [_, _, 22] => raw::template_types(self.get("template_aatype", &[t, n, 22])?.to_f32().as_slice()),
            _ => {
                let types: Vec<i32> = self.get("template_aatype", &[t, n])?.to_f64().into_iter().map(|t| t as i32).collect();
                raw::to_our_order(&types).ok_or_else(|| self.wrong("`template_aatype` holds a type outside 0..=21".into()))?
            }
        };
        let positions = self.get("template_all_atom_positions", &[t, n, 37, 3])?.to_f32();
        let masks = self.get("template_all_atom_masks", &[t, n, 37])?.to_f32();
        let sum_probs = self.get("template_sum_probs", &[t, 1])?.to_f32();
        let template = |i: usize| Template {
            name: format!("template {}", i + 1),
            sum_probs: sum_probs[i],
            aatype: kinds[i * n..][..n].to_vec(),
            positions: positions.as_chunks::<3>().0.as_chunks::<37>().0[i * n..][..n].to_vec(),
            mask: masks.as_chunks::<37>().0[i * n..][..n].to_vec(),
        };
        Ok((0..t).map(template).collect())
    }

    fn labels(&self, n: usize) -> Result<Option<Labels>> {
        if !self.has("label_all_atom_positions") {
            return Ok(None);
        }
        let positions = self.get("label_all_atom_positions", &[n, 37, 3])?.to_f32().as_chunks::<3>().0.as_chunks::<37>().0.to_vec();
        let mask = self.get("label_all_atom_mask", &[n, 37])?.to_f32().as_chunks::<37>().0.to_vec();
        let resolution = self.features.get("resolution").and_then(|r| r.to_f32().first().copied()).unwrap_or(0.0);
        Ok(Some(Labels { positions, mask, resolution, is_distillation: false }))
    }
}
