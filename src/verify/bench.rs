//! A golden case as a small graph: inputs by the case's names, outputs and gradients collected for comparison.
//!
//! Knows cases and graphs, and nothing of what modules compute.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::Context;
use super::golden::Golden;
use super::hashed;
use super::host_structure::Outputs;
use crate::error::{Error, Result};
use crate::graph::run::Session;
use crate::graph::{Graph, Tensor};
use crate::nn::params::{Params, Scope};
use crate::ops;
use crate::tensor::{DType, Data, HostTensor};

/// A graph made from a case.
pub struct Bench<'a> {
    /// The case.
    pub case: &'a Golden,
    /// The graph in the making.
    pub graph: &'a Graph,
    /// The root of the case's parameter names.
    pub scope: Scope<'a>,
    /// Values of inputs.
    values: RefCell<Vec<(String, HostTensor)>>,
    /// Gradients wanted: the golden's name, the graph's input, and what makes the golden's tensor from the graph's.
    gradients: RefCell<Vec<Wanted<'a>>>,
    outputs: RefCell<Vec<Wanted<'a>>>,
    /// Output names and their sources of cotangents.
    seeds: RefCell<Vec<(Tensor<'a>, Option<Tensor<'a>>)>>,
}

/// How a golden's tensor becomes the graph's, or the other way round.
pub type Change = fn(HostTensor) -> HostTensor;

struct Wanted<'a> {
    golden: String,
    ours: String,
    change: Change,
    case: &'a Golden,
}

/// No change.
pub fn same(x: HostTensor) -> HostTensor {
    x
}

impl<'a> Bench<'a> {
    /// Builds, runs and reads back a case.
    pub fn run(context: &Context, case: &Golden, module: fn(&Bench) -> Result<()>) -> Result<Outputs> {
        let gpu = context.gpu()?;
        let graph = ops::graph(DType::F32, 1);
        let empty = || RefCell::new(Vec::new());
        let (gradients, outputs, values) = (empty(), empty(), RefCell::new(Vec::new()));
        let params = Rc::new(RefCell::new(Params::default()));
        let scope = Scope::new(&graph, params.clone());
        let bench = Bench { case, graph: &graph, scope, values, gradients, outputs, seeds: RefCell::new(Vec::new()) };
        module(&bench)?;
        if !bench.seeds.borrow().is_empty() {
            graph.backward(&bench.seeds.borrow());
        }
        let session = Session::new(gpu, &context.cache, &graph)?;
        for (name, value) in bench.values.borrow().iter() {
            session.set(name, value);
        }
        let params = params.borrow();
        if !params.is_empty() {
            session.set_params(&params.pack(&official(case, &params)?)?);
        }
        session.replay()?;
        let mut out = Outputs::default();
        for wanted in bench.outputs.borrow().iter() {
            let value = (wanted.change)(session.get(&wanted.ours)?);
            let shape = wanted.case.get(&format!("out:{}", wanted.golden)).map_or(value.shape.clone(), |t| t.shape.clone());
            out.tensors.insert(wanted.golden.clone(), value.reshape(&shape));
        }
        if !bench.seeds.borrow().is_empty() {
            for wanted in bench.gradients.borrow().iter() {
                let value = (wanted.change)(session.get(&format!("d/{}", wanted.ours))?);
                let shape = wanted.case.get(&wanted.golden)?.shape.clone();
                out.gradients.insert(wanted.golden.clone(), value.reshape(&shape));
            }
            if !params.is_empty() {
                let gradients = params.unpack(&session.get_grads()?);
                out.gradients.extend(gradients.into_iter().map(|(name, value)| (format!("gparam:{name}"), value)));
            }
        }
        Ok(out)
    }

    /// An input with a value that the case does not hold as it is.
    pub fn value(&self, name: &str, value: HostTensor, grad: bool) -> Tensor<'a> {
        let dtype = if matches!(value.data, Data::I32(_)) { DType::I32 } else { DType::F32 };
        let tensor = self.graph.input(name, &value.shape, dtype, grad);
        self.values.borrow_mut().push((name.into(), value));
        tensor
    }

    /// The case's input `name`, changed by `to`; its gradient, when the case has one, is changed by `back`.
    pub fn input_as(&self, name: &str, to: Change, back: Change) -> Result<Tensor<'a>> {
        let value = to(self.case.input(name)?.clone());
        let golden = format!("gin:{name}");
        let grad = self.case.tensors.contains_key(&golden);
        if grad {
            self.gradients.borrow_mut().push(Wanted { golden, ours: format!("in:{name}"), change: back, case: self.case });
        }
        Ok(self.value(&format!("in:{name}"), value, grad))
    }

    /// The case's input `name` as it is.
    pub fn input(&self, name: &str) -> Result<Tensor<'a>> {
        self.input_as(name, same, same)
    }

    /// States the output `name`, made from `tensor` by `change`; `back` makes the tensor's cotangent from the golden's.
    pub fn output_as(&self, name: &str, tensor: Tensor<'a>, change: Change, back: Change) -> Result<()> {
        self.graph.output(name, tensor);
        self.outputs.borrow_mut().push(Wanted { golden: name.into(), ours: name.into(), change, case: self.case });
        if let Some(cotangent) = self.case.tensors.get(&format!("cot:{name}")) {
            let seed = self.value(&format!("cot:{name}"), back(cotangent.clone()).reshape(&tensor.shape()), false);
            self.seeds.borrow_mut().push((tensor, Some(seed)));
        } else if self.case.meta.get("loss_key").is_some_and(|key| key == name) {
            self.seeds.borrow_mut().push((tensor, None));
        }
        Ok(())
    }

    /// States the output `name`.
    pub fn output(&self, name: &str, tensor: Tensor<'a>) -> Result<()> {
        self.output_as(name, tensor, same, same)
    }
}

/// The case's parameters: stored, or made from their names.
fn official(case: &Golden, params: &Params) -> Result<BTreeMap<String, HostTensor>> {
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

/// Rows of `from` elements, cut or filled with zeros to `to` elements.
pub fn rows(x: &HostTensor, from: usize, to: usize) -> HostTensor {
    let resized = |row: &[f32]| row.iter().copied().chain(std::iter::repeat(0.0)).take(to).collect::<Vec<f32>>();
    let data: Vec<f32> = x.as_f32().chunks(from).flat_map(resized).collect();
    HostTensor::f32(&[data.len() / to, to], data)
}
