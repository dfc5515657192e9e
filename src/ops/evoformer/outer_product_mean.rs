//! Outer product mean (Algorithm 10): from sequences to pairs, without the outer products of all pairs at once.
//!
//! The outer products of a few residues `i` with all `j` are made, projected and forgotten; the backward pass makes them again.

use std::ops::Range;

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Scalar, Source, UniformData};
use crate::gpu::view::{LANES, contiguous_strides, padded};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::basic::copy::copy;
use crate::tensor::DType;

/// Added to the number of sequences that two residues share.
const EPSILON: f64 = 1e-3;

fn source() -> &'static Source {
    shader!("evoformer/outer_product_mean")
}

/// `left [s, n, c]` and `right [s, n, e]`, both already masked, `mask [s, n]`, `w [c, e, f]`, `b [f]` to `[n, n, f]`:
/// `(sum_sce left[s, i, c] right[s, j, e] w[c, e, f] + b[f]) / (1e-3 + sum_s mask[s, i] mask[s, j])`. The bias is divided too, as in
/// AlphaFold's code; the mask is not differentiable.
#[derive(Debug, Clone, Copy)]
pub struct OuterProductMean;

fn uniform(fields: &[(&'static str, usize)]) -> UniformData {
    const NAMES: [&str; 11] = ["m", "n", "k", "ng", "kg", "a_row", "b_row", "c_row", "chain", "last", "with_bias"];
    assert!(fields.iter().all(|(name, _)| NAMES.contains(name)), "fields {fields:?}");
    let value = |name| fields.iter().find(|(n, _)| *n == name).map_or(0, |(_, v)| *v);
    UniformData::of(&NAMES.map(|name| (name, Scalar::from(value(name)))))
}

/// Which operand of a product of matrices has the summed axis elsewhere than in its usual place.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    /// `c[m, n] = sum_k a[m, k] b[k, n]`.
    Nn,
    /// `a` is `[k, m]`.
    Tn,
    /// `b` is `[n, k]`.
    Nt,
}

/// `c = a b` for matrices, or `c += a b`. What one binding cannot hold is cut: rows, columns, and the summed axis, where each launch goes
/// on from what the last one stored, so that the order of addition is the same.
fn product(r: &mut Recorder, form: Form, a: &View, b: &View, c: &View, accumulate: bool) {
    let [m, n] = [c.shape[0], c.shape[1]];
    let k = if form == Form::Tn { a.shape[0] } else { a.shape[1] };
    assert_eq!(c.dtype, DType::F32, "sums are kept in single precision");
    // A window begins at an aligned byte, so that a little room is left in front of it.
    let limit = (r.traits.max_binding as usize).saturating_sub(1024);
    let fit = |v: &View| (limit / (v.strides[0] * v.dtype.size()) / LANES * LANES).max(LANES);
    // Whole tiles are cut by the executor; only narrower bindings are cut here.
    let whole = |fit: usize, extent: usize| if fit >= 32 { extent } else { fit };
    let m_step = whole(if form == Form::Tn { fit(c) } else { fit(c).min(fit(a)) }, m);
    let n_step = if form == Form::Nt { whole(fit(b), n) } else { n };
    let k_step = match form {
        Form::Nn => fit(b),
        Form::Tn => fit(a).min(fit(b)),
        Form::Nt => k,
    };
    let steps = |n: usize, step: usize| (0..n).step_by(step).map(move |from| from..(from + step).min(n));
    for ms in steps(m, m_step) {
        for ns in steps(n, n_step) {
            for ks in steps(k, k_step) {
                let chain = accumulate || ks.start > 0;
                let part = |v: &View, rows: &Range<usize>, columns: &Range<usize>| v.slice(0, rows.clone()).slice(1, columns.clone());
                let a = if form == Form::Tn { part(a, &ks, &ms) } else { part(a, &ms, &ks) };
                let b = if form == Form::Nt { part(b, &ns, &ks) } else { part(b, &ks, &ns) };
                record_product(r, form, [&a, &b, &part(c, &ms, &ns)], ks.len(), chain);
            }
        }
    }
}

fn record_product(r: &mut Recorder, form: Form, [a, b, c]: [&View; 3], k: usize, chain: bool) {
    let [m, n] = [c.shape[0], c.shape[1]];
    let [a_row, b_row, c_row] = [a, b, c].map(|v| v.strides[0] / LANES);
    let fields = [("m", m), ("n", n), ("k", k), ("ng", c.groups()), ("kg", k.div_ceil(LANES))];
    let rows = [("a_row", a_row), ("b_row", b_row), ("c_row", c_row), ("chain", usize::from(chain))];
    let by_m = cut(0, 0, 32);
    let (entry, columns) = match form {
        Form::Nn => ("product_nn", 64),
        Form::Tn => ("product_tn", 64),
        Form::Nt => ("product_nt", 32),
    };
    let a_cuts = if form == Form::Tn { vec![] } else { vec![by_m] };
    let b_cuts = if form == Form::Nt { vec![cut(1, 0, 32)] } else { vec![] };
    let groups = [m.div_ceil(32), n.div_ceil(columns), 1];
    let launch = Launch::new(source(), entry, uniform(&[&fields[..], &rows].concat()), groups);
    let launch = launch.read("a", a, &a_cuts).read("b", b, &b_cuts).write("c", c, &[by_m]);
    r.launch(launch.flops(2.0 * (m * n * k) as f64));
}

/// `norm [n, n]`, one over the number of sequences that two residues share.
fn pair_norm(r: &mut Recorder, mask: &View) -> View {
    let (n_seq, n) = (mask.shape[0], mask.shape[1]);
    let norm = r.temp(&[n, n], DType::F32);
    let step = ((r.traits.max_binding as usize).saturating_sub(1024) / (mask.strides[0] * mask.dtype.size())).max(1);
    for from in (0..n_seq).step_by(step) {
        let part = mask.slice(0, from..(from + step).min(n_seq));
        let [ng, a_row] = [norm.groups(), part.strides[0] / LANES];
        let (k, last) = (part.shape[0], usize::from(from + step >= n_seq));
        let fields = [("m", n), ("n", n), ("k", k), ("ng", ng), ("a_row", a_row), ("chain", usize::from(from > 0)), ("last", last)];
        let launch = Launch::new(source(), "pairs", uniform(&fields), [ng.div_ceil(64), n, 1]);
        r.launch(launch.read("mask", &part, &[]).write("norm", &norm, &[cut(1, 0, 1)]).flops(2.0 * (n * n * k) as f64));
    }
    norm
}

/// `y = (x + bias) norm` over some rows of pairs, all `[rows, n, f]`.
fn scaled(r: &mut Recorder, x: &View, bias: Option<&View>, norm: &View, y: &View) {
    let (rows, n) = (y.shape[0], y.shape[1]);
    let fields = [("m", n), ("ng", y.groups()), ("a_row", norm.strides[0] / LANES), ("with_bias", usize::from(bias.is_some()))];
    let row = [cut(1, 0, 1)];
    let launch = Launch::new(source(), "scaled", uniform(&fields), [(n * y.groups()).div_ceil(64), rows, 1]);
    // Without a bias the binding still names memory that is there.
    let launch = if let Some(bias) = bias { launch.read("bias", bias, &[]) } else { launch.read("bias", norm, &row) };
    r.launch(launch.read("x", x, &row).read("norm", norm, &row).write("y", y, &row).flops(2.0 * y.len() as f64));
}

/// `y[i, f] = sum_j x[i, j, f]`.
fn summed(r: &mut Recorder, x: &View, y: &View) {
    let (rows, n) = (x.shape[0], x.shape[1]);
    let launch = Launch::new(source(), "summed", uniform(&[("m", n), ("ng", x.groups())]), [x.groups().div_ceil(64), rows, 1]);
    r.launch(launch.read("x", x, &[cut(1, 0, 1)]).write("y", y, &[cut(1, 0, 1)]).flops(x.len() as f64));
}

/// Contiguous memory under a shape that takes the padding of an axis for elements; it holds zeros.
fn unpadded(v: &View, shape: &[usize]) -> View {
    assert!(v.is_contiguous() && shape.iter().product::<usize>() == crate::gpu::view::padded_len(&v.shape), "{v:?} as {shape:?}");
    View { shape: shape.to_vec(), strides: contiguous_strides(shape), ..v.clone() }
}

/// The sizes of one call; c and e are padded to whole groups, whose products are zero.
struct Sizes {
    n: usize,
    c: usize,
    e: usize,
    f: usize,
    /// Residues `i` of a chunk.
    rows: usize,
}

impl Sizes {
    fn new(r: &Recorder, x: &[View]) -> Self {
        let (n, c, e, f) = (x[0].shape[1], padded(x[0].width()), padded(x[1].width()), x[4].width());
        // Two copies of the outer products and the projected pairs, in single precision.
        let bytes = n * (2 * c * e + padded(f)) * DType::F32.size();
        Self { n, c, e, f, rows: r.chunk_rows(n, bytes, 1).min(n) }
    }

    fn chunks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (n, rows) = (self.n, self.rows);
        (0..n).step_by(rows).map(move |from| from..(from + rows).min(n))
    }

    /// Workspace for a chunk: outer products as `[rows, c, n, e]`, where they are one product of matrices, and as `[rows, n, c, e]`, where
    /// c and e are one axis.
    fn outer(&self, r: &mut Recorder) -> [View; 2] {
        [&[self.rows, self.c, self.n, self.e], &[self.rows, self.n, self.c, self.e]].map(|s| r.temp(s, DType::F32))
    }

    /// `[c e, f]`, the weights with zero rows where c and e are padded.
    fn weights(&self, r: &mut Recorder, w: &View) -> View {
        let whole = if w.shape[0] == self.c && w.shape[1] == self.e && w.is_contiguous() {
            w.clone()
        } else {
            let packed = r.temp(&[self.c, self.e, self.f], w.dtype);
            r.clear(&packed);
            copy(r, &packed.slice(0, 0..w.shape[0]).slice(1, 0..w.shape[1]), w);
            packed
        };
        whole.reshape(&[self.c * self.e, self.f])
    }

    /// `[s, n c]` of `[s, n, c]`.
    fn flat(&self, v: &View) -> View {
        unpadded(v, &[v.shape[0], v.shape[1] * padded(v.shape[2])])
    }

    /// Both layouts of a chunk's outer products as matrices: `[rows c, n e]` and `[rows n, c e]`.
    fn matrices(&self, outer: &[View; 2], rows: usize) -> [View; 2] {
        let [a, b] = outer.each_ref().map(|v| v.slice(0, 0..rows));
        [unpadded(&a, &[rows * self.c, self.n * self.e]), unpadded(&b, &[rows * self.n, self.c * self.e])]
    }

    /// The outer products of residues `i` with all others, in both layouts.
    fn multiply(&self, r: &mut Recorder, x: &[View], outer: &[View; 2], i: &Range<usize>) {
        let [by_c, _] = self.matrices(outer, i.len());
        let left = self.flat(&x[0]).slice(1, i.start * self.c..i.end * self.c);
        product(r, Form::Tn, &left, &self.flat(&x[1]), &by_c, false);
        let [from, to] = outer.each_ref().map(|v| v.slice(0, 0..i.len()));
        copy(r, &to, &from.permute(&[0, 2, 1, 3]));
    }
}

/// The view itself, or single precision in its place; [`finish`] brings the values back.
fn single(r: &mut Recorder, v: &View) -> View {
    if v.dtype == DType::F32 && v.is_contiguous() { v.clone() } else { r.temp(&v.shape, DType::F32) }
}

fn finish(r: &mut Recorder, v: &View, held: &View) {
    if v != held {
        copy(r, v, held);
    }
}

impl Op for OuterProductMean {
    fn name(&self) -> &'static str {
        "outer_product_mean"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let fits = x.len() == 5
            && [x[0], x[1], x[3]].iter().all(|s| s.len() == 3)
            && x[0][..2] == x[1][..2]
            && x[2] == &x[0][..2]
            && x[3][..2] == [x[0][2], x[1][2]]
            && x[4] == [x[3][2]];
        assert!(fits, "outer_product_mean of {x:?}: left [s, n, c], right [s, n, e], mask [s, n], w [c, e, f], b [f]");
        vec![Spec::of(&[x[0][1], x[0][1], x[4][0]])]
    }

    fn differentiable(&self, i: usize) -> bool {
        i != 2
    }

    fn needs(&self) -> Needs {
        Needs { x: 0b01111, y: 0 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let size = Sizes::new(r, x);
        let w = size.weights(r, &x[3]);
        let norm = pair_norm(r, &x[2]); // [n, n]
        let outer = size.outer(r);
        let sum = r.temp(&[size.rows, size.n, size.f], DType::F32);
        for i in size.chunks() {
            size.multiply(r, x, &outer, &i);
            let [_, by_pair] = size.matrices(&outer, i.len());
            let sum = sum.slice(0, 0..i.len());
            product(r, Form::Nn, &by_pair, &w, &sum.as_rows(), false);
            scaled(r, &sum, Some(&x[4]), &norm.slice(0, i.clone()), &y[0].slice(0, i));
        }
    }

    // With ds[i, j, f] = dy[i, j, f] norm[i, j] and o[i, j, c, e] = sum_s left[s, i, c] right[s, j, e]:
    // db[f] = sum_ij ds,  dw[c, e, f] = sum_ij o ds,  do[i, j, c, e] = sum_f ds w,
    // dleft[s, i, c] = sum_je right[s, j, e] do,  dright[s, j, e] = sum_ic left[s, i, c] do.
    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let (x, dy, size) = (b.x, b.dy0(), Sizes::new(r, b.x));
        let w = size.weights(r, &x[3]);
        let norm = pair_norm(r, &x[2]); // [n, n]
        let outer = size.outer(r);
        let ds = r.temp(&[size.rows, size.n, size.f], DType::F32);
        let [left, right] = [&x[0], &x[1]].map(|v| size.flat(v)); // [s, n c], [s, n e]
        let held = [0, 1].map(|side| b.dx[side].as_ref().map(|v| single(r, v)));
        let dw = b.dx[3].as_ref().map(|_| r.temp(&[size.c * size.e, size.f], DType::F32));
        let rows_b = b.dx[4].as_ref().map(|_| r.temp(&[size.n, size.f], DType::F32));
        for i in size.chunks() {
            let [by_c, by_pair] = size.matrices(&outer, i.len());
            let ds = ds.slice(0, 0..i.len());
            scaled(r, &dy.slice(0, i.clone()), None, &norm.slice(0, i.clone()), &ds);
            if let Some(rows_b) = &rows_b {
                summed(r, &ds, &rows_b.slice(0, i.clone()));
            }
            let ds = ds.as_rows();
            if let Some(dw) = &dw {
                size.multiply(r, x, &outer, &i);
                product(r, Form::Tn, &by_pair, &ds, dw, i.start > 0);
            }
            if held.iter().all(Option::is_none) {
                continue;
            }
            product(r, Form::Nt, &ds, &w, &by_pair, false);
            let [to, from] = outer.each_ref().map(|v| v.slice(0, 0..i.len()));
            copy(r, &to.permute(&[0, 2, 1, 3]), &from);
            let columns = i.start * size.c..i.end * size.c;
            if let Some(dleft) = &held[0] {
                product(r, Form::Nt, &right, &by_c, &size.flat(dleft).slice(1, columns.clone()), false);
            }
            if let Some(dright) = &held[1] {
                product(r, Form::Nn, &left.slice(1, columns), &by_c, &size.flat(dright), i.start > 0);
            }
        }
        for (dx, held) in b.dx.iter().zip(&held) {
            if let (Some(dx), Some(held)) = (dx, held) {
                finish(r, dx, held);
            }
        }
        if let (Some(to), Some(dw)) = (&b.dx[3], &dw) {
            let whole = dw.reshape(&[size.c, size.e, size.f]);
            copy(r, to, &whole.slice(0, 0..to.shape[0]).slice(1, 0..to.shape[1]));
        }
        if let (Some(to), Some(rows_b)) = (&b.dx[4], &rows_b) {
            summed(r, &rows_b.reshape(&[1, size.n, size.f]), &to.reshape(&[1, size.f]));
        }
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let (n_seq, n) = (x[2].shape[0], x[2].shape[1]);
        let (c, e, f) = (x[3].shape[0], x[3].shape[1], x[3].shape[2]);
        let mut y = Array::zeros(&[n, n, f]);
        for (i, j) in (0..n * n).map(|at| (at / n, at % n)) {
            let mut sum = x[4].data.clone();
            for (p, q) in (0..c * e).map(|at| (at / e, at % e)) {
                let o: f64 = (0..n_seq).map(|s| x[0].data[(s * n + i) * c + p] * x[1].data[(s * n + j) * e + q]).sum();
                sum.iter_mut().enumerate().for_each(|(at, v)| *v += o * x[3].data[(p * e + q) * f + at]);
            }
            let shared: f64 = (0..n_seq).map(|s| x[2].data[s * n + i] * x[2].data[s * n + j]).sum();
            sum.iter().enumerate().for_each(|(at, v)| y.data[(i * n + j) * f + at] = v / (EPSILON + shared));
        }
        vec![y]
    }
}
