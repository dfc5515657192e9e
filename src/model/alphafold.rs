//! Algorithm 2 Inference: one pass from features to a structure with its confidences, and what passes hand on.

use crate::graph::{Graph, Tensor};
use crate::model::config::Config;
use crate::model::embed::Previous;
use crate::model::features::Features;
use crate::model::heads;
use crate::model::structure::{Residues, Structure, structure_module};
use crate::model::trunk::{Representations, embeddings_and_evoformer};
use crate::nn::params::Scope;
use crate::ops::basic::copy::Copy;
use crate::tensor::HostTensor;

/// The scope of all of AlphaFold's parameter names.
pub const SCOPE: &str = "alphafold/alphafold_iteration";

/// What a pass makes of its features.
#[derive(Debug, Clone)]
pub struct Prediction<'g> {
    /// What the heads read; averages over the ensemble, but for the alignment's, which is the first member's.
    pub representations: Representations<'g>,
    /// Positions and frames.
    pub structure: Structure<'g>,
    /// Logits `[n_clust, n_res, 23]`.
    pub masked_msa: Tensor<'g>,
    /// Logits `[n_res, n_res, 64]`.
    pub distogram: Tensor<'g>,
    /// Logits `[n_res, 37]`.
    pub experimentally_resolved: Tensor<'g>,
    /// Logits `[n_res, 50]`.
    pub plddt: Tensor<'g>,
    /// Logits `[n_res, n_res, 64]`, of models that have the head.
    pub pae: Option<Tensor<'g>>,
}

/// One pass: Algorithm 2 lines 3 to 22. `ensemble` are the features of its members, of which the heads see the first's; `previous` is what
/// the pass before left, zeros before the first; `seed` switches dropout on.
pub fn alphafold_iteration<'g>(
    scope: &Scope<'g>,
    ensemble: &[Features<'g>],
    residues: &Residues<'g>,
    previous: &Previous<'g>,
    c: &Config,
    seed: Option<Tensor<'g>>,
) -> Prediction<'g> {
    let members: Vec<Representations<'g>> = (0..ensemble.len()) // line 4
        .map(|i| embeddings_and_evoformer(&scope.child("evoformer").instance(i), &ensemble[i], Some(previous), c, seed)) // lines 5-18
        .collect();
    let r = average(&members); // lines 19-20
    let name = "structure_module";
    let structure = scope.graph.scope(name, || structure_module(&scope.child(name), r.single, r.pair, residues, &c.structure, seed)); // line 21
    let h = &c.heads;
    let heads = || Prediction {
        masked_msa: heads::masked_msa_head(scope, r.msa, h.masked_msa_classes),
        distogram: heads::distogram_head(scope, r.pair, h.distogram_bins),
        experimentally_resolved: heads::experimentally_resolved_head(scope, r.single, 37),
        plddt: heads::predicted_lddt_head(scope, structure.s, h.plddt_channels, h.plddt_bins), // line 22
        pae: h.pae.as_ref().map(|pae| heads::predicted_aligned_error_head(scope, r.pair, pae.bins)),
        representations: r,
        structure,
    };
    scope.graph.scope("heads", || scope.graph.precise(heads))
}

/// Line 20: the average of single and pair representations and of the first row; the alignment's is the first member's (QUIRKS 52).
fn average<'g>(members: &[Representations<'g>]) -> Representations<'g> {
    let first = members[0];
    if members.len() == 1 {
        return first;
    }
    let n = members.len();
    let share = |rank: usize| {
        let value = HostTensor::f32(&vec![1; rank], vec![1.0 / n as f32]);
        first.pair.graph().constant(&format!("share of {n}, {rank} axes"), &value)
    };
    let mean = |part: fn(&Representations<'g>) -> Tensor<'g>| {
        let sum = members[1..].iter().fold(part(&first), |sum, member| sum + part(member));
        sum * share(sum.shape().len())
    };
    Representations { single: mean(|r| r.single), pair: mean(|r| r.pair), msa_first_row: mean(|r| r.msa_first_row), ..first }
}

/// The memory that passes hand on: states of a session, zeros before the first pass.
pub fn previous<'g>(graph: &'g Graph, n_res: usize, c: &Config) -> Previous<'g> {
    let [pos, msa_first_row, pair] = PREVIOUS;
    Previous {
        pos: graph.state(pos, &[n_res, 37, 3]),
        msa_first_row: graph.state(msa_first_row, &[n_res, c.c_m]),
        pair: graph.state(pair, &[n_res, n_res, c.c_z]),
    }
}

/// The states of [`previous`], for those who set them to zeros before a first pass.
pub const PREVIOUS: [&str; 3] = ["prev_pos", "prev_msa_first_row", "prev_pair"];

/// Leaves for the next pass what this one made. Nothing flows back through it: states have no gradient.
pub fn recycle<'g>(graph: &'g Graph, previous: &Previous<'g>, p: &Prediction<'g>) {
    let now = [p.structure.atom37_positions, p.representations.msa_first_row, p.representations.pair];
    for (state, value) in [previous.pos, previous.msa_first_row, previous.pair].into_iter().zip(now) {
        graph.update(Copy, &[state, value.contiguous()]);
    }
}
