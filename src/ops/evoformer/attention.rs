//! Attention with pair bias, key mask and gate in one kernel; no logits are ever stored.
//!
//! Algorithm 7 MSARowAttentionWithPairBias lines 4-6, Algorithm 8, Algorithms 13 and 14, Algorithm 17 are all this operation on differently
//! permuted views. One invocation takes one query here; `subgroup` is the family for CPUs.

pub(super) mod subgroup;

use crate::gpu::recorder::{Cut, Launch, cut};
use crate::gpu::shader::{Scalar, Source, UniformData};
use crate::gpu::view::LANES;
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::basic::transpose::turn;
use crate::ops::evoformer::attention_backward;
use crate::tensor::DType;

fn source() -> &'static Source {
    shader!("evoformer/attention")
}

/// The largest head: eight groups of registers.
const MAX_HEAD: usize = 32;

/// The logit of a masked key: it replaces, so that a row without any key averages over all of them (QUIRKS 3).
pub(super) const MASKED: f64 = -1e9;

/// `q [b, q, h, d], k [b, k, h, d], v [b, k, h, dv]`, then those of `mask [b, k]` or `[b, k, 1]`, `bias [t, q, k, h]`, the same `turned
/// [h, t, q, k]`, `gate [b, q, h, dv]` that there are, to `y [b, q, h, dv]` and the log-sum-exp of every row, `[b, h, q]`, always f32.
///
/// `y = sigmoid(gate) * sum_j softmax_j(d^-0.5 q.k_j + bias_j) v_j`. A zero in the mask replaces its key's logit by -1e9.
/// Every input may be any strided view: slices of one projection, permuted rows and columns. The bias is given as a projection of the pair
/// representation leaves it, heads innermost; rows and columns may be permuted. The kernels for GPUs read it with heads outermost: as a projection
/// that knows of it gives it a second time (`Linear::heads`), or turned here, forwards and backwards. The gradient is that of `bias` alone.
///
/// Where there are several biases (those of templates side by side), `run` neighbouring rows of b share one, and the runs take them in turn.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attention {
    /// Whether a mask follows the values.
    pub mask: bool,
    /// Whether a pair bias follows.
    pub bias: bool,
    /// Whether the bias follows a second time, heads outermost.
    pub turned: bool,
    /// Whether a gate follows.
    pub gate: bool,
    /// Neighbouring rows that share a bias; 0 where there is one for all.
    pub run: usize,
    /// How many rows are before these, where b is a part of all of them, which has no backward pass.
    pub first: usize,
}

/// The inputs by name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inputs<'a, T> {
    pub q: &'a T,
    pub k: &'a T,
    pub v: &'a T,
    pub mask: Option<&'a T>,
    pub bias: Option<&'a T>,
    pub turned: Option<&'a T>,
    pub gate: Option<&'a T>,
}

/// Extents.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extents {
    pub b: usize,
    pub q: usize,
    pub k: usize,
    pub h: usize,
    /// Biases.
    pub t: usize,
    /// Groups of four channels of queries and keys, and of values.
    pub dg: usize,
    pub vg: usize,
    pub d: usize,
}

/// Strides in groups of the axes of `[b, length, heads, channels]`.
fn strides(v: &View) -> [usize; 3] {
    [v.strides[0] / 4, v.strides[1] / 4, v.strides[2] / 4]
}

/// The binding of a tensor `[b, length, heads, channels]`: heads follow the grid's second dimension, rows the third.
pub(super) fn by_row_and_head(rows: usize) -> [Cut; 2] {
    [cut(2, 0, rows), cut(1, 2, 1)]
}

impl Attention {
    /// The position of each optional input, in the order mask, bias, turned, gate.
    pub(super) fn places(&self) -> [Option<usize>; 4] {
        let mut next = 3;
        [self.mask, self.bias, self.turned, self.gate].map(|there| {
            next += usize::from(there);
            there.then_some(next - 1)
        })
    }

    pub(super) fn inputs<'a, T>(&self, x: &'a [T]) -> Inputs<'a, T> {
        let [mask, bias, turned, gate] = self.places().map(|p| p.map(|i| &x[i]));
        Inputs { q: &x[0], k: &x[1], v: &x[2], mask, bias, turned, gate }
    }

    pub(super) fn extents(x: &Inputs<View>) -> Extents {
        let [q, k, v] = [x.q, x.k, x.v];
        let t = x.bias.map_or(1, |p| p.shape[0]);
        Extents { b: q.shape[0], q: q.shape[1], k: k.shape[1], h: q.shape[2], t, dg: q.groups(), vg: v.groups(), d: q.width() }
    }

    /// The constants that every kernel takes.
    pub(super) fn constants(&self, n: &Extents, launch: Launch) -> Launch {
        launch
            .constant("DG", n.dg as f64)
            .constant("VG", n.vg as f64)
            .constant("MASK", f64::from(u8::from(self.mask)))
            .constant("BIAS", f64::from(u8::from(self.bias)))
    }

    /// Which rows of b have which of `t` biases, and strides of `bias [h, t, q, ..]` in groups of four.
    pub(super) fn biases(&self, t: usize, bias: Option<&View>) -> [(&'static str, Scalar); 6] {
        let [bh, bt, bq] = [0, 1, 2].map(|axis| bias.map_or(0, |v| v.strides[axis] / LANES).into());
        [("first", self.first.into()), ("run", self.run.max(1).into()), ("biases", t.into()), ("bh", bh), ("bt", bt), ("bq", bq)]
    }

    /// The uniform block of the forward shader.
    pub(super) fn uniform(&self, x: &Inputs<View>, shift: usize, bias: Option<&View>) -> UniformData {
        let n = Self::extents(x);
        let mut fields: Vec<(&'static str, Scalar)> = vec![
            ("n_b", n.b.into()),
            ("n_q", n.q.into()),
            ("n_k", n.k.into()),
            ("heads", n.h.into()),
            ("shift", shift.into()),
            ("scale", ((n.d as f32).powf(-0.5)).into()),
        ];
        let mut three = |names: [&'static str; 3], v: &View| fields.extend(names.into_iter().zip(strides(v).map(Scalar::from)));
        three(["qb", "ql", "qh"], x.q);
        three(["kb", "kl", "kh"], x.k);
        three(["vb", "vl", "vh"], x.v);
        three(["gb", "gl", "gh"], x.gate.unwrap_or(x.v));
        let [mb, mk] = x.mask.map_or([0, 0], |m| [m.strides[0], m.strides[1]]);
        fields.extend([("mb", mb.into()), ("mk", mk.into())]);
        fields.extend(self.biases(n.t, bias));
        UniformData::of(&fields)
    }

    /// The mask as `[b, k]`, contiguous, zero where a key is masked.
    pub(super) fn keep(&self, r: &mut Recorder, x: &Inputs<View>) -> Option<View> {
        let mask = x.mask?;
        if mask.shape.len() == 2 && mask.is_contiguous() {
            return Some(mask.clone()); // every kernel asks only whether it is zero
        }
        let n = Self::extents(x);
        let keep = r.temp(&[n.b, n.k], DType::F32);
        let (shift, rows) = group_shift(keep.groups());
        let groups = [keep.groups().div_ceil(1 << shift), n.b.div_ceil(rows), 1];
        r.launch(Launch::new(source(), "mask_in", self.uniform(x, shift, None), groups).read("mask", mask, &[cut(1, 0, rows)]).write(
            "keep",
            &keep,
            &[cut(1, 0, rows)],
        ));
        Some(keep)
    }

    /// The bias as `[heads, t, q, k]`.
    pub(super) fn bias(&self, r: &mut Recorder, x: &Inputs<View>) -> Option<View> {
        let pair = x.bias?;
        Some(x.turned.cloned().unwrap_or_else(|| {
            let [t, q, k, h] = pair.shape[..] else { panic!("a bias of {:?}", pair.shape) };
            let bias = r.temp(&[h, t, q, k], pair.dtype);
            for one in 0..t {
                turn(r, &pair.nth(0, one), &bias.nth(1, one).permute(&[1, 0, 2]));
            }
            bias
        }))
    }
}

/// Exponent of the groups of four that a workgroup of 64 covers of one row, and how many rows it covers.
pub(super) fn group_shift(groups: usize) -> (usize, usize) {
    let shift = (groups.next_power_of_two().trailing_zeros() as usize).min(6);
    (shift, 64 >> shift)
}

/// Exponent of the queries that a workgroup of 64 covers; where there are fewer queries it covers several rows.
pub(super) fn query_shift(n: usize) -> usize {
    if n == 1 { 0 } else { (n.next_power_of_two().trailing_zeros() as usize).clamp(2, 6) }
}

/// The exponent, raised until a binding holds the rows that a workgroup covers of each of the tensors `[b, length, heads, channels]`.
pub(super) fn fitting(r: &Recorder, shift: usize, views: &[&View]) -> usize {
    // A window begins at an aligned byte, so that a little room is left in front of it.
    let limit = (r.traits.max_binding as usize).saturating_sub(1024);
    let bytes = |v: &View, rows: usize| v.span(&[0..rows.min(v.shape[0]), 0..v.shape[1], 0..1, 0..v.width()]).len() * v.dtype.size();
    (shift..6).find(|shift| views.iter().all(|v| bytes(v, 64 >> shift) <= limit)).unwrap_or(6)
}

impl Op for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let count = 3 + [self.mask, self.bias, self.turned, self.gate].iter().filter(|t| **t).count();
        assert!(
            x.len() == count && (self.bias || !self.turned) && x[..3].iter().all(|s| s.len() == 4),
            "attention of {x:?}: q, k, v have four axes, {count} inputs"
        );
        let i = self.inputs(x);
        let ([b, q, h, d], [_, k, _, dv]) = ([i.q[0], i.q[1], i.q[2], i.q[3]], [0, i.v[1], 0, i.v[3]]);
        let fits = **i.k == [b, k, h, d]
            && i.v[..3] == [b, k, h]
            && i.mask.is_none_or(|m| **m == [b, k] || **m == [b, k, 1])
            && i.bias.is_none_or(|p| p.len() == 4 && p[1..] == [q, k, h] && (p[0] == 1 || self.run > 0))
            && i.turned.zip(i.bias).is_none_or(|(turned, p)| **turned == [h, p[0], q, k])
            && i.gate.is_none_or(|g| **g == [b, q, h, dv])
            && d <= MAX_HEAD
            && dv <= MAX_HEAD;
        assert!(
            fits,
            "attention of {x:?}, {self:?}: q [b, q, h, d], k [b, k, h, d], v [b, k, h, dv], mask [b, k], bias [t, q, k, h], turned [h, t, q, k], \
             gate [b, q, h, dv]"
        );
        vec![Spec::of(&[b, q, h, dv]), Spec::f32(&[b, h, q])]
    }

    fn strided(&self, _i: usize) -> bool {
        true
    }

    fn differentiable(&self, i: usize) -> bool {
        let [mask, _, turned, _] = self.places();
        ![mask, turned].contains(&Some(i))
    }

    fn needs(&self) -> Needs {
        Needs { x: (1 << 7) - 1, y: 0b11 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let x = self.inputs(x);
        let n = Self::extents(&x);
        if subgroup::suits(r, n.q) {
            return subgroup::forward(self, r, &x, y);
        }
        let (keep, bias) = (self.keep(r, &x), self.bias(r, &x));
        let shift = fitting(r, query_shift(n.q), &[x.q, x.k, x.v, x.gate.unwrap_or(x.q)]);
        let (rows, queries) = (64 >> shift, 1 << shift);
        let by_query = [cut(2, 0, rows), cut(0, 1, queries), cut(1, 2, 1)];
        let groups = [n.q.div_ceil(queries), n.h, n.b.div_ceil(rows)];
        let mut launch = self
            .constants(&n, Launch::new(source(), "forward", self.uniform(&x, shift, bias.as_ref()), groups))
            .constant("GATE", f64::from(u8::from(self.gate)))
            .read("q", x.q, &by_query)
            .read("k", x.k, &by_row_and_head(rows))
            .read("v", x.v, &by_row_and_head(rows))
            .write("y", &y[0], &by_query)
            .write("stats", &y[1], &[cut(2, 0, rows), cut(0, 2, queries), cut(1, 1, 1)]);
        // What is not there is not read; the binding still names valid memory.
        launch = match &keep {
            Some(keep) => launch.read("keep", keep, &[cut(2, 0, rows)]),
            None => launch.read("keep", x.q, &by_query),
        };
        launch = match &bias {
            Some(bias) => launch.read("bias", bias, &[cut(1, 0, 1), cut(0, 2, queries)]),
            None => launch.read("bias", x.q, &by_query),
        };
        launch = launch.read("gate", x.gate.unwrap_or(x.q), &by_query);
        r.launch(launch.flops(2.0 * (n.b * n.h * n.q * n.k) as f64 * (x.q.width() + x.v.width()) as f64));
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        attention_backward::record(self, r, b);
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let i = self.inputs(x);
        let [b, nq, h, d] = [i.q.shape[0], i.q.shape[1], i.q.shape[2], i.q.shape[3]];
        let (nk, dv) = (i.v.shape[1], i.v.shape[3]);
        let (mut y, mut stats) = (Array::zeros(&[b, nq, h, dv]), Array::zeros(&[b, h, nq]));
        let index = |row: usize, at: usize, head: usize, length: usize, width: usize| ((row * length + at) * h + head) * width;
        for (row, head, query) in (0..b * h * nq).map(|f| (f / (h * nq), f / nq % h, f % nq)) {
            let from = index(row, query, head, nq, d);
            let logit = |key: usize| {
                let at = index(row, key, head, nk, d);
                let product: f64 = (0..d).map(|c| i.q.data[from + c] * i.k.data[at + c]).sum();
                let t = |p: &Array| (self.first + row) / self.run.max(1) % p.shape[0];
                let s = product * (d as f64).powf(-0.5) + i.bias.map_or(0.0, |p| p.data[((t(p) * nq + query) * nk + key) * h + head]);
                if i.mask.is_some_and(|m| m.data[row * nk + key] == 0.0) { MASKED } else { s }
            };
            let s: Vec<f64> = (0..nk).map(logit).collect();
            let top = s.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = s.iter().map(|v| (v - top).exp()).sum();
            stats.data[(row * h + head) * nq + query] = top + sum.ln();
            let to = index(row, query, head, nq, dv);
            for c in 0..dv {
                let o: f64 = (0..nk).map(|key| (s[key] - top).exp() / sum * i.v.data[index(row, key, head, nk, dv) + c]).sum();
                y.data[to + c] = o * i.gate.map_or(1.0, |g| 1.0 / (1.0 + (-g.data[to + c]).exp()));
            }
        }
        vec![y, stats]
    }
}
