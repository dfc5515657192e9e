//! The backward pass of linear maps: through what follows the product, then a product for the input and one for the weights, with partial sums
//! of weights and bias by deterministic split-K.
//!
//! Records launches for [`Linear`]; it is no operation of its own.

use std::ops::Range;

use crate::gpu::recorder::{Late, Launch, cut};
use crate::gpu::shader::UniformData;
use crate::gpu::view::{LANES, contiguous_strides, padded};
use crate::gpu::{Recorder, View};
use crate::op::{Backward, Op};
use crate::ops::axes::as_groups;
use crate::ops::basic::copy::{accumulate, copy};
use crate::ops::basic::gemm::{self, Extra, Gemm, Norm};
use crate::ops::basic::layer_norm::{self, LayerNorm};
use crate::ops::basic::linear::{Act, After, Linear, joined, matrix, rows, stats};
use crate::tensor::DType;

/// Least rows that one partial weight gradient covers, and most elements that all of them together may take: functions of the shapes
/// alone, so that neither windows nor devices change a bit.
const BLOCK: usize = 512;
const PARTS: usize = 1 << 20;

/// What the product was made of: rows in y's order, `[m, c]` or `[m1, m2, c]` where they lie at two distances, and where they stand for their
/// norm its statistics, scale, offset and epsilon.
struct Source {
    rows: View,
    norm: Option<(View, View, View, f32)>,
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
    fn new(r: &mut Recorder, m: usize, b: &'a Backward, op: &Linear) -> Option<Self> {
        let at = op.places();
        let w = &b.x[at.w];
        let to = [Some(at.w), at.bias].map(|i| i.and_then(|i| b.dx[i].as_ref().map(|v| (v, b.adds(i)))));
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
        Some(Self { block, w: held(to[0], &[parts, k, n]), b: to[1].map(|_| held(to[1], &[parts, 1, n])), tail: op.tail, to })
    }

    /// The parts of some rows, which begin at a block.
    fn add(&self, r: &mut Recorder, x: &Source, da: &View, at: &Range<usize>) {
        let some = at.start / self.block..at.end.div_ceil(self.block);
        let (c, b) = (self.w.slice(0, some.clone()), self.b.as_ref().map(|b| b.slice(0, some).as_rows()));
        let some = |v: &View| if v.shape.len() == 2 { v.slice(0, at.clone()) } else { v.clone() };
        let rows = some(&x.rows);
        let stats = x.norm.as_ref().map(|(stats, ..)| some(stats));
        let norm = x.norm.as_ref().zip(stats.as_ref());
        let norm = norm.map(|((_, scale, offset, eps), stats)| Norm { stats, scale, offset, eps: *eps, own: false });
        gemm::record(r, &Gemm { block: self.block, sums: b.as_ref(), norm, ..Gemm::new(&rows, true, da, false, &c) });
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
        let fields = [("n", n.into()), ("act", (self.own_act() as u32).into()), ("row", row.into()), ("tail", (self.tail / LANES).into())];
        let uniform = UniformData::of(&fields);
        let launch = Launch::new(shader!("basic/linear"), "through", uniform, [n.div_ceil(256), 1, 1]);
        let by_group = [cut(0, 0, 256)];
        let launch = launch.read("y", &y, &by_group).read("dy", &dy, &by_group).write("da", &da, &by_group);
        r.launch(launch.flops(3.0 * (n * LANES) as f64));
    }

    /// The gradient of the product with its bias and activation: through dropout. Whether it is a workspace.
    fn product_gradient(&self, r: &mut Recorder, b: &Backward) -> (View, bool) {
        let dy = b.dy0();
        match (&self.after, self.places().seed) {
            (After::Dropout(op), Some(seed)) => {
                let held = r.temp(&dy.shape, DType::F32);
                op.through(r, &b.x[seed], dy, &held);
                (held, true)
            }
            _ => (dy.clone(), false),
        }
    }

    /// Rows of x's shape in y's order, copied where they lie at more than two distances, or where only one will do.
    fn in_order(&self, r: &mut Recorder, x: &View) -> View {
        let most = if self.own_act() == Act::None { 3 } else { 2 };
        let x = self.as_x(x);
        joined([&x]).map(|[x]| x).filter(|x| x.shape.len() <= most).unwrap_or_else(|| matrix(r, &x))
    }

    /// What the product was made of.
    fn source(&self, r: &mut Recorder, b: &Backward) -> Source {
        let x = &b.x[0];
        let Some(eps) = self.norm else { return Source { rows: self.in_order(r, x), norm: None } };
        if gemm::joins(&r.traits) {
            let stats = self.as_x(&stats(&b.y[self.stats_at()], x));
            let [rows, stats] = joined([&self.as_x(x), &stats]).expect("of contiguous rows no more than two axes are turned");
            return Source { rows, norm: Some((stats, b.x[1].clone(), b.x[2].clone(), eps)) };
        }
        let again = [r.temp(&x.shape, x.dtype), r.temp(&b.y[self.stats_at()].shape, DType::F32)];
        LayerNorm { eps }.forward(r, &b.x[..3], &again);
        Source { rows: self.in_order(r, &again[0]), norm: None }
    }

    // With da = dy act':  dx[m, k] = sum_n da[m, n] w[k, n],  dw[k, n] = sum_m x[m, k] da[m, n],  db[n] = sum_m da[m, n]; where x stands for
    // its norm, dx goes through it, and a residual's gradient is dy.
    pub(super) fn reverse(&self, r: &mut Recorder, b: &Backward) {
        let at = self.places();
        if let Some((i, to)) = at.residual.and_then(|i| b.dx[i].as_ref().map(|to| (i, to))) {
            if b.adds(i) { accumulate(r, to, b.dy0()) } else { copy(r, to, b.dy0()) }
        }
        let first = if self.norm.is_some() { 0..3 } else { 0..1 };
        let through = b.dx[first].iter().any(Option::is_some);
        let m = b.dy0().n_rows();
        let parts = Parts::new(r, m, b, self);
        if !through && parts.is_none() {
            return;
        }
        let parts = parts.map(|parts| (self.source(r, b), parts));
        let (dy, held) = self.product_gradient(r, b);
        match self.norm {
            None => self.products(r, b, (&dy, held || b.own), (b.dx[0].as_ref(), b.adds(0)), parts.as_ref()),
            Some(_) => {
                let dx = through.then(|| r.temp(&b.x[0].shape, b.x[0].dtype));
                self.products(r, b, (&dy, held || b.own), (dx.as_ref(), false), parts.as_ref());
                if let Some(dx) = dx {
                    let to = [0, 1, 2].map(|i| b.dx[i].as_ref().map(|v| (v, b.adds(i))));
                    layer_norm::gradients(r, [&b.x[0], &b.x[1], &b.y[self.stats_at()]], &dx, to);
                }
            }
        }
        if let Some((_, parts)) = parts {
            parts.finish(r);
        }
    }

    /// The products, from the gradient `dy`, which may be written over where it is `own`.
    fn products(
        &self,
        r: &mut Recorder,
        b: &Backward,
        (dy, own): (&View, bool),
        (dx, add): (Option<&View>, bool),
        parts: Option<&(Source, Parts)>,
    ) {
        let w = &b.x[self.places().w];
        let m = dy.n_rows();
        let relu = self.dx_before_relu.then(|| self.as_x(&b.x[0]));
        let dx = dx.map(|dx| self.as_x(dx));
        // Through the activation in place, where the gradient's memory is free for it and rounds as a workspace would.
        let in_place = own && dy.dtype == DType::F32;
        if self.own_act() == Act::None || in_place {
            if self.own_act() != Act::None {
                self.through(r, &b.y[0].as_rows(), &dy.as_rows(), &dy.as_rows());
            }
            if let Some(dx) = dx {
                input_gradient(r, (dy, w), &dx, add, relu.as_ref());
            }
            if let Some((x, parts)) = parts {
                parts.add(r, x, &dy.as_rows(), &(0..m));
            }
            return;
        }
        let (y, dy) = (b.y[0].as_rows(), dy.as_rows());
        let block = parts.map_or(BLOCK, |(_, p)| p.block);
        let step = r.chunk_rows(m, dy.groups() * LANES * DType::F32.size(), block).min(m);
        let da = r.temp(&[step, dy.width()], DType::F32);
        // A gradient whose rows do not lie at one distance is made as they do, and copied.
        let direct = dx.as_ref().and_then(rows);
        let adds = add && direct.is_some();
        let held = dx.as_ref().map(|dx| direct.unwrap_or_else(|| r.temp(&[m, dx.width()], dx.dtype)));
        let relu = relu.map(|x| matrix(r, &x));
        for from in (0..m).step_by(step) {
            let at = from..(from + step).min(m);
            let [y, dy, da] = [(&y, at.clone()), (&dy, at.clone()), (&da, 0..at.len())].map(|(v, at)| v.slice(0, at));
            self.through(r, &y, &dy, &da);
            if let Some(dx) = &held {
                let relu = relu.as_ref().map(|x| x.slice(0, at.clone()));
                input_gradient(r, (&da, w), &dx.slice(0, at.clone()), adds, relu.as_ref());
            }
            if let Some((x, parts)) = parts {
                parts.add(r, x, &da, &at);
            }
        }
        if let (Some(dx), Some(held)) = (&dx, &held)
            && dx.root != held.root
        {
            let made = View { shape: dx.shape.clone(), strides: contiguous_strides(&dx.shape), ..held.clone() };
            if add { accumulate(r, dx, &made) } else { copy(r, dx, &made) }
        }
    }
}

/// `dx = da w^T` for any strided `dx`, or `dx += da w^T`; with the ReLU's result that x is, laid out like `dx`, the gradient before it.
fn input_gradient(r: &mut Recorder, (da, w): (&View, &View), dx: &View, add: bool, relu: Option<&View>) {
    // Two maps that agree on a gradient share it with nobody.
    assert!(relu.is_none() || !add, "a gradient before a ReLU is added to {dx:?}");
    match joined([da, dx, relu.unwrap_or(dx)]) {
        Some([da, dx, x]) => {
            let extra = relu.map_or(Extra::None, |_| Extra::Relu(&x));
            gemm::record(r, &Gemm { accumulate: add, extra, ..Gemm::new(&da, false, w, true, &dx) });
        }
        None => {
            let held = r.temp(&dx.shape, dx.dtype);
            let relu = relu.map(|x| matrix(r, x).reshape(&dx.shape));
            input_gradient(r, (da, w), &held, false, relu.as_ref());
            if add { accumulate(r, dx, &held) } else { copy(r, dx, &held) }
        }
    }
}
