//! Elementwise functions of one tensor.

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::axes::as_groups;

fn source() -> &'static Source {
    shader!("basic/unary")
}

/// `y = f(x)` for every element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unary {
    /// `max(x, 0)`.
    Relu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `log(1 + exp(x))`.
    Softplus,
    /// `x²`.
    Square,
    /// `|x|`, with gradient 0 at 0.
    Abs,
    /// `a x + b`.
    Affine(f32, f32),
    /// `sqrt(x + eps)`.
    Sqrt(f32),
    /// `1 / (x + eps)`.
    Reciprocal(f32),
    /// `x` held between two bounds; no gradient outside.
    Clip(f32, f32),
}

/// What the gradient is computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    X,
    Y,
    Nothing,
}

impl Unary {
    /// The shader's number of the function and its two constants.
    fn code(self) -> (u32, f32, f32) {
        match self {
            Unary::Relu => (0, 0.0, 0.0),
            Unary::Sigmoid => (1, 0.0, 0.0),
            Unary::Softplus => (2, 0.0, 0.0),
            Unary::Square => (3, 0.0, 0.0),
            Unary::Abs => (4, 0.0, 0.0),
            Unary::Affine(a, b) => (5, a, b),
            Unary::Sqrt(eps) => (6, eps, 0.0),
            Unary::Reciprocal(eps) => (7, eps, 0.0),
            Unary::Clip(lo, hi) => (8, lo, hi),
        }
    }

    fn from(self) -> From {
        match self {
            Unary::Affine(..) => From::Nothing,
            Unary::Relu | Unary::Sigmoid | Unary::Sqrt(_) | Unary::Reciprocal(_) => From::Y,
            Unary::Softplus | Unary::Square | Unary::Abs | Unary::Clip(..) => From::X,
        }
    }

    fn uniform(self, v: &View) -> UniformData {
        let (_, a, b) = self.code();
        let count = v.n_rows() * v.groups();
        UniformData::of(&[
            ("a", a.into()),
            ("b", b.into()),
            ("count", count.into()),
            ("groups", v.groups().into()),
            ("width", v.width().into()),
        ])
    }
}

impl Op for Unary {
    fn name(&self) -> &'static str {
        "unary"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        vec![Spec::of(x[0])]
    }

    fn needs(&self) -> Needs {
        match self.from() {
            From::X => Needs { x: 1, y: 0 },
            From::Y => Needs { x: 0, y: 1 },
            From::Nothing => Needs::default(),
        }
    }

    fn in_place(&self) -> u32 {
        0b1
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let (from, to) = (as_groups(&x[0]), as_groups(&y[0]));
        let by_group = [cut(0, 0, 64)];
        let launch = Launch::new(source(), "forward", self.uniform(&x[0]), [to.shape[0].div_ceil(64), 1, 1])
            .constant("KIND", f64::from(self.code().0))
            .read("x", &from, &by_group)
            .write("y", &to, &by_group);
        r.launch(launch.flops(x[0].len() as f64));
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let Some(dx) = &b.dx[0] else { return };
        let dy = b.dy0();
        // A gradient that reads neither x nor y still binds memory that is there: dy.
        let v = match self.from() {
            From::X => &b.x[0],
            From::Y => &b.y[0],
            From::Nothing => dy,
        };
        let to = as_groups(dx);
        let by_group = [cut(0, 0, 64)];
        let launch = Launch::new(source(), "backward", self.uniform(dy), [to.shape[0].div_ceil(64), 1, 1])
            .constant("KIND", f64::from(self.code().0))
            .read("v", &as_groups(v), &by_group)
            .read("dy", &as_groups(dy), &by_group)
            .write("dx", &to, &by_group);
        r.launch(launch.flops(2.0 * dx.len() as f64));
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let f = |x: f64| match *self {
            Unary::Relu => x.max(0.0),
            Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Unary::Softplus => x.exp().ln_1p(),
            Unary::Square => x * x,
            Unary::Abs => x.abs(),
            Unary::Affine(a, b) => f64::from(a) * x + f64::from(b),
            Unary::Sqrt(eps) => (x + f64::from(eps)).sqrt(),
            Unary::Reciprocal(eps) => 1.0 / (x + f64::from(eps)),
            Unary::Clip(lo, hi) => x.clamp(f64::from(lo), f64::from(hi)),
        };
        vec![Array::new(&x[0].shape, x[0].data.iter().map(|&v| f(v)).collect())]
    }
}
