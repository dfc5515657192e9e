//! Gated attention with its projections.

use crate::graph::Tensor;
use crate::nn::init::Init;
use crate::nn::layers::{Map, Maps};
use crate::nn::params::{Decl, Scope};
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

/// A bias of the logits.
#[derive(Debug, Clone, Copy)]
pub enum Bias<'g> {
    /// None.
    None,
    /// `[q, k, heads]`, and the same as `[heads, q, k]`.
    Given([Tensor<'g>; 2]),
    /// `feat_2d_weights [c, heads]` of the module, without a constant, of the queries' own source: one square `[q, k, c]`, or t of them, one
    /// above another `[t q, k, c]` or side by side `[q, t, k, c]`. Rows and keys are those of a square.
    Own,
}

/// A bias `[t q, k, h]` or `[q, t, k, h]` as `[t, q, k, h]`, and the same with heads outermost as `[h, t, q, k]`.
fn squares<'g>([bias, turned]: [Tensor<'g>; 2], queries: usize) -> [Tensor<'g>; 2] {
    match bias.shape()[..] {
        [rows, _, _] => [bias.regroup(0..1, &[rows / queries, queries]), turned.regroup(1..2, &[rows / queries, queries])],
        _ => [bias.permute(&[1, 0, 2, 3]), turned.permute(&[0, 2, 1, 3])],
    }
}

/// Algorithm 7's and 8's attention proper, with the parameters of `attention` under the module's `scope`: `q_data [b, q, c]`, `m_data
/// [b, k, c]` (`None` for the same as the queries), a key mask `[b, k]`, a bias, to `[b, q, out]`; squares side by side, with their mask `[b, t,
/// k]`, to `[b, t q, out]`. Softmax over keys; a mask of 0 replaces a logit (QUIRKS 3).
pub fn attention<'g>(
    scope: &Scope<'g>,
    q_data: Tensor<'g>,
    m_data: Option<Tensor<'g>>,
    mask: Option<Tensor<'g>>,
    bias: Bias<'g>,
    config: Config,
) -> Tensor<'g> {
    let Config { heads: h, d_k, d_v, gated, out } = config;
    let project = |name: &str, d: usize| Map::plain(&format!("attention//{name}_w"), &[h, d], Init::Glorot);
    let (query, key, value) = (project("query", d_k), project("key", d_k), project("value", d_v));
    let gate = gated.then(|| Map { bias: Some(("attention//gating_b".into(), 1.0)), init: Init::Constant(0.0), ..project("gating", d_v) });
    let own = matches!(bias, Bias::Own).then(|| Map { outermost: true, ..Map::plain("feat_2d_weights", &[h], Init::Normal) });
    let first = usize::from(own.is_some());
    // Queries, keys and values of one source are the columns of one matrix, so that one product makes all three.
    let mut of_q: Vec<Map> = own.into_iter().chain([query]).collect();
    if m_data.is_none() {
        of_q.extend([key.clone(), value.clone()]);
    }
    of_q.extend(gate);
    let n = of_q.len();
    let of_q = Maps::new(scope, q_data, |x| x, &of_q);
    let of_m = m_data.map(|m_data| Maps::new(scope, m_data, |x| x, &[key, value]));
    let side = q_data.shape().len() == 4;
    let queries = q_data.shape()[q_data.shape().len() - 2];
    let bias = match bias {
        Bias::None => None,
        Bias::Given(bias) => Some(squares(bias, queries)),
        Bias::Own => Some(squares(of_q.heads(), queries)),
    };
    // How many neighbouring rows share a bias: side by side, squares take turns in every row.
    let several = bias.is_some_and(|[b, _]| b.shape()[0] > 1);
    let run = match (several, side) {
        (false, _) => 0,
        (true, true) => 1,
        (true, false) => queries,
    };
    // Every batch row attends to its own keys.
    let rows: Vec<Tensor<'g>> = [Some(of_q.rows()), of_m.as_ref().map(Maps::rows), mask].into_iter().flatten().collect();
    scope.graph.rows_from(&rows, |x, from| {
        let flat = |x: Tensor<'g>| if side { x.regroup(0..2, &[x.shape()[0] * x.shape()[1]]) } else { x };
        let mut rest = x[1..].iter().copied();
        let mut parts = of_q.of(x[0], first..n); // [b, q, h d] each
        if let Some(of_m) = &of_m {
            parts.splice(1..1, of_m.of(rest.next().expect("keys"), 0..2)); // [b, k, h d]
        }
        let width = |i: usize| if i < 2 { d_k } else { d_v };
        let mut inputs: Vec<Tensor<'g>> = parts.iter().enumerate().map(|(i, t)| flat(*t).split_last(h, width(i))).collect(); // [b, q, h, d]
        let gate = if gated { inputs.pop() } else { None };
        let mask = rest.next().map(flat);
        // A part of rows side by side begins with the first square.
        let first = if side { 0 } else { from };
        let op = Attention { mask: mask.is_some(), bias: bias.is_some(), turned: bias.is_some(), gate: gated, run, first };
        inputs.extend(mask.into_iter().chain(bias.into_iter().flatten()).chain(gate));
        let o = scope.graph.apply(op, &inputs).merge_last(); // [b, q, h d_v]
        let o = if side { o.regroup(0..2, &[x[0].shape()[0], x[0].shape()[1] * queries]) } else { o };
        let scope = scope.child("attention");
        let w = scope.param(Decl { name: "output_w", input: &[h, d_v], output: &[out], init: Init::Constant(0.0) });
        let b = scope.param(Decl { name: "output_b", input: &[], output: &[out], init: Init::Constant(0.0) });
        scope.graph.apply(Linear::biased(Act::None), &[o, w, b]) // [b, q, out]
    })
}
