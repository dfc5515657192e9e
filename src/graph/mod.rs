//! The graph: recorded once per shape from ordinary Rust code on [`Tensor`] handles, then planned and replayed.
//!
//! Knows operations only through [`Op`], [`Update`] and the few [`Builtins`] it is given. Must not know any operation's name, nor proteins.

pub mod backward;
pub mod budget;
pub mod finite;
mod fuse;
pub mod inspect;
pub mod lists;
mod lower;
pub mod plan;
pub mod rows;
pub mod run;
mod tensor;

pub(crate) use lower::Lowered;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::gpu::view::{ARENA_UNIT, contiguous_strides, padded_len};
use crate::gpu::{Recorder, Root, View};
use crate::op::{Op, Update};
use crate::tensor::{DType, Data, HostTensor};

/// The operations that the graph itself needs, given to it by the floor above.
#[derive(Debug, Clone, Copy)]
pub struct Builtins {
    /// `dst += src` for two views of the same shape.
    pub accumulate: fn(&mut Recorder, dst: &View, src: &View),
    /// Sets every element of a contiguous view, padding aside, to a value.
    pub fill: fn(&mut Recorder, dst: &View, value: f32),
    /// Sums over parts, the last step of the gradients of parameters.
    pub sums: fn(&mut Recorder, Vec<crate::gpu::recorder::Late>),
    /// A contiguous copy of any strided view.
    pub copy: fn() -> Rc<dyn Op>,
    /// Elementwise sum with broadcasting.
    pub add: fn() -> Rc<dyn Op>,
    /// Elementwise product with broadcasting.
    pub mul: fn() -> Rc<dyn Op>,
}

/// What a tensor is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Origin {
    /// Given from outside; persistent.
    Input {
        /// Its name.
        name: String,
        /// Whether a gradient is wanted.
        grad: bool,
    },
    /// A trained parameter: a part of the parameter arena.
    Param {
        /// Its name.
        name: String,
    },
    /// An output of a node.
    Node(usize),
}

#[derive(Debug, Clone)]
pub(crate) struct Info {
    pub view: View,
    pub origin: Origin,
    /// The tensor that owns the memory: itself, or what this is a view of.
    pub base: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub op: Rc<dyn Op>,
    pub x: Vec<usize>,
    pub y: Vec<usize>,
    pub scope: String,
    /// The segments that it is part of, outermost first.
    pub segments: Vec<usize>,
}

/// What is done, in order. Backward steps are appended by [`Graph::backward`].
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Forward(usize),
    Backward {
        node: usize,
        x: Vec<View>,
        y: Vec<View>,
        dy: Vec<Option<View>>,
        dx: Vec<Option<View>>,
        add: u32,
        own: bool,
    },
    /// For the backward pass of a node, or for a seed.
    Accumulate {
        node: Option<usize>,
        dst: View,
        src: View,
    },
    Fill {
        dst: View,
        value: f32,
    },
    Update {
        op: Rc<dyn Update>,
        x: Vec<View>,
    },
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub builtins: Builtins,
    pub storage: DType,
    pub tensors: Vec<Info>,
    pub nodes: Vec<Node>,
    pub steps: Vec<Step>,
    pub roots: Vec<RootInfo>,
    pub scope: Vec<String>,
    /// The segments that are open, outermost first.
    pub open: Vec<usize>,
    pub segments: usize,
    /// What was recorded once for all, by name and tensor.
    pub once: BTreeMap<(String, usize), usize>,
    pub saving: Saving,
    /// Whether neighbours have been joined.
    pub fused: bool,
    /// Bytes that the tensors of a body of rows may take, in a recording without a backward pass.
    pub room: Option<u64>,
    /// The memory of all parameters and of their gradients.
    pub params: Root,
    pub grads: Root,
    /// Parameters by their first element in the arena.
    pub param_ids: BTreeMap<usize, usize>,
    pub outputs: Vec<(String, View)>,
    /// Tables by name: filled once, when memory is made.
    pub constants: Vec<(String, HostTensor)>,
}

/// How much a recording computes again to save memory; no bit depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saving {
    /// Blocks of a stack that together keep one set of inputs for the reverse sweep: the next smaller one each block of the group, while the
    /// sweep goes through it. With 0, every block keeps all that it made.
    pub group: usize,
    /// Whether the modules of a block are computed again one by one.
    pub modules: bool,
}

impl Saving {
    /// The least memory that a recording can do with at the usual length of a group.
    pub const SMALLEST: Self = Self { group: 3, modules: true };
}

impl Default for Saving {
    fn default() -> Self {
        // At the shapes of initial training this takes a fifth less memory than every block by itself, and a twelfth more work.
        Self { group: 2, modules: false }
    }
}

/// One piece of memory.
#[derive(Debug, Clone, PartialEq)]
pub struct RootInfo {
    /// What it holds, for prints.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Whether it keeps its content between replays: inputs, parameters, gradients, states, outputs.
    pub persistent: bool,
    /// Whether graphs of one session that use the name mean the same memory: inputs, parameters, gradients.
    pub shared: bool,
}

/// A recording in progress.
#[derive(Debug)]
pub struct Graph {
    pub(crate) inner: RefCell<Inner>,
}

/// A handle on a tensor of a graph.
#[derive(Clone, Copy)]
pub struct Tensor<'g> {
    pub(crate) graph: &'g Graph,
    pub(crate) id: usize,
}

impl std::fmt::Debug for Tensor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "t{}{:?}", self.id, self.shape())
    }
}

impl Graph {
    /// An empty graph that stores activations as `storage` and whose parameters fill at least `param_elements` of one arena.
    pub fn new(builtins: Builtins, storage: DType, param_elements: usize) -> Self {
        let bytes = param_elements as u64 * 4;
        let arena = |name: &str| RootInfo { name: name.into(), bytes, persistent: true, shared: true };
        Graph {
            inner: RefCell::new(Inner {
                builtins,
                storage,
                tensors: Vec::new(),
                nodes: Vec::new(),
                steps: Vec::new(),
                roots: vec![arena("parameters"), arena("gradients")],
                scope: Vec::new(),
                open: Vec::new(),
                segments: 0,
                once: BTreeMap::new(),
                saving: Saving::default(),
                fused: false,
                room: None,
                params: Root(0),
                grads: Root(1),
                param_ids: BTreeMap::new(),
                outputs: Vec::new(),
                constants: Vec::new(),
            }),
        }
    }

    fn push(&self, info: Info) -> Tensor<'_> {
        let mut inner = self.inner.borrow_mut();
        inner.tensors.push(info);
        Tensor { graph: self, id: inner.tensors.len() - 1 }
    }

    /// A tensor given from outside before each replay; `grad` asks for its gradient.
    pub fn input(&self, name: &str, shape: &[usize], dtype: DType, grad: bool) -> Tensor<'_> {
        assert!(!shape.is_empty(), "input `{name}` needs at least one axis");
        let mut inner = self.inner.borrow_mut();
        let root = inner.root(name, padded_len(shape) as u64 * dtype.size() as u64, true);
        inner.roots[root.0 as usize].shared = true;
        let base = inner.tensors.len();
        drop(inner);
        self.push(Info { view: View::whole(root, shape, dtype), origin: Origin::Input { name: name.into(), grad }, base })
    }

    /// A table that never changes: an input that is filled once. Asking again for the same name gives the same tensor.
    pub fn constant(&self, name: &str, value: &HostTensor) -> Tensor<'_> {
        let known = self.inner.borrow().constants.iter().any(|(n, v)| {
            assert!(n != name || v == value, "two different constants are named `{name}`");
            n == name
        });
        if known {
            let inner = self.inner.borrow();
            let same = |t: &Info| matches!(&t.origin, Origin::Input { name: n, .. } if n == name);
            let id = inner.tensors.iter().position(same).expect("a constant is an input");
            return Tensor { graph: self, id };
        }
        let dtype = if matches!(value.data, Data::I32(_)) { DType::I32 } else { DType::F32 };
        self.inner.borrow_mut().constants.push((name.into(), value.clone()));
        self.input(name, &value.shape, dtype, false)
    }

    /// A parameter: the part of the arena at `offset` elements, always f32. Asking again for the same part gives the same tensor, so that
    /// what is used several times has one gradient.
    pub fn param(&self, name: &str, shape: &[usize], offset: usize) -> Tensor<'_> {
        let mut inner = self.inner.borrow_mut();
        let (root, base) = (inner.params, inner.tensors.len());
        let id = *inner.param_ids.entry(offset).or_insert(base);
        if id != base {
            let known = &inner.tensors[id].view.shape;
            assert_eq!(known, shape, "parameter `{name}` has another shape than what lies at {offset} in the arena");
            return Tensor { graph: self, id };
        }
        let end = (offset + padded_len(shape)) as u64 * 4;
        for arena in [inner.params, inner.grads] {
            let bytes = &mut inner.roots[arena.0 as usize].bytes;
            *bytes = end.max(*bytes);
        }
        drop(inner);
        let strides = contiguous_strides(shape);
        let view = View { root, offset, shape: shape.to_vec(), strides, dtype: DType::F32 };
        self.push(Info { view, origin: Origin::Param { name: name.into() }, base })
    }

    /// Memory that keeps its content from replay to replay, is the same in all graphs of a session that name it, begins with zeros, and is
    /// written and read from outside like an input and an output. Always f32.
    pub fn state(&self, name: &str, shape: &[usize]) -> Tensor<'_> {
        let state = self.input(name, shape, DType::F32, false);
        let view = state.view();
        self.inner.borrow_mut().outputs.push((name.into(), view));
        state
    }

    /// The whole arena of parameters as the state `parameters`, `[elements]`; to be asked for once every parameter is declared.
    pub fn parameters(&self) -> Tensor<'_> {
        let root = self.inner.borrow().params;
        self.arena(root)
    }

    /// The whole arena of gradients as the state `gradients`, under the same rule.
    pub fn gradients(&self) -> Tensor<'_> {
        let root = self.inner.borrow().grads;
        self.arena(root)
    }

    fn arena(&self, root: Root) -> Tensor<'_> {
        let mut inner = self.inner.borrow_mut();
        let info = &mut inner.roots[root.0 as usize];
        let elements = (info.bytes as usize / 4).next_multiple_of(ARENA_UNIT);
        info.bytes = elements as u64 * 4;
        let name = info.name.clone();
        let view = View::whole(root, &[elements], DType::F32);
        inner.outputs.push((name.clone(), view.clone()));
        let base = inner.tensors.len();
        drop(inner);
        self.push(Info { view, origin: Origin::Input { name, grad: false }, base })
    }

    /// Records work on states, after everything that has been recorded so far.
    pub fn update(&self, op: impl Update + 'static, x: &[Tensor<'_>]) {
        let x: Vec<View> = x.iter().map(Tensor::view).collect();
        self.inner.borrow_mut().steps.push(Step::Update { op: Rc::new(op), x });
    }

    /// Applies an operation and gives all of its outputs.
    pub fn apply_all<'g>(&'g self, op: Rc<dyn Op>, x: &[Tensor<'g>]) -> Vec<Tensor<'g>> {
        let x: Vec<Tensor<'g>> = x.iter().enumerate().map(|(i, t)| if op.strided(i) { *t } else { t.contiguous() }).collect();
        let shapes: Vec<Vec<usize>> = x.iter().map(Tensor::shape).collect();
        let specs = op.shapes(&shapes.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let mut inner = self.inner.borrow_mut();
        let node = inner.nodes.len();
        let mut y = Vec::new();
        for spec in specs {
            let id = inner.new_output(node, op.name(), &spec.shape, spec.dtype);
            y.push(id);
        }
        let (scope, segments) = (inner.scope.join("/"), inner.open.clone());
        inner.nodes.push(Node { op, x: x.iter().map(|t| t.id).collect(), y: y.clone(), scope, segments });
        inner.steps.push(Step::Forward(node));
        drop(inner);
        y.into_iter().map(|id| Tensor { graph: self, id }).collect()
    }

    /// Applies an operation with one output.
    pub fn apply<'g>(&'g self, op: impl Op + 'static, x: &[Tensor<'g>]) -> Tensor<'g> {
        self.apply_all(Rc::new(op), x)[0]
    }

    /// Runs `body` with `name` on the path that names tensors and keys dropout.
    pub fn scope<R>(&self, name: &str, body: impl FnOnce() -> R) -> R {
        self.inner.borrow_mut().scope.push(name.into());
        let result = body();
        self.inner.borrow_mut().scope.pop();
        result
    }

    /// Records `body` with activations in single precision, however the graph stores others.
    pub fn precise<R>(&self, body: impl FnOnce() -> R) -> R {
        let outer = std::mem::replace(&mut self.inner.borrow_mut().storage, DType::F32);
        let result = body();
        self.inner.borrow_mut().storage = outer;
        result
    }

    /// The path of scopes, joined by slashes.
    pub fn scope_path(&self) -> String {
        self.inner.borrow().scope.join("/")
    }

    /// States how much is computed again in what is recorded from here on.
    pub fn save(&self, saving: Saving) {
        self.inner.borrow_mut().saving = saving;
    }

    /// Records `body` as a segment: its inner tensors are not kept for the backward sweep but computed again when the sweep reaches it. A
    /// segment within a segment is computed again twice: for what follows it there, and for its own inner tensors.
    pub fn recompute<R>(&self, body: impl FnOnce() -> R) -> R {
        {
            let mut inner = self.inner.borrow_mut();
            let next = inner.segments;
            inner.open.push(next);
            inner.segments += 1;
        }
        let result = body();
        self.inner.borrow_mut().open.pop();
        result
    }

    /// Records a stack of `n` blocks, each a segment that works on what the one before it gave; see [`Saving`].
    pub fn blocks<S>(&self, n: usize, mut state: S, block: impl Fn(S, usize) -> S) -> S {
        let group = self.inner.borrow().saving.group;
        if group == 0 {
            return (0..n).fold(state, block);
        }
        for first in (0..n).step_by(group) {
            let some = first..(first + group).min(n);
            let one = |state, i| self.recompute(|| block(state, i));
            state = if some.len() == 1 { one(state, first) } else { self.recompute(|| some.fold(state, one)) };
        }
        state
    }

    /// Records a module of a block, under a name; see [`Saving`].
    pub fn module<R>(&self, name: &str, body: impl FnOnce() -> R) -> R {
        let modules = self.inner.borrow().saving.modules;
        self.scope(name, || if modules { self.recompute(body) } else { body() })
    }

    /// What `body` makes of `tensor`, recorded once for all that ask for it under this name: outside of segments, and so kept.
    pub fn once<'g>(&'g self, name: &str, tensor: Tensor<'g>, body: impl FnOnce() -> Tensor<'g>) -> Tensor<'g> {
        if let Some(&id) = self.inner.borrow().once.get(&(name.to_owned(), tensor.id)) {
            return Tensor { graph: self, id };
        }
        let outer = {
            let mut inner = self.inner.borrow_mut();
            let base = inner.tensors[tensor.id].base;
            let inside = matches!(inner.tensors[base].origin, Origin::Node(n) if !inner.nodes[n].segments.is_empty());
            assert!(!inside, "`{name}` once for all of a tensor that is computed again");
            std::mem::take(&mut inner.open)
        };
        let made = body();
        let mut inner = self.inner.borrow_mut();
        inner.open = outer;
        inner.once.insert((name.to_owned(), tensor.id), made.id);
        made
    }

    /// Names a tensor that is read back after a replay, and so kept to the end.
    pub fn output(&self, name: &str, tensor: Tensor<'_>) {
        let tensor = tensor.contiguous();
        let view = tensor.view();
        let mut inner = self.inner.borrow_mut();
        inner.roots[view.root.0 as usize].persistent = true;
        inner.outputs.push((name.into(), view));
    }
}

impl Inner {
    pub(crate) fn root(&mut self, name: &str, bytes: u64, persistent: bool) -> Root {
        self.roots.push(RootInfo { name: name.into(), bytes, persistent, shared: false });
        Root(self.roots.len() as u32 - 1)
    }

    pub(crate) fn new_output(&mut self, node: usize, op: &str, shape: &[usize], dtype: Option<DType>) -> usize {
        let dtype = dtype.unwrap_or(self.storage);
        let name = format!("{}/{op}", self.scope.join("/"));
        let root = self.root(&name, padded_len(shape) as u64 * dtype.size() as u64, false);
        let base = self.tensors.len();
        self.tensors.push(Info { view: View::whole(root, shape, dtype), origin: Origin::Node(node), base });
        base
    }
}
