//! Runs the network's modules on the device: the code that training replays, recorded for one golden case.
//!
//! Knows how a case names inputs, parameters and cotangents; what a module computes is said in `nn` and `model`.

use crate::error::{Error, Result};
use crate::graph::Tensor;
use crate::model::evoformer::{self, Edges};
use crate::nn::attention::{Bias, Config, attention};
use crate::nn::init::Init;
use crate::nn::layers;
use crate::nn::params::flat;
use crate::ops::basic::linear::Act;
use crate::ops::basic::transpose::Transpose;
use crate::verify::Context;
use crate::verify::alphafold_config;
use crate::verify::bench::Bench;
use crate::verify::golden::Golden;
use crate::verify::host_structure::Outputs;

/// The outputs and gradients of a case, or `None` when its module is not one of this file's.
pub fn run(context: &Context, case: &Golden) -> Option<Result<Outputs>> {
    Some(match case.module.as_str() {
        "linear" => Bench::run(context, case, linear),
        "layer_norm" => Bench::run(context, case, |r| r.output("output", layers::layer_norm(&r.scope.child("layer_norm"), r.input("x")?))),
        "transition" => Bench::run(context, case, |r| {
            let factor = r.config().size("num_intermediate_factor")?;
            r.output("output", layers::transition(&r.scope.child("transition_block"), r.input("act")?, factor))
        }),
        "attention" => Bench::run(context, case, gated_attention),
        "msa_row_attention_with_pair_bias" => Bench::run(context, case, |r| {
            let (m, mask, z) = (r.input("msa_act")?, r.input("msa_mask")?, r.input("pair_act")?);
            r.output("output", evoformer::msa_row_attention(&r.scope.child(&case.module), m, mask, z, heads(r, m)?))
        }),
        "msa_column_attention" => Bench::run(context, case, |r| {
            let (m, mask) = (r.input("msa_act")?, r.input("msa_mask")?);
            r.output("output", evoformer::msa_column_attention(&r.scope.child(&case.module), m, mask, heads(r, m)?))
        }),
        "msa_column_global_attention" => Bench::run(context, case, |r| {
            let (m, mask) = (r.input("msa_act")?, r.input("msa_mask")?);
            r.output("output", evoformer::msa_column_global_attention(&r.scope.child(&case.module), m, mask, heads(r, m)?))
        }),
        "triangle_attention" => Bench::run(context, case, |r| {
            let (z, mask) = (r.input("pair_act")?, r.input("pair_mask")?);
            let starting = r.config().text("orientation")? == "per_row";
            let name = if starting { "triangle_attention_starting_node" } else { "triangle_attention_ending_node" };
            r.output("output", evoformer::triangle_attention(&r.scope.child(name), z, mask, starting, heads(r, z)?))
        }),
        "triangle_multiplication" => Bench::run(context, case, |r| {
            let (z, mask) = (r.input("left_act")?, r.input("left_mask")?);
            let outgoing = r.config().text("equation")? == "ikc,jkc->ijc";
            let name = if outgoing { "triangle_multiplication_outgoing" } else { "triangle_multiplication_incoming" };
            let c = r.config().size("num_intermediate_channel")?;
            let edges = if r.config().flag("fuse_projection_weights")? { Edges::Fused } else { Edges::Apart };
            r.output("output", evoformer::triangle_multiplication(&r.scope.child(name), z, mask, outgoing, (c, edges)))
        }),
        "template_pair_stack" => Bench::run(context, case, |r| {
            let config = alphafold_config::block(r.config(), r.config().size("num_block")?)?;
            let (t, mask) = (r.input("pair_act")?, r.input("pair_mask")?);
            r.output("output", evoformer::template_pair_stack(&r.scope.child(&case.module), t, mask, &config, None))
        }),
        _ => return None,
    })
}

/// Heads of an attention on `x`, whose `key_dim` and `value_dim` are totals that default to its channels.
fn heads(r: &Bench, x: Tensor) -> Result<Config> {
    let c = *x.shape().last().expect("an axis");
    let h = r.config().size("num_head")?;
    let total = |key: &str| r.config().size(key).unwrap_or(c);
    Ok(Config { heads: h, d_k: total("key_dim") / h, d_v: total("value_dim") / h, gated: r.config().flag("gating")?, out: c })
}

fn gated_attention(r: &Bench) -> Result<()> {
    let (q, m) = (r.input("q_data")?, r.input("m_data")?);
    let shape = r.case.input("mask")?.shape.clone();
    let [b, 1, 1, k] = shape[..] else {
        return Err(Error::format(&r.case.path, format!("`in:mask` is {shape:?}; a key mask [b, 1, 1, k] is expected")));
    };
    let mask = r.input("mask")?.reshape(&[b, k]);
    let bias = match r.case.tensors.contains_key("in:nonbatched_bias") {
        true => {
            let bias = r.input("nonbatched_bias")?; // [h, q, k]
            // The heads go innermost: [h, q, k] to [q, h, k] is a view, and then the last two axes change places.
            Some([r.graph.apply(Transpose, &[bias.permute(&[1, 0, 2])]), bias]) // [q, k, h], [h, q, k]
        }
        false => None,
    };
    let config = Config { out: r.config().size("output_dim")?, ..heads(r, q)? };
    r.output("output", attention(&r.scope, q, Some(m), Some(mask), bias.map_or(Bias::None, Bias::Given), config))
}

fn linear(r: &Bench) -> Result<()> {
    let x = r.input("x")?;
    let axes = r.config().size("num_input_dims")?;
    let output = r.config().sizes("num_output")?;
    let shape = x.shape();
    let input = shape[shape.len() - axes..].to_vec();
    let x = if axes > 1 { (1..axes).fold(x, |x, _| x.merge_last()) } else { x };
    let bias = r.config().flag("use_bias")?.then_some(Init::Constant(0.0));
    assert_eq!(x.shape().last(), Some(&flat(&input)), "linear over {input:?}");
    let y = layers::linear_axes(&r.scope.child("linear"), x, &input, &output, Init::Linear, bias, Act::None);
    r.output("output", if let [h, d] = output[..] { y.split_last(h, d) } else { y })
}
