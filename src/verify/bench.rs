//! A golden case as a small graph: inputs by the case's names, outputs and gradients collected for comparison.
//!
//! Knows cases and graphs, and nothing of what modules compute.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::Context;
use super::alphafold_config::Part;
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
    /// Inputs by the graph's names, each recorded once, with their values.
    inputs: RefCell<BTreeMap<String, (Tensor<'a>, HostTensor)>>,
    /// Values of inputs that the case does not hold itself.
    derived: RefCell<BTreeMap<String, HostTensor>>,
    /// Inputs whose gradients the case has, and outputs, by the case's names; with what makes the golden's tensor from the graph's.
    gradients: RefCell<Vec<(String, Change)>>,
    outputs: RefCell<Vec<(String, Change)>>,
    /// Outputs and their cotangents.
    seeds: RefCell<Vec<(Tensor<'a>, Option<Tensor<'a>>)>>,
}

/// How a golden's tensor becomes the graph's, or the other way round.
pub type Change = fn(HostTensor) -> HostTensor;

/// No change.
pub fn same(x: HostTensor) -> HostTensor {
    x
}

impl<'a> Bench<'a> {
    /// Records a case with `module`, runs it forward and, where it has cotangents, backward, and reads everything back.
    pub fn run(context: &Context, case: &Golden, module: impl for<'g> FnOnce(&Bench<'g>) -> Result<()>) -> Result<Outputs> {
        let graph = ops::graph(DType::F32, 0);
        graph.save(context.saving);
        let params = Rc::new(RefCell::new(Params::default()));
        let bench = Bench {
            case,
            graph: &graph,
            scope: Scope::new(&graph, params.clone()),
            inputs: RefCell::default(),
            derived: RefCell::default(),
            gradients: RefCell::default(),
            outputs: RefCell::default(),
            seeds: RefCell::default(),
        };
        module(&bench)?;
        let backward = !bench.seeds.borrow().is_empty();
        if backward {
            graph.backward(&bench.seeds.borrow());
        }
        let session = Session::new(context.gpu()?, &context.cache, &graph)?;
        bench.inputs.borrow().iter().for_each(|(name, (_, value))| session.set(name, value));
        let params = params.borrow();
        if !params.is_empty() {
            session.set_params(&params.pack(&official(case, &params)?)?);
        }
        session.replay()?;
        context.ran(&session)?;
        bench.read(&session, &params, backward)
    }

    fn read(&self, session: &Session, params: &Params, backward: bool) -> Result<Outputs> {
        let mut out = Outputs::default();
        // The golden may have the same elements under other axes: a scalar is stored as one element.
        let read = |ours: &str, golden: &str, change: Change| {
            let value = change(session.get(ours)?);
            let shape = self.case.tensors.get(golden).map(|t| &t.shape).filter(|s| s.iter().product::<usize>() == value.len());
            Ok::<_, Error>(if let Some(shape) = shape { value.reshape(shape) } else { value })
        };
        for (name, change) in self.outputs.borrow().iter() {
            out.tensors.insert(name.clone(), read(name, &format!("out:{name}"), *change)?);
        }
        for (name, change) in self.gradients.borrow().iter().filter(|_| backward) {
            out.gradients.insert(format!("gin:{name}"), read(&format!("d/in:{name}"), &format!("gin:{name}"), *change)?);
        }
        if backward && !params.is_empty() {
            let gradients = params.unpack(&session.get_grads()?);
            out.gradients.extend(gradients.into_iter().map(|(name, value)| (format!("gparam:{name}"), value)));
        }
        Ok(out)
    }

    /// The case's configuration.
    pub fn config(&self) -> Part<'a> {
        Part::of(self.case)
    }

    /// An input with a value that the case does not hold as it is.
    pub fn value(&self, name: &str, value: HostTensor, grad: bool) -> Tensor<'a> {
        let dtype = if matches!(value.data, Data::I32(_)) { DType::I32 } else { DType::F32 };
        let tensor = self.graph.input(name, &value.shape, dtype, grad);
        self.inputs.borrow_mut().insert(name.into(), (tensor, value));
        tensor
    }

    /// States the value of an input that the case does not hold itself.
    pub fn derive(&self, name: &str, value: HostTensor) {
        self.derived.borrow_mut().insert(name.into(), value);
    }

    /// The case's input `name`, changed by `to` and recorded once; its gradient, when the case has one, is changed by `back`.
    pub fn input_as(&self, name: &str, to: Change, back: Change) -> Result<Tensor<'a>> {
        let ours = format!("in:{name}");
        if let Some((tensor, _)) = self.inputs.borrow().get(&ours) {
            return Ok(*tensor);
        }
        let derived = self.derived.borrow().get(name).cloned();
        let value = to(derived.map_or_else(|| self.case.input(name).cloned(), Ok)?);
        let grad = self.case.tensors.contains_key(&format!("gin:{name}"));
        if grad {
            self.gradients.borrow_mut().push((name.into(), back));
        }
        Ok(self.value(&ours, value, grad))
    }

    /// The case's input `name` as it is.
    pub fn input(&self, name: &str) -> Result<Tensor<'a>> {
        self.input_as(name, same, same)
    }

    /// States the output `name`, made from `tensor` by `change`; `back` makes the tensor's cotangent from the golden's.
    pub fn output_as(&self, name: &str, tensor: Tensor<'a>, change: Change, back: Change) -> Result<()> {
        self.graph.output(name, tensor);
        self.outputs.borrow_mut().push((name.into(), change));
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

/// Rows of `from` elements, cut or filled with zeros to `to` elements.
pub fn rows(x: &HostTensor, from: usize, to: usize) -> HostTensor {
    let resized = |row: &[f32]| row.iter().copied().chain(std::iter::repeat(0.0)).take(to).collect::<Vec<f32>>();
    let data: Vec<f32> = x.as_f32().chunks(from).flat_map(resized).collect();
    HostTensor::f32(&[data.len() / to, to], data)
}
