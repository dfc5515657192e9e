//! A projection under its mask and, where there is one, its sigmoid gate, in one pass over memory.

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::view::LANES;
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};

fn source() -> &'static Source {
    shader!("evoformer/gated")
}

/// `x [a, b, c]`, then those of a gate `gate [a, b, c]` before its sigmoid and `mask [a, b]` that there are, to
/// `y = mask x sigmoid(gate) [a, b, c]`. The mask is not differentiable. Any of them may be a part of one wide projection.
#[derive(Debug, Clone, Copy)]
pub struct Gated {
    /// Whether there is a gate.
    pub gate: bool,
    /// Whether there is a mask.
    pub mask: bool,
}

impl Gated {
    fn uniform(&self, [x, gate, mask, y, dx, dgate]: [&View; 6]) -> UniformData {
        let s = |v: &View, axis: usize| (v.strides[axis] / LANES).into();
        UniformData::of(&[
            ("n_i", x.shape[0].into()),
            ("n_j", x.shape[1].into()),
            ("groups", x.groups().into()),
            ("log", log(x).into()),
            ("gated", u32::from(self.gate).into()),
            ("masked", u32::from(self.mask).into()),
            ("x0", s(x, 0)),
            ("x1", s(x, 1)),
            ("g0", s(gate, 0)),
            ("g1", s(gate, 1)),
            // The mask is read by element.
            ("m0", mask.strides[0].into()),
            ("y0", s(y, 0)),
            ("y1", s(y, 1)),
            ("dx0", s(dx, 0)),
            ("dx1", s(dx, 1)),
            ("dg0", s(dgate, 0)),
            ("dg1", s(dgate, 1)),
        ])
    }

    /// What is not there is `x` again, so that the binding names memory that is there.
    fn inputs<'a>(&self, x: &'a [View]) -> [&'a View; 3] {
        [&x[0], &x[usize::from(self.gate)], &x[if self.mask { x.len() - 1 } else { 0 }]]
    }
}

/// Logarithm of the invocations that share a row.
fn log(x: &View) -> usize {
    x.groups().next_power_of_two().ilog2().min(3) as usize
}

fn groups(x: &View) -> [usize; 3] {
    [x.shape[1].div_ceil(64 >> log(x)), x.shape[0], 1]
}

impl Op for Gated {
    fn name(&self) -> &'static str {
        "gated"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let wide = 1 + usize::from(self.gate);
        let fits = x.len() == wide + usize::from(self.mask) && x[0].len() == 3 && x[..wide].iter().all(|s| *s == x[0]);
        let mask_fits = x[wide.min(x.len())..].iter().all(|s| *s == &x[0][..2]);
        assert!(fits && mask_fits, "gated of {x:?}, {self:?}: x and a gate are [a, b, c], a mask [a, b]");
        vec![Spec::of(x[0])]
    }

    fn strided(&self, _i: usize) -> bool {
        true
    }

    fn differentiable(&self, i: usize) -> bool {
        i < 1 + usize::from(self.gate)
    }

    fn needs(&self) -> Needs {
        Needs { x: if self.gate { 0b111 } else { 0b10 }, y: 0 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let [x, gate, mask] = self.inputs(x);
        let y = &y[0];
        let row = [cut(1, 0, 1)];
        let launch = Launch::new(source(), "forward", self.uniform([x, gate, mask, y, y, y]), groups(x));
        let launch = launch.read("x", x, &row).read("gate", gate, &row).read("mask", mask, &row).write("y", y, &row);
        r.launch(launch.flops(6.0 * y.len() as f64));
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let [x, gate, mask] = self.inputs(b.x);
        let dy = b.dy0();
        let row = [cut(1, 0, 1)];
        let spare = |wanted: Option<&View>, r: &mut Recorder| wanted.cloned().unwrap_or_else(|| r.temp(&dy.shape, dy.dtype));
        let dx = spare(b.dx[0].as_ref(), r);
        if !self.gate {
            let launch = Launch::new(source(), "backward_plain", self.uniform([x, gate, mask, dy, &dx, &dx]), groups(x));
            return r.launch(launch.read("mask", mask, &row).read("dy", dy, &row).write("dx", &dx, &row).flops(dy.len() as f64));
        }
        let dgate = spare(b.dx[1].as_ref(), r);
        let launch = Launch::new(source(), "backward", self.uniform([x, gate, mask, dy, &dx, &dgate]), groups(x));
        let launch = launch.read("x", x, &row).read("gate", gate, &row).read("mask", mask, &row).read("dy", dy, &row);
        r.launch(launch.write("dx", &dx, &row).write("dgate", &dgate, &row).flops(10.0 * dy.len() as f64));
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let c = x[0].width();
        let mask = |row: usize| if self.mask { x[x.len() - 1].data[row] } else { 1.0 };
        let gate = |at: usize| if self.gate { 1.0 / (1.0 + (-x[1].data[at]).exp()) } else { 1.0 };
        vec![Array::new(&x[0].shape, (0..x[0].data.len()).map(|at| mask(at / c) * x[0].data[at] * gate(at)).collect())]
    }
}
