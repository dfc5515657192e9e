//! Global attention with its projections: one averaged query, one head of keys and values.

use crate::graph::Tensor;
use crate::nn::init::Init;
use crate::nn::params::{Decl, Scope};
use crate::ops::basic::linear::{Act, Linear};
use crate::ops::evoformer::attention::Attention;
use crate::ops::evoformer::masked_mean::MaskedMean;

/// What a global attention is made of besides its inputs.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Number of heads.
    pub heads: usize,
    /// Channels of a head's query, and of the keys and values that all heads share; a multiple of four.
    pub d: usize,
    /// Whether the average is gated, which gives every place its own output.
    pub gated: bool,
    /// Output channels.
    pub out: usize,
}

/// Algorithm 19 MSAColumnGlobalAttention lines 2-7 (AlphaFold's `GlobalAttention`): `q_data [b, n, c]`, `m_data [b, n, c]` (`None` for the
/// same) and a mask `[b, n]` to `[b, n, out]`, or to `[b, 1, out]` without a gate. AlphaFold's code averages the query under the mask and
/// leaves masked keys out, where the paper does neither (QUIRKS 5).
pub fn global_attention<'g>(
    scope: &Scope<'g>,
    q_data: Tensor<'g>,
    m_data: Option<Tensor<'g>>,
    mask: Tensor<'g>,
    config: Config,
) -> Tensor<'g> {
    let (graph, Config { heads: h, d, gated, out }) = (scope.graph, config);
    assert!(d.is_multiple_of(4), "global attention with {d} channels a head; a multiple of four is expected");
    let q_data = q_data.contiguous(); // [b, n, c]: read by up to three projections
    let m_data = m_data.map_or(q_data, |m| m.contiguous());
    let (shape, c) = (q_data.shape(), *q_data.shape().last().expect("an axis"));
    let (b, n) = (shape[0], shape[1]);
    let mean = graph.apply_all(std::rc::Rc::new(MaskedMean), &[q_data, mask])[0]; // [b, c]
    let w = scope.param(Decl { name: "query_w", input: &[c], output: &[h, d], init: Init::Glorot });
    let q = graph.apply(Linear::plain(Act::None), &[mean, w]); // lines 2-3  [b, h d]
    let (input, head) = ([c], [d]);
    let shared = |name| Decl { name, input: &input, output: &head, init: Init::Glorot };
    let (w, _) = scope.side_by_side(&[shared("key_w"), shared("value_w")]);
    let kv = graph.apply(Linear::plain(Act::None), &[m_data, w]).reshape(&[b, n, 2, d]); // line 2
    let (k, v) = (kv.slice(2, 0..1), kv.slice(2, 1..2)); // [b, n, 1, d]
    // The heads stand where queries do: they share their keys and values.
    let op = Attention { mask: true, ..Attention::default() };
    let o = graph.apply_all(std::rc::Rc::new(op), &[q.reshape(&[b, h, 1, d]), k, v, mask])[0]; // lines 5-6  [b, h, 1, d]
    let o = o.reshape(&[b, 1, h * d]);
    let o = if gated {
        let w = scope.param(Decl { name: "gating_w", input: &[c], output: &[h, d], init: Init::Constant(0.0) });
        let bias = scope.param(Decl { name: "gating_b", input: &[], output: &[h, d], init: Init::Constant(1.0) });
        o * graph.apply(Linear::biased(Act::Sigmoid), &[q_data, w, bias]) // line 4  [b, n, h d]
    } else {
        o
    };
    let w = scope.param(Decl { name: "output_w", input: &[h, d], output: &[out], init: Init::Constant(0.0) });
    let bias = scope.param(Decl { name: "output_b", input: &[], output: &[out], init: Init::Constant(0.0) });
    graph.apply(Linear::biased(Act::None), &[o, w, bias]) // line 7  [b, n, out]
}
