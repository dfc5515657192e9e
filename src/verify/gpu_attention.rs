//! Runs the golden cases of global attention on the device: the layer that the network calls.

use super::Context;
use super::bench::Bench;
use super::golden::Golden;
use super::host_structure::Outputs;
use crate::error::{Error, Result};
use crate::nn::global_attention::{Config, global_attention};

/// The outputs of a case, or `None` when its module is not this file's.
pub fn run(context: &Context, case: &Golden) -> Option<Result<Outputs>> {
    (case.module == "global_attention").then(|| Bench::run(context, case, global))
}

/// Algorithm 19's attention with the sizes that the case's parameters have.
fn global(b: &Bench) -> Result<()> {
    let wrong = |what: String| Error::format(&b.case.path, what);
    let [query, output] = ["query_w", "output_w"].map(|name| b.case.get(&format!("param:attention//{name}")).map(|w| w.shape.clone()));
    let (query, output, mask) = (query?, output?, b.case.input("q_mask")?.shape.clone());
    let ([_, heads, d], [.., out], [rows, n, 1]) = (&query[..], &output[..], &mask[..]) else {
        return Err(wrong(format!("`query_w` is {query:?} and `q_mask` {mask:?}; [c, heads, d] and [b, n, 1] are expected")));
    };
    if !d.is_multiple_of(4) {
        return Err(wrong(format!("{d} channels a head; a multiple of four is expected")));
    }
    let config = Config { heads: *heads, d: *d, gated: b.config().flag("gating")?, out: *out };
    let mask = b.value("in:q_mask", b.case.input("q_mask")?.clone().reshape(&[*rows, *n]), false);
    let (q_data, m_data) = (b.input("q_data")?, b.input("m_data")?);
    b.output("output", global_attention(&b.scope.child("attention"), q_data, Some(m_data), mask, config))
}
