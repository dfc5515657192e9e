//! `y = act(x w + b)` over the innermost axis, with what may come before the product and after it: a layer norm of `x`; dropout and a residual.
//!
//! The backward pass is in `backward`.

mod backward;

use std::any::Any;
use std::rc::Rc;

use crate::gpu::view::{LANES, padded};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::basic::binary::Binary;
use crate::ops::basic::copy::copy;
use crate::ops::basic::dropout::Dropout;
use crate::ops::basic::gemm::{self, Dropped, Extra, Gemm, Norm};
use crate::ops::basic::layer_norm::LayerNorm;
use crate::ops::basic::transpose::turn;

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

/// What is done to the result.
#[derive(Debug, Clone, Copy)]
pub enum After {
    /// Nothing.
    Nothing,
    /// A residual is added.
    Residual,
    /// It is dropped out and added to a residual.
    Dropout(Dropout),
}

/// `x [.., c_in]`, with a norm `scale, offset [c_in]`, then `w [c_in, c_out]`, with a bias `b [c_out - tail]`, with a residual that of y's
/// shape, and with dropout its seed, to `y [.., c_out]`; the first columns of y a second time, `[heads, ..]`, where they are asked for; and of a
/// norm the statistics `[rows, 2]`, always f32. `x` may be any strided view where there is no norm and nothing is turned.
#[derive(Debug, Clone, Copy)]
pub struct Linear {
    /// Whether there is a bias.
    pub bias: bool,
    /// The activation.
    pub act: Act,
    /// The first column that bias and activation hold for, a multiple of four: several maps of one source are the columns of one product.
    pub tail: usize,
    /// `x` stands for its layer norm with this epsilon.
    pub norm: Option<f32>,
    /// What is done to the result.
    pub after: After,
    /// `x [a, b, c_in]` gives `y [b, a, c_out]`.
    pub turned: bool,
    /// The gradient of `y` is given as that of the sum before the activation.
    pub dy_of_sum: bool,
    /// `x` is the result of a ReLU, and its gradient is given as that of what the ReLU was given.
    pub dx_before_relu: bool,
    /// So many of the first columns are given a second time, columns outermost, as attention reads a bias of its logits. Their gradient is y's.
    pub heads: usize,
}

/// Places of the inputs.
struct Places {
    pub w: usize,
    pub bias: Option<usize>,
    pub residual: Option<usize>,
    pub seed: Option<usize>,
    pub all: usize,
}

impl Linear {
    /// A map with a bias and an activation.
    pub fn biased(act: Act) -> Self {
        let (after, dy_of_sum, dx_before_relu) = (After::Nothing, false, false);
        Self { bias: true, act, tail: 0, norm: None, after, turned: false, dy_of_sum, dx_before_relu, heads: 0 }
    }

    /// A map without a bias.
    pub fn plain(act: Act) -> Self {
        Self { bias: false, ..Self::biased(act) }
    }

    fn places(&self) -> Places {
        let w = if self.norm.is_some() { 3 } else { 1 };
        let mut next = w + 1;
        let mut take = |there: bool| {
            next += usize::from(there);
            there.then(|| next - 1)
        };
        let bias = take(self.bias);
        let residual = take(matches!(self.after, After::Residual | After::Dropout(_)));
        let seed = take(matches!(self.after, After::Dropout(_)));
        Places { w, bias, residual, seed, all: next }
    }

    /// What the backward pass goes through itself.
    fn own_act(&self) -> Act {
        if self.dy_of_sum { Act::None } else { self.act }
    }

    /// A view of what has y's shape with the axes in the order of x's, or the other way round.
    fn as_x(&self, v: &View) -> View {
        if self.turned { v.permute(&[1, 0, 2]) } else { v.clone() }
    }

    /// Whether nothing follows the sum but an activation.
    fn stands_alone(&self) -> bool {
        matches!(self.after, After::Nothing)
    }

    /// The place of the statistics among the outputs.
    fn stats_at(&self) -> usize {
        1 + usize::from(self.heads > 0)
    }

    /// The shape of y for one of x.
    fn out(&self, x: &[usize], c_out: usize) -> Vec<usize> {
        match (self.turned, x) {
            (true, [a, b, _]) => vec![*b, *a, c_out],
            (true, _) => panic!("linear of {x:?}: only three axes are turned"),
            _ => [&x[..x.len() - 1], &[c_out]].concat(),
        }
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

impl Op for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let at = self.places();
        let (c_in, c_out) = (*x[0].last().expect("an axis"), x.get(at.w).and_then(|w| w.get(1)).copied().unwrap_or(0));
        let fits = x.len() == at.all && x[at.w] == [c_in, c_out] && at.bias.is_none_or(|i| x[i] == [c_out - self.tail]);
        assert!(fits && self.tail.is_multiple_of(LANES), "linear of {x:?}, {self:?}: w is [c_in, c_out], b [c_out - tail]");
        assert!(!self.turned || self.act == Act::None, "linear of {x:?}, {self:?}: what an activation makes is not turned");
        let y = self.out(x[0], c_out);
        let around = at.residual.is_none_or(|i| x[i] == y) && (self.norm.is_none() || x[1] == [c_in] && x[2] == [c_in]);
        assert!(around, "linear of {x:?}, {self:?}: scale and offset are [c_in], a residual {y:?}");
        assert!(
            self.heads == 0 || self.heads <= c_out && self.stands_alone(),
            "linear of {x:?}, {self:?}: columns of what follows are not turned"
        );
        let mut all = vec![Spec::of(&y)];
        all.extend((self.heads > 0).then(|| Spec::of(&[&[self.heads], &y[..y.len() - 1]].concat())));
        all.extend(self.norm.map(|_| Spec::f32(&[y.iter().product::<usize>() / c_out, 2])));
        all
    }

    fn strided(&self, i: usize) -> bool {
        // Weights may be some columns of a matrix, which then has no gradient.
        i == self.places().w || i == 0 && self.norm.is_none() && !self.turned
    }

    fn differentiable(&self, i: usize) -> bool {
        self.places().seed != Some(i)
    }

    fn adds(&self, _i: usize) -> bool {
        true
    }

    fn passes(&self, i: usize) -> bool {
        self.places().residual == Some(i)
    }

    fn needs(&self) -> Needs {
        let at = self.places();
        let norm = self.norm.map_or(0, |_| 0b110);
        Needs {
            x: 1 | norm | 1 << at.w | at.seed.map_or(0, |i| 1 << i),
            y: u32::from(self.own_act() != Act::None) | self.norm.map_or(0, |_| 1 << self.stats_at()),
        }
    }

    fn in_place(&self) -> u32 {
        self.places().residual.map_or(0, |i| 1 << i)
    }

    /// After a layer norm, which is then made with the product.
    fn following(&self, before: &dyn Op, turned: bool) -> Option<Rc<dyn Op>> {
        let norm: &LayerNorm = (before as &dyn Any).downcast_ref()?;
        let alone = self.norm.is_none() && !self.turned && (!turned || self.act == Act::None);
        alone.then(|| Rc::new(Self { norm: Some(norm.eps), turned, ..*self }) as Rc<dyn Op>)
    }

    /// With the residual that is added to it, or the dropout before that.
    fn then(&self, next: &dyn Op, i: usize, turned: bool) -> Option<Rc<dyn Op>> {
        let next = next as &dyn Any;
        let after = match (next.downcast_ref::<Binary>(), next.downcast_ref::<Dropout>()) {
            (Some(Binary { mul: false }), _) => After::Residual,
            // No product has both: there are not as many bindings.
            (_, Some(dropout)) if dropout.residual && i == 1 && self.norm.is_none() => After::Dropout(*dropout),
            _ => return None,
        };
        let plain = self.act == Act::None && self.heads == 0 && self.stands_alone() && !(self.turned && turned);
        plain.then(|| Rc::new(Self { after, turned: self.turned || turned, ..*self }) as Rc<dyn Op>)
    }

    /// After a map with a ReLU: the product that makes the gradient of its result passes on only what went through.
    fn agreed(&self, before: &dyn Op) -> Option<[Rc<dyn Op>; 2]> {
        let before: &Linear = (before as &dyn Any).downcast_ref()?;
        let relu = before.act == Act::Relu && before.tail == 0 && matches!(before.after, After::Nothing);
        (relu && self.norm.is_none())
            .then(|| [Rc::new(Self { dy_of_sum: true, ..*before }) as Rc<dyn Op>, Rc::new(Self { dx_before_relu: true, ..*self })])
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let at = self.places();
        if !gemm::joins(&r.traits) && (self.norm.is_some() || matches!(self.after, After::Dropout(_))) {
            return self.apart(r, x, y);
        }
        if self.heads > 0 && self.with_heads(r, x, y) {
            return;
        }
        let turned = self.as_x(&y[0]);
        let [rows, out] = joined([&x[0], &turned]).unwrap_or_else(|| [matrix(r, &x[0]), y[0].as_rows()]);
        let residual = at.residual.map(|i| View { root: x[i].root, offset: x[i].offset, dtype: x[i].dtype, ..out.clone() });
        let extra = match (&self.after, &residual) {
            (After::Residual, Some(residual)) => Extra::Residual(residual),
            (After::Dropout(op), Some(residual)) => {
                let seed = &x[at.seed.expect("a dropout has a seed")];
                Extra::Dropout(residual, Dropped { op, seed, n_j: y[0].shape[y[0].shape.len() - 2] })
            }
            _ => Extra::None,
        };
        let stats = self.norm.map(|_| stats(&y[self.stats_at()], &rows));
        let norm = self.norm.zip(stats.as_ref()).map(|(eps, stats)| Norm { stats, scale: &x[1], offset: &x[2], eps, own: true });
        let bias = at.bias.map(|i| &x[i]);
        gemm::record(r, &Gemm { bias, act: self.act, tail: self.tail, extra, norm, ..Gemm::new(&rows, false, &x[at.w], false, &out) });
        if self.heads > 0 {
            turn_heads(r, &y[0], &y[1]);
        }
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        self.reverse(r, b);
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let at = self.places();
        let (mut outputs, mut rows) = (Vec::new(), x[0].clone());
        if let Some(eps) = self.norm {
            let [normed, stats]: [Array; 2] = LayerNorm { eps }.reference(&x[..3]).try_into().expect("two outputs");
            rows = normed;
            outputs.push(stats);
        }
        let (w, k, n) = (&x[at.w].data, x[at.w].shape[0], x[at.w].shape[1]);
        let mut y = Vec::new();
        for row in rows.data.chunks(k) {
            for j in 0..n {
                let product = (0..k).map(|i| row[i] * w[i * n + j]).sum::<f64>();
                let sum = product + at.bias.filter(|_| j >= self.tail).map_or(0.0, |i| x[i].data[j - self.tail]);
                y.push(match self.act {
                    _ if j < self.tail => sum,
                    Act::None => sum,
                    Act::Relu => sum.max(0.0),
                    Act::Sigmoid => 1.0 / (1.0 + (-sum).exp()),
                });
            }
        }
        if self.turned {
            let (a, b) = (x[0].shape[0], x[0].shape[1]);
            y = (0..y.len()).map(|at| y[(at / n % a * b + at / n / a) * n + at % n]).collect();
        }
        let y = Array::new(&self.out(&x[0].shape, n), y);
        if self.heads > 0 {
            let columns = (0..self.heads).flat_map(|h| y.data.iter().skip(h).step_by(n).copied()).collect();
            outputs.insert(0, Array::new(&[&[self.heads], &y.shape[..y.shape.len() - 1]].concat(), columns));
        }
        let y = match (&self.after, at.residual, at.seed) {
            (After::Dropout(op), Some(i), Some(seed)) => op.reference(&[x[i].clone(), y, x[seed].clone()]).remove(0),
            (_, Some(i), _) => Array::new(&y.shape, y.data.iter().zip(&x[i].data).map(|(a, b)| a + b).collect()),
            _ => y,
        };
        outputs.insert(0, y);
        outputs
    }
}

/// Statistics `[rows, 2]` with the outer axes of a view of the rows.
fn stats(stats: &View, rows: &View) -> View {
    let outer = &rows.shape[..rows.shape.len() - 1];
    stats.reshape(&[outer, &[2]].concat())
}

/// The first columns of `y [.., c]` as `turned [heads, ..]`, by a launch of their own.
fn turn_heads(r: &mut Recorder, y: &View, turned: &View) {
    let (outer, heads) = (&y.shape[..y.shape.len() - 1], turned.shape[0]);
    let (n, batch) = (outer[outer.len() - 1], outer[..outer.len() - 1].iter().product::<usize>());
    let pairs = y.reshape(&[batch, n, y.width()]).slice(2, 0..padded(heads).min(y.width())).narrow(heads);
    turn(r, &pairs, &turned.reshape(&[heads, batch, n]).permute(&[1, 0, 2]));
}

impl Linear {
    /// The forward pass with the first columns written a second time by the product itself, if the device can: its rows are taken in y's
    /// order, so that neighbours along y's last row axis are neighbours in a tile.
    fn with_heads(&self, r: &mut Recorder, x: &[View], y: &[View]) -> bool {
        let at = self.places();
        let inner = *y[1].shape.last().expect("an axis");
        let from = if self.turned { x[0].permute(&[1, 0, 2]) } else { x[0].clone() };
        let batch = |v: &View| View {
            shape: vec![v.shape[0], 1, v.shape[1], v.shape[2]],
            strides: vec![v.strides[0], 0, v.strides[1], 1],
            ..v.clone()
        };
        let one = joined([&from, &y[0]]).filter(|[v, _]| v.shape.len() == 2 && inner.is_multiple_of(LANES));
        let (rows, out, turned) = match one {
            Some([rows, out]) => (rows, out, y[1].reshape(&[self.heads, y[0].n_rows()])),
            None if from.shape.len() == 3 => (batch(&from), batch(&y[0]), y[1].clone()),
            None => return false,
        };
        let stats = self.norm.map(|_| {
            let all = stats(&y[self.stats_at()], if rows.shape.len() == 2 { &rows } else { &x[0] });
            if rows.shape.len() == 2 { all } else { batch(&if self.turned { all.permute(&[1, 0, 2]) } else { all }) }
        });
        let norm = self.norm.zip(stats.as_ref()).map(|(eps, stats)| Norm { stats, scale: &x[1], offset: &x[2], eps, own: true });
        let bias = at.bias.map(|i| &x[i]);
        let turned = Some(&turned);
        let g = Gemm { bias, act: self.act, tail: self.tail, norm, turned, ..Gemm::new(&rows, false, &x[at.w], false, &out) };
        let can = gemm::turns(r, &g);
        if can {
            gemm::record(r, &g);
        }
        can
    }

    /// The forward pass where products take no norm and drop nothing out: one after the other.
    fn apart(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let at = self.places();
        let mut rest: Vec<View> = x[at.w..at.bias.map_or(at.w, |i| i) + 1].to_vec();
        rest.insert(0, x[0].clone());
        if let Some(eps) = self.norm {
            rest[0] = r.temp(&x[0].shape, x[0].dtype);
            LayerNorm { eps }.forward(r, &x[..3], &[rest[0].clone(), y[self.stats_at()].clone()]);
        }
        let plain = Self { norm: None, after: After::Nothing, ..*self };
        match (&self.after, at.residual) {
            (After::Dropout(op), Some(i)) => {
                let sum = r.temp(&y[0].shape, y[0].dtype);
                plain.forward(r, &rest, std::slice::from_ref(&sum));
                op.forward(r, &[x[i].clone(), sum, x[at.seed.expect("a dropout has a seed")].clone()], &y[..1]);
            }
            (_, residual) => {
                rest.extend(residual.map(|i| x[i].clone()));
                Self { norm: None, ..*self }.forward(r, &rest, &y[..self.stats_at()]);
            }
        }
    }
}
