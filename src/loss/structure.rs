//! The structure module's loss: backbone and side chain FAPE, torsions, violations, against a truth whose ambiguous atoms are named as
//! the prediction would have them (supplement 1.8.5, 1.9; Algorithms 20, 26).

use std::rc::Rc;

use crate::graph::Tensor;
use crate::loss::chi::supervised_chi_loss;
use crate::loss::fape::{Truth, backbone_loss, sidechain_loss};
use crate::loss::violation::{
    Atoms, Metrics, Tolerances, Violations, find_structural_violations, structural_violation_loss, violation_metrics,
};
use crate::ops::loss::alt_naming::AltNaming;
use crate::ops::loss::choose::Choose;
use crate::ops::loss::fape::Fape;
use crate::ops::loss::weighted_sum::WeightedSum;

/// Weights and lengths of the structure module's loss; AlphaFold's by default (QUIRKS 37).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StructureLossConfig {
    /// Weight of the backbone's FAPE, the mean over the layers.
    pub backbone_fape: f32,
    /// Weight of the side chains' FAPE.
    pub sidechain_fape: f32,
    /// Weight of the side-chain torsions.
    pub chi: f32,
    /// Weight of the torsion vectors' lengths.
    pub angle_norm: f32,
    /// Weight of the violations: 0 in the paper's initial training, 1 in fine-tuning. At 0 they are not computed.
    pub violation: f32,
    /// Where the errors of FAPE are cut off, Angstrom.
    pub clamp: f32,
    /// The length in units of which FAPE counts, Angstrom.
    pub length_scale: f32,
    /// What counts as a violation.
    pub tolerances: Tolerances,
}

impl Default for StructureLossConfig {
    fn default() -> Self {
        Self {
            backbone_fape: 0.5,
            sidechain_fape: 0.5,
            chi: 0.5,
            angle_norm: 0.01,
            violation: 1.0,
            clamp: 10.0,
            length_scale: 10.0,
            tolerances: Tolerances::default(),
        }
    }
}

/// A prediction as the structural losses see it.
#[derive(Debug, Clone, Copy)]
pub struct Prediction<'g> {
    /// Backbone affines of all layers, translations in Angstrom, `[l, n_res, 7]`.
    pub traj: Tensor<'g>,
    /// Frames of the rigid groups of the last layer, `[n_res, 8, 12]`.
    pub frames: Tensor<'g>,
    /// atom14 positions of the last layer, `[n_res, 14, 3]`, Angstrom.
    pub positions: Tensor<'g>,
    /// Torsions of all layers as vectors (sin, cos) of unit length, `[l, n_res, 7, 2]`.
    pub angles: Tensor<'g>,
    /// The same before they were made so.
    pub unnormalized_angles: Tensor<'g>,
}

/// What a prediction is compared with: features by AlphaFold's names.
#[derive(Debug, Clone, Copy)]
pub struct StructureTruth<'g> {
    /// `[n_res]`, integers 0-20.
    pub aatype: Tensor<'g>,
    /// `[n_res]`, integers.
    pub residue_index: Tensor<'g>,
    /// `[n_res]`.
    pub seq_mask: Tensor<'g>,
    /// `[n_res, 14]`.
    pub atom14_atom_exists: Tensor<'g>,
    /// The atoms of the experiment.
    pub atoms: AtomTruth<'g>,
    /// `[n_res, 7]`, Angstrom.
    pub backbone_affine_tensor: Tensor<'g>,
    /// `[n_res]`.
    pub backbone_affine_mask: Tensor<'g>,
    /// `[n_res, 8, 12]`, Angstrom.
    pub rigidgroups_gt_frames: Tensor<'g>,
    /// `[n_res, 8, 12]`.
    pub rigidgroups_alt_gt_frames: Tensor<'g>,
    /// `[n_res, 8]`.
    pub rigidgroups_gt_exists: Tensor<'g>,
    /// `[n_res, 4]`, radians.
    pub chi_angles: Tensor<'g>,
    /// `[n_res, 4]`.
    pub chi_mask: Tensor<'g>,
    /// Share of the clamped backbone FAPE, `[1]`.
    pub use_clamped_fape: Tensor<'g>,
}

/// The atoms of an experiment under both namings.
#[derive(Debug, Clone, Copy)]
pub struct AtomTruth<'g> {
    /// `[n_res, 14, 3]`, Angstrom.
    pub atom14_gt_positions: Tensor<'g>,
    /// `[n_res, 14, 3]`.
    pub atom14_alt_gt_positions: Tensor<'g>,
    /// `[n_res, 14]`.
    pub atom14_gt_exists: Tensor<'g>,
    /// `[n_res, 14]`.
    pub atom14_alt_gt_exists: Tensor<'g>,
    /// `[n_res, 14]`.
    pub atom14_atom_is_ambiguous: Tensor<'g>,
}

/// The atoms of an experiment as the prediction names them.
#[derive(Debug, Clone, Copy)]
pub struct RenamedTruth<'g> {
    /// 1 for residues that take the other naming, `[n_res]`.
    pub alt_naming_is_better: Tensor<'g>,
    /// `[n_res, 14, 3]`, Angstrom.
    pub positions: Tensor<'g>,
    /// `[n_res, 14]`.
    pub exists: Tensor<'g>,
}

/// Lines 1-5 of Algorithm 26: 1 for residues whose other naming fits `positions [n_res, 14, 3]` better, `[n_res]`. It has no gradient.
pub fn find_optimal_renaming<'g>(positions: Tensor<'g>, truth: &AtomTruth<'g>) -> Tensor<'g> {
    let AtomTruth { atom14_gt_positions: gt, atom14_alt_gt_positions: alt, .. } = *truth;
    positions.graph().apply(AltNaming, &[positions, gt, alt, truth.atom14_atom_is_ambiguous, truth.atom14_gt_exists])
}

/// Algorithm 26 Rename symmetric ground truth atoms, without the frames, which [`sidechain_loss`] takes renamed.
pub fn compute_renamed_ground_truth<'g>(positions: Tensor<'g>, truth: &AtomTruth<'g>) -> RenamedTruth<'g> {
    let better = find_optimal_renaming(positions, truth); // lines 1-5
    let rename = |x, alt| renamed(better, x, alt);
    RenamedTruth {
        alt_naming_is_better: better,
        positions: rename(truth.atom14_gt_positions, truth.atom14_alt_gt_positions), // line 7
        exists: rename(truth.atom14_gt_exists, truth.atom14_alt_gt_exists),
    }
}

/// Line 7 of Algorithm 26: `alt [n_res, ..]` for residues where `better [n_res]` is 1, `x` for the others.
pub fn renamed<'g>(better: Tensor<'g>, x: Tensor<'g>, alt: Tensor<'g>) -> Tensor<'g> {
    better.graph().apply(Choose, &[better, x, alt])
}

/// The loss of the structure module and its terms, each `[1]`.
#[derive(Debug, Clone, Copy)]
pub struct StructureLoss<'g> {
    /// The weighted sum.
    pub loss: Tensor<'g>,
    /// Backbone FAPE of the last layer; the sum takes the mean of all layers.
    pub fape: Tensor<'g>,
    /// FAPE of all frames and atoms of the last layer.
    pub sidechain_fape: Tensor<'g>,
    /// Side-chain torsions.
    pub chi_loss: Tensor<'g>,
    /// Lengths of the torsions' vectors.
    pub angle_norm_loss: Tensor<'g>,
    /// Violations; absent where their weight is 0.
    pub violation: Option<Tensor<'g>>,
    /// What they are, and the shares of residues with any; absent with them.
    pub violations: Option<(Violations<'g>, Metrics<'g>)>,
    /// The atoms that the side chains' FAPE compared with.
    pub renamed: RenamedTruth<'g>,
}

/// The losses of Algorithm 20 (of every layer, and the final one on all atoms), and the violations of supplement 1.9.11.
pub fn structure_module_loss<'g>(c: &StructureLossConfig, pred: Prediction<'g>, truth: &StructureTruth<'g>) -> StructureLoss<'g> {
    let graph = pred.traj.graph();
    let fape = Fape { clamp: Some(c.clamp), scale: c.length_scale, eps: crate::loss::fape::FAPE.eps };
    let StructureTruth { aatype, residue_index, seq_mask, atom14_atom_exists: exists, .. } = *truth;
    let backbone = Truth { frames: truth.backbone_affine_tensor, mask: truth.backbone_affine_mask };
    let backbone = backbone_loss(fape, pred.traj, backbone, truth.use_clamped_fape);

    let renamed_gt = compute_renamed_ground_truth(pred.positions, &truth.atoms);
    let frames = renamed(renamed_gt.alt_naming_is_better, truth.rigidgroups_gt_frames, truth.rigidgroups_alt_gt_frames); // [n_res, 8, 12]
    let groups = Truth { frames, mask: truth.rigidgroups_gt_exists };
    let sidechain = sidechain_loss(fape, pred.frames, pred.positions, groups, renamed_gt.positions, renamed_gt.exists);
    let torsions = supervised_chi_loss(pred.angles, pred.unnormalized_angles, truth.chi_angles, truth.chi_mask, seq_mask, aatype);

    let mut terms =
        vec![(c.backbone_fape, backbone.loss), (c.sidechain_fape, sidechain), (c.chi, torsions.chi), (c.angle_norm, torsions.angle_norm)];
    let found = (c.violation != 0.0)
        .then(|| find_structural_violations(c.tolerances, Atoms { positions: pred.positions, exists, aatype, residue_index }));
    let violation = found.map(|v| structural_violation_loss(&v, exists));
    terms.extend(violation.map(|v| (c.violation, v)));
    let (weights, terms): (Vec<f32>, Vec<Tensor>) = terms.into_iter().unzip();
    StructureLoss {
        loss: graph.apply_all(Rc::new(WeightedSum { weights }), &terms)[0],
        fape: backbone.fape,
        sidechain_fape: sidechain,
        chi_loss: torsions.chi,
        angle_norm_loss: torsions.angle_norm,
        violation,
        violations: found.map(|v| (v, violation_metrics(&v, seq_mask))),
        renamed: renamed_gt,
    }
}
