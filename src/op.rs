//! What an operation is: shapes, two directions that record commands, and a plain f64 reference.
//!
//! Must not know graphs, nor any particular operation.

use std::any::Any;
use std::fmt::Debug;
use std::rc::Rc;

use crate::gpu::{Recorder, View};
use crate::tensor::DType;

/// Shape and storage of a tensor to come.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Extent of every axis, at least one axis.
    pub shape: Vec<usize>,
    /// A forced storage type; `None` takes the graph's storage for activations.
    pub dtype: Option<DType>,
}

impl Spec {
    /// An activation: stored as the graph stores activations.
    pub fn of(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), dtype: None }
    }

    /// Always single precision: statistics, geometry, losses.
    pub fn f32(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), dtype: Some(DType::F32) }
    }
}

/// A dense f64 tensor for references.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Extent of every axis.
    pub shape: Vec<usize>,
    /// Elements, row-major and without padding.
    pub data: Vec<f64>,
}

impl Array {
    /// An array with the given elements.
    pub fn new(shape: &[usize], data: Vec<f64>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "{} values for shape {shape:?}", data.len());
        Self { shape: shape.to_vec(), data }
    }

    /// Zeros.
    pub fn zeros(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), data: vec![0.0; shape.iter().product()] }
    }

    /// Extent of the innermost axis.
    pub fn width(&self) -> usize {
        *self.shape.last().expect("an array has at least one axis")
    }
}

/// What a backward pass gets and gives.
#[derive(Debug)]
pub struct Backward<'a> {
    /// The forward inputs. Only those that [`Op::needs`] names may be bound; the others have shapes alone.
    pub x: &'a [View],
    /// The forward outputs, under the same rule.
    pub y: &'a [View],
    /// Gradients of the outputs; `None` where nothing depends on the output.
    pub dy: &'a [Option<View>],
    /// Where to write gradients of the inputs; `None` where nobody wants one. Written whole, unless `add` says otherwise.
    pub dx: &'a [Option<View>],
    /// Whether the memory of output 0's gradient is read by nobody else from here on, so that it may be written over.
    pub own: bool,
    /// Gradients that are added to what is there: bit `i` stands for input `i`. Set only where [`Op::adds`] allows it.
    pub add: u32,
}

impl Backward<'_> {
    /// Whether the gradient of input `i` is added to what is there.
    pub fn adds(&self, i: usize) -> bool {
        self.add >> i & 1 == 1
    }

    /// The gradient of the only output; the graph never asks for a backward pass without one.
    pub fn dy0(&self) -> &View {
        self.dy[0].as_ref().expect("a backward pass has a gradient of its output")
    }
}

/// Which forward tensors the backward pass reads: bit `i` stands for input or output `i`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// Inputs.
    pub x: u32,
    /// Outputs.
    pub y: u32,
}

/// An operation of the network.
pub trait Op: Debug + Any {
    /// The stem of its files, such as `layer_norm`.
    fn name(&self) -> &'static str;

    /// Checks the inputs' shapes (a wrong one is a programmer's mistake and panics) and gives the outputs'.
    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec>;

    /// Whether input `i` (and its gradient) may be any strided view; others are made contiguous first.
    fn strided(&self, _i: usize) -> bool {
        false
    }

    /// Whether input `i` has a gradient at all.
    fn differentiable(&self, _i: usize) -> bool {
        true
    }

    /// Whether backward can add the gradient of input `i` to what is there.
    fn adds(&self, _i: usize) -> bool {
        false
    }

    /// Whether the gradient of input `i` is that of output 0 as it stands, where both have one shape.
    fn passes(&self, _i: usize) -> bool {
        false
    }

    /// What backward reads of the forward pass.
    fn needs(&self) -> Needs;

    /// Inputs whose memory output 0 may take, where they lie as it does and nobody reads them later: bit `i` stands for input `i`.
    fn in_place(&self) -> u32 {
        0
    }

    /// This operation with `before` done first, whose output 0 is its input 0, `turned` with the first two of three axes exchanged: its inputs
    /// are those of `before`, then its others; its outputs its own, then the others of `before`.
    fn following(&self, _before: &dyn Op, _turned: bool) -> Option<Rc<dyn Op>> {
        None
    }

    /// This operation with `next` done afterwards, which reads output 0 as its input `i`, perhaps turned, and the rest as contiguous tensors of
    /// its output's shape or as they are: its inputs are its own, then the others of `next`; its first output is that of `next`.
    fn then(&self, _next: &dyn Op, _i: usize, _turned: bool) -> Option<Rc<dyn Op>> {
        None
    }

    /// `before` and this operation, where the tensor between them (output 0 of `before`, input 0 here, read by nobody else) has a gradient that
    /// is theirs alone: the two as they are when they mean something else by it, so that `before` has less to do. Forward passes stay.
    fn agreed(&self, _before: &dyn Op) -> Option<[Rc<dyn Op>; 2]> {
        None
    }

    /// Records the forward pass.
    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]);

    /// Records the backward pass.
    fn backward(&self, r: &mut Recorder, b: &Backward);

    /// The forward pass in plain f64 loops: the specification, called by tests only.
    fn reference(&self, x: &[Array]) -> Vec<Array>;
}

/// Work on memory that outlives a replay: an optimiser's steps. Operands are changed in place; there is no gradient.
pub trait Update: Debug {
    /// The stem of its files, such as `adam`.
    fn name(&self) -> &'static str;

    /// Which operands it writes: bit `i` stands for operand `i`.
    fn writes(&self) -> u32;

    /// Checks the operands' shapes (a wrong one is a programmer's mistake and panics) and records the work.
    fn record(&self, r: &mut Recorder, x: &[View]);

    /// The same in plain f64 loops, from the operands before to the operands after: the specification, called by tests only.
    fn reference(&self, x: &mut [Array]);
}
