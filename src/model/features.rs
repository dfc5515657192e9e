//! What the network reads of an example, as handles on a graph's inputs. Names and shapes are AlphaFold's.

use std::ops::Range;

use crate::graph::{Graph, Tensor};
use crate::model::structure::Residues;
use crate::tensor::DType;

/// Extents of an example's features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extents {
    /// Residues.
    pub n_res: usize,
    /// Cluster rows of the alignment.
    pub n_clust: usize,
    /// Extra rows.
    pub n_extra: usize,
    /// Templates; 0 leaves them out.
    pub n_templ: usize,
}

/// Features of one pass (supplement 1.2.9, Table 1).
#[derive(Debug, Clone, Copy)]
pub struct Features<'g> {
    /// `[n_res]` i32, 0..=20.
    pub aatype: Tensor<'g>,
    /// `[n_res]` i32.
    pub residue_index: Tensor<'g>,
    /// `[n_res]`.
    pub seq_mask: Tensor<'g>,
    /// `[n_res, 22]`.
    pub target_feat: Tensor<'g>,
    /// `[n_clust, n_res, 49]`.
    pub msa_feat: Tensor<'g>,
    /// `[n_clust, n_res]`.
    pub msa_mask: Tensor<'g>,
    /// `[n_extra, n_res]` i32, 0..=22.
    pub extra_msa: Tensor<'g>,
    /// `[n_extra, n_res]`.
    pub extra_has_deletion: Tensor<'g>,
    /// `[n_extra, n_res]`.
    pub extra_deletion_value: Tensor<'g>,
    /// `[n_extra, n_res]`.
    pub extra_msa_mask: Tensor<'g>,
    /// Templates, where there are any.
    pub templates: Option<Templates<'g>>,
}

/// Features of the templates.
#[derive(Debug, Clone, Copy)]
pub struct Templates<'g> {
    /// `[n_templ, n_res]` i32, 0..=21.
    pub aatype: Tensor<'g>,
    /// `[n_templ, n_res, 3]`, Angstrom.
    pub pseudo_beta: Tensor<'g>,
    /// `[n_templ, n_res]`.
    pub pseudo_beta_mask: Tensor<'g>,
    /// `[n_templ, n_res, 37, 3]`, Angstrom.
    pub all_atom_positions: Tensor<'g>,
    /// `[n_templ, n_res, 37]`.
    pub all_atom_masks: Tensor<'g>,
    /// `[n_templ, n_res, 57]`: types, torsions, alternative torsions and their mask (Table 1 `template_angle_feat`).
    pub angle_feat: Tensor<'g>,
    /// `[n_templ, n_res]`: whether psi is defined.
    pub angle_mask: Tensor<'g>,
    /// `[n_templ]`: which templates are there.
    pub mask: Tensor<'g>,
    /// `[1, 1, 1]`: 1 when any template is there.
    pub any: Tensor<'g>,
}

/// The input that holds the feature `name` of member `member` of an ensemble: AlphaFold's name for the first.
pub fn member_name(name: &str, member: usize) -> String {
    if member == 0 { name.into() } else { format!("{name}/{member}") }
}

/// The inputs that the structure module reads, under AlphaFold's names, beside those of the first member.
pub fn residues<'g>(graph: &'g Graph, f: &Features<'g>) -> Residues<'g> {
    let n = f.aatype.shape()[0];
    Residues {
        aatype: f.aatype,
        seq_mask: f.seq_mask,
        residx_atom37_to_atom14: graph.input("residx_atom37_to_atom14", &[n, 37], DType::I32, false),
        atom37_atom_exists: graph.input("atom37_atom_exists", &[n, 37], DType::F32, false),
    }
}

impl<'g> Features<'g> {
    /// The inputs of `graph` for member `member` of an ensemble, under the names that [`member_name`] gives; `grads` says which gradients are
    /// asked for.
    pub fn inputs(graph: &'g Graph, e: Extents, member: usize, grads: &dyn Fn(&str) -> bool) -> Self {
        let f32 = |name: &str, shape: &[usize]| graph.input(&member_name(name, member), shape, DType::F32, grads(name));
        let i32 = |name: &str, shape: &[usize]| graph.input(&member_name(name, member), shape, DType::I32, false);
        let (n, s, x, t) = (e.n_res, e.n_clust, e.n_extra, e.n_templ);
        Self {
            aatype: i32("aatype", &[n]),
            residue_index: i32("residue_index", &[n]),
            seq_mask: f32("seq_mask", &[n]),
            target_feat: f32("target_feat", &[n, 22]),
            msa_feat: f32("msa_feat", &[s, n, 49]),
            msa_mask: f32("msa_mask", &[s, n]),
            extra_msa: i32("extra_msa", &[x, n]),
            extra_has_deletion: f32("extra_has_deletion", &[x, n]),
            extra_deletion_value: f32("extra_deletion_value", &[x, n]),
            extra_msa_mask: f32("extra_msa_mask", &[x, n]),
            templates: (t > 0).then(|| Templates::inputs(graph, n, t, member)),
        }
    }
}

impl<'g> Templates<'g> {
    /// The inputs of `graph` under AlphaFold's names, and ours for what the host derives from them.
    pub fn inputs(graph: &'g Graph, n: usize, t: usize, member: usize) -> Self {
        let f32 = |name: &str, shape: &[usize]| graph.input(&member_name(name, member), shape, DType::F32, false);
        Self {
            aatype: graph.input(&member_name("template_aatype", member), &[t, n], DType::I32, false),
            pseudo_beta: f32("template_pseudo_beta", &[t, n, 3]),
            pseudo_beta_mask: f32("template_pseudo_beta_mask", &[t, n]),
            all_atom_positions: f32("template_all_atom_positions", &[t, n, 37, 3]),
            all_atom_masks: f32("template_all_atom_masks", &[t, n, 37]),
            angle_feat: f32("template_angle_feat", &[t, n, 57]),
            angle_mask: f32("template_angle_mask", &[t, n]),
            mask: f32("template_mask", &[t]),
            any: f32("template_any", &[1, 1, 1]),
        }
    }

    /// The features of some templates that make their pairs.
    pub fn pair_inputs(&self, some: Range<usize>) -> [Tensor<'g>; 5] {
        let all = [self.aatype, self.pseudo_beta, self.pseudo_beta_mask, self.all_atom_positions, self.all_atom_masks];
        all.map(|x| x.slice(0, some.clone()))
    }
}
