//! `y = act(x w + b)` over the innermost axis, with weight gradients by deterministic split-K.

use std::ops::Range;

use crate::gpu::recorder::{Late, Launch, cut};
use crate::gpu::shader::UniformData;
use crate::gpu::view::{LANES, contiguous_strides, padded};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::axes::as_groups;
use crate::ops::basic::copy::{accumulate, copy};
use crate::ops::basic::gemm::{self, Gemm};
use crate::tensor::DType;

/// Least rows that one partial weight gradient covers, and most elements that all of them together may take: functions of the shapes
/// alone, so that neither windows nor devices change a bit.
const BLOCK: usize = 512;
const PARTS: usize = 4 << 20;

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

/// `x [.., c_in], w [c_in, c_out]` and, where there is a bias, `b [c_out - tail]`, to `y [.., c_out]`. `x` may be any strided view.
#[derive(Debug, Clone, Copy)]
pub struct Linear {
    /// Whether there is a third input.
    pub bias: bool,
    /// The activation.
    pub act: Act,
    /// The first column that bias and activation hold for, a multiple of four: several maps of one source are the columns of one product.
    pub tail: usize,
}

impl Linear {
    /// A map with a bias and an activation.
    pub fn biased(act: Act) -> Self {
        Self { bias: true, act, tail: 0 }
    }

    /// A map without a bias.
    pub fn plain(act: Act) -> Self {
        Self { bias: false, act, tail: 0 }
    }
}

/// Views of the same outer axes with neighbouring axes joined where all of them allow it; `None` when more than three axes are left.
fn joined<const N: usize>(views: [&View; N]) -> Option<[View; N]> {
    let shape = &views[0].shape[..views[0].shape.len() - 1];
    let mut axes: Vec<(usize, [usize; N])> = Vec::new();
    for (axis, &n) in shape.iter().enumerate().filter(|(_, n)| **n != 1) {
        let strides = views.map(|v| v.strides[axis]);
        match axes.last_mut() {
            Some((many, outer)) if (0..N).all(|i| outer[i] == strides[i] * n) => (*many, *outer) = (*many * n, strides),
            _ => axes.push((n, strides)),
        }
    }
    if axes.is_empty() {
        axes.push((1, views.map(|v| padded(v.width()))));
    }
    let of = |i: usize| View {
        shape: axes.iter().map(|a| a.0).chain([views[i].width()]).collect(),
        strides: axes.iter().map(|a| a.1[i]).chain([1]).collect(),
        ..views[i].clone()
    };
    (axes.len() <= 3).then(|| std::array::from_fn(of))
}

/// The view as a matrix of rows, if its strides allow it.
fn rows(v: &View) -> Option<View> {
    joined([v]).map(|[v]| v).filter(|v| v.shape.len() == 2)
}

/// The view as a matrix of rows, copied where its strides do not allow it.
fn matrix(r: &mut Recorder, v: &View) -> View {
    rows(v).unwrap_or_else(|| {
        let held = r.temp(&v.shape, v.dtype);
        copy(r, &held, v);
        held.as_rows()
    })
}

/// Partial gradients of weights and bias, or the gradients themselves where one part holds all rows.
struct Parts<'a> {
    block: usize,
    /// `[parts, c_in, c_out]`.
    w: View,
    /// `[parts, c_out]`.
    b: Option<View>,
    /// The first column that has a bias.
    tail: usize,
    /// Where they go, and whether they are added to what is there.
    to: [Option<(&'a View, bool)>; 2],
}

impl<'a> Parts<'a> {
    fn new(r: &mut Recorder, m: usize, b: &'a Backward, tail: usize) -> Option<Self> {
        let w = &b.x[1];
        let to = [1, 2].map(|i| b.dx.get(i).and_then(Option::as_ref).map(|v| (v, b.adds(i))));
        to.iter().any(Option::is_some).then_some(())?;
        let most = (PARTS / (w.n_rows() * padded(w.width()))).max(1);
        let block = BLOCK * m.div_ceil(BLOCK).div_ceil(most);
        let parts = m.div_ceil(block);
        let mut held = |to: Option<(&View, bool)>, shape: &[usize]| match to {
            Some((v, false)) if parts == 1 && v.dtype == DType::F32 && v.width() == shape[2] => v.reshape(shape),
            Some((v, _)) => r.temp_parts(shape, v),
            None => r.temp(shape, DType::F32),
        };
        let (k, n) = (w.shape[0], w.shape[1]);
        Some(Self { block, w: held(to[0], &[parts, k, n]), b: to[1].map(|_| held(to[1], &[parts, 1, n])), tail, to })
    }

    /// The parts of some rows, which begin at a block.
    fn add(&self, r: &mut Recorder, x: &View, da: &View, at: &Range<usize>) {
        let some = at.start / self.block..at.end.div_ceil(self.block);
        let (c, b) = (self.w.slice(0, some.clone()), self.b.as_ref().map(|b| b.slice(0, some).as_rows()));
        gemm::record(r, &Gemm { block: self.block, sums: b.as_ref(), ..Gemm::new(x, true, da, false, &c) });
    }

    /// The sums of all parts, in order.
    fn finish(self, r: &mut Recorder) {
        let b = self.b.map(|b| b.slice(2, self.tail..b.width()));
        for (parts, to) in [Some(self.w), b].into_iter().zip(self.to) {
            if let (Some(parts), Some((to, add))) = (parts, to)
                && parts.root != to.root
            {
                r.sum_later(Late { to: to.reshape(&parts.shape[1..]), parts, add });
            }
        }
    }
}

impl Linear {
    /// `da = dy act'` for contiguous rows.
    fn through(&self, r: &mut Recorder, y: &View, dy: &View, da: &View) {
        let row = dy.groups();
        let [y, dy, da] = [y, dy, da].map(as_groups);
        let n = dy.shape[0];
        let fields = [("n", n.into()), ("act", (self.act as u32).into()), ("row", row.into()), ("tail", (self.tail / LANES).into())];
        let uniform = UniformData::of(&fields);
        let launch = Launch::new(shader!("basic/linear"), "through", uniform, [n.div_ceil(64), 1, 1]);
        let by_group = [cut(0, 0, 64)];
        let launch = launch.read("y", &y, &by_group).read("dy", &dy, &by_group).write("da", &da, &by_group);
        r.launch(launch.flops(3.0 * (n * LANES) as f64));
    }
}

/// `dx = da w^T` for any strided `dx`, or `dx += da w^T`.
fn input_gradient(r: &mut Recorder, da: &View, w: &View, dx: &View, add: bool) {
    match joined([da, dx]) {
        Some([da, dx]) => gemm::record(r, &Gemm { accumulate: add, ..Gemm::new(&da, false, w, true, &dx) }),
        None => {
            let held = r.temp(&dx.shape, dx.dtype);
            input_gradient(r, da, w, &held, false);
            if add { accumulate(r, dx, &held) } else { copy(r, dx, &held) }
        }
    }
}

impl Op for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let (last, outer) = x[0].split_last().expect("an axis");
        let fits =
            x.len() == 2 + usize::from(self.bias) && x[1].len() == 2 && x[1][0] == *last && (!self.bias || x[2] == [x[1][1] - self.tail]);
        assert!(fits && self.tail.is_multiple_of(LANES), "linear of {x:?}, tail {}: w is [c_in, c_out], b [c_out - tail]", self.tail);
        vec![Spec::of(&[outer, &[x[1][1]]].concat())]
    }

    fn strided(&self, i: usize) -> bool {
        i == 0
    }

    fn adds(&self, _i: usize) -> bool {
        true
    }

    fn needs(&self) -> Needs {
        Needs { x: 0b011, y: u32::from(self.act != Act::None) }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let [rows, out] = joined([&x[0], &y[0]]).unwrap_or_else(|| [matrix(r, &x[0]), y[0].as_rows()]);
        let bias = self.bias.then(|| &x[2]);
        gemm::record(r, &Gemm { bias, act: self.act, tail: self.tail, ..Gemm::new(&rows, false, &x[1], false, &out) });
    }

    // With da = dy act':  dx[m, k] = sum_n da[m, n] w[k, n],  dw[k, n] = sum_m x[m, k] da[m, n],  db[n] = sum_m da[m, n].
    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let (w, dy) = (&b.x[1], b.dy0());
        let m = dy.n_rows();
        let parts = Parts::new(r, m, b, self.tail).map(|parts| (matrix(r, &b.x[0]), parts));
        // Through the activation in place, where the gradient's memory is free for it and rounds as a workspace would.
        let in_place = b.own && dy.dtype == DType::F32;
        if self.act == Act::None || in_place {
            if self.act != Act::None {
                self.through(r, &b.y[0].as_rows(), &dy.as_rows(), &dy.as_rows());
            }
            if let Some(dx) = &b.dx[0] {
                input_gradient(r, dy, w, dx, b.adds(0));
            }
            if let Some((x, parts)) = &parts {
                parts.add(r, x, &dy.as_rows(), &(0..m));
            }
        } else {
            let (y, dy) = (b.y[0].as_rows(), dy.as_rows());
            let block = parts.as_ref().map_or(BLOCK, |(_, p)| p.block);
            let step = r.chunk_rows(m, dy.groups() * LANES * DType::F32.size(), block).min(m);
            let da = r.temp(&[step, dy.width()], DType::F32);
            // A gradient whose rows do not lie at one distance is made as they do, and copied.
            let direct = b.dx[0].as_ref().and_then(rows);
            let add = b.adds(0) && direct.is_some();
            let held = b.dx[0].as_ref().map(|dx| direct.unwrap_or_else(|| r.temp(&[m, dx.width()], dx.dtype)));
            for from in (0..m).step_by(step) {
                let at = from..(from + step).min(m);
                let [y, dy, da] = [(&y, at.clone()), (&dy, at.clone()), (&da, 0..at.len())].map(|(v, at)| v.slice(0, at));
                self.through(r, &y, &dy, &da);
                if let Some(dx) = &held {
                    input_gradient(r, &da, w, &dx.slice(0, at.clone()), add);
                }
                if let Some((x, parts)) = &parts {
                    parts.add(r, &x.slice(0, at.clone()), &da, &at);
                }
            }
            if let (Some(dx), Some(held)) = (&b.dx[0], &held)
                && dx.root != held.root
            {
                let made = View { shape: dx.shape.clone(), strides: contiguous_strides(&dx.shape), ..held.clone() };
                if b.adds(0) { accumulate(r, dx, &made) } else { copy(r, dx, &made) }
            }
        }
        if let Some((_, parts)) = parts {
            parts.finish(r);
        }
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let (k, n) = (x[1].shape[0], x[1].shape[1]);
        let mut y = Vec::new();
        for row in x[0].data.chunks(k) {
            for j in 0..n {
                let product = (0..k).map(|i| row[i] * x[1].data[i * n + j]).sum::<f64>();
                let sum = product + if self.bias && j >= self.tail { x[2].data[j - self.tail] } else { 0.0 };
                y.push(match self.act {
                    _ if j < self.tail => sum,
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
