//! A projection under its mask and, where there is one, its sigmoid gate, in one pass over memory.

use std::any::Any;
use std::rc::Rc;

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::view::{LANES, padded};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::basic::binary::Binary;
use crate::ops::basic::copy::copy;
use crate::ops::basic::dropout::{Dropout, Share};

/// Rows and groups that a workgroup takes of halves.
const HALVES: [usize; 2] = [32, 8];

fn source() -> &'static Source {
    shader!("basic/gated")
}

/// `x [a, b, c]`, then those of a gate `gate [a, b, c]` before its sigmoid, `mask [a, b]` or `[a, t, b / t]`, `residual [a, b, c]` and a dropout's
/// seed that there are, to `y = residual + dropout(mask x sigmoid(gate)) [a, b, c]`. The mask is not differentiable. x, gate and mask may be parts of
/// one wide projection.
#[derive(Debug, Clone, Copy)]
pub struct Gated {
    /// Whether there is a gate.
    pub gate: bool,
    /// Whether there is a mask.
    pub mask: bool,
    /// Whether there is a residual.
    pub residual: bool,
    /// The dropout before the residual.
    pub dropout: Option<Dropout>,
    /// `y [a, b, c / 2]` and `[a, c / 2, b]`, c rounded up to whole groups, whose number is even: the halves of all channels apart, the second
    /// with its last two axes exchanged, as products of matrices ask for it; of a mask alone.
    pub halves: bool,
}

/// Places of the inputs.
struct Places {
    mask: Option<usize>,
    residual: Option<usize>,
    seed: Option<usize>,
    all: usize,
}

impl Gated {
    /// A gate and, with `mask`, a mask.
    pub fn with_gate(mask: bool) -> Self {
        Self { gate: true, mask, residual: false, dropout: None, halves: false }
    }

    /// A mask alone.
    pub fn masked() -> Self {
        Self { gate: false, mask: true, residual: false, dropout: None, halves: false }
    }

    fn places(&self) -> Places {
        let mut next = 1 + usize::from(self.gate);
        let mut take = |there: bool| {
            next += usize::from(there);
            there.then(|| next - 1)
        };
        let (mask, residual, seed) = (take(self.mask), take(self.residual), take(self.dropout.is_some()));
        Places { mask, residual, seed, all: next }
    }

    /// The launch of one direction of halves, over the rows and groups of `x`.
    fn halves(&self, x: &View, uniform: UniformData, entry: &'static str) -> Launch {
        let groups = [x.shape[1].div_ceil(HALVES[0]), x.shape[0], x.groups().div_ceil(HALVES[1])];
        Launch::new(source(), entry, uniform, groups)
    }

    /// `dx = mask dy` of both halves, of which one that nothing depends on has no gradient.
    fn backward_halves(&self, r: &mut Recorder, b: &Backward, mask: &View) {
        let Some(dx) = &b.dx[0] else { return };
        let [a, n, half] = [dx.shape[0], dx.shape[1], padded(dx.width()) / 2];
        let [dy, right] = [(0, [a, n, half]), (1, [a, half, n])].map(|(i, shape)| {
            b.dy[i].clone().unwrap_or_else(|| {
                let none = r.temp(&shape, dx.dtype);
                r.clear(&none);
                none
            })
        });
        let row = [cut(1, 0, 1)];
        let launch = self.halves(dx, self.uniform([dx, dx, mask, &dy, &right, dx, dx]), "backward_halves");
        let launch = launch.read("mask", mask, &row).read("dy", &dy, &row).read("right", &right, &row).write("dx", dx, &row);
        r.launch(launch.flops(dx.len() as f64));
    }

    fn uniform(&self, [x, gate, mask, y, right, dx, dgate]: [&View; 7]) -> UniformData {
        let s = |v: &View, axis: usize| (v.strides[axis] / LANES).into();
        let none = Dropout { rate: 0.0, share: Share::Nothing, key: 0, residual: true };
        let dropout = self.dropout.unwrap_or(none);
        let [share, run] = dropout.share.numbers(x.shape[1]);
        UniformData::of(&[
            ("n_i", x.shape[0].into()),
            ("n_j", x.shape[1].into()),
            ("groups", x.groups().into()),
            ("log", log(x).into()),
            ("gated", u32::from(self.gate).into()),
            ("masked", u32::from(self.mask).into()),
            ("plus", u32::from(self.residual).into()),
            ("x0", s(x, 0)),
            ("x1", s(x, 1)),
            ("g0", s(gate, 0)),
            ("g1", s(gate, 1)),
            // The mask is read by element.
            ("m0", mask.strides[0].into()),
            ("m1", if mask.shape.len() == 3 { mask.strides[1] } else { 0 }.into()),
            ("part", if self.mask { mask.width() } else { 1 }.into()),
            ("width", x.width().into()),
            ("half", (x.groups() / 2).into()),
            ("y0", s(y, 0)),
            ("y1", s(y, 1)),
            ("r0", s(right, 0)),
            ("r1", s(right, 1)),
            ("dx0", s(dx, 0)),
            ("dx1", s(dx, 1)),
            ("dg0", s(dgate, 0)),
            ("dg1", s(dgate, 1)),
            share,
            run,
            ("threshold", dropout.threshold().into()),
            ("kept", dropout.kept().into()),
            ("key_lo", (dropout.key as u32).into()),
            ("key_hi", ((dropout.key >> 32) as u32).into()),
        ])
    }

    /// What is not there is `x` again, so that the binding names memory that is there.
    fn inputs<'a>(&self, x: &'a [View]) -> [&'a View; 3] {
        [&x[0], &x[usize::from(self.gate)], &x[self.places().mask.unwrap_or(0)]]
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
        let at = self.places();
        let alike = |i: usize| Some(i) != at.mask && Some(i) != at.seed;
        let fits = x.len() == at.all && x[0].len() == 3 && (0..x.len()).filter(|&i| alike(i)).all(|i| x[i] == x[0]);
        let parts = |mask: &[usize]| mask.len() == 3 && mask[0] == x[0][0] && mask[1] * mask[2] == x[0][1];
        let mask_fits = at.mask.is_none_or(|i| x[i] == &x[0][..2] || parts(x[i])) && (self.residual && self.gate || self.dropout.is_none());
        let halves_fit = !self.halves || !self.gate && !self.residual && x[0].last().is_some_and(|c| padded(*c).is_multiple_of(2 * LANES));
        assert!(fits && mask_fits && halves_fit, "gated of {x:?}, {self:?}: x, a gate and a residual are [a, b, c], a mask [a, b]");
        self.dropout.iter().for_each(|dropout| dropout.share.check(x[0]));
        let [a, b, c] = x[0] else { unreachable!("three axes") };
        let half = padded(*c) / 2;
        if self.halves { vec![Spec::of(&[*a, *b, half]), Spec::of(&[*a, half, *b])] } else { vec![Spec::of(x[0])] }
    }

    fn strided(&self, i: usize) -> bool {
        let at = self.places();
        Some(i) != at.residual && Some(i) != at.seed
    }

    fn differentiable(&self, i: usize) -> bool {
        let at = self.places();
        Some(i) != at.mask && Some(i) != at.seed
    }

    fn passes(&self, i: usize) -> bool {
        self.places().residual == Some(i)
    }

    fn needs(&self) -> Needs {
        let at = self.places();
        let bit = |i: Option<usize>| i.map_or(0, |i| 1 << i);
        Needs { x: if self.gate { 0b11 } else { 0 } | bit(at.mask) | bit(at.seed), y: 0 }
    }

    fn in_place(&self) -> u32 {
        self.places().residual.map_or(0, |i| 1 << i)
    }

    /// With the residual that is added to it, or the dropout before that.
    fn then(&self, next: &dyn Op, i: usize, turned: bool) -> Option<Rc<dyn Op>> {
        let next = next as &dyn Any;
        let dropout = match (next.downcast_ref::<Binary>(), next.downcast_ref::<Dropout>()) {
            (Some(Binary { mul: false }), _) => None,
            (_, Some(dropout)) if dropout.residual && i == 1 && self.gate => Some(*dropout),
            _ => return None,
        };
        (!turned && !self.residual && !self.halves).then(|| Rc::new(Self { residual: true, dropout, ..*self }) as Rc<dyn Op>)
    }

    fn forward(&self, r: &mut Recorder, all: &[View], y: &[View]) {
        let [x, gate, mask] = self.inputs(all);
        let row = [cut(1, 0, 1)];
        if self.halves {
            let launch = self.halves(x, self.uniform([x, gate, mask, &y[0], &y[1], x, x]), "forward_halves");
            let launch = launch.read("x", x, &row).read("mask", mask, &row).write("y", &y[0], &row).write("right", &y[1], &row);
            return r.launch(launch.flops(x.len() as f64));
        }
        let y = &y[0];
        let (at, entry) = (self.places(), if self.dropout.is_some() { "forward_dropped" } else { "forward" });
        let residual = at.residual.map_or(x, |i| &all[i]);
        let launch = Launch::new(source(), entry, self.uniform([x, gate, mask, y, y, y, y]), groups(x));
        let launch = launch.read("x", x, &row).read("gate", gate, &row).read("mask", mask, &row);
        let launch = launch.write("y", y, &row).read("residual", residual, &row);
        let launch = if let Some(i) = at.seed { launch.read("seed", &all[i], &[]) } else { launch };
        r.launch(launch.flops(6.0 * y.len() as f64));
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let [x, gate, mask] = self.inputs(b.x);
        if self.halves {
            return self.backward_halves(r, b, mask);
        }
        let (at, dy) = (self.places(), b.dy0());
        if let Some((i, to)) = at.residual.and_then(|i| b.dx[i].as_ref().map(|to| (i, to))) {
            assert!(!b.adds(i), "gated adds no gradient of a residual");
            copy(r, to, dy);
        }
        if b.dx[..1 + usize::from(self.gate)].iter().all(Option::is_none) {
            return;
        }
        let row = [cut(1, 0, 1)];
        let spare = |wanted: Option<&View>, r: &mut Recorder| wanted.cloned().unwrap_or_else(|| r.temp(&dy.shape, dy.dtype));
        let dx = spare(b.dx[0].as_ref(), r);
        if !self.gate {
            let launch = Launch::new(source(), "backward_plain", self.uniform([&dx, &dx, mask, dy, dy, &dx, &dx]), groups(&dx));
            return r.launch(launch.read("mask", mask, &row).read("dy", dy, &row).write("dx", &dx, &row).flops(dy.len() as f64));
        }
        let dgate = spare(b.dx[1].as_ref(), r);
        let entry = if self.dropout.is_some() { "backward_dropped" } else { "backward" };
        let launch = Launch::new(source(), entry, self.uniform([x, gate, mask, dy, dy, &dx, &dgate]), groups(x));
        let launch = launch.read("x", x, &row).read("gate", gate, &row).read("mask", mask, &row).read("dy", dy, &row);
        let launch = if let Some(i) = at.seed { launch.read("seed", &b.x[i], &[]) } else { launch };
        r.launch(launch.write("dx", &dx, &row).write("dgate", &dgate, &row).flops(10.0 * dy.len() as f64));
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let (at, c) = (self.places(), x[0].width());
        let mask = |row: usize| at.mask.map_or(1.0, |i| x[i].data[row]);
        let gate = |at: usize| if self.gate { 1.0 / (1.0 + (-x[1].data[at]).exp()) } else { 1.0 };
        let y = Array::new(&x[0].shape, (0..x[0].data.len()).map(|at| mask(at / c) * x[0].data[at] * gate(at)).collect());
        if self.halves {
            let w = padded(c) / 2;
            let (a, b) = (x[0].shape[0], x[0].shape[1]);
            let at = |i: usize, j: usize, k: usize| if k < c { y.data[(i * b + j) * c + k] } else { 0.0 };
            let left = (0..a * b * w).map(|f| at(f / w / b, f / w % b, f % w)).collect();
            let right = (0..a * b * w).map(|f| at(f / b / w, f % b, w + f / b % w)).collect();
            return vec![Array::new(&[a, b, w], left), Array::new(&[a, w, b], right)];
        }
        match (self.dropout, at.residual, at.seed) {
            (Some(dropout), Some(i), Some(seed)) => dropout.reference(&[x[i].clone(), y, x[seed].clone()]),
            (_, Some(i), _) => vec![Array::new(&y.shape, y.data.iter().zip(&x[i].data).map(|(a, b)| a + b).collect())],
            _ => vec![y],
        }
    }
}
