//! Softmax over the innermost axis.

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};

fn source() -> &'static Source {
    shader!("basic/softmax")
}

/// `y = exp(x) / sum exp(x)` along the innermost axis.
#[derive(Debug, Clone, Copy)]
pub struct Softmax;

fn uniform(v: &View) -> UniformData {
    UniformData::of(&[("rows", v.n_rows().into()), ("groups", v.groups().into()), ("width", v.width().into())])
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        vec![Spec::of(x[0])]
    }

    fn needs(&self) -> Needs {
        Needs { x: 0, y: 1 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let (x, y) = (x[0].as_rows(), y[0].as_rows());
        let by_row = [cut(0, 0, 64)];
        let launch =
            Launch::new(source(), "forward", uniform(&x), [x.n_rows().div_ceil(64), 1, 1]).read("x", &x, &by_row).write("y", &y, &by_row);
        r.launch(launch.flops(5.0 * x.len() as f64));
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let Some(dx) = &b.dx[0] else { return };
        let (y, dy) = (b.y[0].as_rows(), b.dy0().as_rows());
        let by_row = [cut(0, 0, 64)];
        let launch = Launch::new(source(), "backward", uniform(&y), [y.n_rows().div_ceil(64), 1, 1])
            .read("y", &y, &by_row)
            .read("dy", &dy, &by_row)
            .write("dx", &dx.as_rows(), &by_row);
        r.launch(launch.flops(4.0 * y.len() as f64));
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let mut y = x[0].clone();
        for row in y.data.chunks_mut(x[0].width()) {
            let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = row.iter().map(|v| (v - top).exp()).sum();
            row.iter_mut().for_each(|v| *v = (*v - top).exp() / sum);
        }
        vec![y]
    }
}
