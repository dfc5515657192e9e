//! Input and recycling embedders (supplement 1.5 and 1.10).

use crate::graph::Tensor;
use crate::model::config::Config;
use crate::model::features::Features;
use crate::nn::init::Init;
use crate::nn::layers::{layer_norm, linear};
use crate::nn::params::{Decl, Scope};
use crate::ops::basic::concat::Concat;
use crate::ops::basic::embedding::Embedding;
use crate::ops::basic::linear::Act;
use crate::ops::evoformer::distance_bins::DistanceBins;
use crate::ops::evoformer::extra_msa_feat::ExtraMsaFeat;
use crate::ops::evoformer::pseudo_beta::PseudoBeta;

/// What one pass leaves for the next; all zeros before the first.
#[derive(Debug, Clone, Copy)]
pub struct Previous<'g> {
    /// Atom positions `[n_res, 37, 3]`, Angstrom.
    pub pos: Tensor<'g>,
    /// First row of the alignment's representation `[n_res, c_m]`.
    pub msa_first_row: Tensor<'g>,
    /// Pair representation `[n_res, n_res, c_z]`.
    pub pair: Tensor<'g>,
}

/// A linear map with AlphaFold's plain initialiser.
fn embed<'g>(scope: &Scope<'g>, name: &str, x: Tensor<'g>, c: usize) -> Tensor<'g> {
    linear(&scope.child(name), x, c, Init::Linear, Act::None)
}

/// A linear map of the one-hot vectors of `index`, which picks rows of the weights.
fn embed_index<'g>(scope: &Scope<'g>, index: Tensor<'g>, (k, c): (usize, usize), relative: Option<usize>) -> Tensor<'g> {
    let w = scope.param(Decl { name: "weights", input: &[k], output: &[c], init: Init::Linear });
    let b = scope.param(Decl { name: "bias", input: &[], output: &[c], init: Init::Constant(0.0) });
    scope.graph.apply(Embedding { bias: true, relative }, &[index, w, b])
}

/// Algorithm 3 InputEmbedder without the relative positions: `m [n_clust, n_res, c_m]` and `z [n_res, n_res, c_z]`.
pub fn input_embedder<'g>(scope: &Scope<'g>, f: &Features<'g>, c: &Config) -> (Tensor<'g>, Tensor<'g>) {
    let n = f.target_feat.shape()[0];
    let a = embed(scope, "left_single", f.target_feat, c.c_z).reshape(&[n, 1, c.c_z]); // line 1
    let b = embed(scope, "right_single", f.target_feat, c.c_z).reshape(&[1, n, c.c_z]); // line 1
    let z = a + b; // line 2  [n_res, n_res, c_z]
    let m = embed(scope, "preprocess_msa", f.msa_feat, c.c_m); // line 4  [n_clust, n_res, c_m]
    (m + embed(scope, "preprocess_1d", f.target_feat, c.c_m).reshape(&[1, n, c.c_m]), z)
}

/// Algorithm 4 relpos with Algorithm 5 one_hot: `residue_index [n_res]` to `[n_res, n_res, c_z]`. The scope's name is AlphaFold's own.
pub fn relpos<'g>(scope: &Scope<'g>, residue_index: Tensor<'g>, c: &Config) -> Tensor<'g> {
    let reach = c.max_relative;
    embed_index(&scope.child("pair_activiations"), residue_index, (2 * reach + 1, c.c_z), Some(reach))
}

/// Algorithm 32 RecyclingEmbedder: `m` and `z` with what the previous pass left (QUIRKS 16).
pub fn recycling_embedder<'g>(
    scope: &Scope<'g>,
    (m, z): (Tensor<'g>, Tensor<'g>),
    aatype: Tensor<'g>,
    previous: &Previous<'g>,
    c: &Config,
) -> (Tensor<'g>, Tensor<'g>) {
    let graph = scope.graph;
    let x = graph.apply(PseudoBeta, &[aatype, previous.pos]); // [n_res, 3]
    let d = graph.apply_all(std::rc::Rc::new(DistanceBins::dgram(3.25, 20.75, 15)), &[x])[0]; // line 1  [n_res, n_res]
    let z = z + embed_index(&scope.child("prev_pos_linear"), d, (15, c.c_z), None); // line 2
    let n = previous.msa_first_row.shape()[0];
    let row = layer_norm(&scope.child("prev_msa_first_row_norm"), previous.msa_first_row).reshape(&[1, n, c.c_m]); // line 4
    let first = m.slice(0, 0..1) + row; // [1, n_res, c_m]
    let n_clust = m.shape()[0];
    let m = if n_clust == 1 { first } else { graph.apply(Concat { axis: 0 }, &[first, m.slice(0, 1..n_clust)]) };
    (m, z + layer_norm(&scope.child("prev_pair_norm"), previous.pair)) // line 3
}

/// Algorithm 2 lines 14-15: the extra alignment `[n_extra, n_res, c_e]`.
pub fn extra_msa_embedder<'g>(scope: &Scope<'g>, f: &Features<'g>, c: &Config) -> Tensor<'g> {
    let x = scope.graph.apply(ExtraMsaFeat, &[f.extra_msa, f.extra_has_deletion, f.extra_deletion_value]); // [n_extra, n_res, 25]
    embed(scope, "extra_msa_activations", x, c.c_e)
}
