//! Outer product mean with its norm and projections (Algorithm 10).

use std::rc::Rc;

use crate::graph::Tensor;
use crate::nn::init::Init;
use crate::nn::layers::layer_norm;
use crate::nn::params::{Decl, Scope};
use crate::ops::basic::gated::Gated;
use crate::ops::basic::linear::{Act, Linear};
use crate::ops::evoformer::outer_product_mean::OuterProductMean;
use crate::ops::evoformer::shared_rows::SharedRows;

/// Algorithm 10 OuterProductMean: `m [n_seq, n_res, c_m]` and its mask `[n_seq, n_res]` to `[n_res, n_res, c_z]`, with `c` channels a side.
/// AlphaFold's code masks the projections after their bias and divides by the number of sequences that two residues share, `output_b`
/// included (QUIRKS 8), where the paper takes the mean over all sequences.
pub fn outer_product_mean<'g>(scope: &Scope<'g>, m: Tensor<'g>, mask: Tensor<'g>, c: usize, c_z: usize) -> Tensor<'g> {
    let graph = scope.graph;
    let m = layer_norm(&scope.child("layer_norm_input"), m); // line 1  [n_seq, n_res, c_m]
    let (c_m, sides) = ([*m.shape().last().expect("an axis")], [c]);
    let weights = |name| Decl { name, input: &c_m, output: &sides, init: Init::Linear };
    let bias = |name| Decl { name, input: &[], output: &sides, init: Init::Constant(0.0) };
    let (w, _) = scope.side_by_side(&[weights("left_projection//weights"), weights("right_projection//weights")]);
    let (b, _) = scope.side_by_side(&[bias("left_projection//bias"), bias("right_projection//bias")]);
    let both = graph.apply(Linear::biased(Act::None), &[m, w, b]); // line 2  [n_seq, n_res, 2 c]
    let masked = graph.apply_all(Rc::new(Gated { halves: true, ..Gated::masked() }), &[both, mask]);
    let (left, right) = (masked[0].narrow(c), masked[1]); // [n_seq, n_res, c], [n_seq, c, n_res] with c of whole groups
    // The same for all blocks: made once, where that may be kept.
    let norm = graph.once("shared rows", mask, || graph.apply(SharedRows, &[mask])); // [n_res, n_res, 1]
    let w = scope.param(Decl { name: "output_w", input: &[c, c], output: &[c_z], init: Init::Constant(0.0) });
    let b = scope.param(Decl { name: "output_b", input: &[], output: &[c_z], init: Init::Constant(0.0) });
    graph.apply(OuterProductMean::default(), &[left, right, norm, w, b]) // lines 3-4  [n_res, n_res, c_z]
}
