//! Parameters: AlphaFold's names and shapes as strided views of one flat f32 arena.
//!
//! Kernels see matrices `[in, out]` whose innermost axis is padded to groups of four, and several parameters side by side in one of
//! them; AlphaFold sees tensors of any rank, stacked over the blocks of a stack. Import, export and comparison go through the strides.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::gpu::view::{ARENA_UNIT, padded};
use crate::graph::{Graph, Tensor};
use crate::nn::init::{self, Init};
use crate::tensor::HostTensor;

/// One parameter of one block.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The official name, `scope//name`.
    pub name: String,
    /// Position on the stack axis and its extent, for parameters that are stacked over blocks.
    pub block: Option<(usize, usize)>,
    /// AlphaFold's shape, without the stack axis.
    pub shape: Vec<usize>,
    /// First element in the arena.
    pub offset: usize,
    /// Distance between neighbours along each axis, in elements of the arena.
    pub strides: Vec<usize>,
    /// How it begins.
    pub init: Init,
    /// The product of its input axes.
    pub fan_in: usize,
}

/// All parameters of a model, in the order of the arena.
#[derive(Debug, Clone, Default)]
pub struct Params {
    entries: Vec<Entry>,
    index: BTreeMap<(String, usize), usize>,
    len: usize,
}

/// One parameter to be: its name, its axes and its beginning.
#[derive(Debug, Clone)]
pub struct Decl<'a> {
    /// The last part of the name, such as `weights` or `query_w`; a part before `//` extends the scope.
    pub name: &'a str,
    /// Input axes; empty for biases and scales.
    pub input: &'a [usize],
    /// Output axes.
    pub output: &'a [usize],
    /// How it begins.
    pub init: Init,
}

/// Elements that axes take when their last one is padded; a single axis keeps its extent.
pub fn flat(axes: &[usize]) -> usize {
    match axes {
        [] => 1,
        [one] => *one,
        [outer @ .., last] => outer.iter().product::<usize>() * padded(*last),
    }
}

impl Params {
    /// Elements of the arena.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no parameter.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every parameter of every block, in the order of the arena.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Places declarations side by side as the columns of one matrix, or finds them where an earlier recording placed them. Gives the
    /// offset, the extents `[rows, columns]` and the first column of each.
    fn place(&mut self, path: &str, block: Option<(usize, usize)>, decls: &[Decl]) -> (usize, [usize; 2], Vec<usize>) {
        let rows = flat(decls[0].input);
        let mut starts = Vec::new();
        let mut columns = 0;
        for (i, decl) in decls.iter().enumerate() {
            assert_eq!(flat(decl.input), rows, "{path}//{}: parameters side by side have the same input axes", decl.name);
            starts.push(columns);
            columns += if i + 1 == decls.len() { flat(decl.output) } else { padded(flat(decl.output)) };
        }
        let pitch = padded(columns);
        let known = |decl: &Decl| self.index.get(&(full_name(path, decl.name), block.map_or(0, |b| b.0))).copied();
        if let Some(first) = known(&decls[0]) {
            let entry = &self.entries[first];
            for decl in decls {
                let found = known(decl).unwrap_or_else(|| panic!("{path}//{} was not declared beside the others before", decl.name));
                let shape = [decl.input, decl.output].concat();
                assert_eq!(self.entries[found].shape, shape, "{path}//{} was declared with another shape before", decl.name);
            }
            return (entry.offset, [rows, columns], starts);
        }
        let offset = self.len;
        for (decl, start) in decls.iter().zip(&starts) {
            self.push(path, block, decl, offset + start, pitch);
        }
        self.len = (offset + rows * pitch).next_multiple_of(ARENA_UNIT);
        (offset, [rows, columns], starts)
    }

    fn push(&mut self, path: &str, block: Option<(usize, usize)>, decl: &Decl, offset: usize, pitch: usize) {
        let axes = |extents: &[usize], unit: usize| {
            let mut strides = vec![unit; extents.len()];
            for a in (0..extents.len().saturating_sub(1)).rev() {
                let inner = if a + 2 == extents.len() { padded(extents[a + 1]) } else { extents[a + 1] };
                strides[a] = strides[a + 1] * inner;
            }
            strides
        };
        let strides = [axes(decl.input, pitch), axes(decl.output, 1)].concat();
        let name = full_name(path, decl.name);
        self.index.insert((name.clone(), block.map_or(0, |b| b.0)), self.entries.len());
        let shape = [decl.input, decl.output].concat();
        let fan_in = decl.input.iter().product();
        self.entries.push(Entry { name, block, shape, offset, strides, init: decl.init, fan_in });
    }

    /// The official names and shapes, stack axis included.
    pub fn official(&self) -> BTreeMap<String, Vec<usize>> {
        let shape = |e: &Entry| e.block.map(|b| b.1).into_iter().chain(e.shape.iter().copied()).collect();
        self.entries.iter().map(|e| (e.name.clone(), shape(e))).collect()
    }

    /// The arena with every official tensor in its place and zeros in the padding. A tensor that is missing or misshapen is an error
    /// that names it; tensors that no parameter takes are not looked at.
    pub fn pack(&self, official: &BTreeMap<String, HostTensor>) -> Result<Vec<f32>> {
        let mut arena = vec![0.0; self.len];
        let shapes = self.official();
        for entry in &self.entries {
            let shape = &shapes[&entry.name];
            let given = official.get(&entry.name).ok_or_else(|| Error::Data(format!("parameter `{}` {shape:?} is missing", entry.name)))?;
            if &given.shape != shape {
                return Err(Error::Data(format!("parameter `{}` is {:?}, expected {shape:?}", entry.name, given.shape)));
            }
            let n: usize = entry.shape.iter().product();
            let first = entry.block.map_or(0, |b| b.0) * n;
            let values = &given.as_f32()[first..first + n];
            entry.places().zip(values).for_each(|(at, v)| arena[at] = *v);
        }
        Ok(arena)
    }

    /// The arena at the beginning of training: AlphaFold's initialisers, drawn from `seed` alone.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let values = |e: &Entry| {
            let n: usize = e.shape.iter().product();
            e.init.values(init::key(seed, &e.name), e.block.map_or(0, |b| b.0) * n, &e.shape, e.fan_in)
        };
        let all: Vec<Vec<f32>> = self.entries.par_iter().map(values).collect();
        let mut arena = vec![0.0; self.len];
        for (entry, values) in self.entries.iter().zip(&all) {
            entry.places().zip(values).for_each(|(at, v)| arena[at] = *v);
        }
        arena
    }

    /// The official tensors of an arena of parameters or of their gradients.
    pub fn unpack(&self, arena: &[f32]) -> BTreeMap<String, HostTensor> {
        let mut all: BTreeMap<String, HostTensor> = self.official().into_iter().map(|(n, s)| (n, HostTensor::zeros(&s))).collect();
        for entry in &self.entries {
            let n: usize = entry.shape.iter().product();
            let first = entry.block.map_or(0, |b| b.0) * n;
            let crate::tensor::Data::F32(values) = &mut all.get_mut(&entry.name).expect("every entry is official").data else { continue };
            entry.places().zip(&mut values[first..first + n]).for_each(|(at, v)| *v = arena[at]);
        }
        all
    }
}

impl Entry {
    /// Where each element lies in the arena, in AlphaFold's order.
    pub fn places(&self) -> impl Iterator<Item = usize> + '_ {
        let n: usize = self.shape.iter().product();
        (0..n).map(|flat| {
            let mut rest = flat;
            let mut at = self.offset;
            for axis in (0..self.shape.len()).rev() {
                at += rest % self.shape[axis] * self.strides[axis];
                rest /= self.shape[axis];
            }
            at
        })
    }
}

fn full_name(path: &str, name: &str) -> String {
    match name.split_once("//") {
        Some((scope, name)) if path.is_empty() => format!("{scope}//{name}"),
        Some((scope, name)) => format!("{path}/{scope}//{name}"),
        None => format!("{path}//{name}"),
    }
}

/// A place in the tree of names, on a graph that is being recorded.
#[derive(Debug, Clone)]
pub struct Scope<'g> {
    /// The graph.
    pub graph: &'g Graph,
    params: Rc<RefCell<Params>>,
    path: String,
    block: Option<(usize, usize)>,
    instance: Option<usize>,
}

impl<'g> Scope<'g> {
    /// The root of a model's names.
    pub fn new(graph: &'g Graph, params: Rc<RefCell<Params>>) -> Self {
        Self { graph, params, path: String::new(), block: None, instance: None }
    }

    /// The scope `name` below this one.
    pub fn child(&self, name: &str) -> Self {
        let path = if self.path.is_empty() { name.to_string() } else { format!("{}/{name}", self.path) };
        Self { path, ..self.clone() }
    }

    /// Block `i` of a stack of `n` whose parameters share names.
    pub fn block(&self, i: usize, n: usize) -> Self {
        Self { block: Some((i, n)), ..self.clone() }
    }

    /// Use `i` of parameters that are used several times, such as by every template: what is random below differs.
    pub fn instance(&self, i: usize) -> Self {
        Self { instance: Some(i), ..self.clone() }
    }

    /// The path, with the numbers of block and instance: the key of everything random below.
    pub fn key(&self) -> String {
        let block = self.block.map(|(i, _)| format!("#{i}")).unwrap_or_default();
        let instance = self.instance.map(|i| format!("@{i}")).unwrap_or_default();
        format!("{}{block}{instance}", self.path)
    }

    /// A matrix `[in, out]`, or a vector where there is no input axis.
    pub fn param(&self, decl: Decl) -> Tensor<'g> {
        self.side_by_side(&[decl]).0
    }

    /// Several parameters as the columns of one matrix, and where the columns of each begin.
    pub fn side_by_side(&self, decls: &[Decl]) -> (Tensor<'g>, Vec<usize>) {
        let (offset, [rows, columns], starts) = self.params.borrow_mut().place(&self.path, self.block, decls);
        let shape: &[usize] = if decls[0].input.is_empty() { &[columns] } else { &[rows, columns] };
        let name = format!("{}//{}", self.key(), decls[0].name);
        (self.graph.param(&name, shape, offset), starts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops;
    use crate::tensor::DType;

    #[test]
    fn official_tensors_survive_the_arena() {
        let graph = ops::graph(DType::F32, 0);
        let params = Rc::new(RefCell::new(Params::default()));
        let root = Scope::new(&graph, params.clone()).child("stack");
        for block in 0..2 {
            let scope = root.block(block, 2).child("attention");
            let heads = |name| Decl { name, input: &[5], output: &[3, 6], init: Init::Glorot };
            let (qk, starts) = scope.side_by_side(&[heads("query_w"), heads("key_w")]);
            assert_eq!((qk.shape(), starts), (vec![5, 48], vec![0, 24]), "heads of 6 lie in groups of 8");
            let w = scope.param(Decl { name: "output_w", input: &[3, 6], output: &[5], init: Init::Linear });
            assert_eq!(w.shape(), [24, 5]);
            // A second recording finds the same places.
            assert_eq!(scope.side_by_side(&[heads("query_w"), heads("key_w")]).0.shape(), [5, 48]);
        }
        let params = params.borrow();
        assert_eq!(params.official()["stack/attention//query_w"], [2, 5, 3, 6]);
        let mut next = 0.0;
        let mut fill = |shape: &Vec<usize>| {
            let values = (0..shape.iter().product()).map(|_| {
                next += 1.0;
                next
            });
            HostTensor::f32(shape, values.collect())
        };
        let official: BTreeMap<_, _> = params.official().iter().map(|(n, s)| (n.clone(), fill(s))).collect();
        let arena = params.pack(&official).expect("all are there");
        assert_eq!(params.unpack(&arena), official);
        let placed = arena.iter().filter(|v| **v != 0.0).count();
        assert_eq!(placed, next as usize, "no two elements share a place, and the padding is zero");
        let missing = params.pack(&BTreeMap::new()).expect_err("nothing is there").to_string();
        assert!(missing.contains("`stack/attention//query_w` [2, 5, 3, 6] is missing"), "{missing}");
    }
}
