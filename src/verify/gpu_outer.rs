//! Runs the golden cases of the outer product mean on the device: the layer that the network calls.

use super::Context;
use super::bench::Bench;
use super::golden::Golden;
use super::host_structure::Outputs;
use crate::error::{Error, Result};
use crate::nn::outer_product_mean::outer_product_mean;

/// The outputs of a case, or `None` when its module is not this file's.
pub fn run(context: &Context, case: &Golden) -> Option<Result<Outputs>> {
    (case.module == "outer_product_mean").then(|| Bench::run(context, case, outer))
}

/// Algorithm 10 with the sizes that the case's parameters have.
fn outer(b: &Bench) -> Result<()> {
    let shape = &b.case.get("param:outer_product_mean//output_w")?.shape;
    let [c, _, c_z] = shape[..] else {
        return Err(Error::format(&b.case.path, format!("`output_w` is {shape:?}; [c, c, c_z] is expected")));
    };
    let (m, mask) = (b.input("act")?, b.input("mask")?);
    b.output("output", outer_product_mean(&b.scope.child("outer_product_mean"), m, mask, c, c_z))
}
