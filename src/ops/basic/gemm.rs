//! Batched products of matrices in every transposition: [`record`] for other operations, and [`Matmul`].
//!
//! `C[b, m, n] = act(sum_k A[b, m, k] B[b, k, n] + bias[n]) (* mask[b, m], or + residual[b, m, n], dropped out before, or back through a
//! ReLU)`, where A may stand for its rows' layer norm. The order of addition over k is fixed: windows, pieces and families' tiles never
//! change it. Here is what a product is and how it is cut; one launch of it is in `launch`.

mod launch;

pub use launch::joins;

use crate::gpu::recorder::{Family, Traits};
use crate::gpu::view::LANES;
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::basic::copy;
use crate::ops::basic::dropout::Dropout;
use crate::ops::basic::gemm::launch::{launch, statistics};
use crate::ops::basic::linear::Act;
use crate::tensor::DType;

/// What is done to a result after bias and activation.
#[derive(Debug, Clone, Copy)]
pub enum Extra<'a> {
    /// Nothing.
    None,
    /// `+ residual`, of C's shape.
    Residual(&'a View),
    /// `* mask`, of C's shape with one column.
    Mask(&'a View),
    /// `* mask + residual`: what [`Extra::Mask`] and [`Extra::Residual`] are.
    MaskedResidual(&'a View, &'a View),
    /// `dropout(..) + residual`: see [`Dropped`].
    Dropout(&'a View, Dropped<'a>),
    /// Where the ReLU's result, of C's shape, is above zero, and zero elsewhere: C is a gradient before it.
    Relu(&'a View),
}

/// The mask of a dropout, whose tensor is C: row `i n_j + j` of it lies `i n_j + j` rows of `wide` groups behind the first.
#[derive(Debug, Clone, Copy)]
pub struct Dropped<'a> {
    /// Rate, key and who shares a mask.
    pub op: &'a Dropout,
    /// Its words.
    pub seed: &'a View,
    /// Columns of the tensor.
    pub n_j: usize,
}

/// A's rows, `[.., m, k]` or `[k, m]` when `ta`, by their layer norm, where rows are what is normalised in either case.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// (mean, 1/std) of every row, `[.., rows, 2]`.
    pub stats: &'a View,
    /// `[c]`.
    pub scale: &'a View,
    /// `[c]`.
    pub offset: &'a View,
    /// Added to the variance.
    pub eps: f32,
    /// Whether the statistics are made here, and stored.
    pub own: bool,
}

/// One product. Views have two to four axes: up to two batch axes, rows and columns; a batch axis of extent 1 is broadcast.
#[derive(Debug, Clone, Copy)]
pub struct Gemm<'a> {
    /// `[.., m, k]`, or `[.., k, m]` when `ta`.
    pub a: &'a View,
    /// `[.., k, n]`, or `[.., n, k]` when `tb`.
    pub b: &'a View,
    /// `[.., m, n]`.
    pub c: &'a View,
    /// A is stored with k first.
    pub ta: bool,
    /// B is stored with n first.
    pub tb: bool,
    /// The sum goes on from what C holds.
    pub accumulate: bool,
    /// `[n - tail]`, added to columns from `tail` on.
    pub bias: Option<&'a View>,
    /// Holds for columns from `tail` on.
    pub act: Act,
    /// First column of bias and activation, a multiple of four.
    pub tail: usize,
    /// What follows.
    pub extra: Extra<'a>,
    /// The columns of B summed over k, `[n]`, beside the product: a bias's gradient. It goes on from what is there when C does.
    pub sums: Option<&'a View>,
    /// A stands for its layer norm.
    pub norm: Option<Norm<'a>>,
    /// `[heads, m]`, or `[heads, b, m]` for the first of two batch axes: the first columns of C a second time, where [`turns`] allows it.
    pub turned: Option<&'a View>,
    /// Not zero: the sum over k is split into parts of so many rows; C is `[parts, m, n]`, `sums` is `[parts, n]`, and A is stored
    /// `[k, m]`, B `[k, n]`. A's rows, and those of its norm's statistics, may lie at two distances: `[k1, k2, m]`, where k is `k1 k2`.
    pub block: usize,
}

impl<'a> Gemm<'a> {
    /// The plain product.
    pub fn new(a: &'a View, ta: bool, b: &'a View, tb: bool, c: &'a View) -> Self {
        let (extra, bias, sums, norm) = (Extra::None, None, None, None);
        Self { a, b, c, ta, tb, accumulate: false, bias, act: Act::None, tail: 0, extra, sums, norm, turned: None, block: 0 }
    }
}

/// The operands with four axes each, and how far a launch may reach along m, n and k.
#[derive(Debug, Clone)]
struct Operands {
    a: View,
    b: View,
    c: View,
    extra: Option<View>,
    sums: Option<View>,
    norm: Option<NormViews>,
    /// Of [`Extra::MaskedResidual`].
    mask: Option<View>,
    /// Rows of k of each part, 0 for one sum.
    block: usize,
    /// Rows of C's tensor before its first one here, and from one to the next along each axis but the last.
    rows: (usize, [usize; 3]),
}

impl Operands {
    /// Whether A's rows along k lie at two distances.
    fn folded(&self) -> bool {
        self.block > 0 && self.a.shape[1] > 1
    }

    /// Extent of k.
    fn depth(&self, ta: bool) -> usize {
        match ta {
            true if self.block > 0 => self.a.shape[1] * self.a.shape[2],
            true => self.a.shape[2],
            false => self.a.shape[3],
        }
    }
}

/// What [`Norm`] names, with four axes.
#[derive(Debug, Clone)]
struct NormViews {
    stats: View,
    scale: View,
    offset: View,
}

impl NormViews {
    fn of(norm: &Norm) -> Self {
        Self { stats: four(norm.stats), scale: norm.scale.clone(), offset: norm.offset.clone() }
    }
}

/// The rows of a tensor that is stored without gaps, under its view `c` with four axes.
fn rows_of(c: &View) -> (usize, [usize; 3]) {
    let row = c.groups() * LANES;
    (0, [0, 1, 2].map(|axis| c.strides[axis] / row))
}

/// `view` with leading axes of extent 1 until there are four.
fn four(view: &View) -> View {
    let missing = 4usize.checked_sub(view.shape.len()).unwrap_or_else(|| panic!("gemm of {:?}: at most two batch axes", view.shape));
    assert!(view.shape.len() >= 2, "gemm of {:?}: rows and columns", view.shape);
    let lead = |n: usize, v: &[usize]| [&vec![n; missing], v].concat();
    View { shape: lead(1, &view.shape), strides: lead(0, &view.strides), ..view.clone() }
}

/// Records one product.
pub fn record(r: &mut Recorder, g: &Gemm) {
    let extra = match g.extra {
        Extra::None => None,
        Extra::Residual(v) | Extra::Mask(v) | Extra::MaskedResidual(_, v) | Extra::Dropout(v, _) | Extra::Relu(v) => Some(four(v)),
    };
    if g.block > 0 {
        return split(r, g);
    }
    let whole = operands(g, extra);
    let (m, n) = (whole.c.shape[2], whole.c.shape[3]);
    let k = whole.a.shape[if g.ta { 2 } else { 3 }];
    let a_fits = whole.a.shape[2..] == if g.ta { [k, m] } else { [m, k] };
    let b_fits = whole.b.shape[2..] == if g.tb { [n, k] } else { [k, n] };
    let batches = (0..2).all(|i| [&whole.a, &whole.b].iter().all(|v| v.shape[i] == 1 || v.shape[i] == whole.c.shape[i]));
    let shapes = (&g.a.shape, &g.b.shape, &g.c.shape);
    assert!(a_fits && b_fits && batches && g.tail.is_multiple_of(LANES), "gemm of {shapes:?}, ta {}, tb {}, tail {}", g.ta, g.tb, g.tail);
    assert!(g.turned.is_none() || turns(r, g), "gemm of {shapes:?} turns no columns");
    pieces(r, g, &whole);
}

/// The operands of a product that is not split.
fn operands(g: &Gemm, extra: Option<View>) -> Operands {
    let c = four(g.c);
    let (norm, rows) = (g.norm.as_ref().map(NormViews::of), rows_of(&c));
    let mask = if let Extra::MaskedResidual(mask, _) = g.extra { Some(four(mask)) } else { None };
    Operands { a: four(g.a), b: four(g.b), c, extra, sums: g.sums.map(row), norm, mask, block: 0, rows }
}

/// `[n]` as one row; with batch axes it is as it should be.
fn row(v: &View) -> View {
    if v.shape.len() == 4 {
        return v.clone();
    }
    four(&View { shape: vec![1, v.width()], strides: vec![0, 1], ..v.clone() })
}

/// Folded rows one after the other, in memory of their own.
fn unfolded(r: &mut Recorder, v: &View) -> View {
    let held = r.temp(&v.shape, v.dtype);
    copy::copy(r, &held, v);
    held.as_rows()
}

/// A split sum. Every part is a place of the third grid dimension; where a binding cannot hold a part, parts follow one another.
fn split(r: &mut Recorder, g: &Gemm) {
    let ([m, n, k], parts) = ([g.a.width(), g.b.shape[1], g.a.n_rows()], g.c.shape[0]);
    let fits = g.ta && !g.tb && k == g.b.shape[0] && g.c.shape == [parts, m, n] && parts == k.div_ceil(g.block);
    assert!(fits && g.bias.is_none() && matches!(g.extra, Extra::None), "split gemm of {:?} and {:?} in {}", g.a.shape, g.b.shape, g.block);
    let limit = (r.traits.max_binding as usize).saturating_sub(1024);
    // Parts of folded rows lie everywhere, so that all of them are bound together.
    let folded = |v: &View| v.shape.len() == 3;
    let reach = |v: &View| if folded(v) { v.full_span().len() } else { g.block * v.strides[0] };
    let bound = |v: &View| reach(v) * v.dtype.size() <= limit;
    let whole = [g.a, g.b].into_iter().all(bound);
    if folded(g.a) && !(whole && g.norm.is_none_or(|norm| bound(norm.stats))) {
        let (a, stats) = (unfolded(r, g.a), g.norm.map(|norm| unfolded(r, norm.stats)));
        let norm = g.norm.zip(stats.as_ref()).map(|(norm, stats)| Norm { stats, ..norm });
        return split(r, &Gemm { a: &a, norm, ..*g });
    }
    if whole {
        let lead = |v: &View, middle: &[usize]| {
            let (shape, strides) =
                ([&v.shape[..1], middle, &v.shape[1..]].concat(), [&v.strides[..1], &vec![0; middle.len()], &v.strides[1..]].concat());
            View { shape, strides, ..v.clone() }
        };
        let whole = Operands {
            a: four(g.a),
            b: four(g.b),
            c: lead(g.c, &[1]),
            extra: None,
            sums: g.sums.map(|v| lead(v, &[1, 1])),
            norm: g.norm.as_ref().map(NormViews::of),
            mask: None,
            block: g.block,
            rows: (0, [0; 3]),
        };
        return launch(r, g, &whole, (0, false), (g.accumulate, true));
    }
    for i in 0..parts {
        let rows = i * g.block..((i + 1) * g.block).min(k);
        let [a, b] = [g.a, g.b].map(|v| v.slice(0, rows.clone()));
        let part = |v: &View| View { shape: v.shape[1..].to_vec(), strides: v.strides[1..].to_vec(), ..v.slice(0, i..i + 1) };
        let sums = g.sums.map(part);
        let stats = g.norm.map(|norm| norm.stats.slice(0, rows.clone()));
        let norm = g.norm.zip(stats.as_ref()).map(|(norm, stats)| Norm { stats, ..norm });
        record(r, &Gemm { a: &a, b: &b, c: &part(g.c), sums: sums.as_ref(), norm, block: 0, ..*g });
    }
}

/// Steps of k that a launch may be cut at: the deepest tile of any family.
const DEPTH: usize = 16;

/// Rows and columns of a tile.
fn tile(traits: &Traits) -> [usize; 2] {
    match traits.family {
        Family::Subgroup => [16, 64],
        Family::Tiled => [64, 64],
        Family::Cooperative => [4 * traits.cooperative as usize; 2],
    }
}

/// How far a launch reaches along m, n and k.
fn steps(r: &Recorder, g: &Gemm, o: &Operands) -> [usize; 3] {
    // A window begins at an aligned byte, so that a little room is left in front of it.
    let limit = (r.traits.max_binding as usize).saturating_sub(1024);
    let row = |v: &View| (v.strides[2] * v.dtype.size()).max(1);
    let fit = |bytes: usize, align: usize| (limit / bytes / align * align).max(align);
    let [_, n1, m, n] = [0, 1, 2, 3].map(|i| o.c.shape[i]);
    let k = o.a.shape[if g.ta { 2 } else { 3 }];
    let [tile, tile_n] = tile(&r.traits);
    let by_row = [Some(&o.c), (!g.ta).then_some(&o.a), o.extra.as_ref()];
    let m_fit = by_row.into_iter().flatten().map(|v| fit(row(v), LANES)).min().expect("C is there");
    let n_fit = if g.tb { fit(row(&o.b), LANES) } else { n };
    let by_k = [g.ta.then_some(&o.a), (!g.tb).then_some(&o.b)];
    let k_fit = by_k.into_iter().flatten().map(|v| fit(row(v), DEPTH)).min().unwrap_or(k);
    [if m_fit >= tile { m } else { m_fit }, if n_fit >= tile_n && n1 == 1 { n } else { n_fit }, k_fit]
}

/// Whether the product can write its first columns a second time, as `turned` says: in one launch, and in whole groups of rows.
pub fn turns(r: &Recorder, g: &Gemm) -> bool {
    let Some(turned) = g.turned else { return false };
    let o = operands(g, None);
    let [_, n1, m, n] = [0, 1, 2, 3].map(|i| o.c.shape[i]);
    let k = o.a.shape[if g.ta { 2 } else { 3 }];
    let one = steps(r, g, &o).into_iter().zip([m, n, k]).all(|(step, all)| step >= all) && n1 == 1;
    let whole = turned.full_span().len() * turned.dtype.size() + 1024 <= r.traits.max_binding as usize;
    let free = matches!(g.extra, Extra::None) && g.sums.is_none() && g.block == 0 && !g.accumulate;
    one && whole && free && m.is_multiple_of(LANES) && turned.width() == m && r.traits.family != Family::Cooperative
}

/// Cuts what one binding cannot hold: the second batch axis first, then columns, rows and k. Where k is cut, each launch goes on from
/// what the last one stored.
fn pieces(r: &mut Recorder, g: &Gemm, o: &Operands) {
    // A window begins at an aligned byte, so that a little room is left in front of it.
    let limit = (r.traits.max_binding as usize).saturating_sub(1024);
    let [_, n1, m, n] = [0, 1, 2, 3].map(|i| o.c.shape[i]);
    let k = o.a.shape[if g.ta { 2 } else { 3 }];
    let spread = |v: &View, rows: usize| {
        let reach = v.span(&[0..1, 0..v.shape[1], 0..rows.min(v.shape[2]), 0..v.width()]);
        v.shape[1] > 1 && reach.len() * v.dtype.size() > limit
    };
    let [tile, _] = tile(&r.traits);
    if n1 > 1 && (spread(&o.a, if g.ta { k } else { tile }) || spread(&o.b, if g.tb { n } else { k }) || spread(&o.c, tile)) {
        let at = |v: &View, i: usize| if v.shape[1] > 1 { v.slice(1, i..i + 1) } else { v.clone() };
        for i in 0..n1 {
            let extra = o.extra.as_ref().map(|v| at(v, i));
            let norm = o.norm.as_ref().map(|v| NormViews { stats: at(&v.stats, i), ..v.clone() });
            let (mask, rows) = (o.mask.as_ref().map(|v| at(v, i)), (o.rows.0 + i * o.rows.1[1], o.rows.1));
            let one = Operands { a: at(&o.a, i), b: at(&o.b, i), c: at(&o.c, i), extra, norm, mask, rows, ..o.clone() };
            pieces(r, g, &one);
        }
        return;
    }
    let [m_step, n_step, k_step] = steps(r, g, o);
    // Tiles make statistics where they see whole rows; elsewhere, and always on CPUs, they are made before.
    let own = g.norm.is_some_and(|norm| norm.own);
    let by_tile = own && k_step >= k && r.traits.family == Family::Tiled;
    if own && !by_tile {
        statistics(r, g, o);
    }
    // Partial sums are kept in single precision and apart from a residual whose memory C takes; only the last launch finishes them.
    let over = o.extra.as_ref().is_some_and(|v| v.root == o.c.root);
    let rounded = k_step < k && (o.c.dtype != DType::F32 || over);
    let held = if rounded { r.temp(&o.c.shape, DType::F32) } else { o.c.clone() };
    if rounded && g.accumulate {
        copy::copy(r, &held, &o.c);
    }
    for m0 in (0..m).step_by(m_step) {
        for n0 in (0..n).step_by(n_step) {
            for k0 in (0..k).step_by(k_step) {
                let [ms, ns, ks] = [m0..(m0 + m_step).min(m), n0..(n0 + n_step).min(n), k0..(k0 + k_step).min(k)];
                let (a_rows, a_columns) = if g.ta { (&ks, &ms) } else { (&ms, &ks) };
                let (b_rows, b_columns) = if g.tb { (&ns, &ks) } else { (&ks, &ns) };
                let cut = |v: &View, rows: &std::ops::Range<usize>, columns: &std::ops::Range<usize>| {
                    v.slice(2, rows.clone()).slice(3, columns.clone())
                };
                let columns = |v: &View| if matches!(g.extra, Extra::Mask(_)) { 0..v.width() } else { ns.clone() };
                let norm = o.norm.as_ref().map(|v| NormViews {
                    stats: v.stats.slice(2, a_rows.clone()),
                    scale: v.scale.slice(0, a_columns.clone()),
                    offset: v.offset.slice(0, a_columns.clone()),
                });
                let part = Operands {
                    a: cut(&o.a, a_rows, a_columns),
                    b: cut(&o.b, b_rows, b_columns),
                    c: cut(&held, &ms, &ns),
                    extra: o.extra.as_ref().map(|v| cut(v, &ms, &columns(v))),
                    sums: o.sums.as_ref().filter(|_| m0 == 0).map(|v| v.slice(3, ns.clone())),
                    norm,
                    mask: o.mask.as_ref().map(|v| v.slice(2, ms.clone())),
                    block: 0,
                    rows: (o.rows.0 + m0 * o.rows.1[2], o.rows.1),
                };
                launch(r, g, &part, (n0, by_tile), (k0 > 0 || g.accumulate, ks.end == k));
            }
        }
    }
    if rounded {
        copy::copy(r, &o.c, &held);
    }
}

/// `a [.., m, k] b [.., k, n]` to `[.., m, n]`, with up to two batch axes of the same extents; `ta` and `tb` say that an operand is
/// stored transposed.
#[derive(Debug, Clone, Copy)]
pub struct Matmul {
    /// `a` is `[.., k, m]`.
    pub ta: bool,
    /// `b` is `[.., n, k]`.
    pub tb: bool,
}

impl Matmul {
    /// Batch extents, m, n and k.
    fn extents(&self, x: &[&[usize]]) -> (Vec<usize>, usize, usize, usize) {
        let (a, b) = (x[0], x[1]);
        let outer = a.len() - 2;
        let (m, k) = if self.ta { (a[outer + 1], a[outer]) } else { (a[outer], a[outer + 1]) };
        let (n, k_b) = if self.tb { (b[outer], b[outer + 1]) } else { (b[outer + 1], b[outer]) };
        assert!(a.len() == b.len() && a[..outer] == b[..outer] && k == k_b, "matmul of {a:?} and {b:?}, ta {}, tb {}", self.ta, self.tb);
        (a[..outer].to_vec(), m, n, k)
    }
}

impl Op for Matmul {
    fn name(&self) -> &'static str {
        "gemm"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let (batch, m, n, _) = self.extents(x);
        vec![Spec::of(&[batch, vec![m, n]].concat())]
    }

    fn strided(&self, _i: usize) -> bool {
        true
    }

    fn needs(&self) -> Needs {
        Needs { x: 0b11, y: 0 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        record(r, &Gemm::new(&x[0], self.ta, &x[1], self.tb, &y[0]));
    }

    // dA = dC B^T,  dB = A^T dC; where an operand is stored transposed, so is its gradient.
    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let (x, dy) = (b.x, b.dy0());
        match &b.dx[0] {
            Some(da) if self.ta => record(r, &Gemm::new(&x[1], self.tb, dy, true, da)),
            Some(da) => record(r, &Gemm::new(dy, false, &x[1], !self.tb, da)),
            None => {}
        }
        match &b.dx[1] {
            Some(db) if self.tb => record(r, &Gemm::new(dy, true, &x[0], self.ta, db)),
            Some(db) => record(r, &Gemm::new(&x[0], !self.ta, dy, false, db)),
            None => {}
        }
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let (batch, m, n, k) = self.extents(&[&x[0].shape, &x[1].shape]);
        let mut y = Array::zeros(&[batch, vec![m, n]].concat());
        for (at, value) in y.data.iter_mut().enumerate() {
            let (b, i, j) = (at / (m * n), at / n % m, at % n);
            let a_at = |l: usize| b * m * k + if self.ta { l * m + i } else { i * k + l };
            let b_at = |l: usize| b * k * n + if self.tb { j * k + l } else { l * n + j };
            *value = (0..k).map(|l| x[0].data[a_at(l)] * x[1].data[b_at(l)]).sum();
        }
        vec![y]
    }
}
