//! Cross entropy between labels and the sigmoid of logits, element by element.

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::axes::as_groups;

fn source() -> &'static Source {
    shader!("basic/sigmoid_cross_entropy")
}

/// `logits, labels [..]` to `error [..] = -t log sigmoid(x) - (1 - t) log sigmoid(-x)`, in single precision. Labels have no gradient.
#[derive(Debug, Clone, Copy)]
pub struct SigmoidCrossEntropy;

fn launch(entry: &'static str, x: &View, labels: &View) -> Launch {
    let count = x.n_rows() * x.groups();
    let uniform = UniformData::of(&[("count", count.into()), ("groups", x.groups().into()), ("width", x.width().into())]);
    let by_group = [cut(0, 0, 64)];
    let launch = Launch::new(source(), entry, uniform, [count.div_ceil(64), 1, 1]).flops(6.0 * x.len() as f64);
    launch.read("x", &as_groups(x), &by_group).read("labels", &as_groups(labels), &by_group)
}

impl Op for SigmoidCrossEntropy {
    fn name(&self) -> &'static str {
        "sigmoid_cross_entropy"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        assert!(x[0] == x[1], "sigmoid_cross_entropy of logits {:?} and labels {:?}", x[0], x[1]);
        vec![Spec::f32(x[0])]
    }

    fn differentiable(&self, i: usize) -> bool {
        i == 0
    }

    fn needs(&self) -> Needs {
        Needs { x: 0b11, y: 0 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        r.launch(launch("forward", &x[0], &x[1]).write("error", &as_groups(&y[0]), &[cut(0, 0, 64)]));
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let Some(dx) = &b.dx[0] else { return };
        let by_group = [cut(0, 0, 64)];
        let launch = launch("backward", &b.x[0], &b.x[1]).read("derror", &as_groups(b.dy0()), &by_group);
        r.launch(launch.write("dx", &as_groups(dx), &by_group));
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let log_sigmoid = |v: f64| -(-v).exp().ln_1p();
        let error = |(l, t): (&f64, &f64)| -t * log_sigmoid(*l) - (1.0 - t) * log_sigmoid(-l);
        vec![Array::new(&x[0].shape, x[0].data.iter().zip(&x[1].data).map(error).collect())]
    }
}
