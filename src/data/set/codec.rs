//! An example as bytes: a safetensors document, compact.
//!
//! | tensor | | |
//! | --- | --- | --- |
//! | `aatype` | U8 `[n]` | types 0..=20 |
//! | `residue_index` | I32 `[n]` | |
//! | `msa` | U16 `[n_seq, ceil(n/3)]` | three types a word, base 22 |
//! | `deletion_ends` | U32 `[n_seq]` | ends of rows in `deletions` |
//! | `deletions` | U16 `[k, 2]` | column, count |
//! | `atom_mask` | U64 `[n]` | bit per atom37 slot |
//! | `atoms` | F32 `[m, 3]` | coordinates of the atoms that are there |
//! | `template_aatype` `template_mask` `template_atoms` `template_sum_probs` | | the same, `[t, n]`; names in the metadata |

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::data::alignment::{Alignment, Deletions};
use crate::data::example::{Example, Labels, Template};
use crate::data::set::index::Entry;
use crate::protein::{Mask37, Positions37};

const BASE: usize = 22;

/// The three types in each word.
static TRIPLES: LazyLock<Vec<[u8; 3]>> =
    LazyLock::new(|| (0..BASE.pow(3)).map(|w| [w % BASE, w / BASE % BASE, w / (BASE * BASE)].map(|t| t as u8)).collect());

struct Tensor(Dtype, Vec<usize>, Vec<u8>);

impl safetensors::View for Tensor {
    fn dtype(&self) -> Dtype {
        self.0
    }
    fn shape(&self) -> &[usize] {
        &self.1
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.2)
    }
    fn data_len(&self) -> usize {
        self.2.len()
    }
}

/// The example's bytes. Resolution and the distillation flag live in the index.
pub fn encode(example: &Example) -> Vec<u8> {
    let n = example.n_res();
    let a = &example.alignment;
    let mut all: Vec<(String, Tensor)> = Vec::new();
    let mut put = |name: &str, dtype, shape: &[usize], data| all.push((name.to_owned(), Tensor(dtype, shape.to_vec(), data)));
    put("aatype", Dtype::U8, &[n], example.aatype.clone());
    put("residue_index", Dtype::I32, &[n], le(example.residue_index.iter().map(|v| v.to_le_bytes())));
    put("msa", Dtype::U16, &[a.n_seq(), n.div_ceil(3)], pack(&a.rows, n));
    put("deletion_ends", Dtype::U32, &[a.n_seq()], le(a.deletions.offsets[1..].iter().map(|v| v.to_le_bytes())));
    let items = le(a.deletions.items.iter().flat_map(|&(c, k)| [c.to_le_bytes(), k.to_le_bytes()]));
    put("deletions", Dtype::U16, &[a.deletions.items.len(), 2], items);
    if let Some(labels) = &example.labels {
        let (mask, atoms) = pack_atoms(&labels.positions, &labels.mask);
        put("atom_mask", Dtype::U64, &[n], mask);
        put("atoms", Dtype::F32, &[atoms.len() / 12, 3], atoms);
    }
    let t = &example.templates;
    let (mut kinds, mut masks, mut atoms) = (Vec::new(), Vec::new(), Vec::new());
    for template in t {
        kinds.extend_from_slice(&template.aatype);
        let (mask, at) = pack_atoms(&template.positions, &template.mask);
        masks.extend(mask);
        atoms.extend(at);
    }
    put("template_aatype", Dtype::U8, &[t.len(), n], kinds);
    put("template_mask", Dtype::U64, &[t.len(), n], masks);
    put("template_atoms", Dtype::F32, &[atoms.len() / 12, 3], atoms);
    put("template_sum_probs", Dtype::F32, &[t.len()], le(t.iter().map(|t| t.sum_probs.to_le_bytes())));
    let names: Vec<&str> = t.iter().map(|t| t.name.as_str()).collect();
    let meta = HashMap::from([("templates".to_owned(), serde_json::to_string(&names).expect("names are JSON"))]);
    safetensors::serialize(all, Some(meta)).expect("shapes and sizes agree")
}

fn le<const N: usize>(values: impl Iterator<Item = [u8; N]>) -> Vec<u8> {
    values.flatten().collect()
}

fn pack(rows: &[u8], n_res: usize) -> Vec<u8> {
    let word = |c: &[u8]| c.iter().rev().fold(0, |w, &t| w * BASE as u16 + u16::from(t));
    rows.chunks_exact(n_res.max(1)).flat_map(|row| row.chunks(3).map(word)).flat_map(u16::to_le_bytes).collect()
}

/// Masks as bits, and the coordinates under the set bits in order.
fn pack_atoms(positions: &[Positions37], mask: &[Mask37]) -> (Vec<u8>, Vec<u8>) {
    let (mut bits, mut atoms) = (Vec::new(), Vec::new());
    for (at, mask) in positions.iter().zip(mask) {
        let mut word = 0u64;
        for slot in (0..37).filter(|&s| mask[s] > 0.0) {
            word |= 1 << slot;
            atoms.extend(at[slot].iter().flat_map(|x| x.to_le_bytes()));
        }
        bits.extend(word.to_le_bytes());
    }
    (bits, atoms)
}

/// Reads what [`encode`] wrote. The message says what is wrong; nothing in the bytes is trusted.
pub fn decode(bytes: &[u8], entry: &Entry) -> Result<Example, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    let all = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let view = |name: &str, dtype: Dtype| match all.tensor(name) {
        Ok(v) if v.dtype() == dtype => Ok(v),
        Ok(v) => Err(format!("tensor `{name}` is {:?}, not {dtype:?}", v.dtype())),
        Err(e) => Err(e.to_string()),
    };
    let aatype = view("aatype", Dtype::U8)?.data().to_vec();
    let n = aatype.len();
    if n == 0 || n > usize::from(u16::MAX) || aatype.iter().any(|&t| t > 20) {
        return Err("`aatype` is empty, too long or holds a type above 20".into());
    }
    let residue_index: Vec<i32> = words(&view("residue_index", Dtype::I32)?).map(i32::from_le_bytes).collect();
    let alignment = decode_alignment(n, &view("msa", Dtype::U16)?, &view("deletion_ends", Dtype::U32)?, &view("deletions", Dtype::U16)?)?;
    if residue_index.len() != n {
        return Err("`residue_index` is of another length than `aatype`".into());
    }
    let labels = if all.names().contains(&"atom_mask") {
        let (positions, mask) = unpack_atoms(&view("atom_mask", Dtype::U64)?, &view("atoms", Dtype::F32)?, n)?;
        Some(Labels { positions, mask, resolution: entry.resolution.unwrap_or(0.0) as f32, is_distillation: entry.is_distillation })
    } else {
        None
    };
    let names = header.metadata().as_ref().and_then(|m| m.get("templates").cloned()).unwrap_or("[]".into());
    let names: Vec<String> = serde_json::from_str(&names).map_err(|e| format!("names of templates: {e}"))?;
    let kinds = view("template_aatype", Dtype::U8)?;
    let sum_probs: Vec<f32> = words(&view("template_sum_probs", Dtype::F32)?).map(f32::from_le_bytes).collect();
    let t = names.len();
    if kinds.data().len() != t * n || sum_probs.len() != t || kinds.data().iter().any(|&k| k > 21) {
        return Err("template tensors do not fit each other".into());
    }
    let (positions, mask) = unpack_atoms(&view("template_mask", Dtype::U64)?, &view("template_atoms", Dtype::F32)?, t * n)?;
    let templates = names.into_iter().enumerate().map(|(i, name)| Template {
        name,
        sum_probs: sum_probs[i],
        aatype: kinds.data()[i * n..][..n].to_vec(),
        positions: positions[i * n..][..n].to_vec(),
        mask: mask[i * n..][..n].to_vec(),
    });
    Ok(Example { id: entry.id.clone(), templates: templates.collect(), aatype, residue_index, alignment, labels })
}

fn words<'a, const N: usize>(view: &TensorView<'a>) -> impl Iterator<Item = [u8; N]> + use<'a, N> {
    view.data().as_chunks::<N>().0.iter().copied()
}

fn decode_alignment(n: usize, msa: &TensorView, ends: &TensorView, deletions: &TensorView) -> Result<Alignment, String> {
    let n_seq = ends.data().len() / 4;
    let per_row = n.div_ceil(3);
    if n_seq == 0 || msa.data().len() != n_seq * per_row * 2 {
        return Err("`msa` does not fit `aatype` and `deletion_ends`".into());
    }
    let mut rows = Vec::with_capacity(n_seq * n + 3);
    for packed in msa.data().chunks_exact(per_row * 2) {
        for &word in packed.as_chunks::<2>().0 {
            rows.extend(TRIPLES.get(usize::from(u16::from_le_bytes(word))).ok_or("`msa` holds a word beyond three types")?);
        }
        rows.truncate(rows.len() - (per_row * 3 - n));
    }
    let items: Vec<(u16, u16)> =
        words::<4>(deletions).map(|[a, b, c, d]| (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))).collect();
    let mut offsets = vec![0u32];
    offsets.extend(words(ends).map(u32::from_le_bytes));
    if !offsets.is_sorted() || *offsets.last().expect("not empty") as usize != items.len() || items.iter().any(|i| usize::from(i.0) >= n) {
        return Err("deletions do not fit the alignment".into());
    }
    Ok(Alignment { n_res: n, rows, deletions: Deletions { offsets, items } })
}

fn unpack_atoms(bits: &TensorView, atoms: &TensorView, n: usize) -> Result<(Vec<Positions37>, Vec<Mask37>), String> {
    let mut positions = vec![[[0.0; 3]; 37]; n];
    let mut mask = vec![[0.0; 37]; n];
    let mut at = atoms.data().as_chunks::<12>().0.iter();
    let bits: Vec<u64> = words(bits).map(u64::from_le_bytes).collect();
    if bits.len() != n || bits.iter().any(|b| b >> 37 != 0) {
        return Err("an atom mask does not fit its residues".into());
    }
    for (i, mut word) in bits.into_iter().enumerate() {
        while word != 0 {
            let slot = word.trailing_zeros() as usize;
            word &= word - 1;
            let xyz = at.next().ok_or("fewer coordinates than atoms")?;
            positions[i][slot] = [0, 4, 8].map(|k| f32::from_le_bytes([xyz[k], xyz[k + 1], xyz[k + 2], xyz[k + 3]]));
            mask[i][slot] = 1.0;
        }
    }
    if at.next().is_some() { Err("more coordinates than atoms".into()) } else { Ok((positions, mask)) }
}
