//! Outer product mean (Algorithm 10): from sequences to pairs, without the outer products of all pairs at once.
//!
//! The outer products of a few residues `i` with all `j` are made, projected and forgotten; the backward pass makes them again.

use std::ops::Range;

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::view::{LANES, contiguous_strides, padded, padded_len};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::basic::binary::Binary;
use crate::ops::basic::copy::copy;
use crate::ops::basic::gemm::{self, Extra, Gemm};
use crate::ops::basic::sum;
use crate::tensor::DType;

/// Added to the number of sequences that two residues share.
const EPSILON: f64 = 1e-3;

fn source() -> &'static Source {
    shader!("evoformer/outer_product_mean")
}

/// `left [s, n, c]` and `right [s, n, e]`, both already masked, `mask [s, n]`, `w [c e, f]`, `b [f]` to `[n, n, f]`:
/// `(sum_sce left[s, i, c] right[s, j, e] w[c, e, f] + b[f]) / (1e-3 + sum_s mask[s, i] mask[s, j])`. Rows of `w` are those of `[c, e, f]`
/// with `e` padded to whole groups, as the arena of parameters holds `output_w`, and zero there. The bias is divided too, as in AlphaFold's code; the
/// mask is not differentiable. Workspace: two copies of the outer products of as many residues `i` as the device's limit allows, at
/// least one.
#[derive(Debug, Clone, Copy)]
pub struct OuterProductMean;

/// `norm [n, n, 1]`, one over the number of sequences that two residues share.
fn pair_norm(r: &mut Recorder, mask: &View) -> View {
    let (n_seq, n) = (mask.shape[0], mask.shape[1]);
    let norm = r.temp(&[n, n, 1], DType::F32);
    let step = ((r.traits.max_binding as usize).saturating_sub(1024) / (mask.strides[0] * mask.dtype.size())).max(1);
    for from in (0..n_seq).step_by(step) {
        let part = mask.slice(0, from..(from + step).min(n_seq));
        let uniform = UniformData::of(&[
            ("n", n.into()),
            ("groups", part.groups().into()),
            ("n_seq", part.shape[0].into()),
            ("row", (part.strides[0] / LANES).into()),
            ("chain", u32::from(from > 0).into()),
            ("last", u32::from(from + step >= n_seq).into()),
        ]);
        let launch = Launch::new(source(), "pairs", uniform, [part.groups().div_ceil(64), n, 1]);
        let flops = 2.0 * (n * n * part.shape[0]) as f64;
        r.launch(launch.read("mask", &part, &[]).write("norm", &norm, &[cut(1, 0, 1)]).flops(flops));
    }
    norm
}

/// Contiguous memory under a shape that takes the padding of an axis for elements; it holds zeros.
fn unpadded(v: &View, shape: &[usize]) -> View {
    assert!(v.is_contiguous() && shape.iter().product::<usize>() == padded_len(&v.shape), "{v:?} as {shape:?}");
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
        // Two copies of the outer products and the gradient of the pairs, in single precision.
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

    /// `[c e, f]`, the weights with zero rows where c is padded.
    fn weights(&self, r: &mut Recorder, w: &View) -> View {
        if w.shape[0] == self.c * self.e {
            return w.clone();
        }
        let whole = r.temp(&[self.c * self.e, self.f], w.dtype);
        r.clear(&whole);
        copy(r, &whole.slice(0, 0..w.shape[0]), w);
        whole
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
        gemm::record(r, &Gemm::new(&left, true, &self.flat(&x[1]), false, &by_c));
        let [from, to] = outer.each_ref().map(|v| v.slice(0, 0..i.len()));
        copy(r, &to, &from.permute(&[0, 2, 1, 3]));
    }
}

/// The view itself, or single precision in its place; [`finish`] brings the values back.
fn single(r: &mut Recorder, v: &View) -> View {
    if v.dtype == DType::F32 { v.clone() } else { r.temp(&v.shape, DType::F32) }
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
            && [x[0], x[1]].iter().all(|s| s.len() == 3)
            && x[0][..2] == x[1][..2]
            && x[2] == &x[0][..2]
            && x[3].len() == 2
            && x[3][0] == x[0][2] * padded(x[1][2])
            && x[4] == [x[3][1]];
        assert!(fits, "outer_product_mean of {x:?}: left [s, n, c], right [s, n, e], mask [s, n], w [c e, f] with e padded, b [f]");
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
        let norm = pair_norm(r, &x[2]); // [n, n, 1]
        let outer = size.outer(r);
        for i in size.chunks() {
            size.multiply(r, x, &outer, &i); // line 3
            let [_, by_pair] = size.matrices(&outer, i.len());
            let (out, norm) = (y[0].slice(0, i.clone()).as_rows(), norm.slice(0, i).as_rows());
            // line 4
            gemm::record(r, &Gemm { bias: Some(&x[4]), extra: Extra::Mask(&norm), ..Gemm::new(&by_pair, false, &w, false, &out) });
        }
    }

    // With ds[i, j, f] = dy[i, j, f] norm[i, j] and o[i, j, c, e] = sum_s left[s, i, c] right[s, j, e]:
    // db[f] = sum_ij ds,  dw[c, e, f] = sum_ij o ds,  do[i, j, c, e] = sum_f ds w,
    // dleft[s, i, c] = sum_je right[s, j, e] do,  dright[s, j, e] = sum_ic left[s, i, c] do.
    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let (x, dy, size) = (b.x, b.dy0(), Sizes::new(r, b.x));
        let w = size.weights(r, &x[3]);
        let norm = pair_norm(r, &x[2]); // [n, n, 1]
        let outer = size.outer(r);
        let ds = r.temp(&[size.rows, size.n, size.f], DType::F32);
        let [left, right] = [&x[0], &x[1]].map(|v| size.flat(v)); // [s, n c], [s, n e]
        let held = [0, 1].map(|side| b.dx[side].as_ref().map(|v| single(r, v)));
        let dw = b.dx[3].as_ref().map(|v| match v.dtype {
            DType::F32 if v.shape == w.shape => v.clone(),
            _ => r.temp(&w.shape, DType::F32),
        });
        let rows_b = b.dx[4].as_ref().map(|_| r.temp(&[size.n, size.f], DType::F32));
        for i in size.chunks() {
            let [by_c, by_pair] = size.matrices(&outer, i.len());
            let ds = ds.slice(0, 0..i.len());
            let pairs = [dy, &norm].map(|v| v.slice(0, i.clone()).as_rows());
            Binary { mul: true }.forward(r, &pairs, &[ds.as_rows()]);
            if let Some(rows_b) = &rows_b {
                sum::record(r, &ds, &[false, true, false], false, &rows_b.slice(0, i.clone()), 1.0);
            }
            let ds = ds.as_rows();
            if let Some(dw) = &dw {
                size.multiply(r, x, &outer, &i);
                gemm::record(r, &Gemm { accumulate: i.start > 0, ..Gemm::new(&by_pair, true, &ds, false, dw) });
            }
            if held.iter().all(Option::is_none) {
                continue;
            }
            gemm::record(r, &Gemm::new(&ds, false, &w, true, &by_pair));
            let [to, from] = outer.each_ref().map(|v| v.slice(0, 0..i.len()));
            copy(r, &to.permute(&[0, 2, 1, 3]), &from);
            let columns = i.start * size.c..i.end * size.c;
            if let Some(dleft) = &held[0] {
                gemm::record(r, &Gemm::new(&right, false, &by_c, true, &size.flat(dleft).slice(1, columns.clone())));
            }
            if let Some(dright) = &held[1] {
                let dright = size.flat(dright);
                gemm::record(r, &Gemm { accumulate: i.start > 0, ..Gemm::new(&left.slice(1, columns), false, &by_c, false, &dright) });
            }
        }
        for (dx, held) in b.dx.iter().zip(&held) {
            if let (Some(dx), Some(held)) = (dx, held) {
                finish(r, dx, held);
            }
        }
        if let (Some(to), Some(dw)) = (&b.dx[3], &dw) {
            finish(r, to, &dw.slice(0, 0..to.shape[0]));
        }
        if let (Some(to), Some(rows_b)) = (&b.dx[4], &rows_b) {
            sum::record(r, rows_b, &[true, false], false, to, 1.0);
        }
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let (n_seq, n) = (x[2].shape[0], x[2].shape[1]);
        let (c, e, f) = (x[0].width(), x[1].width(), x[4].shape[0]);
        let mut y = Array::zeros(&[n, n, f]);
        for (i, j) in (0..n * n).map(|at| (at / n, at % n)) {
            let mut sum = x[4].data.clone();
            for (p, q) in (0..c * e).map(|at| (at / e, at % e)) {
                let o: f64 = (0..n_seq).map(|s| x[0].data[(s * n + i) * c + p] * x[1].data[(s * n + j) * e + q]).sum();
                sum.iter_mut().enumerate().for_each(|(at, v)| *v += o * x[3].data[(p * padded(e) + q) * f + at]);
            }
            let shared: f64 = (0..n_seq).map(|s| x[2].data[s * n + i] * x[2].data[s * n + j]).sum();
            sum.iter().enumerate().for_each(|(at, v)| y.data[(i * n + j) * f + at] = v / (EPSILON + shared));
        }
        vec![y]
    }
}
