//! The backward pass of attention: a kernel per query (dq), one per key (dk, dv), one per tile of query-key pairs (d_bias). The family of
//! subgroups has kernels of its own for them, after the same preparations.
//!
//! Records launches for [`Attention`]; it is no operation of its own.

use std::ops::Range;

use crate::gpu::recorder::{Cut, Launch, cut};
use crate::gpu::shader::{Scalar, Source, UniformData};
use crate::gpu::view::LANES;
use crate::gpu::{Recorder, View};
use crate::op::Backward;
use crate::ops::basic::copy::copy;
use crate::ops::evoformer::attention::subgroup;
use crate::ops::evoformer::attention::{Attention, Extents, Inputs, by_row_and_head, fitting, group_shift, query_shift};
use crate::tensor::DType;

fn source() -> &'static Source {
    shader!("evoformer/attention_backward")
}

/// What every kernel of the backward pass reads.
pub(super) struct Common<'a> {
    pub op: &'a Attention,
    pub x: Inputs<'a, View>,
    pub n: Extents,
    /// `[b, 2 heads + 1, max(q, k)]`: log-sum-exp and `sum dO o` of every head, and the kept keys.
    pub aux: View,
    /// The gradient of the ungated output, contiguous.
    pub go: View,
}

impl Common<'_> {
    /// The uniform block; `rows` is how many rows of b a workgroup takes one after the other, where it does, `dx` and `dw` are the gradients
    /// whose strides the kernel writes by, or pairs as [`Tiles`] have them, and `bias [h, t, q, ..]` is what it reads.
    pub fn uniform(&self, shift: usize, rows: usize, chain: bool, [dx, dw]: [&View; 2], bias: Option<&View>) -> UniformData {
        let (n, x) = (&self.n, &self.x);
        let mut fields: Vec<(&'static str, Scalar)> = vec![
            ("n_b", n.b.into()),
            ("n_q", n.q.into()),
            ("n_k", n.k.into()),
            ("heads", n.h.into()),
            ("shift", shift.into()),
            ("scale", ((n.d as f32).powf(-0.5)).into()),
            ("ag", self.aux.groups().into()),
            ("chain", u32::from(chain).into()),
            ("rows", rows.into()),
        ];
        // Pairs have one axis more, outermost.
        let outer = |v: &View| v.shape.len() - 4;
        let mut three = |names: [&'static str; 3], v: &View| {
            fields.extend(names.into_iter().zip([0, 1, 2].map(|axis| Scalar::from(v.strides[outer(v) + axis] / LANES))));
        };
        three(["qb", "ql", "qh"], x.q);
        three(["kb", "kl", "kh"], x.k);
        three(["vb", "vl", "vh"], x.v);
        three(["gb", "gl", "gh"], x.gate.unwrap_or(x.q));
        three(["xb", "xl", "xh"], dx);
        three(["wb", "wl", "wh"], dw);
        let [xt, wt] = [dx, dw].map(|v| if outer(v) > 0 { v.strides[0] / LANES } else { 0 });
        fields.extend([("xt", xt.into()), ("wt", wt.into())]);
        let [mb, mk] = x.mask.map_or([0, 0], |m| [m.strides[0], m.strides[1]]);
        fields.extend([("mb", mb.into()), ("mk", mk.into())]);
        fields.extend(self.op.biases(n.t, bias));
        UniformData::of(&fields)
    }

    pub fn launch(&self, source: &'static Source, entry: &'static str, uniform: UniformData, groups: [usize; 3]) -> Launch {
        self.op.constants(&self.n, Launch::new(source, entry, uniform, groups))
    }

    /// How many rows of b, with `keys` keys of `heads` heads each, every binding holds; a window begins at an aligned byte, so that a little
    /// room is left in front of it.
    pub fn rows_that_fit(&self, r: &Recorder, keys: usize, heads: usize) -> usize {
        let limit = (r.traits.max_binding as usize).saturating_sub(1024);
        let bytes = |v: &View, rows: usize, positions: usize| {
            v.span(&[0..rows, 0..positions, 0..heads.min(self.n.h), 0..v.width()]).len() * v.dtype.size()
        };
        let fits = |rows: usize| {
            let by_query = [self.x.q, &self.go].iter().all(|v| bytes(v, rows, self.n.q.min(32)) <= limit);
            let by_key = [self.x.k, self.x.v].iter().all(|v| bytes(v, rows, keys.min(self.n.k)) <= limit);
            by_query && by_key && rows * (2 * self.n.h + 1) * self.aux.groups() * 16 <= limit
        };
        (1..=self.n.b).rev().find(|&rows| fits(rows)).unwrap_or(1)
    }

    /// Hands `body` the part `rows` of the axis b, which have so many of the biases.
    pub fn with_rows(&self, rows: Range<usize>, biases: usize, body: impl FnOnce(&Common)) {
        let some = |v: &View| v.slice(0, rows.clone());
        let (q, k, v, gate) = (some(self.x.q), some(self.x.k), some(self.x.v), self.x.gate.map(some));
        body(&Common {
            op: self.op,
            x: Inputs { q: &q, k: &k, v: &v, gate: gate.as_ref(), ..self.x },
            n: Extents { b: rows.len(), t: biases, ..self.n },
            aux: some(&self.aux),
            go: some(&self.go),
        });
    }

    /// `2 * (products of width d) + 2 * (products of width dv)` for every row, head and pair.
    pub fn flops(&self, d: usize, dv: usize) -> f64 {
        let n = &self.n;
        2.0 * (n.b * n.h * n.q * n.k) as f64 * (d * n.d + dv * self.x.v.width()) as f64
    }
}

/// Records the gradients that are wanted.
pub(super) fn record(op: &Attention, r: &mut Recorder, b: &Backward) {
    let x = op.inputs(b.x);
    let n = Attention::extents(&x);
    let dy = b.dy0();
    let aux = r.temp(&[n.b, 2 * n.h + 1, n.q.max(n.k)], DType::F32);
    let go = if op.gate { r.temp(&dy.shape, DType::F32) } else { dy.clone() };
    let common = Common { op, x, n, aux, go };
    let of = |i: Option<usize>| i.and_then(|i| b.dx[i].as_ref());
    let [_, bias, _, gate] = op.places();
    prepare(&common, r, b, of(gate));
    let (by_query, by_key) = (b.dx[0].is_some() || of(bias).is_some(), b.dx[1].is_some() || b.dx[2].is_some());
    let (q_suits, k_suits) = (subgroup::suits(r, n.q), subgroup::suits(r, n.k));
    // Turned once for all kernels but those of subgroups.
    let turned = (by_query && !q_suits || by_key && !k_suits).then(|| op.bias(r, &common.x)).flatten();
    if by_query && q_suits {
        subgroup::queries(&common, r, of(Some(0)), of(bias));
    } else if by_query {
        of(Some(0)).into_iter().for_each(|dq| queries(&common, r, turned.as_ref(), dq));
        of(bias).into_iter().for_each(|dbias| pair_bias(&common, r, dbias));
    }
    if by_key && k_suits {
        subgroup::keys(&common, r, of(Some(1)), of(Some(2)));
    } else if by_key {
        keys(&common, r, turned.as_ref(), of(Some(1)), of(Some(2)));
    }
}

/// Fills `aux`, and where there is a gate the gradient of the ungated output and that of the gate.
fn prepare(c: &Common, r: &mut Recorder, b: &Backward, dgate: Option<&View>) {
    let n = &c.n;
    let (dy, y, stats) = (b.dy0(), &b.y[0], &b.y[1]);
    let gate = c.x.gate.unwrap_or(c.x.q);
    let shift = fitting(r, group_shift(stats.groups()).0, &[y, dy, gate, dgate.unwrap_or(&c.go)]);
    let (rows, places) = (64 >> shift, LANES << shift);
    let spread = [cut(2, 0, rows), cut(0, 1, places), cut(1, 2, 1)];
    // An ungated output's gradient is dO itself: nothing is written there, and the bindings name memory that is there.
    let target = dgate.unwrap_or(&c.go);
    let uniform = c.uniform(shift, 1, dgate.is_none(), [target; 2], None);
    // Where there are as many keys as queries, what is kept of them is written beside it.
    let beside = c.x.mask.filter(|_| n.q == n.k);
    let mut launch = c
        .launch(source(), "prepare", uniform, [n.q.div_ceil(places), n.h, n.b.div_ceil(rows)])
        .constant("GATE", f64::from(u8::from(c.op.gate)))
        .constant("MASKED", f64::from(u8::from(beside.is_some())))
        .read("mask", beside.unwrap_or(stats), &[cut(2, 0, rows)])
        .read("y", y, &spread)
        .read("dy", dy, &spread)
        .read("gate", gate, &spread)
        .read("stats", stats, &[cut(2, 0, rows), cut(0, 2, places), cut(1, 1, 1)])
        .write("aux", &c.aux, &[cut(2, 0, rows)]);
    launch = if c.op.gate {
        launch.write("go", &c.go, &spread).write("dgate", target, &spread)
    } else {
        launch.read("go", &c.go, &spread).read("dgate", target, &spread)
    };
    r.launch(launch.flops(4.0 * dy.len() as f64));
    if let Some(mask) = c.x.mask.filter(|_| beside.is_none()) {
        let (shift, rows) = group_shift(n.k.div_ceil(LANES));
        let groups = [n.k.div_ceil(LANES << shift), n.b.div_ceil(rows), 1];
        let launch = c.launch(source(), "prepare_mask", c.uniform(shift, 1, false, [target; 2], None), groups);
        r.launch(launch.read("mask", mask, &[cut(1, 0, rows)]).write("aux", &c.aux, &[cut(1, 0, rows)]));
    }
}

fn queries(c: &Common, r: &mut Recorder, bias: Option<&View>, dq: &View) {
    let n = &c.n;
    let shift = fitting(r, query_shift(n.q), &[c.x.q, c.x.k, c.x.v, dq]);
    let (rows, queries) = (64 >> shift, 1 << shift);
    let by_query = [cut(2, 0, rows), cut(0, 1, queries), cut(1, 2, 1)];
    let mut launch = c
        .launch(source(), "backward_q", c.uniform(shift, 1, false, [dq; 2], bias), [n.q.div_ceil(queries), n.h, n.b.div_ceil(rows)])
        .read("q", c.x.q, &by_query)
        .read("k", c.x.k, &by_row_and_head(rows))
        .read("v", c.x.v, &by_row_and_head(rows))
        .read("go", &c.go, &by_query)
        .read("aux", &c.aux, &[cut(2, 0, rows)])
        .write("dq", dq, &by_query);
    launch = match bias {
        Some(bias) => launch.read("bias", bias, &[cut(1, 0, 1), cut(0, 2, queries)]),
        None => launch.read("bias", c.x.q, &by_query),
    };
    r.launch(launch.flops(c.flops(2, 1)));
}

fn keys(c: &Common, r: &mut Recorder, bias: Option<&View>, dk: Option<&View>, dv: Option<&View>) {
    let n = &c.n;
    let dk = dk.cloned().unwrap_or_else(|| r.temp(&c.x.k.shape, DType::F32));
    let dv = dv.cloned().unwrap_or_else(|| r.temp(&c.x.v.shape, DType::F32));
    let shift = fitting(r, query_shift(n.k), &[c.x.q, c.x.k, c.x.v, &dk, &dv]);
    let (rows, keys) = (64 >> shift, 1 << shift);
    let by_key = [cut(2, 0, rows), cut(0, 1, keys), cut(1, 2, 1)];
    let mut launch = c
        .launch(source(), "backward_kv", c.uniform(shift, 1, false, [&dk, &dv], bias), [n.k.div_ceil(keys), n.h, n.b.div_ceil(rows)])
        .read("q", c.x.q, &by_row_and_head(rows))
        .read("k", c.x.k, &by_key)
        .read("v", c.x.v, &by_key)
        .read("go", &c.go, &by_row_and_head(rows))
        .read("aux", &c.aux, &[cut(2, 0, rows)])
        .write("dk", &dk, &by_key)
        .write("dv", &dv, &by_key);
    launch = match bias {
        Some(bias) => launch.read("bias", bias, &[cut(1, 0, 1)]),
        None => launch.read("bias", c.x.k, &by_key),
    };
    r.launch(launch.flops(c.flops(2, 2)));
}

/// Queries, keys and heads whose bias a workgroup sums up.
const SUMMED: [usize; 3] = [16, 32, 4];

/// Pairs `[t, q, k, heads]` as a kernel binds them, and under the axes `[t, tiles of keys, q, keys of a tile, heads]` for their strides.
struct Tiles {
    bound: View,
    axes: View,
    cuts: [Cut; 2],
}

impl Tiles {
    /// Where they lie, or `apart`, where all keys of a tile are near.
    fn new(r: &mut Recorder, pair: &View, apart: Option<DType>) -> Self {
        let [t, q, k, heads] = pair.shape[..] else { panic!("a bias of {:?}", pair.shape) };
        let [queries, keys, _] = SUMMED;
        let shape = vec![t, k.div_ceil(keys), q, keys, heads];
        if let Some(dtype) = apart {
            // In memory the pairs of a tile are neighbours in every query.
            let held = r.temp(&[shape[1], q, t, keys, heads], dtype).permute(&[2, 0, 1, 3, 4]);
            return Self { bound: held.clone(), axes: held, cuts: [cut(1, 1, 1), cut(0, 2, queries)] };
        }
        let [by_t, by_q, by_k] = [0, 1, 2].map(|axis| pair.strides[axis]);
        let axes = View { shape, strides: vec![by_t, keys * by_k, by_q, by_k, 1], ..pair.clone() };
        Self { bound: pair.clone(), axes, cuts: [cut(0, 1, queries), cut(1, 2, keys)] }
    }

    /// Whether no binding holds what workgroups read of one tile of `t` pairs.
    fn far(r: &Recorder, pair: &View, t: usize) -> bool {
        let [queries, keys, _] = SUMMED;
        let tile = pair.span(&[0..t, 0..queries.min(pair.shape[1]), 0..keys.min(pair.shape[2]), 0..pair.width()]);
        tile.len() * pair.dtype.size() + 1024 > r.traits.max_binding as usize
    }

    /// Some of the pairs.
    fn some(&self, t: &Range<usize>) -> Self {
        Self { bound: self.bound.slice(0, t.clone()), axes: self.axes.slice(0, t.clone()), cuts: self.cuts }
    }

    /// Every tile of what lies apart, with the keys of the pairs that it holds.
    fn each(&self, pair: &View) -> impl Iterator<Item = (View, View)> {
        let (held, pair, [_, keys, _]) = (self.bound.clone(), pair.clone(), SUMMED);
        let k = pair.shape[2];
        let places = (0..pair.shape[0]).flat_map(move |t| (0..k).step_by(keys).map(move |from| (t, from)));
        places.map(move |(t, from)| {
            let some = pair.nth(0, t).slice(1, from..(from + keys).min(k));
            let tile = held.nth(0, t).nth(0, from / keys);
            (tile.slice(1, 0..some.shape[1]), some)
        })
    }
}

/// Rows of b, and which pairs they have, that one launch sums up, and whether it goes on from the last one.
pub(super) struct Part {
    pub rows: Range<usize>,
    pub pairs: Range<usize>,
    pub chain: bool,
}

/// The parts of all rows, none of which has more than `step` where that can be.
pub(super) fn parts(c: &Common, step: usize) -> Vec<Part> {
    let (n, t) = (c.n.b, c.n.t);
    let cut = |rows: Range<usize>, step: usize, pairs: Range<usize>| {
        let first = rows.start;
        let part = move |from: usize| Part { rows: from..(from + step).min(rows.end), pairs: pairs.clone(), chain: from > first };
        (first..rows.end).step_by(step).map(part).collect::<Vec<_>>()
    };
    match c.op.run.max(1) {
        // Every part has as many rows of all pairs.
        1 => cut(0..n, (step / t * t).max(t), 0..t),
        run if step < n && t > 1 => {
            assert_eq!(n, run * t, "rows of {t} biases in runs of {run}");
            (0..t).flat_map(|t| cut(t * run..(t + 1) * run, step, t..t + 1)).collect()
        }
        _ => cut(0..n, step, 0..t),
    }
}

fn pair_bias(c: &Common, r: &mut Recorder, dbias: &View) {
    let (n, pair, [queries, keys, heads]) = (&c.n, c.x.bias.expect("a bias that has a gradient"), SUMMED);
    assert_eq!((c.op.first, n.b % n.t), (0, 0), "the gradient of {} biases of {} rows, the first of which is {}", n.t, n.b, c.op.first);
    // Several pairs share the grid's third dimension with the heads, which can then not be cut along it.
    let (several, heads_of) = (n.t > 1, if n.t > 1 { n.h } else { heads });
    let step = c.rows_that_fit(r, keys, heads_of);
    // Pairs that lie too far from each other, one above another, are summed up one by one.
    let (run, far) = (c.op.run.max(1), Tiles::far(r, pair, n.t) || Tiles::far(r, dbias, n.t));
    let step = if run > 1 && several && far { step.min(run) } else { step };
    let at_once = if run > 1 && step < n.b { 1 } else { n.t };
    let apart = Tiles::far(r, pair, at_once).then_some(pair.dtype);
    let bias = Tiles::new(r, pair, apart);
    for (tile, some) in apart.iter().flat_map(|_| bias.each(pair)) {
        copy(r, &tile, &some);
    }
    // Sums that several launches make stay in single precision.
    let parts = parts(c, step);
    let apart = (Tiles::far(r, dbias, at_once) || parts.iter().any(|p| p.chain) && dbias.dtype != DType::F32).then_some(DType::F32);
    let sums = Tiles::new(r, dbias, apart);
    let tile = |grid: usize, positions: usize| {
        let along = cut(grid, 1, positions);
        if several { [along; 2] } else { [along, cut(2, 2, heads)] }
    };
    for part in parts {
        let (sums, bias) = (sums.some(&part.pairs), bias.some(&part.pairs));
        c.with_rows(part.rows, part.pairs.len(), |c| {
            let groups = [n.q.div_ceil(queries), n.k.div_ceil(keys), n.h.div_ceil(heads) * part.pairs.len()];
            r.launch(
                c.launch(
                    shader!("evoformer/attention/backward_bias"),
                    "backward_bias",
                    c.uniform(0, 1, part.chain, [&sums.axes, &bias.axes], None),
                    groups,
                )
                .read("q", c.x.q, &tile(0, queries))
                .read("k", c.x.k, &tile(1, keys))
                .read("v", c.x.v, &tile(1, keys))
                .read("go", &c.go, &tile(0, queries))
                .read("aux", &c.aux, &[])
                .read("bias", &bias.bound, &bias.cuts)
                .write("dbias", &sums.bound, &sums.cuts)
                .flops(c.flops(1, 1)),
            );
        });
    }
    for (tile, some) in apart.iter().flat_map(|_| sums.each(dbias)) {
        copy(r, &some, &tile);
    }
}
