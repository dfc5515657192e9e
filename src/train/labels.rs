//! What training compares a prediction with, and every loss of an example (supplement 1.9).

use std::rc::Rc;

use crate::graph::{Graph, Tensor};
use crate::loss::structure::{AtomTruth, Prediction as Atoms, StructureTruth, structure_module_loss};
use crate::loss::total::{Terms, Weights, total};
use crate::loss::{aligned_error, distogram, masked_msa, plddt, resolved};
use crate::model::alphafold::Prediction;
use crate::model::config::Config;
use crate::model::features::Features;
use crate::ops::structure::affine_frames::AffineFrames;
use crate::tensor::DType;

/// What training compares with, by AlphaFold's names.
#[derive(Debug, Clone, Copy)]
pub struct Labels<'g> {
    /// `[n_clust, n_res]`, integers 0-21.
    pub true_msa: Tensor<'g>,
    /// `[n_clust, n_res]`: what was masked.
    pub bert_mask: Tensor<'g>,
    /// `[n_res, 3]`.
    pub pseudo_beta: Tensor<'g>,
    /// `[n_res]`.
    pub pseudo_beta_mask: Tensor<'g>,
    /// `[n_res, 37, 3]`.
    pub all_atom_positions: Tensor<'g>,
    /// `[n_res, 37]`.
    pub all_atom_mask: Tensor<'g>,
    /// `[1]`: [`crate::loss::resolution_weight`].
    pub resolution_weight: Tensor<'g>,
    /// What the structure module is compared with.
    pub structure: StructureTruth<'g>,
}

impl<'g> Labels<'g> {
    /// The inputs of `graph` under AlphaFold's names, and `resolution_weight`.
    pub fn inputs(graph: &'g Graph, f: &Features<'g>) -> Self {
        let [s, n] = f.msa_mask.shape()[..] else { panic!("msa_mask is {:?}", f.msa_mask) };
        let f32 = |name: &str, shape: &[usize]| graph.input(name, shape, DType::F32, false);
        Self {
            true_msa: graph.input("true_msa", &[s, n], DType::I32, false),
            bert_mask: f32("bert_mask", &[s, n]),
            pseudo_beta: f32("pseudo_beta", &[n, 3]),
            pseudo_beta_mask: f32("pseudo_beta_mask", &[n]),
            all_atom_positions: f32("all_atom_positions", &[n, 37, 3]),
            all_atom_mask: f32("all_atom_mask", &[n, 37]),
            resolution_weight: f32("resolution_weight", &[1]),
            structure: StructureTruth {
                aatype: f.aatype,
                residue_index: f.residue_index,
                seq_mask: f.seq_mask,
                atom14_atom_exists: f32("atom14_atom_exists", &[n, 14]),
                atoms: AtomTruth {
                    atom14_gt_positions: f32("atom14_gt_positions", &[n, 14, 3]),
                    atom14_alt_gt_positions: f32("atom14_alt_gt_positions", &[n, 14, 3]),
                    atom14_gt_exists: f32("atom14_gt_exists", &[n, 14]),
                    atom14_alt_gt_exists: f32("atom14_alt_gt_exists", &[n, 14]),
                    atom14_atom_is_ambiguous: f32("atom14_atom_is_ambiguous", &[n, 14]),
                },
                backbone_affine_tensor: f32("backbone_affine_tensor", &[n, 7]),
                backbone_affine_mask: f32("backbone_affine_mask", &[n]),
                rigidgroups_gt_frames: f32("rigidgroups_gt_frames", &[n, 8, 12]),
                rigidgroups_alt_gt_frames: f32("rigidgroups_alt_gt_frames", &[n, 8, 12]),
                rigidgroups_gt_exists: f32("rigidgroups_gt_exists", &[n, 8]),
                chi_angles: f32("chi_angles", &[n, 4]),
                chi_mask: f32("chi_mask", &[n, 4]),
                use_clamped_fape: f32("use_clamped_fape", &[1]),
            },
        }
    }
}

/// The whole loss `[1]` and its terms.
#[derive(Debug, Clone, Copy)]
pub struct Losses<'g> {
    /// The weighted sum, `[1]`.
    pub total: Tensor<'g>,
    /// What is summed.
    pub terms: Terms<'g>,
    /// True distances of the distogram, squared, `[n_res, n_res]`.
    pub true_square: Tensor<'g>,
}

/// Equation 7: the losses of a prediction, in single precision whatever activations are stored in. `exists [n_res, 37]` are the atoms that
/// the residues' types have.
pub fn losses<'g>(p: &Prediction<'g>, t: &Labels<'g>, exists: Tensor<'g>, model: &Config, w: &Weights) -> Losses<'g> {
    let graph = p.distogram.graph();
    let all = || {
        let s = &p.structure;
        let atoms = Atoms {
            traj: s.traj,
            frames: s.frames,
            positions: s.atom14_positions,
            angles: s.sidechains.angles,
            unnormalized_angles: s.sidechains.unnormalized_angles,
        };
        let (distogram, true_square) = distogram::distogram(p.distogram, t.pseudo_beta, t.pseudo_beta_mask, model.heads.distogram_edges);
        let terms = Terms {
            structure: structure_module_loss(&w.structure(), atoms, &t.structure),
            distogram,
            masked_msa: masked_msa::masked_msa(p.masked_msa, t.true_msa, t.bert_mask),
            plddt: plddt::plddt(p.plddt, s.atom37_positions, t.all_atom_positions, t.all_atom_mask, t.resolution_weight),
            experimentally_resolved: (w.experimentally_resolved != 0.0)
                .then(|| resolved::experimentally_resolved(p.experimentally_resolved, t.all_atom_mask, exists, t.resolution_weight)),
            predicted_aligned_error: p.pae.zip(model.heads.pae.as_ref()).filter(|_| w.predicted_aligned_error != 0.0).map(|(logits, c)| {
                let [l, n, _] = s.traj.shape()[..] else { unreachable!("a trajectory has three axes") };
                let frames = |affine: Tensor<'g>| graph.apply_all(Rc::new(AffineFrames { scale: 1.0 }), &[affine])[0];
                let last = frames(s.traj.slice(0, l - 1..l).reshape(&[n, 7])); // [n_res, 12]
                let truth = frames(t.structure.backbone_affine_tensor); // [n_res, 12]
                aligned_error::aligned_error(logits, last, truth, t.structure.backbone_affine_mask, t.resolution_weight, c.last_edge)
            }),
        };
        Losses { total: total(w, &terms, t.structure.seq_mask), terms, true_square }
    };
    graph.scope("losses", || graph.precise(all))
}
