//! The last two axes exchanged: the one permutation that no view can make, since the innermost axis stays innermost in a view.

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::view::padded;
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};

fn source() -> &'static Source {
    shader!("basic/transpose")
}

/// `x [.., a, b]` to `y [.., b, a]`.
#[derive(Debug, Clone, Copy)]
pub struct Transpose;

/// `[.., a, b]` as `[batch, a, b]`.
fn three(v: &View) -> View {
    let n = v.shape.len();
    let batch: usize = v.shape[..n - 2].iter().product();
    v.reshape(&[batch, v.shape[n - 2], v.shape[n - 1]])
}

fn record(r: &mut Recorder, x: &View, y: &View) {
    let (x, y) = (three(x), three(y));
    let [batch, rows, columns] = x.shape[..] else { unreachable!("three axes") };
    let uniform = UniformData::of(&[
        ("batch", batch.into()),
        ("rows", rows.into()),
        ("columns", columns.into()),
        ("x_pitch", padded(columns).into()),
        ("y_groups", y.groups().into()),
    ]);
    let by_batch = [cut(1, 0, 1)];
    let groups = [(columns * y.groups()).div_ceil(64), batch, 1];
    r.launch(Launch::new(source(), "transpose", uniform, groups).read("x", &x, &by_batch).write("y", &y, &by_batch));
}

impl Op for Transpose {
    fn name(&self) -> &'static str {
        "transpose"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let n = x[0].len();
        assert!(n >= 2, "transpose of {:?}", x[0]);
        let mut shape = x[0].to_vec();
        shape.swap(n - 2, n - 1);
        vec![Spec::of(&shape)]
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        record(r, &x[0], &y[0]);
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        if let Some(dx) = &b.dx[0] {
            record(r, b.dy0(), dx);
        }
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let n = x[0].shape.len();
        let (rows, columns) = (x[0].shape[n - 2], x[0].shape[n - 1]);
        let mut shape = x[0].shape.clone();
        shape.swap(n - 2, n - 1);
        let turn = |m: &[f64]| (0..rows * columns).map(|at| m[at % rows * columns + at / rows]).collect::<Vec<_>>();
        vec![Array::new(&shape, x[0].data.chunks(rows * columns).flat_map(turn).collect())]
    }
}
