//! Runs the golden cases of the structural losses on the device, outputs and gradients.
//!
//! Knows what the cases hold, not how close is close enough.

use std::rc::Rc;

use super::Context;
use super::bench::{Bench, same};
use super::golden::Golden;
use super::gpu_structure;
use super::host_structure::Outputs;
use crate::error::Result;
use crate::graph::Tensor;
use crate::loss::chi::supervised_chi_loss;
use crate::loss::fape::{FAPE, Truth, backbone_loss, sidechain_loss};
use crate::loss::structure::{
    AtomTruth, Prediction, StructureLoss, StructureLossConfig, StructureTruth, compute_renamed_ground_truth, find_optimal_renaming,
    renamed, structure_module_loss,
};
use crate::loss::violation::{
    Atoms, Metrics, Tolerances, Violations, find_structural_violations, structural_violation_loss, violation_metrics,
};
use crate::ops::loss::clash::Clash;
use crate::ops::loss::fape::Fape;
use crate::ops::loss::peptide::Peptide;
use crate::ops::loss::weighted_sum::WeightedSum;
use crate::ops::loss::within::Within;
use crate::tensor::HostTensor;

/// The outputs of a case, or `None` when its module is not one of this file's.
pub fn run(context: &Context, case: &Golden) -> Option<Result<Outputs>> {
    let module: fn(&Bench) -> Result<()> = match case.module.as_str() {
        "frame_aligned_point_error" => frame_aligned_point_error,
        "backbone_loss" => backbone,
        "sidechain_loss" => sidechain,
        "find_optimal_renaming" => optimal_renaming,
        "compute_renamed_ground_truth" => renamed_ground_truth,
        "supervised_chi_loss" => chi,
        "between_residue_bond_loss" => bonds,
        "extreme_ca_ca_distance_violations" => extreme_ca_ca,
        "between_residue_clash_loss" => clashes,
        "within_residue_violations" => within,
        "structural_violation_loss" => violations,
        "structure_module_loss_given" => structure_module_loss_given,
        "structure_module_loss" => structure_module_loss_made,
        _ => return None,
    };
    Some(Bench::run(context, case, module))
}

/// The clamped error's share: the case's, or all of it where the case has none.
fn use_clamped_fape<'a>(b: &Bench<'a>) -> Result<Tensor<'a>> {
    match b.case.tensors.contains_key("in:use_clamped_fape") {
        true => b.input("use_clamped_fape"),
        false => Ok(b.graph.constant("always clamped", &HostTensor::f32(&[1], vec![1.0]))),
    }
}

fn one_layer(x: Tensor) -> Tensor {
    x.reshape(&[&[1], x.shape().as_slice()].concat())
}

fn frame_aligned_point_error(b: &Bench) -> Result<()> {
    let op = fape_of(b, "l1_clamp_distance", "length_scale");
    let (frames, points) = (one_layer(b.input("pred_frames")?), one_layer(b.input("pred_positions")?));
    let truth = (b.input("target_frames")?, b.input("target_positions")?);
    let masks = (b.input("frames_mask")?, b.input("positions_mask")?);
    let y = b.graph.apply_all(Rc::new(op), &[frames, points, truth.0, masks.0, truth.1, masks.1, use_clamped_fape(b)?]);
    b.output("fape", y[0])
}

fn fape_of(b: &Bench, clamp: &str, scale: &str) -> Fape {
    // A case whose clamp is null has none.
    Fape { clamp: weight(b, clamp).ok(), scale: weight(b, scale).unwrap_or(FAPE.scale), eps: FAPE.eps }
}

fn backbone(b: &Bench) -> Result<()> {
    let truth = Truth { frames: b.input("backbone_affine_tensor")?, mask: b.input("backbone_affine_mask")? };
    let y = backbone_loss(fape_of(b, "fape/clamp_distance", "fape/loss_unit_distance"), b.input("traj")?, truth, use_clamped_fape(b)?);
    b.output("fape", y.fape)?;
    b.output("loss", y.loss)
}

/// The last layer of a tensor whose first axis is the layers.
fn last_layer(x: Tensor) -> Tensor {
    let shape = x.shape();
    x.slice(0, shape[0] - 1..shape[0]).reshape(&shape[1..])
}

fn sidechain(b: &Bench) -> Result<()> {
    let better = b.input("alt_naming_is_better")?;
    let frames = renamed(better, b.input("rigidgroups_gt_frames")?, b.input("rigidgroups_alt_gt_frames")?);
    let truth = Truth { frames, mask: b.input("rigidgroups_gt_exists")? };
    let (frames, positions) = (last_layer(b.input("frames")?), last_layer(b.input("atom_pos")?));
    let atoms = (b.input("renamed_atom14_gt_positions")?, b.input("renamed_atom14_gt_exists")?);
    let fape = fape_of(b, "sidechain/atom_clamp_distance", "sidechain/length_scale");
    let loss = sidechain_loss(fape, frames, positions, truth, atoms.0, atoms.1);
    b.output("fape", loss)?;
    b.output("loss", loss)
}

fn atom_truth<'a>(b: &Bench<'a>, alt_exists: bool) -> Result<AtomTruth<'a>> {
    let exists = b.input("atom14_gt_exists")?;
    Ok(AtomTruth {
        atom14_gt_positions: b.input("atom14_gt_positions")?,
        atom14_alt_gt_positions: b.input("atom14_alt_gt_positions")?,
        atom14_gt_exists: exists,
        atom14_alt_gt_exists: if alt_exists { b.input("atom14_alt_gt_exists")? } else { exists },
        atom14_atom_is_ambiguous: b.input("atom14_atom_is_ambiguous")?,
    })
}

fn optimal_renaming(b: &Bench) -> Result<()> {
    let positions = b.input("atom14_pred_positions")?;
    b.output("alt_naming_is_better", find_optimal_renaming(positions, &atom_truth(b, false)?))
}

fn renamed_ground_truth(b: &Bench) -> Result<()> {
    let y = compute_renamed_ground_truth(b.input("atom14_pred_positions")?, &atom_truth(b, true)?);
    b.output("alt_naming_is_better", y.alt_naming_is_better)?;
    b.output("renamed_atom14_gt_positions", y.positions)?;
    b.output("renamed_atom14_gt_exists", y.exists)
}

/// A weight of the case's configuration.
fn weight(b: &Bench, key: &str) -> Result<f32> {
    b.config().number(key).map(|w| w as f32)
}

fn chi(b: &Bench) -> Result<()> {
    let angles = (b.input("angles_sin_cos")?, b.input("unnormalized_angles_sin_cos")?);
    let truth = (b.input("chi_angles")?, b.input("chi_mask")?);
    let y = supervised_chi_loss(angles.0, angles.1, truth.0, truth.1, b.input("seq_mask")?, b.input("aatype")?);
    b.output("chi_loss", y.chi)?;
    b.output("angle_norm_loss", y.angle_norm)?;
    let weights = vec![weight(b, "chi_weight")?, weight(b, "angle_norm_weight")?];
    b.output("loss", b.graph.apply(WeightedSum { weights }, &[y.chi, y.angle_norm]))
}

fn integers(x: HostTensor) -> HostTensor {
    HostTensor::i32(&x.shape, x.to_f32().iter().map(|v| *v as i32).collect())
}

/// The rows of `x [k, 1]` as outputs of one element each.
fn elements<'a>(b: &Bench<'a>, names: &[&str], x: Tensor<'a>) -> Result<()> {
    names.iter().enumerate().try_for_each(|(k, name)| b.output(name, x.slice(0, k..k + 1).reshape(&[1])))
}

const BOND_MEANS: [&str; 3] = ["c_n_loss_mean", "ca_c_n_loss_mean", "c_n_ca_loss_mean"];

fn bond_inputs<'a>(b: &Bench<'a>) -> Result<[Tensor<'a>; 3]> {
    Ok([b.input("pred_atom_positions")?, b.input("pred_atom_mask")?, b.input_as("residue_index", integers, same)?])
}

fn bonds(b: &Bench) -> Result<()> {
    let [positions, mask, index] = bond_inputs(b)?;
    let op = Peptide { factor: weight(b, "tolerance_factor_soft")? };
    let y = b.graph.apply_all(Rc::new(op), &[positions, mask, index, b.input("aatype")?]);
    elements(b, &BOND_MEANS, y[0])?;
    b.output("per_residue_loss_sum", y[1])?;
    b.output("per_residue_violation_mask", y[2])
}

/// The case has no residue types: they matter to other outputs of the operation only.
fn extreme_ca_ca(b: &Bench) -> Result<()> {
    let [positions, mask, index] = bond_inputs(b)?;
    let y = b.graph.apply_all(Rc::new(Peptide { factor: Tolerances::default().bond_factor }), &[positions, mask, index, index]);
    elements(b, &["violations"], y[3])
}

/// A table with a row for each residue, and the residues' rows in it: the case has the values that we look up by residue type.
fn each_its_own<'a>(b: &Bench<'a>, n: usize) -> Tensor<'a> {
    b.graph.constant("rows", &HostTensor::i32(&[n], (0..n as i32).collect()))
}

fn clashes(b: &Bench) -> Result<()> {
    let (positions, exists) = (b.input("atom14_pred_positions")?, b.input("atom14_atom_exists")?);
    let rows = each_its_own(b, exists.shape()[0]);
    let op = Clash { overlap: weight(b, "overlap_tolerance_soft")? };
    let x = [positions, exists, b.input("atom14_atom_radius")?, rows, b.input("residue_index")?];
    let y = b.graph.apply_all(Rc::new(op), &x);
    b.output("per_atom_loss_sum", y[0])?;
    b.output("per_atom_clash_mask", y[1])?;
    b.output("mean_loss", y[2])
}

fn within(b: &Bench) -> Result<()> {
    let (positions, exists) = (b.input("atom14_pred_positions")?, b.input("atom14_atom_exists")?);
    let rows = each_its_own(b, exists.shape()[0]);
    let bounds = (b.input("atom14_dists_lower_bound")?, b.input("atom14_dists_upper_bound")?);
    let y = b.graph.apply_all(Rc::new(Within), &[positions, exists, rows, bounds.0, bounds.1]);
    b.output("per_atom_loss_sum", y[0])?;
    b.output("per_atom_violations", y[1])
}

fn metrics_outputs<'a>(b: &Bench<'a>, m: &Metrics<'a>) -> Result<()> {
    let kinds = ["between_residue_bond", "between_residue_clash", "within_residue", "per_residue"];
    let names = kinds.map(|kind| format!("metrics/violations_{kind}"));
    elements(b, &names.each_ref().map(String::as_str), m.shares)?;
    b.output("metrics/violations_extreme_ca_ca_distance", m.extreme_ca_ca)
}

fn tolerances(b: &Bench) -> Result<Tolerances> {
    Ok(Tolerances { bond_factor: weight(b, "violation_tolerance_factor")?, overlap: weight(b, "clash_overlap_tolerance")? })
}

/// Every violation and its metrics, as AlphaFold's code names them.
fn violation_outputs<'a>(b: &Bench<'a>, v: &Violations<'a>, metrics: &Metrics<'a>) -> Result<()> {
    let between = |name: &str, x: Tensor<'a>| b.output(&format!("violations/between_residues/{name}"), x);
    let means = ["bonds_c_n_loss_mean", "angles_ca_c_n_loss_mean", "angles_c_n_ca_loss_mean"];
    elements(b, &means.map(|m| format!("violations/between_residues/{m}")).each_ref().map(String::as_str), v.bonds)?;
    between("connections_per_residue_loss_sum", v.bonds_per_residue)?;
    between("connections_per_residue_violation_mask", v.bonds_mask)?;
    between("clashes_mean_loss", v.clashes_mean)?;
    between("clashes_per_atom_loss_sum", v.clashes)?;
    between("clashes_per_atom_clash_mask", v.clashes_mask)?;
    b.output("violations/within_residues/per_atom_loss_sum", v.within)?;
    b.output("violations/within_residues/per_atom_violations", v.within_mask)?;
    b.output("violations/total_per_residue_violations_mask", metrics.total_per_residue)?;
    metrics_outputs(b, metrics)
}

fn violations(b: &Bench) -> Result<()> {
    let exists = b.input("atom14_atom_exists")?;
    let (aatype, residue_index) = (b.input("aatype")?, b.input("residue_index")?);
    let atoms = Atoms { positions: b.input("atom14_pred_positions")?, exists, aatype, residue_index };
    let v = find_structural_violations(tolerances(b)?, atoms);
    violation_outputs(b, &v, &violation_metrics(&v, b.input("seq_mask")?))?;
    b.output("loss", structural_violation_loss(&v, exists))
}

fn loss_config(b: &Bench) -> Result<StructureLossConfig> {
    let side = weight(b, "sidechain/weight_frac")?;
    Ok(StructureLossConfig {
        backbone_fape: 1.0 - side,
        sidechain_fape: side,
        chi: weight(b, "chi_weight")?,
        angle_norm: weight(b, "angle_norm_weight")?,
        violation: weight(b, "structural_violation_loss_weight")?,
        clamp: weight(b, "fape/clamp_distance")?,
        length_scale: weight(b, "fape/loss_unit_distance")?,
        tolerances: tolerances(b)?,
    })
}

/// The truth of a case, whose inputs have AlphaFold's names.
fn structure_truth<'a>(b: &Bench<'a>) -> Result<StructureTruth<'a>> {
    Ok(StructureTruth {
        aatype: b.input("aatype")?,
        residue_index: b.input("residue_index")?,
        seq_mask: b.input("seq_mask")?,
        atom14_atom_exists: b.input("atom14_atom_exists")?,
        atoms: atom_truth(b, true)?,
        backbone_affine_tensor: b.input("backbone_affine_tensor")?,
        backbone_affine_mask: b.input("backbone_affine_mask")?,
        rigidgroups_gt_frames: b.input("rigidgroups_gt_frames")?,
        rigidgroups_alt_gt_frames: b.input("rigidgroups_alt_gt_frames")?,
        rigidgroups_gt_exists: b.input("rigidgroups_gt_exists")?,
        chi_angles: b.input("chi_angles")?,
        chi_mask: b.input("chi_mask")?,
        use_clamped_fape: use_clamped_fape(b)?,
    })
}

/// The outputs that a structure module's loss has, whether its prediction is given or made.
fn loss_outputs<'a>(b: &Bench<'a>, y: &StructureLoss<'a>) -> Result<()> {
    let terms = [("fape", y.fape), ("sidechain_fape", y.sidechain_fape), ("chi_loss", y.chi_loss), ("angle_norm_loss", y.angle_norm_loss)];
    terms.into_iter().try_for_each(|(name, x)| b.output(name, x))?;
    b.output("alt_naming_is_better", y.renamed.alt_naming_is_better)?;
    b.output("loss", y.loss)
}

fn structure_module_loss_given(b: &Bench) -> Result<()> {
    let prediction = Prediction {
        traj: b.input("traj")?,
        frames: last_layer(b.input("frames")?),
        positions: last_layer(b.input("atom_pos")?),
        angles: b.input("angles_sin_cos")?,
        unnormalized_angles: b.input("unnormalized_angles_sin_cos")?,
    };
    let y = structure_module_loss(&loss_config(b)?, prediction, &structure_truth(b)?);
    y.violations.iter().try_for_each(|(_, metrics)| metrics_outputs(b, metrics))?;
    loss_outputs(b, &y)
}

/// The structure module and its loss.
fn structure_module_loss_made(b: &Bench) -> Result<()> {
    let made = gpu_structure::structure_outputs(b)?;
    let prediction = Prediction {
        traj: made.traj,
        frames: made.frames,
        positions: made.atom14_positions,
        angles: made.sidechains.angles,
        unnormalized_angles: made.sidechains.unnormalized_angles,
    };
    let y = structure_module_loss(&loss_config(b)?, prediction, &structure_truth(b)?);
    y.violations.iter().try_for_each(|(violations, metrics)| violation_outputs(b, violations, metrics))?;
    b.output("renamed_atom14_gt_positions", y.renamed.positions)?;
    b.output("renamed_atom14_gt_exists", y.renamed.exists)?;
    loss_outputs(b, &y)
}
