//! Compact features as tensors, padded to the sizes that a plan was made for.
//!
//! | shared by all passes | shape | |
//! | --- | --- | --- |
//! | `aatype` `residue_index` | `[n_res]` i32 | types 0..=20 |
//! | `seq_mask` | `[n_res]` | 1 where a residue is |
//! | `asym_id` `entity_id` `sym_id` | `[n_res]` i32 | zeros: one chain |
//! | `atom14_atom_exists` … | `[n_res, 14 or 37]` | see [`full::atom14_masks`] |
//! | `template_*` | `[n_templ, n_res, …]` | see [`full::template_features`] |
//!
//! | of one pass | shape | |
//! | --- | --- | --- |
//! | `msa` `true_msa` | `[n_clust, n_res]` i32 | types 0..=22 and 0..=21 |
//! | `msa_mask` `bert_mask` | `[n_clust, n_res]` | |
//! | `deletion_count` | `[n_clust, n_res]` i32 | |
//! | `cluster_size` | `[n_clust]` i32 | rows, centre included; 0 in padding |
//! | `cluster_count` | `[n_clust, n_res, 23]` i32 | profile = count / (1e-6 + size) |
//! | `cluster_deletion_sum` | `[n_clust, n_res]` i32 | mean = sum / (1e-6 + size) |
//! | `extra_msa` `extra_deletion_count` | `[n_extra, n_res]` i32 | |
//! | `extra_msa_mask` | `[n_extra, n_res]` | |

use std::collections::BTreeMap;

use crate::data::example::Labels;
use crate::data::features::{Features, Pass};
use crate::data::full::{self, Size, pad_f32, pad_i32};
use crate::protein::truth::{GroundTruth, ground_truth};
use crate::tensor::HostTensor;

/// Tensors that hold for all passes.
pub fn shared(f: &Features, size: Size) -> BTreeMap<String, HostTensor> {
    let mut out = full::residue_features(f, size);
    for unused in ["target_feat", "seq_length", "random_crop_to_size_seed", "is_distillation"] {
        out.remove(unused);
    }
    for id in ["asym_id", "entity_id", "sym_id"] {
        out.insert(id.into(), HostTensor::i32(&[size.n_res], vec![0; size.n_res]));
    }
    if size.n_templ > 0 {
        out.extend(full::template_features(f, size));
    }
    out
}

/// Tensors of pass number `r`.
pub fn pass(f: &Features, r: usize, size: Size) -> BTreeMap<String, HostTensor> {
    let p: &Pass = &f.passes[r];
    let (n, c, e) = (f.n_crop(), f.n_clust(), f.n_extra());
    let (from, to) = ([c, n], [size.n_clust, size.n_res]);
    let (extra_from, extra_to) = ([e, n], [size.n_extra, size.n_res]);
    BTreeMap::from([
        ("msa".into(), pad_i32(&ints(&p.msa), &from, &to)),
        ("true_msa".into(), pad_i32(&ints(&p.true_msa), &from, &to)),
        ("msa_mask".into(), pad_f32(&vec![1.0; c * n], &from, &to)),
        ("bert_mask".into(), pad_f32(&p.bert_mask.iter().map(|&m| f32::from(m)).collect::<Vec<_>>(), &from, &to)),
        ("deletion_count".into(), pad_i32(&ints(&p.deletions), &from, &to)),
        ("cluster_size".into(), pad_i32(&whole(&p.clusters.size), &[c], &[size.n_clust])),
        ("cluster_count".into(), pad_i32(&ints(&p.clusters.counts), &[c, n, 23], &[size.n_clust, size.n_res, 23])),
        ("cluster_deletion_sum".into(), pad_i32(&whole(&p.clusters.deletions), &from, &to)),
        ("extra_msa".into(), pad_i32(&ints(&p.extra_msa), &extra_from, &extra_to)),
        ("extra_deletion_count".into(), pad_i32(&ints(&p.extra_deletions), &extra_from, &extra_to)),
        ("extra_msa_mask".into(), pad_f32(&vec![1.0; e * n], &extra_from, &extra_to)),
    ])
}

fn ints<T: Copy + Into<i32>>(values: &[T]) -> Vec<i32> {
    values.iter().map(|&v| v.into()).collect()
}

fn whole(values: &[u32]) -> Vec<i32> {
    values.iter().map(|&v| i32::try_from(v).expect("sums of 65,535 counts of 16 bits that real alignments never reach")).collect()
}

/// Ground truth as the losses take it, padded to `n_res`, under AlphaFold's names; scalars `[1]`: `resolution`, `use_clamped_fape`,
/// `is_distillation`. `None` for an example without labels.
pub fn labels(f: &Features, n_res: usize) -> Option<BTreeMap<String, HostTensor>> {
    let labels: &Labels = f.labels.as_ref()?;
    let aatype: Vec<usize> = f.aatype.iter().map(|&t| usize::from(t)).collect();
    let t: GroundTruth = ground_truth(&aatype, &labels.positions, &labels.mask);
    let n = aatype.len();
    let put = |values: &[f32], inner: &[usize]| {
        let (from, to) = ([&[n], inner].concat(), [&[n_res], inner].concat());
        pad_f32(values, &from, &to)
    };
    let flag = |v: f32| HostTensor::f32(&[1], vec![v]);
    Some(BTreeMap::from([
        ("all_atom_positions".into(), put(labels.positions.as_flattened().as_flattened(), &[37, 3])),
        ("all_atom_mask".into(), put(labels.mask.as_flattened(), &[37])),
        ("atom14_gt_positions".into(), put(t.atom14_gt_positions.as_flattened().as_flattened(), &[14, 3])),
        ("atom14_gt_exists".into(), put(t.atom14_gt_exists.as_flattened(), &[14])),
        ("atom14_alt_gt_positions".into(), put(t.atom14_alt_gt_positions.as_flattened().as_flattened(), &[14, 3])),
        ("atom14_alt_gt_exists".into(), put(t.atom14_alt_gt_exists.as_flattened(), &[14])),
        ("atom14_atom_is_ambiguous".into(), put(t.atom14_atom_is_ambiguous.as_flattened(), &[14])),
        ("pseudo_beta".into(), put(t.pseudo_beta.as_flattened(), &[3])),
        ("pseudo_beta_mask".into(), put(&t.pseudo_beta_mask, &[])),
        ("backbone_affine_tensor".into(), put(t.backbone_affine_tensor.as_flattened(), &[7])),
        ("backbone_affine_mask".into(), put(&t.backbone_affine_mask, &[])),
        ("chi_angles".into(), put(t.chi_angles.as_flattened(), &[4])),
        ("chi_mask".into(), put(t.chi_mask.as_flattened(), &[4])),
        ("rigidgroups_gt_frames".into(), put(t.groups.frames.as_flattened().as_flattened(), &[8, 12])),
        ("rigidgroups_alt_gt_frames".into(), put(t.groups.alt_frames.as_flattened().as_flattened(), &[8, 12])),
        ("rigidgroups_gt_exists".into(), put(t.groups.exists.as_flattened(), &[8])),
        ("rigidgroups_group_exists".into(), put(t.groups.group_exists.as_flattened(), &[8])),
        ("rigidgroups_group_is_ambiguous".into(), put(t.groups.is_ambiguous.as_flattened(), &[8])),
        ("resolution".into(), flag(labels.resolution)),
        ("use_clamped_fape".into(), flag(f32::from(u8::from(f.clamped)))),
        ("is_distillation".into(), flag(f32::from(u8::from(labels.is_distillation)))),
    ]))
}
