//! One launch of a product: its kernel, uniform block and bindings.
//!
//! Records launches for [`Gemm`]; what a launch covers is the caller's business.

use crate::gpu::recorder::{Cut, Family, Launch, Traits, cut};
use crate::gpu::shader::{Scalar, Source, UniformData};
use crate::gpu::view::LANES;
use crate::gpu::{Recorder, View};
use crate::ops::basic::dropout::{Dropout, Share};
use crate::ops::basic::gemm::{Extra, Gemm, Operands, tile};
use crate::ops::basic::layer_norm;
use crate::ops::basic::linear::Act;

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
    let k_all = o.depth(g.ta);
    let k = if o.block > 0 { o.block } else { k_all };
    // Parts of a split sum are a batch axis whose step is a block of rows; folded rows are found by their number.
    let blocks = |v: &View| match o.block {
        0 => strides(v),
        _ if v.shape[1] > 1 => [0, v.strides[1] / LANES, v.strides[2] / LANES],
        block => [block * v.strides[2] / LANES, 0, v.strides[2] / LANES],
    };
    let (sa, sb, sc) = (blocks(&o.a), blocks(&o.b), strides(&o.c));
    let extra = o.extra.as_ref().filter(|_| last);
    let se = extra.or(o.sums.as_ref()).map_or([0; 3], strides);
    // Of columns that are turned: from one batch to the next, and from one column to the next.
    let by_batch = |t: &View| if t.shape.len() > 2 { t.strides[1] / LANES } else { 0 };
    let se = g.turned.map_or(se, |t| [by_batch(t), 0, t.strides[0] / LANES]);
    let ss = o.norm.as_ref().map(|norm| blocks(&norm.stats)).or(o.mask.as_ref().map(strides)).unwrap_or_default();
    let kind = match g.extra {
        Extra::Residual(_) | Extra::MaskedResidual(..) | Extra::Dropout(..) if last => 1,
        Extra::Mask(_) if last => 2,
        Extra::Relu(_) if last => 3,
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
    fields.push(("fold", if o.folded() { o.a.shape[2] } else { 0 }));
    let mut fields: Vec<(&'static str, Scalar)> = fields.into_iter().map(|(name, v)| (name, v.into())).collect();
    let none = Dropout { rate: 0.0, share: Share::Nothing, key: 0, residual: true };
    let (op, n_j) = if let Extra::Dropout(_, d) = g.extra { (d.op, d.n_j) } else { (&none, 1) };
    let (first, [f0, f1, f2]) = o.rows;
    fields.push(("eps", g.norm.map_or(0.0, |norm| norm.eps).into()));
    fields.extend([("threshold", op.threshold().into()), ("kept", op.kept().into())]);
    fields.extend([("key_lo", (op.key as u32).into()), ("key_hi", ((op.key >> 32) as u32).into())]);
    fields.extend(op.share.numbers(n_j));
    let places = [("wide", g.c.groups()), ("f0", f0), ("f1", f1), ("f2", f2), ("first", first), ("g0", n0 / LANES)];
    fields.extend(places.map(|(name, v)| (name, v.into())));
    fields.push(("heads", g.turned.map_or(0, |t| t.shape[0]).into()));
    UniformData::of(&fields)
}

/// The kernel of a product, and what is beside it in its file.
fn source(g: &Gemm, traits: &Traits) -> &'static Source {
    let plain = matches!(g.extra, Extra::None | Extra::Residual(_) | Extra::Mask(_) | Extra::Relu(_));
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
pub(super) fn statistics(r: &mut Recorder, g: &Gemm, o: &Operands) {
    let norm = o.norm.as_ref().expect("a product of a norm");
    let [b0, n1, m] = [0, 1, 2].map(|i| o.a.shape[i]);
    let on_cpu = r.traits.family == Family::Subgroup;
    let per_group = if on_cpu { 16 } else { 64 };
    let narrow = on_cpu && o.a.groups() <= layer_norm::NARROW;
    let entry = if narrow { "statistics_narrow" } else { "statistics" };
    let by_m = Some(cut(0, 2, per_group));
    let launch = Launch::new(source(g, &r.traits), entry, uniform(g, o, 0, true, None, 1), [m.div_ceil(per_group), n1, b0])
        .read("a", &o.a, &cuts(&o.a, by_m))
        .write("stats", &norm.stats, &cuts(&norm.stats, by_m))
        .flops(6.0 * o.a.len() as f64);
    r.launch(if narrow { launch.constant("GROUPS", o.a.groups() as f64) } else { launch });
}

/// One launch on columns from `n0` on, whose tiles make statistics of rows where `by_tile`; `chain` goes on from C, and only the last one
/// finishes.
pub(super) fn launch(r: &mut Recorder, g: &Gemm, o: &Operands, (n0, by_tile): (usize, bool), (chain, last): (bool, bool)) {
    let [b0, n1, m, n] = [0, 1, 2, 3].map(|i| o.c.shape[i]);
    let k = o.depth(g.ta);
    let [tile, tile_n] = tile(&r.traits);
    // Sums are written where a residual or mask would be read; no product has both.
    assert!(o.sums.is_none() || o.extra.is_none() && n1 == 1 && !g.tb, "gemm: sums of columns beside a residual, mask or batch");
    // Columns of this launch before the bias begins, and the part of the bias that its columns take.
    let tail = g.tail.saturating_sub(n0).min(n);
    let skipped = n0.saturating_sub(g.tail);
    let bias = g.bias.filter(|_| last && tail < n).map(|b| b.slice(b.shape.len() - 1, skipped..skipped + n - tail));
    let part = (o.block > 0).then_some(cut(2, 2, o.block));
    let rows_cut = part.filter(|_| !o.folded());
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
        .constant("TURN", f64::from(u8::from(g.turned.is_some())))
        .read("a", &o.a, &cuts(&o.a, rows_cut.or(by_m.filter(|_| !g.ta))))
        .read("b", &spare.0, &spare.1)
        .read("bias", &bias_view, &bias_cuts)
        .write("c", &o.c, &cuts(&o.c, by_m))
        .flops(2.0 * (n1 * m * n) as f64 * if o.block > 0 { k } else { b0 * k } as f64);
    if let Some(norm) = &o.norm {
        let stats_cuts = cuts(&norm.stats, rows_cut.or(by_m.filter(|_| !g.ta)));
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
    r.launch(match (&o.sums, g.turned) {
        (Some(sums), _) => launch.write("extra", sums, &cuts(sums, None)),
        (None, Some(turned)) => launch.write("extra", turned, &[]),
        (None, None) => launch.read("extra", &extra_view, &extra_cuts),
    });
}
