//! Runs the network's modules on the device: the code that training replays, recorded for one golden case.
//!
//! Knows how a case names inputs, parameters and cotangents; what a module computes is said in `nn` and `model`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::graph::run::Session;
use crate::graph::{Graph, Tensor};
use crate::model::evoformer::{self, Edges};
use crate::nn::attention::{Config, attention};
use crate::nn::init::Init;
use crate::nn::layers;
use crate::nn::params::{Params, Scope, flat};
use crate::ops;
use crate::ops::basic::linear::Act;
use crate::ops::basic::transpose::Transpose;
use crate::tensor::{DType, Data, HostTensor};
use crate::verify::Context;
use crate::verify::alphafold_config::{self, Part};
use crate::verify::golden::Golden;
use crate::verify::hashed;
use crate::verify::host_structure::Outputs;

/// A case that is being recorded.
pub(super) struct Recording<'g> {
    pub case: &'g Golden,
    pub graph: &'g Graph,
    /// The root of the case's parameter names.
    pub scope: Scope<'g>,
    known: RefCell<BTreeMap<String, Tensor<'g>>>,
    /// Values of inputs that the case does not hold itself.
    derived: RefCell<BTreeMap<String, HostTensor>>,
}

impl<'g> Recording<'g> {
    /// The input `name`, recorded once; its gradient is asked for where the case has one.
    pub fn input(&self, name: &str) -> Result<Tensor<'g>> {
        if let Some(tensor) = self.known.borrow().get(name) {
            return Ok(*tensor);
        }
        let derived = self.derived.borrow();
        let value = match derived.get(name) {
            Some(value) => value,
            None => self.case.input(name)?,
        };
        let dtype = if matches!(value.data, Data::I32(_)) { DType::I32 } else { DType::F32 };
        let grad = self.case.tensors.contains_key(&format!("gin:{name}"));
        let tensor = self.graph.input(name, &value.shape, dtype, grad);
        self.known.borrow_mut().insert(name.to_string(), tensor);
        Ok(tensor)
    }

    /// States the value of an input that the case does not hold itself.
    pub fn derive(&self, name: &str, value: HostTensor) {
        self.derived.borrow_mut().insert(name.into(), value);
    }

    /// A number of the configuration.
    pub fn number(&self, path: &[&str]) -> Result<f64> {
        self.config(path)?.as_f64().ok_or_else(|| self.wrong(path))
    }

    /// A switch of the configuration.
    pub fn flag(&self, path: &[&str]) -> Result<bool> {
        self.config(path)?.as_bool().ok_or_else(|| self.wrong(path))
    }

    /// A text of the configuration.
    pub fn text(&self, path: &[&str]) -> Result<&'g str> {
        self.config(path)?.as_str().ok_or_else(|| self.wrong(path))
    }

    fn config(&self, path: &[&str]) -> Result<&'g Value> {
        path.iter().try_fold(&self.case.config, |value, key| value.get(key)).ok_or_else(|| self.wrong(path))
    }

    fn wrong(&self, path: &[&str]) -> Error {
        Error::format(&self.case.path, format!("configuration `{}` is missing or of another type", path.join(".")))
    }
}

/// What a module gives: outputs by their golden names.
pub(super) type Named<'g> = Vec<(&'static str, Tensor<'g>)>;

/// Records a module with `body`, runs it forward and backward with the case's cotangents, and reads everything back.
pub(super) fn drive(context: &Context, case: &Golden, body: impl for<'g> FnOnce(&Recording<'g>) -> Result<Named<'g>>) -> Result<Outputs> {
    let graph = ops::graph(DType::F32, 0);
    let params = Rc::new(RefCell::new(Params::default()));
    let recording = Recording {
        case,
        graph: &graph,
        scope: Scope::new(&graph, params.clone()),
        known: RefCell::default(),
        derived: RefCell::default(),
    };
    let outputs = body(&recording)?;
    let loss = case.meta.get("loss_key").filter(|key| !key.is_empty());
    let mut seeds = Vec::new();
    for (name, tensor) in &outputs {
        graph.output(&format!("out:{name}"), *tensor);
        let cot = format!("cot:{name}");
        if let Some(value) = case.tensors.get(&cot) {
            seeds.push((*tensor, Some(graph.input(&cot, &value.shape, DType::F32, false))));
        } else if loss.is_some_and(|key| key == name) {
            seeds.push((*tensor, None));
        }
    }
    if !seeds.is_empty() {
        graph.backward(&seeds);
    }
    let session = Session::new(context.gpu()?, &context.cache, &graph)?;
    let derived = recording.derived.borrow();
    for (name, _) in recording.known.borrow().iter() {
        session.set(name, derived.get(name).map_or_else(|| case.input(name), Ok)?);
    }
    for (name, value) in case.with_prefix("cot:") {
        if outputs.iter().any(|(n, _)| *n == name) {
            session.set(&format!("cot:{name}"), value);
        }
    }
    let params = params.borrow();
    if !params.is_empty() {
        session.set_params(&params.pack(&official(case, &params)?)?);
    }
    session.replay()?;
    read(&session, case, &params, &outputs)
}

/// The case's parameters: stored, or made from their names.
pub(super) fn official(case: &Golden, params: &Params) -> Result<BTreeMap<String, HostTensor>> {
    if case.meta.get("params").is_some_and(|p| p == "hash") {
        return Ok(params.official().iter().map(|(name, shape)| (name.clone(), hashed::tensor(name, shape))).collect());
    }
    let stored: BTreeMap<String, HostTensor> = case.with_prefix("param:").map(|(n, t)| (n.to_string(), t.clone())).collect();
    let known = params.official();
    match stored.keys().find(|name| !known.contains_key(*name)) {
        Some(extra) => Err(Error::format(&case.path, format!("parameter `{extra}` is not one of module `{}`", case.module))),
        None => Ok(stored),
    }
}

fn read(session: &Session, case: &Golden, params: &Params, outputs: &Named) -> Result<Outputs> {
    let mut out = Outputs::default();
    let read: Vec<String> = outputs.iter().map(|(name, _)| format!("out:{name}")).collect();
    let read = session.get_all(&read.iter().map(String::as_str).collect::<Vec<_>>())?;
    for ((name, _), value) in outputs.iter().zip(read) {
        // The golden may have the same elements under more axes: a scalar is stored as one element.
        let shape = case.get(&format!("out:{name}"))?.shape.clone();
        let fits = shape.iter().product::<usize>() == value.len();
        out.tensors.insert(name.to_string(), if fits { value.reshape(&shape) } else { value });
    }
    for (name, _) in case.with_prefix("gin:") {
        out.gradients.insert(format!("gin:{name}"), session.get(&format!("d/{name}"))?);
    }
    if case.with_prefix("gparam:").next().is_some() {
        for (name, value) in params.unpack(&session.get_grads()?) {
            out.gradients.insert(format!("gparam:{name}"), value);
        }
    }
    Ok(out)
}

/// The outputs and gradients of a case, or `None` when its module is not one of this file's.
pub fn run(context: &Context, case: &Golden) -> Option<Result<Outputs>> {
    Some(match case.module.as_str() {
        "linear" => drive(context, case, linear),
        "layer_norm" => drive(context, case, |r| Ok(vec![("output", layers::layer_norm(&r.scope.child("layer_norm"), r.input("x")?))])),
        "transition" => drive(context, case, |r| {
            let factor = r.number(&["num_intermediate_factor"])? as usize;
            Ok(vec![("output", layers::transition(&r.scope.child("transition_block"), r.input("act")?, factor))])
        }),
        "attention" => drive(context, case, gated_attention),
        "msa_row_attention_with_pair_bias" => drive(context, case, |r| {
            let (m, mask, z) = (r.input("msa_act")?, r.input("msa_mask")?, r.input("pair_act")?);
            Ok(vec![("output", evoformer::msa_row_attention(&r.scope.child(&case.module), m, mask, z, heads(r, m)?))])
        }),
        "msa_column_attention" => drive(context, case, |r| {
            let (m, mask) = (r.input("msa_act")?, r.input("msa_mask")?);
            Ok(vec![("output", evoformer::msa_column_attention(&r.scope.child(&case.module), m, mask, heads(r, m)?))])
        }),
        "msa_column_global_attention" => drive(context, case, |r| {
            let (m, mask) = (r.input("msa_act")?, r.input("msa_mask")?);
            Ok(vec![("output", evoformer::msa_column_global_attention(&r.scope.child(&case.module), m, mask, heads(r, m)?))])
        }),
        "triangle_attention" => drive(context, case, |r| {
            let (z, mask) = (r.input("pair_act")?, r.input("pair_mask")?);
            let starting = r.text(&["orientation"])? == "per_row";
            let name = if starting { "triangle_attention_starting_node" } else { "triangle_attention_ending_node" };
            Ok(vec![("output", evoformer::triangle_attention(&r.scope.child(name), z, mask, starting, heads(r, z)?))])
        }),
        "triangle_multiplication" => drive(context, case, |r| {
            let (z, mask) = (r.input("left_act")?, r.input("left_mask")?);
            let outgoing = r.text(&["equation"])? == "ikc,jkc->ijc";
            let name = if outgoing { "triangle_multiplication_outgoing" } else { "triangle_multiplication_incoming" };
            let c = r.number(&["num_intermediate_channel"])? as usize;
            let edges = if r.flag(&["fuse_projection_weights"])? { Edges::Fused } else { Edges::Apart };
            Ok(vec![("output", evoformer::triangle_multiplication(&r.scope.child(name), z, mask, outgoing, (c, edges)))])
        }),
        "template_pair_stack" => drive(context, case, |r| {
            let config = alphafold_config::block(Part::of(case), Part::of(case).size("num_block")?)?;
            let (t, mask) = (r.input("pair_act")?, r.input("pair_mask")?);
            Ok(vec![("output", evoformer::template_pair_stack(&r.scope.child(&case.module), t, mask, &config, None))])
        }),
        _ => return None,
    })
}

/// Heads of an attention on `x`, whose `key_dim` and `value_dim` are totals that default to its channels.
fn heads(r: &Recording, x: Tensor) -> Result<Config> {
    let c = *x.shape().last().expect("an axis");
    let h = r.number(&["num_head"])? as usize;
    let total = |key: &str| r.number(&[key]).map_or(c, |n| n as usize);
    Ok(Config { heads: h, d_k: total("key_dim") / h, d_v: total("value_dim") / h, gated: r.flag(&["gating"])?, out: c })
}

fn gated_attention<'g>(r: &Recording<'g>) -> Result<Named<'g>> {
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
            Some(r.graph.apply(Transpose, &[bias.permute(&[1, 0, 2])])) // [q, k, h]
        }
        false => None,
    };
    let config = Config { out: r.number(&["output_dim"])? as usize, ..heads(r, q)? };
    Ok(vec![("output", attention(&r.scope.child("attention"), q, Some(m), Some(mask), bias, config))])
}

fn linear<'g>(r: &Recording<'g>) -> Result<Named<'g>> {
    let x = r.input("x")?;
    let axes = r.number(&["num_input_dims"])? as usize;
    let output: Vec<usize> = match r.config(&["num_output"])? {
        Value::Array(all) => all.iter().filter_map(Value::as_u64).map(|n| n as usize).collect(),
        one => one.as_u64().map(|n| n as usize).into_iter().collect(),
    };
    let shape = x.shape();
    let input = shape[shape.len() - axes..].to_vec();
    let x = if axes > 1 { (1..axes).fold(x, |x, _| x.merge_last()) } else { x };
    let bias = r.flag(&["use_bias"])?.then_some(Init::Constant(0.0));
    assert_eq!(x.shape().last(), Some(&flat(&input)), "linear over {input:?}");
    let y = layers::linear_axes(&r.scope.child("linear"), x, &input, &output, Init::Linear, bias, Act::None);
    Ok(vec![("output", if let [h, d] = output[..] { y.split_last(h, d) } else { y })])
}
