//! The Evoformer's modules (supplement 1.6), each as the update that is added to its input.

use std::rc::Rc;

use crate::graph::Tensor;
use crate::model::config::BlockConfig;
use crate::nn::attention::{Bias, Config, attention};
use crate::nn::dropout::add_dropout;
use crate::nn::global_attention;
use crate::nn::init::Init;
use crate::nn::layers::{Map, Maps, layer_norm, linear, transition};
use crate::nn::outer_product_mean::outer_product_mean;
use crate::nn::params::{Decl, Scope};
use crate::ops::basic::dropout::Share;
use crate::ops::basic::dropout::Share::{Columns, Rows};
use crate::ops::basic::gated::Gated;
use crate::ops::basic::linear::{Act, Linear};
use crate::ops::basic::transpose::Transpose;

/// `[c_z]` to one bias a head, without a constant: `feat_2d_weights [c_z, h]`. Heads are innermost, and outermost.
fn pair_bias<'g>(scope: &Scope<'g>, z: Tensor<'g>, heads: usize) -> [Tensor<'g>; 2] {
    let c_z = *z.shape().last().expect("an axis");
    let w = scope.param(Decl { name: "feat_2d_weights", input: &[c_z], output: &[heads], init: Init::Normal });
    let b = scope.graph.apply_all(Rc::new(Linear { heads, ..Linear::plain(Act::None) }), &[z, w]);
    [b[0], b[1]] // [n_res, n_res, h], [h, n_res, n_res]
}

/// A mask `[a, b]` as `[b, a]`, made once for all blocks.
fn turned(mask: Tensor<'_>) -> Tensor<'_> {
    mask.graph().once("turned", mask, || mask.graph().apply(Transpose, &[mask]))
}

/// Algorithm 7 MSARowAttentionWithPairBias: `m [n_seq, n_res, c_m]`, its mask, `z [n_res, n_res, c_z]`.
pub fn msa_row_attention<'g>(scope: &Scope<'g>, m: Tensor<'g>, mask: Tensor<'g>, z: Tensor<'g>, config: Config) -> Tensor<'g> {
    let m = layer_norm(&scope.child("query_norm"), m); // line 1  [n_seq, n_res, c_m]
    let z = layer_norm(&scope.child("feat_2d_norm"), z); // line 3  [n_res, n_res, c_z]
    let b = pair_bias(scope, z, config.heads); // line 3  [n_res, n_res, h] and turned
    attention(scope, m, None, Some(mask), Bias::Given(b), config) // lines 2, 4-7
}

/// Algorithm 8 MSAColumnAttention: `m [n_seq, n_res, c_m]`, attention along the sequences of a column.
pub fn msa_column_attention<'g>(scope: &Scope<'g>, m: Tensor<'g>, mask: Tensor<'g>, config: Config) -> Tensor<'g> {
    let m = layer_norm(&scope.child("query_norm"), m).permute(&[1, 0, 2]); // line 1  [n_res, n_seq, c_m]
    let mask = turned(mask); // [n_res, n_seq]
    attention(scope, m, None, Some(mask), Bias::None, config).permute(&[1, 0, 2]) // lines 2-6
}

/// Algorithm 19 MSAColumnGlobalAttention: `m [n_seq, n_res, c_m]`, every head with the same keys and values.
pub fn msa_column_global_attention<'g>(scope: &Scope<'g>, m: Tensor<'g>, mask: Tensor<'g>, config: Config) -> Tensor<'g> {
    let m = layer_norm(&scope.child("query_norm"), m).permute(&[1, 0, 2]); // line 1  [n_res, n_seq, c_m]
    let mask = turned(mask); // [n_res, n_seq]
    let config = global_attention::Config { heads: config.heads, d: config.d_k, gated: config.gated, out: config.out };
    global_attention::global_attention(&scope.child("attention"), m, None, mask, config).permute(&[1, 0, 2]) // lines 2-8
}

/// How many pair representations lie side by side in `z [n_res, t n_res, c]`: several of templates, one of the chain.
fn squares(z: Tensor<'_>) -> [usize; 2] {
    let [n_res, columns, _] = z.shape()[..] else { panic!("pairs {z:?}, not [n_res, t n_res, c]") };
    [columns / n_res, n_res]
}

/// A pair mask `[n_res, n_res]` for t squares side by side, `[n_res, t, n_res]`, made once for all blocks.
fn side_by_side(mask: Tensor<'_>, t: usize) -> Tensor<'_> {
    let n_res = mask.shape()[0];
    match t {
        1 => mask.regroup(0..1, &[n_res, 1]),
        _ => mask.graph().once(&format!("{t} side by side"), mask, || mask.repeat(t).permute(&[1, 0, 2]).contiguous()),
    }
}

/// Algorithms 13 and 14 TriangleAttentionStartingNode and EndingNode: `z [n_res, n_res, c_z]`, or several side by side that know nothing of
/// each other, and the mask of one. The ending node is the starting node of the transposed pair representation (QUIRKS 10).
pub fn triangle_attention<'g>(scope: &Scope<'g>, z: Tensor<'g>, mask: Tensor<'g>, starting: bool, config: Config) -> Tensor<'g> {
    let [t, n_res] = squares(z);
    let norm = |z: Tensor<'g>| layer_norm(&scope.child("query_norm"), z); // line 1
    if starting {
        let z = norm(z.regroup(1..2, &[t, n_res])); // [n_res, t, n_res, c_z]
        return attention(scope, z, None, Some(side_by_side(mask, t)), Bias::Own, config); // lines 2-7  [n_res, t n_res, c_z]
    }
    let mask = turned(mask); // [n_res, n_res]
    let above = || mask.repeat(t).contiguous().regroup(0..2, &[t * n_res]); // [t n_res, n_res]
    let mask = if t == 1 { mask } else { mask.graph().once(&format!("{t} one above another"), mask, above) };
    let z = norm(z).permute(&[1, 0, 2]); // [t n_res, n_res, c_z]
    attention(scope, z, None, Some(mask), Bias::Own, config).permute(&[1, 0, 2]) // lines 2-7  [n_res, t n_res, c_z]
}

/// What the two namings of triangle multiplication's parameters differ in: one linear map for each projection and gate of each side, or
/// one for both sides, left first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edges {
    /// `left_projection`, `right_projection`, `left_gate`, `right_gate`: the released monomer models.
    Apart,
    /// `projection` and `gate`.
    Fused,
}

/// Algorithms 11 and 12 TriangleMultiplicationOutgoing and Incoming: `z [n_res, n_res, c_z]`, or several side by side, the mask of one, and `c`
/// channels between. AlphaFold's code masks the projections, and for incoming edges swaps left and right relative to the paper (QUIRKS 11).
pub fn triangle_multiplication<'g>(
    scope: &Scope<'g>,
    z: Tensor<'g>,
    mask: Tensor<'g>,
    outgoing: bool,
    (c, edges): (usize, Edges),
) -> Tensor<'g> {
    let c_z = *z.shape().last().expect("an axis");
    let (norm_in, norm_out) = match edges {
        Edges::Apart => ("layer_norm_input", "center_layer_norm"),
        Edges::Fused => ("left_norm_input", "center_norm"),
    };
    // Lines 2 and 3: projections and gates of both sides, and the gate of the result, before their sigmoids.
    let (projections, gates, width): (&[&str], &[&str], usize) = match edges {
        Edges::Apart => (&["left_projection", "right_projection"], &["left_gate", "right_gate"], c),
        Edges::Fused => (&["projection"], &["gate"], 2 * c),
    };
    let mut each: Vec<Map> = projections.iter().map(|name| Map::linear(name, width, Init::Linear, 0.0)).collect();
    each.extend(gates.iter().map(|name| Map::gate(name, width)).chain([Map::gate("gating_linear", c_z)]));
    let maps = Maps::new(scope, z, |z| layer_norm(&scope.child(norm_in), z), &each); // line 1
    let mask = side_by_side(mask, squares(z)[0]);
    let x = maps.triangle_product(mask, projections.len(), c, outgoing); // lines 2 and 4  [n_res, t n_res, c]
    scope.graph.rows(&[x, maps.rows()], |x| {
        let g = maps.of(x[1], each.len() - 1..each.len())[0]; // [n_res, t n_res, c_z]
        let x = layer_norm(&scope.child(norm_out), x[0]);
        let x = linear(&scope.child("output_projection"), x, c_z, Init::Constant(0.0), Act::None); // [n_res, t n_res, c_z]
        scope.graph.apply(Gated::with_gate(false), &[x, g]) // line 3
    })
}

/// The attention of a block's pair half.
fn pair_heads(config: &BlockConfig, c: usize) -> Config {
    Config { out: c, ..Config::split(config.pair_heads, config.pair_attention.unwrap_or(c), true) }
}

/// The pair half of a block (Algorithm 6 lines 6-10): `z [n_res, n_res, c_z]` and its mask.
pub fn pair_stack<'g>(scope: &Scope<'g>, z: Tensor<'g>, mask: Tensor<'g>, config: &BlockConfig, seed: Option<Tensor<'g>>) -> Tensor<'g> {
    let heads = pair_heads(config, *z.shape().last().expect("an axis"));
    let edges = (config.triangle, Edges::Apart);
    let update = |name: &str, z: Tensor<'g>, share: Share, module: &dyn Fn(&Scope<'g>) -> Tensor<'g>| {
        let scope = scope.child(name);
        scope.graph.module(name, || add_dropout(&scope, z, module(&scope), (config.pair_dropout, share), seed))
    };
    let z = update("triangle_multiplication_outgoing", z, Rows, &|s| triangle_multiplication(s, z, mask, true, edges)); // line 6
    let z = update("triangle_multiplication_incoming", z, Rows, &|s| triangle_multiplication(s, z, mask, false, edges)); // line 7
    let z = update("triangle_attention_starting_node", z, Rows, &|s| triangle_attention(s, z, mask, true, heads)); // line 8
    let z = update("triangle_attention_ending_node", z, Columns(z.shape()[0]), &|s| triangle_attention(s, z, mask, false, heads)); // line 9
    scope.graph.module("pair_transition", || z + transition(&scope.child("pair_transition"), z, config.pair_factor)) // line 10
}

/// One block of the template pair stack (Algorithm 16 lines 2-6), whose order is its own (QUIRKS 12): `t [n_res, n_templ n_res, c_t]`,
/// templates side by side, and the mask `[n_res, n_res]` of each.
pub fn template_pair_block<'g>(
    scope: &Scope<'g>,
    t: Tensor<'g>,
    mask: Tensor<'g>,
    config: &BlockConfig,
    seed: Option<Tensor<'g>>,
) -> Tensor<'g> {
    let heads = pair_heads(config, *t.shape().last().expect("an axis"));
    let edges = (config.triangle, Edges::Apart);
    let update = |name: &str, t: Tensor<'g>, share: Share, module: &dyn Fn(&Scope<'g>) -> Tensor<'g>| {
        let scope = scope.child(name);
        scope.graph.module(name, || add_dropout(&scope, t, module(&scope), (config.pair_dropout, share), seed))
    };
    let t = update("triangle_attention_starting_node", t, Rows, &|s| triangle_attention(s, t, mask, true, heads)); // line 2
    let t = update("triangle_attention_ending_node", t, Columns(t.shape()[0]), &|s| triangle_attention(s, t, mask, false, heads)); // line 3
    let t = update("triangle_multiplication_outgoing", t, Rows, &|s| triangle_multiplication(s, t, mask, true, edges)); // line 4
    let t = update("triangle_multiplication_incoming", t, Rows, &|s| triangle_multiplication(s, t, mask, false, edges)); // line 5
    scope.graph.module("pair_transition", || t + transition(&scope.child("pair_transition"), t, config.pair_factor)) // line 6
}

/// Algorithm 16 TemplatePairStack: `t [n_res, n_templ n_res, c_t]`, without the final layer norm.
pub fn template_pair_stack<'g>(
    scope: &Scope<'g>,
    t: Tensor<'g>,
    mask: Tensor<'g>,
    config: &BlockConfig,
    seed: Option<Tensor<'g>>,
) -> Tensor<'g> {
    let stack = scope.child("__layer_stack_no_state");
    scope.graph.blocks(config.blocks, t, |t, i| template_pair_block(&stack.block(i, config.blocks), t, mask, config, seed))
}

/// Masks of a stack's representations.
#[derive(Debug, Clone, Copy)]
pub struct Masks<'g> {
    /// Of the alignment, `[n_seq, n_res]`.
    pub msa: Tensor<'g>,
    /// Of the pairs, `[n_res, n_res]`.
    pub pair: Tensor<'g>,
}

/// One block of Algorithm 6 EvoformerStack (lines 2-10), or with `extra` of Algorithm 18 ExtraMsaStack, whose column attention is global:
/// `m [n_seq, n_res, c_m]` and `z [n_res, n_res, c_z]`.
pub fn evoformer_block<'g>(
    scope: &Scope<'g>,
    (m, z): (Tensor<'g>, Tensor<'g>),
    masks: Masks<'g>,
    config: &BlockConfig,
    extra: bool,
    seed: Option<Tensor<'g>>,
) -> (Tensor<'g>, Tensor<'g>) {
    let (c_m, c_z) = (*m.shape().last().expect("an axis"), *z.shape().last().expect("an axis"));
    let heads = Config::split(config.msa_heads, c_m, true);
    let module = |name: &str, body: &dyn Fn(&Scope<'g>) -> Tensor<'g>| scope.graph.module(name, || body(&scope.child(name)));
    let outer = |m, z| module("outer_product_mean", &|s| z + outer_product_mean(s, m, masks.msa, config.outer, c_z));
    let z = if config.outer_first { outer(m, z) } else { z };
    let m = module("msa_row_attention_with_pair_bias", &|s| {
        add_dropout(s, m, msa_row_attention(s, m, masks.msa, z, heads), (config.msa_dropout, Rows), seed) // line 2
    });
    let m = match extra {
        false => module("msa_column_attention", &|s| m + msa_column_attention(s, m, masks.msa, heads)), // line 3
        true => module("msa_column_global_attention", &|s| m + msa_column_global_attention(s, m, masks.msa, heads)), // Algorithm 18 line 3
    };
    let m = module("msa_transition", &|s| m + transition(s, m, config.msa_factor)); // line 4
    let z = if config.outer_first { z } else { outer(m, z) }; // line 5
    (m, pair_stack(scope, z, masks.pair, config, seed)) // lines 6-10
}

/// Algorithm 6 EvoformerStack without its last line, or with `extra` Algorithm 18 ExtraMsaStack. Each block keeps only its inputs for the
/// backward pass and is computed again there (supplement 1.11.8).
pub fn evoformer_stack<'g>(
    scope: &Scope<'g>,
    (m, z): (Tensor<'g>, Tensor<'g>),
    masks: Masks<'g>,
    config: &BlockConfig,
    extra: bool,
    seed: Option<Tensor<'g>>,
) -> (Tensor<'g>, Tensor<'g>) {
    let block = |mz, i| evoformer_block(&scope.block(i, config.blocks), mz, masks, config, extra, seed);
    let name = if extra { "extra_msa_stack" } else { "evoformer_iteration" };
    scope.graph.scope(name, || scope.graph.blocks(config.blocks, (m, z), block))
}
