//! Cross entropy between labels and the softmax of logits.

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::view::LANES;
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};

/// Rows of a workgroup.
const ROWS: usize = 32 * LANES;

fn source() -> &'static Source {
    shader!("basic/softmax_cross_entropy")
}

/// `logits [.., k]` and labels to the errors `[..]`, in single precision. Labels have no gradient.
#[derive(Debug, Clone, Copy)]
pub struct SoftmaxCrossEntropy {
    /// Whether the labels are weights `[.., k]`; otherwise they are classes `[..] i32`, and a label that is no class has no error.
    pub soft: bool,
}

/// A view under the shape `[outer, columns]` or `[outer, columns, k]`.
fn split(v: &View, errors: &[usize], k: Option<usize>) -> View {
    let (columns, outer) = errors.split_last().expect("errors have an axis");
    v.reshape(&[&[outer.iter().product(), *columns], k.as_slice()].concat())
}

impl SoftmaxCrossEntropy {
    fn record(&self, r: &mut Recorder, entry: &'static str, [logits, labels]: [&View; 2], error: &View, dlogits: Option<&View>) {
        let k = logits.width();
        let shape = &error.shape;
        let logits = split(logits, shape, Some(k));
        let labels = split(labels, shape, self.soft.then_some(k));
        let error = split(error, shape, None);
        let uniform = UniformData::of(&[
            ("columns", error.width().into()),
            ("error_groups", error.groups().into()),
            ("groups", logits.groups().into()),
            ("width", k.into()),
        ]);
        let cuts = [cut(1, 0, 1), cut(0, 1, ROWS)];
        let launch = Launch::new(source(), entry, uniform, [error.width().div_ceil(ROWS), error.n_rows(), 1]);
        let launch = launch.read("logits", &logits, &cuts).read(if self.soft { "soft" } else { "labels" }, &labels, &cuts);
        r.launch(match dlogits {
            None => launch.write("error", &error, &cuts).flops(5.0 * logits.len() as f64),
            Some(dlogits) => {
                let launch = launch.read("derror", &error, &cuts).write("dlogits", &split(dlogits, shape, Some(k)), &cuts);
                launch.flops(8.0 * logits.len() as f64)
            }
        });
    }
}

impl Op for SoftmaxCrossEntropy {
    fn name(&self) -> &'static str {
        "softmax_cross_entropy"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let (_, rows) = x[0].split_last().expect("an axis");
        let fits = !rows.is_empty() && x[1] == if self.soft { x[0] } else { rows };
        assert!(fits, "softmax_cross_entropy of logits {:?} and labels {:?}", x[0], x[1]);
        vec![Spec::f32(rows)]
    }

    fn differentiable(&self, i: usize) -> bool {
        i == 0
    }

    fn needs(&self) -> Needs {
        Needs { x: 0b11, y: 0 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        self.record(r, if self.soft { "forward_soft" } else { "forward" }, [&x[0], &x[1]], &y[0], None);
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let Some(dx) = &b.dx[0] else { return };
        self.record(r, if self.soft { "backward_soft" } else { "backward" }, [&b.x[0], &b.x[1]], b.dy0(), Some(dx));
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let k = x[0].width();
        let weight = |row: usize, class: usize| match self.soft {
            true => x[1].data[row * k + class],
            false => f64::from(u8::from(x[1].data[row] == class as f64)),
        };
        let error = |(row, logits): (usize, &[f64])| {
            let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let log_sum = top + logits.iter().map(|l| (l - top).exp()).sum::<f64>().ln();
            (0..k).map(|class| weight(row, class) * (log_sum - logits[class])).sum::<f64>()
        };
        vec![Array::new(&x[0].shape[..x[0].shape.len() - 1], x[0].data.chunks(k).enumerate().map(error).collect())]
    }
}
