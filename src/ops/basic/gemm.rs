//! Batched products of matrices in every transposition: [`record`] for other operations, and [`Matmul`].
//!
//! `C[b, m, n] = act(sum_k A[b, m, k] B[b, k, n] + bias[n]) (* mask[b, m], or + residual[b, m, n], dropped out before)`, where A may stand for
//! its rows' layer norm. The order of addition over k is fixed: windows, pieces and families' tiles never change it.

use crate::gpu::recorder::{Cut, Family, Launch, Traits, cut};
use crate::gpu::shader::{Scalar, Source, UniformData};
use crate::gpu::view::LANES;
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::basic::copy;
use crate::ops::basic::dropout::{Dropout, Share};
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
    /// Not zero: the sum over k is split into parts of so many rows; C is `[parts, m, n]`, `sums` is `[parts, n]`, and A is stored
    /// `[k, m]`, B `[k, n]`.
    pub block: usize,
}

impl<'a> Gemm<'a> {
    /// The plain product.
    pub fn new(a: &'a View, ta: bool, b: &'a View, tb: bool, c: &'a View) -> Self {
        let (extra, bias, sums, norm) = (Extra::None, None, None, None);
        Self { a, b, c, ta, tb, accumulate: false, bias, act: Act::None, tail: 0, extra, sums, norm, block: 0 }
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
        Extra::Residual(v) | Extra::Mask(v) | Extra::MaskedResidual(_, v) | Extra::Dropout(v, _) => Some(four(v)),
    };
    if g.block > 0 {
        return split(r, g);
    }
    let c = four(g.c);
    let (norm, rows) = (g.norm.as_ref().map(NormViews::of), rows_of(&c));
    let mask = if let Extra::MaskedResidual(mask, _) = g.extra { Some(four(mask)) } else { None };
    let whole = Operands { a: four(g.a), b: four(g.b), c, extra, sums: g.sums.map(row), norm, mask, block: 0, rows };
    let (m, n) = (whole.c.shape[2], whole.c.shape[3]);
    let k = whole.a.shape[if g.ta { 2 } else { 3 }];
    let a_fits = whole.a.shape[2..] == if g.ta { [k, m] } else { [m, k] };
    let b_fits = whole.b.shape[2..] == if g.tb { [n, k] } else { [k, n] };
    let batches = (0..2).all(|i| [&whole.a, &whole.b].iter().all(|v| v.shape[i] == 1 || v.shape[i] == whole.c.shape[i]));
    let shapes = (&g.a.shape, &g.b.shape, &g.c.shape);
    assert!(a_fits && b_fits && batches && g.tail.is_multiple_of(LANES), "gemm of {shapes:?}, ta {}, tb {}, tail {}", g.ta, g.tb, g.tail);
    pieces(r, g, &whole);
}

/// `[n]` as one row; with batch axes it is as it should be.
fn row(v: &View) -> View {
    if v.shape.len() == 4 {
        return v.clone();
    }
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
            let norm = o.norm.as_ref().map(|v| NormViews { stats: at(&v.stats, i), ..v.clone() });
            let (mask, rows) = (o.mask.as_ref().map(|v| at(v, i)), (o.rows.0 + i * o.rows.1[1], o.rows.1));
            let one = Operands { a: at(&o.a, i), b: at(&o.b, i), c: at(&o.c, i), extra, norm, mask, rows, ..o.clone() };
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

/// Strides of a view's first three axes in groups; an axis of one element stands still.
fn strides(v: &View) -> [usize; 3] {
    [0, 1, 2].map(|i| if v.shape[i] == 1 && i < 2 { 0 } else { v.strides[i] / LANES })
}

/// How a launch along the first batch axis and perhaps another one cuts a view.
fn cuts(v: &View, along: Option<Cut>) -> Vec<Cut> {
    (v.shape[0] > 1).then_some(cut(2, 0, 1)).into_iter().chain(along).collect()
}

/// The uniform block of a launch on columns from `n0` on; where `last`, it finishes C.
fn uniform(g: &Gemm, o: &Operands, n0: usize, last: bool, bias: Option<&View>, tile_n: usize) -> UniformData {
    let [_, n1, m, n] = [0, 1, 2, 3].map(|i| o.c.shape[i]);
    let k_all = o.a.shape[if g.ta { 2 } else { 3 }];
    let k = if o.block > 0 { o.block } else { k_all };
    // Parts of a split sum are a batch axis whose step is a block of rows.
    let blocks = |v: &View| if o.block > 0 { [o.block * v.strides[2] / LANES, 0, v.strides[2] / LANES] } else { strides(v) };
    let (sa, sb, sc) = (blocks(&o.a), blocks(&o.b), strides(&o.c));
    let extra = o.extra.as_ref().filter(|_| last);
    let se = extra.or(o.sums.as_ref()).map_or([0; 3], strides);
    let ss = o.norm.as_ref().map(|norm| blocks(&norm.stats)).or(o.mask.as_ref().map(strides)).unwrap_or_default();
    let kind = match g.extra {
        Extra::Residual(_) | Extra::MaskedResidual(..) | Extra::Dropout(..) if last => 1,
        Extra::Mask(_) if last => 2,
        _ => 0,
    };
    let tail = g.tail.saturating_sub(n0).min(n);
    let act = if last { g.act as usize } else { 0 };
    let mut fields = vec![("m", m), ("n", n), ("k", k), ("mg", m.div_ceil(LANES)), ("ng", n.div_ceil(LANES)), ("k_all", k_all)];
    fields.extend([("n1", n1), ("n_tiles", n.div_ceil(tile_n))]);
    fields.extend([("as0", sa[0]), ("as1", sa[1]), ("as2", sa[2]), ("bs0", sb[0]), ("bs1", sb[1]), ("bs2", sb[2])]);
    fields.extend([("cs0", sc[0]), ("cs1", sc[1]), ("cs2", sc[2]), ("es0", se[0]), ("es1", se[1]), ("es2", se[2])]);
    fields.extend([("bias", usize::from(bias.is_some())), ("act", act), ("tail", tail / LANES), ("extra", kind)]);
    fields.extend([("ss0", ss[0]), ("ss1", ss[1]), ("ss2", ss[2])]);
    let mut fields: Vec<(&'static str, Scalar)> = fields.into_iter().map(|(name, v)| (name, v.into())).collect();
    let none = Dropout { rate: 0.0, share: Share::Nothing, key: 0, residual: true };
    let (op, n_j) = if let Extra::Dropout(_, d) = g.extra { (d.op, d.n_j) } else { (&none, 1) };
    let (first, [f0, f1, f2]) = o.rows;
    fields.push(("eps", g.norm.map_or(0.0, |norm| norm.eps).into()));
    fields.extend([("threshold", op.threshold().into()), ("kept", op.kept().into())]);
    fields.extend([("key_lo", (op.key as u32).into()), ("key_hi", ((op.key >> 32) as u32).into()), ("share", (op.share as u32).into())]);
    let places = [("n_j", n_j), ("wide", g.c.groups()), ("f0", f0), ("f1", f1), ("f2", f2), ("first", first), ("g0", n0 / LANES)];
    fields.extend(places.map(|(name, v)| (name, v.into())));
    UniformData::of(&fields)
}

/// The kernel of a product, and what is beside it in its file.
fn source(g: &Gemm, traits: &Traits) -> &'static Source {
    let plain = matches!(g.extra, Extra::None | Extra::Residual(_) | Extra::Mask(_));
    match (traits.family, g.extra, g.norm.is_some()) {
        (Family::Subgroup, _, false) if plain => shader!("basic/gemm/subgroup"),
        (Family::Subgroup, _, true) if plain => shader!("basic/gemm/subgroup_norm"),
        (Family::Subgroup, Extra::Dropout(..), false) => shader!("basic/gemm/subgroup_dropout"),
        (Family::Subgroup, Extra::MaskedResidual(..), false) => shader!("basic/gemm/subgroup_masked"),
        (Family::Tiled, _, false) if plain => shader!("basic/gemm"),
        (Family::Tiled, _, true) if plain => shader!("basic/gemm/norm"),
        (Family::Tiled, Extra::Dropout(..), false) => shader!("basic/gemm/dropout"),
        (Family::Tiled, Extra::MaskedResidual(..), false) => shader!("basic/gemm/masked"),
        (Family::Cooperative, _, false) if plain && traits.cooperative == 16 => shader!("basic/gemm/cooperative16"),
        (Family::Cooperative, _, false) if plain => shader!("basic/gemm/cooperative8"),
        (family, extra, norm) => panic!("no product of family {family:?} with norm {norm} and {extra:?}"),
    }
}

/// Whether products of the family take A by its layer norm, and drop out their results or mask them before a residual.
pub fn joins(traits: &Traits) -> bool {
    traits.family != Family::Cooperative
}

/// The statistics of A's rows.
fn statistics(r: &mut Recorder, g: &Gemm, o: &Operands) {
    let norm = o.norm.as_ref().expect("a product of a norm");
    let [b0, n1, m] = [0, 1, 2].map(|i| o.a.shape[i]);
    let per_group = if r.traits.family == Family::Subgroup { 16 } else { 64 };
    let by_m = Some(cut(0, 2, per_group));
    let launch = Launch::new(source(g, &r.traits), "statistics", uniform(g, o, 0, true, None, 1), [m.div_ceil(per_group), n1, b0])
        .read("a", &o.a, &cuts(&o.a, by_m))
        .write("stats", &norm.stats, &cuts(&norm.stats, by_m));
    r.launch(launch.flops(6.0 * o.a.len() as f64));
}

/// One launch on columns from `n0` on, whose tiles make statistics of rows where `by_tile`; `chain` goes on from C, and only the last one
/// finishes.
fn launch(r: &mut Recorder, g: &Gemm, o: &Operands, (n0, by_tile): (usize, bool), (chain, last): (bool, bool)) {
    let [b0, n1, m, n] = [0, 1, 2, 3].map(|i| o.c.shape[i]);
    let k = o.a.shape[if g.ta { 2 } else { 3 }];
    let [tile, tile_n] = tile(&r.traits);
    // Sums are written where a residual or mask would be read; no product has both.
    assert!(o.sums.is_none() || o.extra.is_none() && n1 == 1 && !g.tb, "gemm: sums of columns beside a residual, mask or batch");
    // Columns of this launch before the bias begins, and the part of the bias that its columns take.
    let tail = g.tail.saturating_sub(n0).min(n);
    let skipped = n0.saturating_sub(g.tail);
    let bias = g.bias.filter(|_| last && tail < n).map(|b| b.slice(b.shape.len() - 1, skipped..skipped + n - tail));
    let part = (o.block > 0).then_some(cut(2, 2, o.block));
    let by_m = Some(cut(0, 2, tile));
    let by_n = (n1 == 1).then_some(cut(1, 2, tile_n));
    // What is not used is still bound, to memory that is there.
    let spare = (o.b.clone(), cuts(&o.b, part.or(by_n.filter(|_| g.tb))));
    let uniform = uniform(g, o, n0, last, bias.as_ref(), tile_n);
    let (bias_view, bias_cuts) = bias.map_or(spare.clone(), |b| (b, Vec::new()));
    let extra = o.extra.as_ref().filter(|_| last);
    let (extra_view, extra_cuts) = extra.map_or(spare.clone(), |e| (e.clone(), cuts(e, by_m)));
    let mut launch = Launch::new(source(g, &r.traits), "gemm", uniform, [m.div_ceil(tile), n.div_ceil(tile_n) * n1, b0])
        .constant("TA", f64::from(u8::from(g.ta)))
        .constant("TB", f64::from(u8::from(g.tb)))
        .constant("CHAIN", f64::from(u8::from(chain)))
        .constant("SUMS", f64::from(u8::from(o.sums.is_some())))
        .read("a", &o.a, &cuts(&o.a, part.or(by_m.filter(|_| !g.ta))))
        .read("b", &spare.0, &spare.1)
        .read("bias", &bias_view, &bias_cuts)
        .write("c", &o.c, &cuts(&o.c, by_m))
        .flops(2.0 * (n1 * m * n) as f64 * if o.block > 0 { k } else { b0 * k } as f64);
    if let Some(norm) = &o.norm {
        let stats_cuts = cuts(&norm.stats, part.or(by_m.filter(|_| !g.ta)));
        launch = if by_tile { launch.write("stats", &norm.stats, &stats_cuts) } else { launch.read("stats", &norm.stats, &stats_cuts) };
        launch = launch.read("scale", &norm.scale, &[]).read("offset", &norm.offset, &[]);
        if r.traits.family == Family::Tiled {
            launch = launch.constant("OWN", f64::from(u8::from(by_tile)));
        }
    }
    if let Some(mask) = &o.mask {
        launch = launch.read("mask", mask, &cuts(mask, by_m));
    }
    if let Extra::Dropout(_, dropped) = g.extra {
        launch = launch.read("seed", dropped.seed, &[]);
    }
    if r.traits.family == Family::Cooperative {
        let split = f64::from(u8::from(g.act == Act::Relu));
        launch = launch.constant("LANES", f64::from(4 * r.traits.subgroup)).constant("SPLIT", split);
    }
    r.launch(match &o.sums {
        Some(sums) => launch.write("extra", sums, &cuts(sums, None)),
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
