//! Launches of operations that work on each row by itself, one invocation a row: rigid algebra, torsions, atoms.

use crate::gpu::recorder::{Cut, Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Backward, Needs};

/// Rows of a workgroup; a multiple of four, so that a vector with one element a row may be cut too.
pub(super) const GROUP: usize = 64;

/// How a binding whose first axis is the rows follows the grid.
pub(super) const BY_ROW: [Cut; 1] = [cut(0, 0, GROUP)];

/// The bindings of an operation on rows, by their names in the shader.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    /// Inputs with a row each; [`Names::tables`] follow them.
    pub x: &'static [&'static str],
    /// Inputs that every row may read anywhere.
    pub tables: &'static [&'static str],
    /// Outputs.
    pub y: &'static [&'static str],
    /// Inputs, by number, that the backward pass reads.
    pub reads: &'static [usize],
    /// Gradients of the first outputs.
    pub dy: &'static [&'static str],
    /// Gradients of the first inputs.
    pub dx: &'static [&'static str],
}

impl Names {
    /// The forward tensors that the backward pass reads.
    pub fn needs(&self) -> Needs {
        Needs { x: self.reads.iter().fold(0, |bits, i| bits | 1 << i), y: 0 }
    }

    fn input(&self, i: usize) -> (&'static str, &'static [Cut]) {
        match self.x.get(i) {
            Some(name) => (name, &BY_ROW),
            None => (self.tables[i - self.x.len()], &[]),
        }
    }

    /// Records the forward pass over the rows of the first input.
    pub fn forward(&self, r: &mut Recorder, source: &'static Source, entry: &'static str, p: UniformData, x: &[View], y: &[View]) {
        let mut launch = launch(source, entry, p, x[0].shape[0]);
        for (i, view) in x.iter().enumerate() {
            let (name, cuts) = self.input(i);
            launch = launch.read(name, view, cuts);
        }
        for (name, view) in self.y.iter().zip(y) {
            launch = launch.write(name, view, &BY_ROW);
        }
        r.launch(launch);
    }

    /// Records the backward pass over the rows of the first input; it writes all gradients, wanted or not.
    pub fn backward(&self, r: &mut Recorder, source: &'static Source, entry: &'static str, p: UniformData, b: &Backward) {
        let mut launch = launch(source, entry, p, b.x[0].shape[0]);
        for &i in self.reads {
            let (name, cuts) = self.input(i);
            launch = launch.read(name, &b.x[i], cuts);
        }
        for (k, name) in self.dy.iter().enumerate() {
            launch = launch.read(name, &cotangent(r, b, k), &BY_ROW);
        }
        for (i, name) in self.dx.iter().enumerate() {
            launch = launch.write(name, &gradient(r, b, i), &BY_ROW);
        }
        r.launch(launch);
    }
}

/// A launch over `rows` rows.
pub(super) fn launch(source: &'static Source, entry: &'static str, uniform: UniformData, rows: usize) -> Launch {
    Launch::new(source, entry, uniform, [rows.div_ceil(GROUP), 1, 1])
}

/// The wanted gradient of input `i`, or workspace of its shape where nobody wants it: kernels that write several gradients write all.
pub(super) fn gradient(r: &mut Recorder, b: &Backward, i: usize) -> View {
    b.dx[i].clone().unwrap_or_else(|| r.temp(&b.x[i].shape, b.x[i].dtype))
}

/// The gradient of output `i`, or zeros where nothing depends on it.
pub(super) fn cotangent(r: &mut Recorder, b: &Backward, i: usize) -> View {
    b.dy[i].clone().unwrap_or_else(|| {
        let zeros = r.temp(&b.y[i].shape, b.y[i].dtype);
        r.clear(&zeros);
        zeros
    })
}
