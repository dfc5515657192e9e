//! `y = act(x w + b)` over the innermost axis, with weight gradients by deterministic split-K.

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::tensor::DType;

/// Rows that one partial weight gradient covers: fixed, so that neither chunks nor devices change a bit.
const BLOCK: usize = 512;

fn source() -> &'static Source {
    shader!("basic/linear")
}

/// What follows the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    None,
    /// `max(v, 0)`.
    Relu,
    /// `1 / (1 + exp(-v))`.
    Sigmoid,
}

/// `x [.., c_in], w [c_in, c_out]` and, where there is a bias, `b [c_out]`, to `y [.., c_out]`.
#[derive(Debug, Clone, Copy)]
pub struct Linear {
    /// Whether there is a third input.
    pub bias: bool,
    /// The activation.
    pub act: Act,
}

impl Linear {
    fn uniform(&self, x: &View, y: &View, blocks: usize, chain: bool) -> UniformData {
        let m = x.n_rows();
        UniformData::of(&[
            ("m", m.into()),
            ("k", x.width().into()),
            ("n", y.width().into()),
            ("kg", x.groups().into()),
            ("ng", y.groups().into()),
            ("act", (self.act as u32).into()),
            ("bias", u32::from(self.bias).into()),
            ("block", BLOCK.into()),
            ("blocks", blocks.into()),
            ("chain", u32::from(chain).into()),
        ])
    }

    /// Partial sums over blocks of rows, then their sum. Where a binding cannot hold a block, or all blocks, launches follow one another,
    /// each going on from what the last one stored: the order of addition is the same.
    fn weight_gradient(&self, r: &mut Recorder, b: &Backward, (x, y, dy): (&View, &View, &View), flops: f64) {
        let m = x.n_rows();
        let blocks = m.div_ceil(BLOCK);
        let (kg, ng) = (x.groups(), y.groups());
        let part = r.temp(&[blocks, kg * 4 + 4, y.width()], DType::F32);
        let row_bytes = kg.max(ng) * 4 * x.dtype.size().max(y.dtype.size());
        let limit = r.traits.max_binding as usize;
        let mut record = |rows: std::ops::Range<usize>, span: std::ops::Range<usize>, chain: bool| {
            let [x, y, dy] = [x, y, dy].map(|v| v.slice(0, rows.clone()));
            let by_block = [cut(0, 0, BLOCK)];
            let groups = [span.len(), (kg + 1).div_ceil(8), ng.div_ceil(8)];
            r.launch(
                Launch::new(source(), "backward_part", self.uniform(&x, &y, blocks, chain), groups)
                    .read("x", &x, &by_block)
                    .read("y", &y, &by_block)
                    .read("dy", &dy, &by_block)
                    .write("part", &part.slice(0, span), &[cut(0, 0, 1)])
                    .flops(flops * rows.len() as f64 / m as f64),
            );
        };
        // A window begins at an aligned byte, so that a little room is left in front of it.
        let fit = (limit.saturating_sub(1024) / row_bytes).max(1);
        if fit >= BLOCK {
            record(0..m, 0..blocks, false);
        } else {
            for start in (0..m).step_by(BLOCK) {
                let end = (start + BLOCK).min(m);
                let at = start / BLOCK;
                (start..end).step_by(fit).for_each(|from| record(from..(from + fit).min(end), at..at + 1, from > start));
            }
        }
        let fit = (limit.saturating_sub(1024) / ((kg * 4 + 4) * ng * 16)).max(1);
        for from in (0..blocks).step_by(fit) {
            let some = part.slice(0, from..(from + fit).min(blocks));
            let uniform = self.uniform(x, y, some.shape[0], from > 0);
            if let Some(dw) = &b.dx[1] {
                let groups = [(x.width() * ng).div_ceil(64), 1, 1];
                r.launch(Launch::new(source(), "backward_w", uniform.clone(), groups).read("part", &some, &[]).write("dw", dw, &[]));
            }
            if let Some(db) = b.dx.get(2).and_then(Option::as_ref) {
                let groups = [ng.div_ceil(64), 1, 1];
                r.launch(Launch::new(source(), "backward_b", uniform, groups).read("part", &some, &[]).write("db", db, &[]));
            }
        }
    }
}

impl Op for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let (last, outer) = x[0].split_last().expect("an axis");
        let fits = x.len() == 2 + usize::from(self.bias) && x[1].len() == 2 && x[1][0] == *last && (!self.bias || x[2] == [x[1][1]]);
        assert!(fits, "linear of {x:?}: w is [c_in, c_out], b [c_out]");
        vec![Spec::of(&[outer, &[x[1][1]]].concat())]
    }

    fn needs(&self) -> Needs {
        Needs { x: 0b011, y: u32::from(self.act != Act::None) }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let (rows, out) = (x[0].as_rows(), y[0].as_rows());
        let by_row = [cut(0, 0, 32)];
        let groups = [rows.n_rows().div_ceil(32), out.groups().div_ceil(16), 1];
        // Without a bias the binding still names memory that is there: the weights.
        let bias = if self.bias { &x[2] } else { &x[1] };
        r.launch(
            Launch::new(source(), "forward", self.uniform(&rows, &out, 0, false), groups)
                .read("x", &rows, &by_row)
                .read("w", &x[1], &[])
                .read("b", bias, &[])
                .write("y", &out, &by_row)
                .flops(2.0 * rows.len() as f64 * out.width() as f64),
        );
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let (x, dy) = (b.x[0].as_rows(), b.dy0().as_rows());
        // The output is read only through an activation; without one dy stands in for it.
        let y = if self.act == Act::None { dy.clone() } else { b.y[0].as_rows() };
        let flops = 2.0 * x.len() as f64 * y.width() as f64;
        if let Some(dx) = &b.dx[0] {
            let by_row = [cut(0, 0, 16)];
            let groups = [x.n_rows().div_ceil(16), x.groups().div_ceil(8), 1];
            r.launch(
                Launch::new(source(), "backward_x", self.uniform(&x, &y, 0, false), groups)
                    .read("w", &b.x[1], &[])
                    .read("y", &y, &by_row)
                    .read("dy", &dy, &by_row)
                    .write("dx", &dx.as_rows(), &by_row)
                    .flops(flops),
            );
        }
        if b.dx[1..].iter().any(Option::is_some) {
            self.weight_gradient(r, b, (&x, &y, &dy), flops);
        }
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let (k, n) = (x[1].shape[0], x[1].shape[1]);
        let mut y = Vec::new();
        for row in x[0].data.chunks(k) {
            for j in 0..n {
                let sum = (0..k).map(|i| row[i] * x[1].data[i * n + j]).sum::<f64>() + if self.bias { x[2].data[j] } else { 0.0 };
                y.push(match self.act {
                    Act::None => sum,
                    Act::Relu => sum.max(0.0),
                    Act::Sigmoid => 1.0 / (1.0 + (-sum).exp()),
                });
            }
        }
        let shape = [&x[0].shape[..x[0].shape.len() - 1], &[n]].concat();
        vec![Array::new(&shape, y)]
    }
}
