//! Batched products of matrices in every transposition: [`record`] for other operations, and [`Matmul`].
//!
//! `C[b, m, n] = act(sum_k A[b, m, k] B[b, k, n] + bias[n]) (* mask[b, m] or + residual[b, m, n])`. The order of addition over k is fixed:
//! windows, pieces and families' tiles never change it.

use crate::gpu::recorder::{Cut, Family, Launch, Traits, cut};
use crate::gpu::shader::UniformData;
use crate::gpu::view::LANES;
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::basic::copy;
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
    /// Not zero: the sum over k is split into parts of so many rows; C is `[parts, m, n]`, `sums` is `[parts, n]`, and A is stored
    /// `[k, m]`, B `[k, n]`.
    pub block: usize,
}

impl<'a> Gemm<'a> {
    /// The plain product.
    pub fn new(a: &'a View, ta: bool, b: &'a View, tb: bool, c: &'a View) -> Self {
        Self { a, b, c, ta, tb, accumulate: false, bias: None, act: Act::None, tail: 0, extra: Extra::None, sums: None, block: 0 }
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
    /// Rows of k of each part, 0 for one sum.
    block: usize,
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
        Extra::Residual(v) | Extra::Mask(v) => Some(four(v)),
    };
    if g.block > 0 {
        return split(r, g);
    }
    let whole = Operands { a: four(g.a), b: four(g.b), c: four(g.c), extra, sums: g.sums.map(row), block: 0 };
    let (m, n) = (whole.c.shape[2], whole.c.shape[3]);
    let k = whole.a.shape[if g.ta { 2 } else { 3 }];
    let a_fits = whole.a.shape[2..] == if g.ta { [k, m] } else { [m, k] };
    let b_fits = whole.b.shape[2..] == if g.tb { [n, k] } else { [k, n] };
    let batches = (0..2).all(|i| [&whole.a, &whole.b].iter().all(|v| v.shape[i] == 1 || v.shape[i] == whole.c.shape[i]));
    let shapes = (&g.a.shape, &g.b.shape, &g.c.shape);
    assert!(a_fits && b_fits && batches && g.tail.is_multiple_of(LANES), "gemm of {shapes:?}, ta {}, tb {}, tail {}", g.ta, g.tb, g.tail);
    pieces(r, g, &whole);
}

/// `[n]` as one row.
fn row(v: &View) -> View {
    four(&View { shape: vec![1, v.width()], strides: vec![0, 1], ..v.clone() })
}

/// A split sum. Every part is a place of the third grid dimension; where a binding cannot hold a part, parts follow one another.
fn split(r: &mut Recorder, g: &Gemm) {
    let ([m, n, k], parts) = ([g.a.shape[1], g.b.shape[1], g.a.shape[0]], g.c.shape[0]);
    let fits = g.ta && !g.tb && k == g.b.shape[0] && g.c.shape == [parts, m, n] && parts == k.div_ceil(g.block);
    assert!(fits && g.bias.is_none() && matches!(g.extra, Extra::None), "split gemm of {:?} and {:?} in {}", g.a.shape, g.b.shape, g.block);
    let limit = (r.traits.max_binding as usize).saturating_sub(1024);
    if [g.a, g.b].iter().all(|v| g.block * v.strides[0] * v.dtype.size() <= limit) {
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
            block: g.block,
        };
        return launch(r, g, &whole, 0, (g.accumulate, true));
    }
    for i in 0..parts {
        let rows = i * g.block..((i + 1) * g.block).min(k);
        let [a, b] = [g.a, g.b].map(|v| v.slice(0, rows.clone()));
        let part = |v: &View| View { shape: v.shape[1..].to_vec(), strides: v.strides[1..].to_vec(), ..v.slice(0, i..i + 1) };
        let sums = g.sums.map(part);
        record(r, &Gemm { a: &a, b: &b, c: &part(g.c), sums: sums.as_ref(), block: 0, ..*g });
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

/// Cuts what one binding cannot hold: the second batch axis first, then columns, rows and k. Where k is cut, each launch goes on from
/// what the last one stored.
fn pieces(r: &mut Recorder, g: &Gemm, o: &Operands) {
    // A window begins at an aligned byte, so that a little room is left in front of it.
    let limit = (r.traits.max_binding as usize).saturating_sub(1024);
    let row = |v: &View| (v.strides[2] * v.dtype.size()).max(1);
    let fit = |bytes: usize, align: usize| (limit / bytes / align * align).max(align);
    let [_, n1, m, n] = [0, 1, 2, 3].map(|i| o.c.shape[i]);
    let k = o.a.shape[if g.ta { 2 } else { 3 }];
    let spread = |v: &View, rows: usize| {
        let reach = v.span(&[0..1, 0..v.shape[1], 0..rows.min(v.shape[2]), 0..v.width()]);
        v.shape[1] > 1 && reach.len() * v.dtype.size() > limit
    };
    let [tile, tile_n] = tile(&r.traits);
    if n1 > 1 && (spread(&o.a, if g.ta { k } else { tile }) || spread(&o.b, if g.tb { n } else { k }) || spread(&o.c, tile)) {
        let at = |v: &View, i: usize| if v.shape[1] > 1 { v.slice(1, i..i + 1) } else { v.clone() };
        for i in 0..n1 {
            let extra = o.extra.as_ref().map(|v| at(v, i));
            let one = Operands { a: at(&o.a, i), b: at(&o.b, i), c: at(&o.c, i), extra, ..o.clone() };
            pieces(r, g, &one);
        }
        return;
    }
    let by_row = [Some(&o.c), (!g.ta).then_some(&o.a), o.extra.as_ref()];
    let m_fit = by_row.into_iter().flatten().map(|v| fit(row(v), LANES)).min().expect("C is there");
    let m_step = if m_fit >= tile { m } else { m_fit };
    let n_fit = if g.tb { fit(row(&o.b), LANES) } else { n };
    let n_step = if n_fit >= tile_n && n1 == 1 { n } else { n_fit };
    let by_k = [g.ta.then_some(&o.a), (!g.tb).then_some(&o.b)];
    let k_step = by_k.into_iter().flatten().map(|v| fit(row(v), DEPTH)).min().unwrap_or(k);
    // Partial sums are kept in single precision, and only the last launch finishes them.
    let rounded = k_step < k && o.c.dtype != DType::F32;
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
                let part = Operands {
                    a: cut(&o.a, a_rows, a_columns),
                    b: cut(&o.b, b_rows, b_columns),
                    c: cut(&held, &ms, &ns),
                    extra: o.extra.as_ref().map(|v| cut(v, &ms, &columns(v))),
                    sums: o.sums.as_ref().filter(|_| m0 == 0).map(|v| v.slice(3, ns.clone())),
                    block: 0,
                };
                launch(r, g, &part, n0, (k0 > 0 || g.accumulate, ks.end == k));
            }
        }
    }
    if rounded {
        copy::copy(r, &o.c, &held);
    }
}

/// One launch on columns from `n0` on; `chain` goes on from C, and only the last one finishes.
fn launch(r: &mut Recorder, g: &Gemm, o: &Operands, n0: usize, (chain, last): (bool, bool)) {
    let [b0, n1, m, n] = [0, 1, 2, 3].map(|i| o.c.shape[i]);
    let k_all = o.a.shape[if g.ta { 2 } else { 3 }];
    let k = if o.block > 0 { o.block } else { k_all };
    let [tile, tile_n] = tile(&r.traits);
    let n_tiles = n.div_ceil(tile_n);
    // Parts of a split sum are a batch axis whose step is a block of rows.
    let strides = |v: &View| [0, 1, 2].map(|i| if v.shape[i] == 1 && i < 2 { 0 } else { v.strides[i] / LANES });
    let blocks = |v: &View| if o.block > 0 { [o.block * v.strides[2] / LANES, 0, v.strides[2] / LANES] } else { strides(v) };
    let (sa, sb, sc) = (blocks(&o.a), blocks(&o.b), strides(&o.c));
    let extra = o.extra.as_ref().filter(|_| last);
    // Sums are written where a residual or mask would be read; no product has both.
    assert!(o.sums.is_none() || o.extra.is_none() && n1 == 1 && !g.tb, "gemm: sums of columns beside a residual, mask or batch");
    let se = extra.or(o.sums.as_ref()).map_or([0; 3], strides);
    let (kind, bias) = match g.extra {
        _ if !last => (0u32, None),
        Extra::None => (0, g.bias),
        Extra::Residual(_) => (1, g.bias),
        Extra::Mask(_) => (2, g.bias),
    };
    // Columns of this launch before the bias begins, and the part of the bias that its columns take.
    let tail = g.tail.saturating_sub(n0).min(n);
    let skipped = n0.saturating_sub(g.tail);
    let bias = bias.filter(|_| tail < n).map(|b| b.slice(b.shape.len() - 1, skipped..skipped + n - tail));
    let act = if last { g.act as u32 } else { 0 };
    let mut fields = vec![("m", m), ("n", n), ("k", k), ("mg", m.div_ceil(LANES)), ("ng", n.div_ceil(LANES)), ("k_all", k_all)];
    fields.extend([("n1", n1), ("n_tiles", n_tiles)]);
    fields.extend([("as0", sa[0]), ("as1", sa[1]), ("as2", sa[2]), ("bs0", sb[0]), ("bs1", sb[1]), ("bs2", sb[2])]);
    fields.extend([("cs0", sc[0]), ("cs1", sc[1]), ("cs2", sc[2]), ("es0", se[0]), ("es1", se[1]), ("es2", se[2])]);
    fields.extend([("bias", usize::from(bias.is_some())), ("act", act as usize), ("tail", tail / LANES), ("extra", kind as usize)]);
    let fields: Vec<_> = fields.into_iter().map(|(name, v)| (name, v.into())).collect();
    let source = match r.traits.family {
        Family::Subgroup => shader!("basic/gemm/subgroup"),
        Family::Tiled => shader!("basic/gemm"),
        Family::Cooperative if r.traits.cooperative == 16 => shader!("basic/gemm/cooperative16"),
        Family::Cooperative => shader!("basic/gemm/cooperative8"),
    };
    let batch = |v: &View| (v.shape[0] > 1).then_some(cut(2, 0, 1));
    let part = (o.block > 0).then_some(cut(2, 2, o.block));
    let rows = |v: &View, along: Option<Cut>| -> Vec<Cut> { batch(v).into_iter().chain(along).collect() };
    let by_m = Some(cut(0, 2, tile));
    let by_n = (n1 == 1).then_some(cut(1, 2, tile_n));
    // What is not used is still bound, to memory that is there.
    let spare = (o.b.clone(), rows(&o.b, part.or(by_n.filter(|_| g.tb))));
    let (bias_view, bias_cuts) = bias.map_or(spare.clone(), |b| (b, Vec::new()));
    let (extra_view, extra_cuts) = extra.map_or(spare.clone(), |e| (e.clone(), rows(e, by_m)));
    let launch = Launch::new(source, "gemm", UniformData::of(&fields), [m.div_ceil(tile), n_tiles * n1, b0])
        .constant("TA", f64::from(u8::from(g.ta)))
        .constant("TB", f64::from(u8::from(g.tb)))
        .constant("CHAIN", f64::from(u8::from(chain)))
        .constant("SUMS", f64::from(u8::from(o.sums.is_some())))
        .read("a", &o.a, &rows(&o.a, part.or(by_m.filter(|_| !g.ta))))
        .read("b", &spare.0, &spare.1)
        .read("bias", &bias_view, &bias_cuts)
        .write("c", &o.c, &rows(&o.c, by_m))
        .flops(2.0 * (n1 * m * n) as f64 * if o.block > 0 { k_all } else { b0 * k } as f64);
    let launch = match r.traits.family {
        Family::Cooperative => {
            let split = f64::from(u8::from(g.act == Act::Relu));
            launch.constant("LANES", f64::from(4 * r.traits.subgroup)).constant("SPLIT", split)
        }
        _ => launch,
    };
    r.launch(match &o.sums {
        Some(sums) => launch.write("extra", sums, &rows(sums, None)),
        None => launch.read("extra", &extra_view, &extra_cuts),
    });
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
