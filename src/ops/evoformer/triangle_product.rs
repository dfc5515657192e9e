//! The sum over the third edge of a triangle: the heart of Algorithms 11 and 12, triangle multiplication.

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::view::{LANES, padded};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::basic::copy::copy;
use crate::tensor::DType;

/// Pairs that a workgroup covers along i and along j.
const TILE: [usize; 2] = [8, 16];

fn source() -> &'static Source {
    shader!("evoformer/triangle_product")
}

/// Left `a` and right `b`, both `[n, n, c]` and already masked and gated, to `y [n, n, c]`, summed in f32.
#[derive(Debug, Clone, Copy)]
pub struct TriangleProduct {
    /// `y[i, j] = sum_k a[i, k] b[j, k]`; otherwise incoming edges, `y[i, j] = sum_k a[k, j] b[k, i]` as AlphaFold's code has it (left
    /// and right are swapped relative to the paper's Algorithm 12).
    pub outgoing: bool,
}

/// The part of the k axis of `v [rows, k, c]` that one binding holds beside `tile` rows.
fn fit(v: &View, tile: usize, limit: usize) -> usize {
    // A window begins at an aligned byte, so that a little room is left in front of it.
    let room = limit.saturating_sub(1024) / v.dtype.size();
    let rows = (tile.min(v.shape[0]) - 1) * v.strides[0] + padded(v.shape[2]);
    room.saturating_sub(rows) / v.strides[1].max(1) + 1
}

/// `y[i, j, c] = sum_k a[i, k, c] b[j, k, c]` of any strided views. Where a binding cannot hold all of k, launches follow one another, each
/// going on from what the last one stored in f32: the order of addition is the same.
fn product(r: &mut Recorder, a: &View, b: &View, y: &View) {
    let (n_i, n_k) = (a.shape[0], a.shape[1]);
    let limit = r.traits.max_binding as usize;
    let part = fit(a, TILE[0], limit).min(fit(b, TILE[1], limit)).min(n_k);
    let launches = |r: &mut Recorder, a: &View, y: &View| {
        for from in (0..n_k).step_by(part) {
            let k = from..(from + part).min(n_k);
            record(r, &a.slice(1, k.clone()), &b.slice(1, k), y, from > 0);
        }
    };
    if y.dtype == DType::F32 || part == n_k {
        return launches(r, a, y);
    }
    let (n_j, c) = (y.shape[1], y.shape[2]);
    let rows = r.chunk_rows(n_i, n_j * padded(c) * DType::F32.size(), TILE[0]).min(n_i);
    let sum = r.temp(&[rows, n_j, c], DType::F32);
    for from in (0..n_i).step_by(rows) {
        let i = from..(from + rows).min(n_i);
        let sum = sum.slice(0, 0..i.len());
        launches(r, &a.slice(0, i.clone()), &sum);
        copy(r, &y.slice(0, i), &sum);
    }
}

fn record(r: &mut Recorder, a: &View, b: &View, y: &View, chain: bool) {
    let [n_i, n_j, n_k] = [a.shape[0], b.shape[0], a.shape[1]];
    let stride = |v: &View, axis: usize| (v.strides[axis] / LANES).into();
    let uniform = UniformData::of(&[
        ("n_i", n_i.into()),
        ("n_j", n_j.into()),
        ("n_k", n_k.into()),
        ("groups", y.groups().into()),
        ("a0", stride(a, 0)),
        ("a1", stride(a, 1)),
        ("b0", stride(b, 0)),
        ("b1", stride(b, 1)),
        ("y0", stride(y, 0)),
        ("y1", stride(y, 1)),
        ("chain", u32::from(chain).into()),
    ]);
    let (by_i, by_j) = (cut(0, 0, TILE[0]), cut(1, 0, TILE[1]));
    let groups = [n_i.div_ceil(TILE[0]), n_j.div_ceil(TILE[1]), y.groups().div_ceil(8)];
    r.launch(
        Launch::new(source(), "product", uniform, groups)
            .read("a", a, &[by_i])
            .read("b", b, &[by_j])
            .write("y", y, &[by_i, cut(1, 1, TILE[1])])
            .flops(2.0 * y.len() as f64 * n_k as f64),
    );
}

/// The same pairs the other way round.
fn turned(v: &View) -> View {
    v.permute(&[1, 0, 2])
}

impl Op for TriangleProduct {
    fn name(&self) -> &'static str {
        "triangle_product"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let fits = x.len() == 2 && x[0] == x[1] && x[0].len() == 3 && x[0][0] == x[0][1];
        assert!(fits, "triangle_product of {x:?}: both are [n, n, c]");
        vec![Spec::of(x[0])]
    }

    fn strided(&self, _i: usize) -> bool {
        true
    }

    fn needs(&self) -> Needs {
        Needs { x: 0b11, y: 0 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        // line 4
        if self.outgoing { product(r, &x[0], &x[1], &y[0]) } else { product(r, &turned(&x[1]), &turned(&x[0]), &y[0]) }
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let dy = b.dy0();
        let [left, right] = [&b.x[0], &b.x[1]];
        // Outgoing: da[i, k] = sum_j dy[i, j] b[j, k],  db[j, k] = sum_i dy[i, j] a[i, k].
        // Incoming: da[k, j] = sum_i b[k, i] dy[i, j],  db[k, i] = sum_j a[k, j] dy[i, j].
        if let Some(da) = &b.dx[0] {
            if self.outgoing { product(r, dy, &turned(right), da) } else { product(r, right, &turned(dy), da) }
        }
        if let Some(db) = &b.dx[1] {
            if self.outgoing { product(r, &turned(dy), &turned(left), db) } else { product(r, left, dy, db) }
        }
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let (n, c) = (x[0].shape[0], x[0].shape[2]);
        let at = |v: &Array, i: usize, j: usize, q: usize| v.data[(i * n + j) * c + q];
        let mut y = Array::zeros(&x[0].shape);
        for (i, j, q) in (0..n * n * c).map(|f| (f / c / n, f / c % n, f % c)) {
            let term = |k| if self.outgoing { at(&x[0], i, k, q) * at(&x[1], j, k, q) } else { at(&x[0], k, j, q) * at(&x[1], k, i, q) };
            y.data[(i * n + j) * c + q] = (0..n).map(term).sum();
        }
        vec![y]
    }
}
