//! Runs the golden cases whose modules are computed on the host: residue tables, rigid geometry, ground truth, structure metrics.
//!
//! The structure files' modules (`mmcif`, `pdb`) are in [`super::host_files`]. Knows what the cases hold, not how close is close enough.

use std::collections::BTreeMap;

use bytemuck::cast_slice;
use glam::{DMat3, DVec3};
use serde_json::Value;

use super::golden::Golden;
use crate::error::{Error, Result};
use crate::protein::frames::group_frames;
use crate::protein::metrics::lddt;
use crate::protein::rigid::{Rigid, quat_multiply, quat_to_rot};
use crate::protein::stereo::DistanceBounds;
use crate::protein::tables::{N_TYPES, TABLES};
use crate::protein::torsions::torsions;
use crate::protein::truth::{ground_truth, pseudo_beta, to_atom14, to_atom37};
use crate::protein::{Mask37, Positions37};
use crate::tensor::HostTensor;

/// What a host module made of a case.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Tensors by the golden's names without `out:`.
    pub tensors: BTreeMap<String, HostTensor>,
    /// Gradients by their full names in the golden: `gin:x`, `gparam:linear//weights`. Empty where a module has no backward pass.
    pub gradients: BTreeMap<String, HostTensor>,
    /// Norms of gradients and their products with the parameters, by the parameters' names, where a case holds these alone.
    pub measures: BTreeMap<String, [f64; 2]>,
    /// Text results by their keys in the metadata's `strings`; they must be equal.
    pub strings: BTreeMap<String, Value>,
    /// Elements that the definition leaves open, per tensor (QUIRKS 20): true means "do not compare".
    pub undefined: BTreeMap<String, Vec<bool>>,
}

impl Outputs {
    /// Adds an f32 tensor.
    pub fn put(&mut self, name: &str, shape: &[usize], data: Vec<f32>) {
        self.tensors.insert(name.to_string(), HostTensor::f32(shape, data));
    }
}

/// The outputs of a case, or `None` when its module does not run on the host in this file or in [`super::host_files`].
pub fn run(case: &Golden) -> Option<Result<Outputs>> {
    let module: fn(&Golden) -> Result<Outputs> = match case.module.as_str() {
        "atom14_dists_bounds" => dists_bounds,
        "atom14_to_atom37" => layouts,
        "atom37_to_frames" => frames,
        "atom37_to_torsion_angles" => torsion_angles,
        "ground_truth_features" => truth,
        "make_transform_from_reference" => from_reference,
        "rigids" => rigids,
        "quat_to_rot" => rotation_of_quaternion,
        "quat_multiply" => quaternion_product,
        "pseudo_beta" => beta,
        "lddt" => lddt_case,
        "confidence" => super::host_confidence::run,
        _ => return super::host_files::run(case),
    };
    Some(module(case))
}

/// An input's elements in groups of `N`, checked to be divisible.
fn groups<const N: usize>(case: &Golden, name: &str) -> Result<Vec<[f64; N]>> {
    let values = case.input(name)?.to_f64();
    let (chunks, rest) = values.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(Error::format(&case.path, format!("`in:{name}` has {} elements, not a multiple of {N}", values.len())));
    }
    Ok(chunks.to_vec())
}

fn points(case: &Golden, name: &str) -> Result<Vec<DVec3>> {
    Ok(groups::<3>(case, name)?.into_iter().map(DVec3::from).collect())
}

/// Inputs `aatype` (0-20), atom37 positions and masks, over all leading axes flattened.
fn atoms(case: &Golden, positions: &str, mask: &str) -> Result<(Vec<usize>, Vec<Positions37>, Vec<Mask37>)> {
    let aatype: Vec<usize> = case.input("aatype")?.to_f64().into_iter().map(|x| x as usize).collect();
    let (positions, mask) = (case.input(positions)?.to_f32(), case.input(mask)?.to_f32());
    if positions.len() != aatype.len() * 111 || mask.len() != aatype.len() * 37 {
        return Err(Error::format(&case.path, format!("{} residue types do not fit {} coordinates", aatype.len(), positions.len())));
    }
    Ok((aatype, cast_slice(&positions).to_vec(), cast_slice(&mask).to_vec()))
}

fn flat<T: bytemuck::Pod>(values: &[T]) -> Vec<f32> {
    cast_slice(values).to_vec()
}

fn dists_bounds(case: &Golden) -> Result<Outputs> {
    let number =
        |key: &str| case.config[key].as_f64().ok_or_else(|| Error::format(&case.path, format!("the configuration has no number `{key}`")));
    let bounds = DistanceBounds::new(number("overlap_tolerance")?, number("bond_length_tolerance_factor")?);
    let mut out = Outputs::default();
    for (name, table) in [("lower_bound", &bounds.lower), ("upper_bound", &bounds.upper), ("stddev", &bounds.stddev)] {
        out.put(name, &[N_TYPES, 14, 14], flat(&table[..]));
    }
    Ok(out)
}

/// The case gives the index tables as inputs; ours must equal them for every residue type before they are used.
fn layouts(case: &Golden) -> Result<Outputs> {
    let (atom14, atom37) = (case.input("atom14")?.to_f32(), case.input("atom37")?.to_f32());
    let tables = [
        ("residx_atom14_to_atom37", TABLES.atom14_to_atom37.as_flattened().iter().map(|&x| f64::from(x)).collect::<Vec<_>>()),
        ("residx_atom37_to_atom14", TABLES.atom37_to_atom14.as_flattened().iter().map(|&x| f64::from(x)).collect()),
        ("atom14_atom_exists", TABLES.atom14_exists.as_flattened().iter().map(|&x| f64::from(x)).collect()),
        ("atom37_atom_exists", TABLES.atom37_exists.as_flattened().iter().map(|&x| f64::from(x)).collect()),
    ];
    for (name, ours) in tables {
        if case.input(name)?.to_f64() != ours {
            return Err(Error::format(&case.path, format!("`in:{name}` is not this program's table of the 21 residue types")));
        }
    }
    let (atom14, atom37): (&[[[f32; 3]; 14]], &[Positions37]) = (cast_slice(&atom14), cast_slice(&atom37));
    let mut out = Outputs::default();
    let to37: Vec<_> = atom14.iter().enumerate().map(|(row, p)| to_atom37(row, p)).collect();
    let to14: Vec<_> = atom37.iter().enumerate().map(|(row, p)| to_atom14(row, p)).collect();
    out.put("atom37", &[to37.len(), 37, 3], flat(&to37));
    out.put("atom14", &[to14.len(), 14, 3], flat(&to14));
    Ok(out)
}

fn frames(case: &Golden) -> Result<Outputs> {
    let (aatype, positions, mask) = atoms(case, "all_atom_positions", "all_atom_mask")?;
    let (n, groups) = (aatype.len(), group_frames(&aatype, &positions, &mask));
    let mut out = Outputs::default();
    out.put("rigidgroups_gt_frames", &[n, 8, 12], flat(&groups.frames));
    out.put("rigidgroups_alt_gt_frames", &[n, 8, 12], flat(&groups.alt_frames));
    out.put("rigidgroups_gt_exists", &[n, 8], flat(&groups.exists));
    out.put("rigidgroups_group_exists", &[n, 8], flat(&groups.group_exists));
    out.put("rigidgroups_group_is_ambiguous", &[n, 8], flat(&groups.is_ambiguous));
    Ok(out)
}

fn torsion_angles(case: &Golden) -> Result<Outputs> {
    let (aatype, positions, mask) = atoms(case, "all_atom_pos", "all_atom_mask")?;
    let shape = case.input("aatype")?.shape.clone();
    let [batch, n_res] = shape[..] else { return Err(Error::format(&case.path, format!("`in:aatype` has shape {shape:?}, not [B, N]"))) };
    let placeholder = case.config["placeholder_for_undefined"].as_bool().unwrap_or(false);
    let mut out = Outputs::default();
    let (mut angles, mut alt, mut known) = (Vec::new(), Vec::new(), Vec::new());
    // Every row of the batch is a chain of its own: its first residue has no residue before it.
    for row in 0..batch {
        let part = row * n_res..(row + 1) * n_res;
        let t = torsions(&aatype[part.clone()], &positions[part.clone()], &mask[part], placeholder);
        angles.extend(t.sin_cos);
        alt.extend(t.alt_sin_cos);
        known.extend(t.mask);
    }
    let undefined: Vec<bool> = known.iter().flatten().flat_map(|&m| [m == 0.0 && !placeholder; 2]).collect();
    for name in ["torsion_angles_sin_cos", "alt_torsion_angles_sin_cos"] {
        out.undefined.insert(name.to_string(), undefined.clone());
    }
    out.put("torsion_angles_sin_cos", &[batch, n_res, 7, 2], flat(&angles));
    out.put("alt_torsion_angles_sin_cos", &[batch, n_res, 7, 2], flat(&alt));
    out.put("torsion_angles_mask", &[batch, n_res, 7], flat(&known));
    Ok(out)
}

/// The case ends in padding, which is zero in everything (QUIRKS 59); a quaternion's sign is free and is taken from the reference.
fn truth(case: &Golden) -> Result<Outputs> {
    let (aatype, positions, mask) = atoms(case, "all_atom_positions", "all_atom_mask")?;
    let seq_mask = case.input("seq_mask")?.to_f32();
    let (n, t) = (aatype.len(), ground_truth(&aatype, &positions, &mask));
    let mut affine = t.backbone_affine_tensor.clone();
    let reference = case.get("out:backbone_affine_tensor")?.to_f32();
    for (row, (ours, theirs)) in affine.iter_mut().zip(reference.chunks_exact(7)).enumerate() {
        let same: f32 = (0..4).map(|k| ours[k] * theirs[k]).sum();
        let sign = if same < 0.0 { -1.0 } else { 1.0 };
        ours[..4].iter_mut().for_each(|x| *x *= sign * seq_mask[row]);
    }
    let mut out = Outputs::default();
    out.put("atom14_gt_positions", &[n, 14, 3], flat(&t.atom14_gt_positions));
    out.put("atom14_gt_exists", &[n, 14], flat(&t.atom14_gt_exists));
    out.put("atom14_alt_gt_positions", &[n, 14, 3], flat(&t.atom14_alt_gt_positions));
    out.put("atom14_alt_gt_exists", &[n, 14], flat(&t.atom14_alt_gt_exists));
    out.put("atom14_atom_is_ambiguous", &[n, 14], flat(&t.atom14_atom_is_ambiguous));
    out.put("pseudo_beta", &[n, 3], flat(&t.pseudo_beta));
    out.put("pseudo_beta_mask", &[n], t.pseudo_beta_mask);
    out.put("backbone_affine_tensor", &[n, 7], flat(&affine));
    out.put("backbone_affine_mask", &[n], t.backbone_affine_mask);
    out.put("chi_angles", &[n, 4], flat(&t.chi_angles));
    out.put("chi_mask", &[n, 4], flat(&t.chi_mask));
    out.put("rigidgroups_gt_frames", &[n, 8, 12], flat(&t.groups.frames));
    out.put("rigidgroups_alt_gt_frames", &[n, 8, 12], flat(&t.groups.alt_frames));
    out.put("rigidgroups_gt_exists", &[n, 8], flat(&t.groups.exists));
    Ok(out)
}

fn row_major(m: DMat3) -> [f32; 9] {
    m.transpose().to_cols_array().map(|x| x as f32)
}

fn from_reference(case: &Golden) -> Result<Outputs> {
    let (n, ca, c) = (points(case, "n_xyz")?, points(case, "ca_xyz")?, points(case, "c_xyz")?);
    let frames: Vec<Rigid> = (0..ca.len()).map(|i| Rigid::from_reference(n[i], ca[i], c[i])).collect();
    let mut out = Outputs::default();
    out.put("rot", &[ca.len(), 3, 3], frames.iter().flat_map(|f| row_major(f.rot)).collect());
    out.put("trans", &[ca.len(), 3], frames.iter().flat_map(|f| f.trans.to_array().map(|x| x as f32)).collect());
    Ok(out)
}

fn rigids(case: &Golden) -> Result<Outputs> {
    let rigid: Vec<Rigid> = groups::<12>(case, "rigid")?.into_iter().map(Rigid::from_flat12).collect();
    let (neg_x, origin, xy) = (points(case, "neg_x")?, points(case, "origin")?, points(case, "xy")?);
    let n = rigid.len();
    let made: Vec<Rigid> = (0..n).map(|i| Rigid::from_3_points(neg_x[i], origin[i], xy[i])).collect();
    let frames = |f: &dyn Fn(usize) -> Rigid| (0..n).flat_map(|i| f(i).flat12().map(|x| x as f32)).collect::<Vec<_>>();
    let mut out = Outputs::default();
    out.put("from_3_points", &[n, 12], frames(&|i| made[i]));
    out.put("inverse", &[n, 12], frames(&|i| rigid[i].inverse()));
    out.put("product", &[n, 12], frames(&|i| made[i].compose(&rigid[i])));
    out.put("mul_vec", &[n, 3], (0..n).flat_map(|i| rigid[i].apply(xy[i]).to_array().map(|x| x as f32)).collect());
    Ok(out)
}

fn rotation_of_quaternion(case: &Golden) -> Result<Outputs> {
    let quats = groups::<4>(case, "quat")?;
    let mut out = Outputs::default();
    out.put("rot", &[quats.len(), 3, 3], quats.iter().flat_map(|&q| row_major(quat_to_rot(q))).collect());
    Ok(out)
}

fn quaternion_product(case: &Golden) -> Result<Outputs> {
    let (a, b) = (groups::<4>(case, "q1")?, groups::<4>(case, "q2")?);
    let mut out = Outputs::default();
    out.put("prod", &[a.len(), 4], a.iter().zip(&b).flat_map(|(&a, &b)| quat_multiply(a, b).map(|x| x as f32)).collect());
    Ok(out)
}

fn beta(case: &Golden) -> Result<Outputs> {
    let (aatype, positions, mask) = atoms(case, "all_atom_positions", "all_atom_masks")?;
    let (at, known): (Vec<_>, Vec<_>) = (0..aatype.len()).map(|i| pseudo_beta(aatype[i], &positions[i], &mask[i])).unzip();
    let mut out = Outputs::default();
    out.put("pseudo_beta", &[aatype.len(), 3], flat(&at));
    out.put("pseudo_beta_mask", &[aatype.len()], known);
    Ok(out)
}

fn lddt_case(case: &Golden) -> Result<Outputs> {
    let (predicted, true_points) = (points(case, "predicted_points")?, points(case, "true_points")?);
    let mask: Vec<bool> = case.input("true_points_mask")?.to_f64().into_iter().map(|x| x != 0.0).collect();
    let cutoff = case.config["cutoff"].as_f64().unwrap_or(lddt::CUTOFF);
    let scores = lddt::alphafold_lddt(&predicted, &true_points, &mask, cutoff);
    let mut out = Outputs::default();
    match case.config["per_residue"].as_bool() {
        Some(true) => out.put("lddt", &[1, mask.len()], scores.per_residue.iter().map(|&x| x as f32).collect()),
        _ => out.put("lddt", &[1], vec![scores.global as f32]),
    }
    Ok(out)
}
