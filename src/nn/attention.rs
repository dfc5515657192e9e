//! Gated attention with its projections.
//!
//! Queries, keys and values of one source are the columns of one matrix, so that one product makes all three.

use crate::graph::Tensor;
use crate::nn::init::Init;
use crate::nn::params::{Decl, Scope, flat};
use crate::ops::basic::linear::{Act, Linear};
use crate::ops::evoformer::attention::Attention;

/// What an attention is made of besides its inputs.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Number of heads.
    pub heads: usize,
    /// Channels of a query or key in one head.
    pub d_k: usize,
    /// Channels of a value in one head.
    pub d_v: usize,
    /// Whether the average is gated.
    pub gated: bool,
    /// Output channels.
    pub out: usize,
}

impl Config {
    /// Heads that share `c` channels, as AlphaFold's default has it.
    pub fn split(heads: usize, c: usize, gated: bool) -> Self {
        Self { heads, d_k: c / heads, d_v: c / heads, gated, out: c }
    }
}

/// Projects `x [.., c]` with several matrices `[c, heads, d]` side by side: each `[.., heads, d]`. With `gated` the last one is a gate's
/// `gating_w`, which alone has a bias.
fn heads<'g>(scope: &Scope<'g>, x: Tensor<'g>, parts: &[(&str, [usize; 2])], gated: bool) -> Vec<Tensor<'g>> {
    let c = [*x.shape().last().expect("an axis")];
    let init = |i: usize| if gated && i + 1 == parts.len() { Init::Constant(0.0) } else { Init::Glorot };
    let decls: Vec<Decl> =
        parts.iter().enumerate().map(|(i, (name, axes))| Decl { name, input: &c, output: axes, init: init(i) }).collect();
    let (w, starts) = scope.side_by_side(&decls);
    let y = if gated {
        let (axes, tail) = (&parts[parts.len() - 1].1, starts[parts.len() - 1]);
        let b = scope.param(Decl { name: "gating_b", input: &[], output: axes, init: Init::Constant(1.0) });
        scope.graph.apply(Linear { tail, ..Linear::biased(Act::None) }, &[x, w, b])
    } else {
        scope.graph.apply(Linear::plain(Act::None), &[x, w])
    }; // [.., sum of h d]
    let last = y.shape().len() - 1;
    parts.iter().zip(starts).map(|((_, [h, d]), at)| y.slice(last, at..at + flat(&[*h, *d])).split_last(*h, *d)).collect()
}

/// Algorithm 7's and 8's attention proper: `q_data [b, q, c]`, `m_data [b, k, c]` (`None` for the same as the queries), a key mask
/// `[b, k]`, a bias `[q, k, heads]`, to `[b, q, out]`. Softmax over keys; a mask of 0 replaces a logit (QUIRKS 3).
pub fn attention<'g>(
    scope: &Scope<'g>,
    q_data: Tensor<'g>,
    m_data: Option<Tensor<'g>>,
    mask: Option<Tensor<'g>>,
    bias: Option<Tensor<'g>>,
    config: Config,
) -> Tensor<'g> {
    // Every batch row attends to its own keys.
    let rows: Vec<Tensor<'g>> = [Some(q_data), m_data, mask].into_iter().flatten().collect();
    scope.graph.rows(&rows, |x| attend(scope, x, (m_data.is_some(), mask.is_some()), bias, config))
}

/// [`attention`] of some rows: `q_data`, then those of `m_data` and the mask that there are.
fn attend<'g>(
    scope: &Scope<'g>,
    rows: &[Tensor<'g>],
    (keys, masked): (bool, bool),
    bias: Option<Tensor<'g>>,
    config: Config,
) -> Tensor<'g> {
    let (q_data, m_data) = (rows[0], keys.then(|| rows[1]));
    let mask = masked.then(|| rows[rows.len() - 1]);
    let Config { heads: h, d_k, d_v, gated, out } = config;
    let [q, k, v, g] = [("query_w", [h, d_k]), ("key_w", [h, d_k]), ("value_w", [h, d_v]), ("gating_w", [h, d_v])];
    let some = |parts: &[_]| parts[..parts.len() - usize::from(!gated)].to_vec();
    let (qkv, gate) = match m_data {
        None => {
            let mut all = heads(scope, q_data, &some(&[q, k, v, g]), gated);
            (all.drain(..3).collect::<Vec<_>>(), all.pop())
        }
        Some(m_data) => {
            let mut own = heads(scope, q_data, &some(&[q, g]), gated);
            let gate = if gated { own.pop() } else { None };
            ([own, heads(scope, m_data, &[k, v], false)].concat(), gate)
        }
    }; // [b, q, h, d], [b, k, h, d], [b, k, h, d_v], [b, q, h, d_v]
    let op = Attention { mask: mask.is_some(), bias: bias.is_some(), gate: gated };
    let inputs: Vec<Tensor<'g>> = qkv.into_iter().chain(mask).chain(bias).chain(gate).collect();
    let o = scope.graph.apply(op, &inputs).merge_last(); // [b, q, h d_v]
    let w = scope.param(Decl { name: "output_w", input: &[h, d_v], output: &[out], init: Init::Constant(0.0) });
    let b = scope.param(Decl { name: "output_b", input: &[], output: &[out], init: Init::Constant(0.0) });
    scope.graph.apply(Linear::biased(Act::None), &[o, w, b]) // [b, q, out]
}
