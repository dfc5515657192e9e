//! AlphaFold's feature arrays, in floats and one-hot, as its network takes them (QUIRKS 54-60).
//!
//! For `data features`, `verify` and comparison. Training and prediction ship [`crate::data::features`] instead.

use std::collections::BTreeMap;
use std::f32::consts::FRAC_2_PI;

use crate::data::cluster;
use crate::data::features::{Features, Pass};
use crate::protein::tables::TABLES;
use crate::protein::truth::pseudo_beta;
use crate::tensor::HostTensor;

/// Sizes to which features are padded with zeros; at least what the example has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Residues.
    pub n_res: usize,
    /// Cluster centres.
    pub n_clust: usize,
    /// Extra rows.
    pub n_extra: usize,
    /// Templates; 0 leaves out all template features.
    pub n_templ: usize,
}

impl Size {
    /// What the example has, without padding.
    pub fn of(f: &Features) -> Self {
        Self { n_res: f.n_crop(), n_clust: f.n_clust(), n_extra: f.n_extra(), n_templ: f.templates.len() }
    }
}

/// All features under AlphaFold's names, each with the leading pass axis (ensemble x recycle).
pub fn full(f: &Features, size: Size) -> BTreeMap<String, HostTensor> {
    let mut shared = residue_features(f, size);
    if size.n_templ > 0 {
        shared.extend(template_features(f, size));
    }
    let n_pass = f.passes.len();
    let mut all: BTreeMap<String, HostTensor> = shared.into_iter().map(|(name, t)| (name, repeat(&t, n_pass))).collect();
    let mut passes: Vec<BTreeMap<String, HostTensor>> = f.passes.iter().map(|p| msa_features(f, p, size)).collect();
    let names: Vec<String> = passes.first().map(|p| p.keys().cloned().collect()).unwrap_or_default();
    for name in names {
        let parts: Vec<HostTensor> = passes.iter_mut().map(|p| p.remove(&name).expect("passes have the same features")).collect();
        all.insert(name, stack(&parts));
    }
    all
}

/// The features of pass `r` alone, without the pass axis.
pub fn pass(f: &Features, r: usize, size: Size) -> BTreeMap<String, HostTensor> {
    let mut all = residue_features(f, size);
    if size.n_templ > 0 {
        all.extend(template_features(f, size));
    }
    all.extend(msa_features(f, &f.passes[r], size));
    all
}

/// Features that hold for a residue: the same in every pass, without the pass axis.
pub fn residue_features(f: &Features, size: Size) -> BTreeMap<String, HostTensor> {
    let (n, to) = (f.n_crop(), size.n_res);
    let int = |v: Vec<i32>| pad_i32(&v, &[n], &[to]);
    let is_distillation = f.labels.as_ref().is_some_and(|l| l.is_distillation);
    let mut out = BTreeMap::from([
        ("aatype".into(), int(f.aatype.iter().map(|&t| i32::from(t)).collect())),
        ("residue_index".into(), int(f.residue_index.clone())),
        ("seq_length".into(), HostTensor::i32(&[], vec![n as i32])),
        ("seq_mask".into(), pad_f32(&vec![1.0; n], &[n], &[to])),
        ("target_feat".into(), pad_f32(&target_feat(&f.aatype), &[n, 22], &[to, 22])),
        ("is_distillation".into(), HostTensor::f32(&[], vec![f32::from(u8::from(is_distillation))])),
        ("random_crop_to_size_seed".into(), HostTensor::i32(&[2], f.crop_seed.to_vec())),
    ]);
    for (name, tensor) in atom14_masks(&f.aatype) {
        let width = tensor.shape[1];
        let padded = match &tensor.data {
            crate::tensor::Data::F32(v) => pad_f32(v, &[n, width], &[to, width]),
            crate::tensor::Data::I32(v) => pad_i32(v, &[n, width], &[to, width]),
        };
        out.insert(name, padded);
    }
    out
}

/// `target_feat` `[n_res, 22]`: a domain break, never set for chains, and the type one-hot over 21.
pub fn target_feat(aatype: &[u8]) -> Vec<f32> {
    let mut feat = vec![0.0; aatype.len() * 22];
    for (row, &kind) in feat.chunks_exact_mut(22).zip(aatype) {
        row[1 + usize::from(kind)] = 1.0;
    }
    feat
}

/// `make_atom14_masks`: which atoms a residue has in the two layouts, and how slots map.
pub fn atom14_masks(aatype: &[u8]) -> BTreeMap<String, HostTensor> {
    let n = aatype.len();
    let float = |width: usize, row: &dyn Fn(usize) -> Vec<f32>| {
        HostTensor::f32(&[n, width], aatype.iter().flat_map(|&t| row(usize::from(t))).collect())
    };
    let int = |width: usize, row: &dyn Fn(usize) -> Vec<i32>| {
        HostTensor::i32(&[n, width], aatype.iter().flat_map(|&t| row(usize::from(t))).collect())
    };
    BTreeMap::from([
        ("atom14_atom_exists".into(), float(14, &|t| TABLES.atom14_exists[t].to_vec())),
        ("atom37_atom_exists".into(), float(37, &|t| TABLES.atom37_exists[t].to_vec())),
        ("residx_atom14_to_atom37".into(), int(14, &|t| TABLES.atom14_to_atom37[t].to_vec())),
        ("residx_atom37_to_atom14".into(), int(37, &|t| TABLES.atom37_to_atom14[t].to_vec())),
    ])
}

/// Template features without the pass axis, padded to `n_templ`.
pub fn template_features(f: &Features, size: Size) -> BTreeMap<String, HostTensor> {
    let (n, t, to_t, to) = (f.n_crop(), f.templates.len(), size.n_templ, size.n_res);
    let mut beta = Vec::with_capacity(t * n * 3);
    let mut beta_mask = Vec::with_capacity(t * n);
    for template in &f.templates {
        for ((&kind, positions), mask) in template.aatype.iter().zip(&template.positions).zip(&template.mask) {
            let (at, known) = pseudo_beta(usize::from(kind), positions, mask);
            beta.extend(at);
            beta_mask.push(known);
        }
    }
    let all = |part: &dyn Fn(usize) -> Vec<f32>| (0..t).flat_map(part).collect::<Vec<f32>>();
    let positions = all(&|i| f.templates[i].positions.as_flattened().as_flattened().to_vec());
    let masks = all(&|i| f.templates[i].mask.as_flattened().to_vec());
    let aatype: Vec<i32> = f.templates.iter().flat_map(|t| &t.aatype).map(|&k| i32::from(k)).collect();
    let sum_probs: Vec<f32> = f.templates.iter().map(|t| t.sum_probs).collect();
    BTreeMap::from([
        ("template_aatype".into(), pad_i32(&aatype, &[t, n], &[to_t, to])),
        ("template_all_atom_positions".into(), pad_f32(&positions, &[t, n, 37, 3], &[to_t, to, 37, 3])),
        ("template_all_atom_masks".into(), pad_f32(&masks, &[t, n, 37], &[to_t, to, 37])),
        ("template_pseudo_beta".into(), pad_f32(&beta, &[t, n, 3], &[to_t, to, 3])),
        ("template_pseudo_beta_mask".into(), pad_f32(&beta_mask, &[t, n], &[to_t, to])),
        ("template_mask".into(), pad_f32(&vec![1.0; t], &[t], &[to_t])),
        ("template_sum_probs".into(), pad_f32(&sum_probs, &[t, 1], &[to_t, 1])),
    ])
}

/// Features of one pass's alignment, without the pass axis.
fn msa_features(f: &Features, pass: &Pass, size: Size) -> BTreeMap<String, HostTensor> {
    let (n, c, e) = (f.n_crop(), f.n_clust(), f.n_extra());
    let (profile, mean) = cluster::means(&pass.clusters);
    let count = |v: &[u16]| v.iter().map(|&d| f32::from(d)).collect::<Vec<f32>>();
    let feat = msa_feat(&pass.msa, &count(&pass.deletions), &profile, &mean);
    let extra = count(&pass.extra_deletions);
    let has: Vec<f32> = extra.iter().map(|&d| has_deletion(d)).collect();
    let value: Vec<f32> = extra.iter().map(|&d| deletion_value(d)).collect();
    let types = |v: &[u8]| v.iter().map(|&t| i32::from(t)).collect::<Vec<i32>>();
    let bert: Vec<f32> = pass.bert_mask.iter().map(|&m| f32::from(m)).collect();
    let rows = |v: &[f32], n_row: usize, to_row: usize| pad_f32(v, &[n_row, n], &[to_row, size.n_res]);
    BTreeMap::from([
        ("msa_feat".into(), pad_f32(&feat, &[c, n, 49], &[size.n_clust, size.n_res, 49])),
        ("msa_mask".into(), rows(&vec![1.0; c * n], c, size.n_clust)),
        ("msa_row_mask".into(), pad_f32(&vec![1.0; c], &[c], &[size.n_clust])),
        ("bert_mask".into(), rows(&bert, c, size.n_clust)),
        ("true_msa".into(), pad_i32(&types(&pass.true_msa), &[c, n], &[size.n_clust, size.n_res])),
        ("extra_msa".into(), pad_i32(&types(&pass.extra_msa), &[e, n], &[size.n_extra, size.n_res])),
        ("extra_msa_mask".into(), rows(&vec![1.0; e * n], e, size.n_extra)),
        ("extra_msa_row_mask".into(), pad_f32(&vec![1.0; e], &[e], &[size.n_extra])),
        ("extra_has_deletion".into(), rows(&has, e, size.n_extra)),
        ("extra_deletion_value".into(), rows(&value, e, size.n_extra)),
    ])
}

/// `msa_feat` `[n_clust, n_res, 49]`: type one-hot over 23, has deletion, deletion value, cluster profile 23, mean deletion value.
pub fn msa_feat(msa: &[u8], deletions: &[f32], profile: &[f32], deletion_mean: &[f32]) -> Vec<f32> {
    let mut feat = vec![0.0; msa.len() * 49];
    for (i, cell) in feat.chunks_exact_mut(49).enumerate() {
        cell[usize::from(msa[i])] = 1.0;
        cell[23] = has_deletion(deletions[i]);
        cell[24] = deletion_value(deletions[i]);
        cell[25..48].copy_from_slice(&profile[i * 23..][..23]);
        cell[48] = deletion_value(deletion_mean[i]);
    }
    feat
}

/// `clip(d, 0, 1)`.
pub fn has_deletion(count: f32) -> f32 {
    count.clamp(0.0, 1.0)
}

/// `atan(d / 3) * 2 / pi`.
pub fn deletion_value(count: f32) -> f32 {
    (count / 3.0).atan() * FRAC_2_PI
}

/// Zero-padding at the end of every axis.
pub fn pad_f32(values: &[f32], from: &[usize], to: &[usize]) -> HostTensor {
    HostTensor::f32(to, pad(values, from, to, 0.0))
}

/// Zero-padding at the end of every axis.
pub fn pad_i32(values: &[i32], from: &[usize], to: &[usize]) -> HostTensor {
    HostTensor::i32(to, pad(values, from, to, 0))
}

fn pad<T: Copy>(values: &[T], from: &[usize], to: &[usize], zero: T) -> Vec<T> {
    assert!(from.len() == to.len() && from.iter().zip(to).all(|(f, t)| f <= t), "cannot pad {from:?} to {to:?}");
    assert_eq!(values.len(), from.iter().product::<usize>(), "{} values for shape {from:?}", values.len());
    if from == to {
        return values.to_vec();
    }
    let mut out = vec![zero; to.iter().product()];
    place(values, from, to, &mut out);
    out
}

fn place<T: Copy>(values: &[T], from: &[usize], to: &[usize], out: &mut [T]) {
    let (Some((&f, from)), Some((&t, to))) = (from.split_first(), to.split_first()) else {
        out[0] = values[0];
        return;
    };
    if from == to {
        out[..values.len()].copy_from_slice(values);
        return;
    }
    let (width, to_width) = (values.len() / f.max(1), out.len() / t.max(1));
    for i in 0..f {
        place(&values[i * width..][..width], from, to, &mut out[i * to_width..][..to_width]);
    }
}

fn repeat(tensor: &HostTensor, n: usize) -> HostTensor {
    stack(&vec![tensor.clone(); n])
}

/// Tensors of one shape along a new first axis.
fn stack(parts: &[HostTensor]) -> HostTensor {
    let shape: Vec<usize> = std::iter::once(parts.len()).chain(parts.first().map(|p| p.shape.clone()).unwrap_or_default()).collect();
    match parts.first().map(|p| &p.data) {
        Some(crate::tensor::Data::I32(_)) => HostTensor::i32(&shape, parts.iter().flat_map(|p| p.as_i32().to_vec()).collect()),
        _ => HostTensor::f32(&shape, parts.iter().flat_map(|p| p.as_f32().to_vec()).collect()),
    }
}
