//! Algorithm 2 Inference, lines 4 to 18: from features to the representations that the heads read.

use crate::graph::Tensor;
use crate::model::config::Config;
use crate::model::embed::{Previous, extra_msa_embedder, input_embedder, recycling_embedder, relpos};
use crate::model::evoformer::{Masks, evoformer_stack};
use crate::model::features::Features;
use crate::model::template::{template_angle_rows, template_embedding};
use crate::nn::init::Init;
use crate::nn::layers::linear;
use crate::nn::params::Scope;
use crate::ops::basic::concat::Concat;
use crate::ops::basic::linear::Act;
use crate::ops::evoformer::pair_mask::PairMask;

/// What the trunk gives.
#[derive(Debug, Clone, Copy)]
pub struct Representations<'g> {
    /// The cluster rows `[n_clust, n_res, c_m]`, without those of templates.
    pub msa: Tensor<'g>,
    /// `[n_res, c_m]`.
    pub msa_first_row: Tensor<'g>,
    /// `[n_res, n_res, c_z]`.
    pub pair: Tensor<'g>,
    /// `[n_res, c_s]`.
    pub single: Tensor<'g>,
    /// The mask of the pairs `[n_res, n_res]`.
    pub pair_mask: Tensor<'g>,
}

/// Algorithm 2 Inference, lines 4 to 18, in the order of AlphaFold's code (QUIRKS 16). `previous` is what the pass before left, zeros before the first; without
/// it nothing is recycled. `seed` switches dropout on.
pub fn embeddings_and_evoformer<'g>(
    scope: &Scope<'g>,
    f: &Features<'g>,
    previous: Option<&Previous<'g>>,
    c: &Config,
    seed: Option<Tensor<'g>>,
) -> Representations<'g> {
    let graph = scope.graph;
    let pair_mask = graph.apply(PairMask, &[f.seq_mask]); // [n_res, n_res]
    let (mut m, mut z) = graph.scope("embedders", || input_embedder(scope, f, c)); // line 5
    if let Some(previous) = previous {
        (m, z) = graph.scope("embedders", || recycling_embedder(scope, (m, z), f.aatype, previous, c)); // line 6
    }
    let z = graph.scope("embedders", || z + relpos(scope, f.residue_index, c)); // Algorithm 3 line 3
    let templates = f.templates.as_ref().zip(c.template.as_ref());
    let z = match templates {
        Some((t, config)) => {
            let name = "template_embedding";
            graph.scope(name, || z + template_embedding(&scope.child(name), z, t, pair_mask, config, seed)) // lines 9-13
        }
        None => z,
    };
    let a = graph.scope("embedders", || extra_msa_embedder(scope, f, c)); // lines 14-15  [n_extra, n_res, c_e]
    let masks = Masks { msa: f.extra_msa_mask, pair: pair_mask };
    let (_, z) = evoformer_stack(&scope.child("extra_msa_stack"), (a, z), masks, &c.extra, true, seed); // line 16
    let (m, msa_mask) = match templates {
        Some((t, config)) if config.angles => {
            let rows = template_angle_rows(scope, t, c.c_m); // line 7  [n_templ, n_res, c_m]
            (graph.apply(Concat { axis: 0 }, &[m, rows]), graph.apply(Concat { axis: 0 }, &[f.msa_mask, t.angle_mask])) // line 8
        }
        _ => (m, f.msa_mask),
    };
    let masks = Masks { msa: msa_mask, pair: pair_mask };
    let (m, pair) = evoformer_stack(&scope.child("evoformer_iteration"), (m, z), masks, &c.evoformer, false, seed); // line 17
    let [_, n, c_m] = m.shape()[..] else { unreachable!("m has three axes") };
    let msa_first_row = m.slice(0, 0..1).reshape(&[n, c_m]);
    let single = linear(&scope.child("single_activations"), msa_first_row, c.c_s, Init::Linear, Act::None); // Algorithm 6 line 12
    Representations { msa: m.slice(0, 0..f.msa_feat.shape()[0]), msa_first_row, pair, single, pair_mask }
}
