//! Outer product mean (Algorithm 10): from sequences to pairs, without the outer products of all pairs at once.
//!
//! The outer products of some residues `i` with all `j` are made, projected and forgotten; the backward pass makes them again. With one
//! operand turned, so that residues are its innermost axis, every product of matrices reads and writes them where they lie:
//! `[i, c, e, j]` is a matrix of rows `i c` and columns `e j`, and for one `i` a matrix of rows `c e` and columns `j`; `[c, e, i, j]` is a
//! matrix of rows `c e` and columns `i j`.

use std::any::Any;
use std::ops::Range;
use std::rc::Rc;

use crate::gpu::recorder::{Late, Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::view::{LANES, contiguous_strides, padded, padded_len};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::basic::binary::Binary;
use crate::ops::basic::copy::{accumulate, copy};
use crate::ops::basic::gemm::{self, Extra, Gemm};
use crate::ops::basic::sum;
use crate::ops::basic::transpose::turn;
use crate::tensor::DType;

/// Residues `i` of a partial gradient of the weights: fixed, so that neither chunks nor devices change a bit.
const BLOCK: usize = 16;

fn source() -> &'static Source {
    shader!("evoformer/outer_product_mean")
}

/// `left [s, n, c]` and `right [s, e, n]`, both already masked, e a multiple of four, `norm [n, n, 1]`, `w [c e, f]`, `b [f]`, and where there is one a residual, to `[n, n, f]`:
/// `(sum_sce left[s, i, c] right[s, e, j] w[c, e, f] + b[f]) norm[i, j] + residual[i, j, f]`. The bias is multiplied too, as in AlphaFold's code; the
/// norm, see [`super::shared_rows`], is not differentiable. Workspace: the outer products of as many residues `i` as four times the device's limit allows, at least
/// sixteen; turned operands; and, backwards, one tensor of the output's size.
#[derive(Debug, Clone, Copy, Default)]
pub struct OuterProductMean {
    /// Whether a residual `[n, n, f]` follows, which is added.
    pub residual: bool,
}

/// The numbers of a launch.
fn uniform(n: usize, groups: usize) -> UniformData {
    UniformData::of(&[("n", n.into()), ("groups", groups.into())])
}

/// `ds[i, j, f] = dy[i, j, f] norm[i, j]`, `[n, n padded, f]` with zeros where `j` is padded.
fn weighed(r: &mut Recorder, dy: &View, norm: &View) -> View {
    assert!(dy.is_contiguous(), "outer_product_mean backward of a gradient that is not contiguous: {dy:?}");
    let (n, f) = (dy.shape[0], dy.width());
    let ds = r.temp(&[n, padded(n), f], DType::F32);
    let launch = Launch::new(source(), "weigh", uniform(n, dy.groups()), [(padded(n) * dy.groups()).div_ceil(64), n, 1]);
    let by_i = [cut(1, 0, 1)];
    r.launch(launch.read("dy", dy, &by_i).read("norm", norm, &by_i).write("ds", &ds, &by_i).flops(dy.len() as f64));
    ds
}

/// Contiguous memory under a shape that takes the padding of an axis for elements; it holds zeros.
fn unpadded(v: &View, shape: &[usize]) -> View {
    assert!(v.is_contiguous() && shape.iter().product::<usize>() == padded_len(&v.shape), "{v:?} as {shape:?}");
    View { shape: shape.to_vec(), strides: contiguous_strides(shape), ..v.clone() }
}

/// Memory from `offset` elements of `v` on, as a batch of matrices.
fn matrices(v: &View, offset: usize, shape: [usize; 4], strides: [usize; 3]) -> View {
    let [a, b, c] = strides;
    View { offset: v.offset + offset, shape: shape.to_vec(), strides: vec![a, b, c, 1], ..v.clone() }
}

/// The sizes of one call; c is padded to whole groups, whose products are zero, and so is `pitch`, of n.
#[derive(Clone, Copy)]
struct Sizes {
    n: usize,
    pitch: usize,
    c: usize,
    e: usize,
    f: usize,
    /// Residues `i` of a chunk.
    rows: usize,
}

impl Sizes {
    fn new(r: &Recorder, x: &[View]) -> Self {
        let (n, c, e, f) = (x[0].shape[1], padded(x[0].width()), x[1].shape[1], x[4].width());
        let pitch = padded(n);
        let rows = r.chunk_rows_within(4 * r.traits.workspace, n, c * e * pitch * DType::F32.size(), BLOCK).min(n);
        Self { n, pitch, c, e, f, rows }
    }

    fn chunks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (n, rows) = (self.n, self.rows);
        (0..n).step_by(rows).map(move |from| from..(from + rows).min(n))
    }

    /// Workspace for the outer products of a chunk, in either layout.
    fn outer(&self, r: &mut Recorder) -> View {
        r.temp(&[self.rows, self.c, self.e, self.pitch], DType::F32)
    }

    /// A chunk's outer products `[i, c, e, j]` as a matrix of rows `i c` and columns `e j`.
    fn by_operand(&self, outer: &View, rows: usize) -> View {
        unpadded(&outer.slice(0, 0..rows), &[rows * self.c, self.e * self.pitch])
    }

    /// A chunk's outer products `[i, c, e, j]` as matrices of rows `c e` and columns `j`, one for each `i`.
    fn by_residue(&self, outer: &View, rows: usize) -> View {
        let k = self.c * self.e;
        matrices(outer, 0, [rows, 1, k, self.n], [k * self.pitch, 0, self.pitch])
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

    /// `[s, n, c]` as `[s, n c]`, and `[s, e, n]` as `[s, e n]`.
    fn flat(&self, v: &View) -> View {
        unpadded(v, &[v.shape[0], v.shape[1] * padded(v.shape[2])])
    }

    /// `[s, n, c]` as `[s, c, n]`.
    fn turned(&self, r: &mut Recorder, v: &View) -> View {
        let all = unpadded(v, &[v.shape[0], v.shape[1], padded(v.shape[2])]);
        let to = r.temp(&[all.shape[0], all.shape[2], all.shape[1]], v.dtype);
        turn(r, &all, &to);
        to
    }

    /// `dw[c, e, f] = sum_ij o[i, j, c, e] ds[i, j, f]` and `db[f] = sum_ij ds[i, j, f]`, each perhaps added to what is there: partial sums over
    /// the residues `i` of each block, then their sum.
    fn weight_gradient(
        &self,
        r: &mut Recorder,
        outer: &View,
        [left, right]: [&View; 2],
        ds: &View,
        (dw, add): (&View, bool),
        db: Option<(&View, bool)>,
    ) {
        let (Self { n, pitch, c, e, f, .. }, n_seq, ce) = (*self, left.shape[0], self.c * self.e);
        let parts = r.temp_parts(&[n.div_ceil(BLOCK), ce, f], dw);
        let sums = db.map(|(db, _)| r.temp_parts(&[n.div_ceil(BLOCK), 1, f], db));
        for i in self.chunks() {
            // o [c, e, i, j], a product for each c and e.
            let a = matrices(left, i.start, [c, 1, n_seq, i.len()], [pitch, 0, c * pitch]);
            let b = matrices(right, 0, [1, e, n_seq, n], [0, pitch, e * pitch]);
            let o = matrices(outer, 0, [c, e, i.len(), n], [e * i.len() * pitch, i.len() * pitch, pitch]);
            gemm::record(r, &Gemm::new(&a, true, &b, false, &o));
            // Whole blocks are one batch; a short one is the last.
            let whole = i.len() / BLOCK;
            let mut part = |blocks: Range<usize>, k: usize| {
                let (from, many) = (blocks.start * BLOCK * pitch, blocks.len());
                let a = matrices(outer, from, [many, 1, ce, k], [BLOCK * pitch, 0, i.len() * pitch]);
                let b = matrices(
                    ds,
                    i.start * ds.strides[0] + from * ds.strides[1],
                    [many, 1, k, f],
                    [BLOCK * ds.strides[0], 0, ds.strides[1]],
                );
                let to = |parts: &View, rows: usize| {
                    let to = parts.slice(0, i.start / BLOCK + blocks.start..i.start / BLOCK + blocks.end);
                    matrices(&to, 0, [many, 1, rows, f], [to.strides[0], 0, to.strides[1]])
                };
                let sums = sums.as_ref().map(|sums| to(sums, 1));
                gemm::record(r, &Gemm { sums: sums.as_ref(), ..Gemm::new(&a, false, &b, false, &to(&parts, ce)) });
            };
            if whole > 0 {
                part(0..whole, BLOCK * pitch);
            }
            if whole * BLOCK < i.len() {
                part(whole..whole + 1, (i.len() - whole * BLOCK) * pitch);
            }
        }
        r.sum_later(Late { to: dw.clone(), parts: parts.slice(1, 0..dw.shape[0]), add });
        if let (Some(sums), Some((db, add))) = (sums, db) {
            r.sum_later(Late { to: db.reshape(&[1, f]), parts: sums, add });
        }
    }
}

impl Op for OuterProductMean {
    fn name(&self) -> &'static str {
        "outer_product_mean"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let fits = x.len() == 5 + usize::from(self.residual)
            && (!self.residual || x[5] == [x[0][1], x[0][1], x[4][0]])
            && [x[0], x[1]].iter().all(|s| s.len() == 3)
            && [x[0][0], x[0][1]] == [x[1][0], x[1][2]]
            && x[1][1].is_multiple_of(LANES)
            && x[2] == [x[0][1], x[0][1], 1]
            && x[3].len() == 2
            && x[3][0] == x[0][2] * x[1][1]
            && x[4] == [x[3][1]];
        assert!(
            fits,
            "outer_product_mean of {x:?}: left [s, n, c], right [s, e, n] with e of whole groups, norm [n, n, 1], w [c e, f], b [f]"
        );
        vec![Spec::of(&[x[0][1], x[0][1], x[4][0]])]
    }

    fn differentiable(&self, i: usize) -> bool {
        i != 2
    }

    fn adds(&self, i: usize) -> bool {
        i > 2
    }

    fn passes(&self, i: usize) -> bool {
        i == 5
    }

    fn in_place(&self) -> u32 {
        1 << 5
    }

    /// With the residual that is added to it.
    fn then(&self, next: &dyn Op, _i: usize, turned: bool) -> Option<Rc<dyn Op>> {
        let sum = matches!((next as &dyn Any).downcast_ref(), Some(Binary { mul: false }));
        (sum && !turned && !self.residual).then(|| Rc::new(Self { residual: true }) as Rc<dyn Op>)
    }

    fn needs(&self) -> Needs {
        Needs { x: 0b01111, y: 0 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let size = Sizes::new(r, x);
        let w = size.weights(r, &x[3]);
        let norm = &x[2]; // [n, n, 1]
        let (left, right) = (size.flat(&x[0]), size.flat(&x[1])); // [s, n c], [s, e n]
        let outer = size.outer(r);
        let (apart, y) = (self.residual && !gemm::joins(&r.traits), &y[0]);
        let apart = apart.then(|| r.temp(&y.shape, y.dtype));
        let residual = x.get(5).filter(|_| apart.is_none());
        for i in size.chunks() {
            let by_operand = size.by_operand(&outer, i.len());
            let columns = left.slice(1, i.start * size.c..i.end * size.c);
            gemm::record(r, &Gemm::new(&columns, true, &right, false, &by_operand)); // line 3
            let (n, by_residue) = (size.n, size.by_residue(&outer, i.len()));
            let rows = |v: &View| {
                let part = v.slice(0, i.clone());
                matrices(&part, 0, [i.len(), 1, n, v.width()], [v.strides[0], 0, v.strides[1]])
            };
            let (out, norm, residual) = (rows(apart.as_ref().unwrap_or(y)), rows(norm), residual.map(rows));
            let extra = residual.as_ref().map_or(Extra::Mask(&norm), |residual| Extra::MaskedResidual(&norm, residual));
            gemm::record(r, &Gemm { bias: Some(&x[4]), extra, ..Gemm::new(&by_residue, true, &w, false, &out) }); // line 4
        }
        if let Some(apart) = apart {
            if x[5].root != y.root {
                copy(r, y, &x[5]);
            }
            accumulate(r, y, &apart);
        }
    }

    // With ds[i, j, f] = dy[i, j, f] norm[i, j] and o[i, j, c, e] = sum_s left[s, i, c] right[s, e, j]:
    // db[f] = sum_ij ds,  dw[c, e, f] = sum_ij o ds,  do[i, j, c, e] = sum_f ds w,
    // dleft[s, i, c] = sum_je right[s, e, j] do,  dright[s, e, j] = sum_ic left[s, i, c] do.
    fn backward(&self, r: &mut Recorder, b: &Backward) {
        if let Some(to) = b.dx.get(5).and_then(Option::as_ref) {
            if b.adds(5) { accumulate(r, to, b.dy0()) } else { copy(r, to, b.dy0()) }
        }
        if b.dx[..5].iter().all(Option::is_none) {
            return;
        }
        let (x, size) = (b.x, Sizes::new(r, b.x));
        let w = size.weights(r, &x[3]);
        let ds = weighed(r, b.dy0(), &x[2]); // [n, n, f]
        let outer = size.outer(r);
        match (&b.dx[3], &b.dx[4]) {
            (Some(dw), db) => {
                let left = size.turned(r, &x[0]); // [s, c, n]
                size.weight_gradient(r, &outer, [&left, &x[1]], &ds, (dw, b.adds(3)), db.as_ref().map(|db| (db, b.adds(4))));
            }
            (None, Some(db)) => sum::record(r, &ds.as_rows(), &[true, false], b.adds(4), db, 1.0),
            _ => {}
        }
        if b.dx[..2].iter().all(Option::is_none) {
            return;
        }
        let (left, right) = (size.flat(&x[0]), size.flat(&x[1])); // [s, n c], [s, e n]
        // What grows from chunk to chunk stays in single precision.
        let apart = |to: &View| to.dtype != DType::F32 && size.rows < size.n;
        let held = b.dx[1].as_ref().map(|to| if apart(to) { r.temp(&to.shape, DType::F32) } else { to.clone() });
        for i in size.chunks() {
            let (by_operand, by_residue) = (size.by_operand(&outer, i.len()), size.by_residue(&outer, i.len()));
            let part = ds.slice(0, i.clone());
            let part = matrices(&part, 0, [i.len(), 1, size.n, size.f], [ds.strides[0], 0, ds.strides[1]]);
            gemm::record(r, &Gemm::new(&w, false, &part, true, &by_residue));
            let columns = i.start * size.c..i.end * size.c;
            if let Some(dleft) = &b.dx[0] {
                gemm::record(r, &Gemm::new(&right, false, &by_operand, true, &size.flat(dleft).slice(1, columns.clone())));
            }
            if let Some(dright) = &held {
                let dright = size.flat(dright);
                gemm::record(
                    r,
                    &Gemm { accumulate: i.start > 0, ..Gemm::new(&left.slice(1, columns), false, &by_operand, false, &dright) },
                );
            }
        }
        if let (Some(to), Some(from)) = (&b.dx[1], &held)
            && to.root != from.root
        {
            copy(r, to, from);
        }
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let (n_seq, n) = (x[0].shape[0], x[0].shape[1]);
        let (c, e, f) = (x[0].width(), x[1].shape[1], x[4].shape[0]);
        let mut y = Array::zeros(&[n, n, f]);
        for (i, j) in (0..n * n).map(|at| (at / n, at % n)) {
            let mut sum = x[4].data.clone();
            for (p, q) in (0..c * e).map(|at| (at / e, at % e)) {
                let o: f64 = (0..n_seq).map(|s| x[0].data[(s * n + i) * c + p] * x[1].data[(s * e + q) * n + j]).sum();
                sum.iter_mut().enumerate().for_each(|(at, v)| *v += o * x[3].data[(p * e + q) * f + at]);
            }
            sum.iter().enumerate().for_each(|(at, v)| y.data[(i * n + j) * f + at] = v * x[2].data[i * n + j]);
            if let Some(residual) = x.get(5) {
                (0..f).map(|at| (i * n + j) * f + at).for_each(|at| y.data[at] += residual.data[at]);
            }
        }
        vec![y]
    }
}
