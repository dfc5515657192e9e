//! Runs the golden cases of the structure module's operations on the device, outputs and gradients.
//!
//! Each case becomes a small graph of the operations that the model uses. Knows what the cases hold, not how close is close enough.

use std::rc::Rc;

use super::bench::{Bench, rows, same};
use super::golden::Golden;
use super::host_structure::Outputs;
use super::{Context, alphafold_config};
use crate::error::Result;
use crate::graph::Tensor;
use crate::model::structure::{self, Residues, Sidechains, Structure, StructureConfig};
use crate::ops::structure::affine_frames::AffineFrames;
use crate::ops::structure::affine_update::AffineUpdate;
use crate::ops::structure::atom_gather::AtomGather;
use crate::ops::structure::frame_algebra::FrameAlgebra;
use crate::ops::structure::frame_points::FramePoints;

/// The outputs of a case, or `None` when its module is not one of this file's.
pub fn run(context: &Context, case: &Golden) -> Option<Result<Outputs>> {
    let module: fn(&Bench) -> Result<()> = match case.module.as_str() {
        "quat_to_rot" => quat_to_rot,
        "quat_affine_pre_compose" => pre_compose,
        "quat_affine_points" => affine_points,
        "quat_multiply" => quaternions,
        "rigids" => rigids,
        "atom14_to_atom37" => layouts,
        "torsion_angles_to_frames" => torsion_frames,
        "frames_and_literature_positions_to_atom14_pos" => literature_atoms,
        "invariant_point_attention" => point_attention,
        "multi_rigid_sidechain" => sidechain,
        "fold_iteration" => fold_iteration,
        "generate_affines" => generate_affines,
        "structure_module" => structure_module,
        _ => return None,
    };
    Some(Bench::run(context, case, module))
}

/// Quaternions as affines without translation, rotations as the first nine numbers of a frame.
fn quat_to_rot(b: &Bench) -> Result<()> {
    let affine = b.input_as("quat", |x| rows(&x, 4, 7), |x| rows(&x, 7, 4))?;
    let frames = b.graph.apply_all(Rc::new(AffineFrames { scale: 1.0 }), &[affine])[0];
    b.output_as("rot", frames, |x| rows(&x, 12, 9), |x| rows(&x, 9, 12))
}

fn pre_compose(b: &Bench) -> Result<()> {
    let affine = b.graph.apply(AffineUpdate, &[b.input("affine")?, b.input("update")?]);
    b.output("affine", affine)?;
    let frames = b.graph.apply_all(Rc::new(AffineFrames { scale: 1.0 }), &[affine])[0];
    b.output_as("rot", frames, |x| rows(&x, 12, 9), |x| rows(&x, 9, 12))
}

fn affine_points(b: &Bench) -> Result<()> {
    let frames = b.graph.apply_all(Rc::new(AffineFrames { scale: 1.0 }), &[b.input("affine")?])[0];
    let point = b.input("point")?;
    b.output("apply", b.graph.apply(FramePoints { inverse: false }, &[frames, point]))?;
    b.output("invert", b.graph.apply(FramePoints { inverse: true }, &[frames, point]))
}

fn quaternions(b: &Bench) -> Result<()> {
    b.output("prod", b.graph.apply(FrameAlgebra::Quaternions, &[b.input("q1")?, b.input("q2")?]))
}

/// Frames from three points, the given frames' inverses, the first times the second, and the second applied to one of the points.
fn rigids(b: &Bench) -> Result<()> {
    let (xy, rigid) = (b.input("xy")?, b.input("rigid")?);
    let made = b.graph.apply(FrameAlgebra::ThreePoints, &[b.input("neg_x")?, b.input("origin")?, xy]);
    b.output("from_3_points", made)?;
    b.output("inverse", b.graph.apply(FrameAlgebra::Inverse, &[rigid]))?;
    b.output("product", b.graph.apply(FrameAlgebra::Product, &[made, rigid]))?;
    let n = xy.shape()[0];
    let moved = b.graph.apply(FramePoints { inverse: false }, &[rigid, xy.reshape(&[n, 1, 3])]);
    b.output("mul_vec", moved.reshape(&[n, 3]))
}

fn layouts(b: &Bench) -> Result<()> {
    for (from, to) in [("atom14", "atom37"), ("atom37", "atom14")] {
        let index = b.input(&format!("residx_{to}_to_{from}"))?;
        let exists = b.input(&format!("{to}_atom_exists"))?;
        b.output(to, b.graph.apply(AtomGather, &[b.input(from)?, index, exists]))?;
    }
    Ok(())
}

fn torsion_frames(b: &Bench) -> Result<()> {
    let angles = b.input("torsion_angles_sin_cos")?;
    b.output("frames", structure::rigid_group_frames(b.input("backb_to_global")?, angles, b.input("aatype")?))
}

fn literature_atoms(b: &Bench) -> Result<()> {
    b.output("atom14_pos", structure::atom14_positions(b.input("frames")?, b.input("aatype")?))
}

/// AlphaFold's mask has an axis of one channel here.
fn mask<'a>(b: &Bench<'a>) -> Result<Tensor<'a>> {
    b.input_as(
        "mask",
        |x| {
            let n = x.len();
            x.reshape(&[n])
        },
        same,
    )
}

fn point_attention(b: &Bench) -> Result<()> {
    let (s, z, affine) = (b.input("inputs_1d")?, b.input("inputs_2d")?, b.input("affine")?);
    let scope = b.scope.child("invariant_point_attention");
    b.output("output", structure::invariant_point_attention(&scope, s, z, affine, mask(b)?, &alphafold_config::structure(b.config())?))
}

fn output_sidechains<'a>(b: &Bench<'a>, prefix: &str, sc: Sidechains<'a>) -> Result<()> {
    b.output(&format!("{prefix}angles_sin_cos"), sc.angles)?;
    b.output(&format!("{prefix}unnormalized_angles_sin_cos"), sc.unnormalized_angles)?;
    b.output(&format!("{prefix}frames"), sc.frames)?;
    b.output(&format!("{prefix}atom_pos"), sc.positions)
}

/// One layer as all layers.
fn one_layer(x: Tensor) -> Tensor {
    x.reshape(&[&[1], x.shape().as_slice()].concat())
}

/// Side chains of one layer; the goldens have no axis for it.
fn sidechains_of_one<'a>(
    b: &Bench<'a>,
    (name, prefix): (&str, &str),
    s: Tensor<'a>,
    affine: Tensor<'a>,
    c: &StructureConfig,
) -> Result<()> {
    let (scope, s_initial, aatype) = (b.scope.child(name), b.input("initial_act")?, b.input("aatype")?);
    let sc = structure::multi_rigid_sidechain(&scope, one_layer(s), s_initial, one_layer(affine), aatype, c);
    let plain = |x: Tensor<'a>| x.reshape(&x.shape()[1..]);
    let [angles, unnormalized_angles, frames, positions] = [sc.angles, sc.unnormalized_angles, sc.frames, sc.positions].map(plain);
    output_sidechains(b, prefix, Sidechains { angles, unnormalized_angles, frames, positions })
}

/// The case's affines are in Angstrom already.
fn sidechain(b: &Bench) -> Result<()> {
    let c = StructureConfig { position_scale: 1.0, ..alphafold_config::structure(b.config())? };
    sidechains_of_one(b, ("rigid_sidechain", ""), b.input("act")?, b.input("affine")?, &c)
}

/// A layer with its side chains, which the model makes for all layers at once.
fn fold_iteration(b: &Bench) -> Result<()> {
    let (s, z, affine, c) = (b.input("act")?, b.input("static_feat_2d")?, b.input("affine")?, alphafold_config::structure(b.config())?);
    let layer = structure::fold_iteration(&b.scope.child("fold_iteration"), s, z, affine, mask(b)?, &c, None);
    b.output("act", layer.s)?;
    b.output("affine", layer.affine)?;
    b.output("next_affine", layer.next_affine)?;
    sidechains_of_one(b, ("fold_iteration/rigid_sidechain", "sc/"), layer.s, layer.affine, &c)
}

/// What the case says of residues. `generate_affines` makes no atom37 positions and has no tables for them: aatype stands in.
fn residues<'a>(b: &Bench<'a>) -> Result<Residues<'a>> {
    let (aatype, seq_mask) = (b.input("aatype")?, b.input("seq_mask")?);
    let tables = b.case.tensors.contains_key("in:residx_atom37_to_atom14");
    let table = |name: &str| if tables { b.input(name) } else { Ok(aatype) };
    let (residx_atom37_to_atom14, atom37_atom_exists) = (table("residx_atom37_to_atom14")?, table("atom37_atom_exists")?);
    Ok(Residues { aatype, seq_mask, residx_atom37_to_atom14, atom37_atom_exists })
}

fn generate_affines(b: &Bench) -> Result<()> {
    let y = structure::generate_affines(
        &b.scope,
        b.input("single")?,
        b.input("pair")?,
        &residues(b)?,
        &alphafold_config::structure(b.config())?,
        None,
    );
    b.output("act", y.s)?;
    b.output("affine", y.affine)?;
    output_sidechains(b, "sc/", y.sidechains)
}

fn structure_module(b: &Bench) -> Result<()> {
    structure_outputs(b).map(drop)
}

/// The outputs of the structure module, and the module's structure for what follows it.
pub(super) fn structure_outputs<'a>(b: &Bench<'a>) -> Result<Structure<'a>> {
    let (single, pair, residues, c) = (b.input("single")?, b.input("pair")?, residues(b)?, alphafold_config::structure(b.config())?);
    let y = structure::structure_module(&b.scope.child("structure_module"), single, pair, &residues, &c, None);
    b.output("representations/structure_module", y.s)?;
    b.output("traj", y.traj)?;
    b.output("final_affines", y.traj.slice(0, c.layers - 1..c.layers).reshape(&[single.shape()[0], 7]))?;
    b.output("final_atom14_positions", y.atom14_positions)?;
    b.output("final_atom_positions", y.atom37_positions)?;
    // AlphaFold hands these features on as they are.
    b.output("final_atom14_mask", b.input("atom14_atom_exists")?)?;
    b.output("final_atom_mask", residues.atom37_atom_exists)?;
    output_sidechains(b, "sidechains/", y.sidechains)?;
    Ok(y)
}
