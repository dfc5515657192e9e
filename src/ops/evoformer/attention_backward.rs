//! The backward pass of attention: a kernel per query (dq), one per key (dk, dv), one per tile of query-key pairs (d_bias).
//!
//! Records launches for [`Attention`]; it is no operation of its own.

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Scalar, Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::Backward;
use crate::ops::evoformer::attention::{Attention, Extents, Inputs, by_row_and_head, query_shift};
use crate::tensor::DType;

fn source() -> &'static Source {
    shader!("evoformer/attention_backward")
}

/// What every kernel of the backward pass reads.
struct Common<'a> {
    op: &'a Attention,
    x: Inputs<'a, View>,
    n: Extents,
    /// `[b, 2 heads + 1, max(q, k)]`: log-sum-exp and `sum dO o` of every head, and the kept keys.
    aux: View,
    /// The gradient of the ungated output, contiguous.
    go: View,
}

impl Common<'_> {
    /// The uniform block; `a` and `b` are the gradients whose strides the kernel writes by.
    fn uniform(&self, shift: usize, chain: bool, a: &View, b: &View) -> UniformData {
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
        ];
        let mut three = |names: [&'static str; 3], v: &View| {
            fields.extend(names.into_iter().zip([0, 1, 2].map(|axis| Scalar::from(v.strides[axis] / 4))));
        };
        three(["qb", "ql", "qh"], x.q);
        three(["kb", "kl", "kh"], x.k);
        three(["vb", "vl", "vh"], x.v);
        three(["gb", "gl", "gh"], x.gate.unwrap_or(x.q));
        three(["xb", "xl", "xh"], a);
        three(["wb", "wl", "wh"], b);
        let [mb, mk] = x.mask.map_or([0, 0], |m| [m.strides[0], m.strides[1]]);
        fields.extend([("mb", mb.into()), ("mk", mk.into())]);
        UniformData::of(&fields)
    }

    fn launch(&self, entry: &'static str, uniform: UniformData, groups: [usize; 3]) -> Launch {
        Launch::new(source(), entry, uniform, groups)
            .constant("DG", self.n.dg as f64)
            .constant("VG", self.n.vg as f64)
            .constant("MASK", f64::from(u8::from(self.op.mask)))
            .constant("BIAS", f64::from(u8::from(self.op.bias)))
            .constant("GATE", f64::from(u8::from(self.op.gate)))
    }

    /// `2 * (products of width d) + 2 * (products of width dv)` for every row, head and pair.
    fn flops(&self, d: usize, dv: usize) -> f64 {
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
    let [_, bias, gate] = op.places();
    prepare(&common, r, b, of(gate));
    if let Some(dq) = of(Some(0)) {
        queries(&common, r, dq);
    }
    if b.dx[1].is_some() || b.dx[2].is_some() {
        keys(&common, r, of(Some(1)), of(Some(2)));
    }
    if let Some(dbias) = of(bias) {
        pair_bias(&common, r, dbias);
    }
}

/// Fills `aux`, and where there is a gate the gradient of the ungated output and that of the gate.
fn prepare(c: &Common, r: &mut Recorder, b: &Backward, dgate: Option<&View>) {
    let n = &c.n;
    let (dy, y, stats) = (b.dy0(), &b.y[0], &b.y[1]);
    let spread = [cut(2, 0, 1), cut(0, 1, 256), cut(1, 2, 1)];
    let gate = c.x.gate.unwrap_or(c.x.q);
    // An ungated output's gradient is dO itself: nothing is written there, and the bindings name memory that is there.
    let target = dgate.unwrap_or(&c.go);
    let uniform = c.uniform(0, dgate.is_none(), target, target);
    let mut launch = c
        .launch("prepare", uniform, [stats.groups().div_ceil(64), n.h, n.b])
        .read("y", y, &spread)
        .read("dy", dy, &spread)
        .read("gate", gate, &spread)
        .read("stats", stats, &[cut(2, 0, 1), cut(0, 2, 256), cut(1, 1, 1)])
        .write("aux", &c.aux, &[cut(2, 0, 1)]);
    launch = if c.op.gate {
        launch.write("go", &c.go, &spread).write("dgate", target, &spread)
    } else {
        launch.read("go", &c.go, &spread).read("dgate", target, &spread)
    };
    r.launch(launch.flops(4.0 * dy.len() as f64));
    if let Some(mask) = c.x.mask {
        let groups = [n.k.div_ceil(256), n.b, 1];
        let launch = c.launch("prepare_mask", c.uniform(0, false, target, target), groups);
        r.launch(launch.read("mask", mask, &[cut(1, 0, 1)]).write("aux", &c.aux, &[cut(1, 0, 1)]));
    }
}

fn queries(c: &Common, r: &mut Recorder, dq: &View) {
    let n = &c.n;
    let shift = query_shift(n.q);
    let (rows, queries) = (64 >> shift, 1 << shift);
    let by_query = [cut(2, 0, rows), cut(0, 1, queries), cut(1, 2, 1)];
    let bias = c.op.bias(r, &c.x, false);
    let mut launch = c
        .launch("backward_q", c.uniform(shift, false, dq, dq), [n.q.div_ceil(queries), n.h, n.b.div_ceil(rows)])
        .read("q", c.x.q, &by_query)
        .read("k", c.x.k, &by_row_and_head(rows))
        .read("v", c.x.v, &by_row_and_head(rows))
        .read("go", &c.go, &by_query)
        .read("aux", &c.aux, &[cut(2, 0, rows)])
        .write("dq", dq, &by_query);
    launch = match &bias {
        Some(bias) => launch.read("bias", bias, &[cut(1, 0, 1), cut(0, 1, queries)]),
        None => launch.read("bias", c.x.q, &by_query),
    };
    r.launch(launch.flops(c.flops(2, 1)));
}

fn keys(c: &Common, r: &mut Recorder, dk: Option<&View>, dv: Option<&View>) {
    let n = &c.n;
    let shift = query_shift(n.k);
    let (rows, keys) = (64 >> shift, 1 << shift);
    let by_key = [cut(2, 0, rows), cut(0, 1, keys), cut(1, 2, 1)];
    let bias = c.op.bias(r, &c.x, true);
    let dk = dk.cloned().unwrap_or_else(|| r.temp(&c.x.k.shape, DType::F32));
    let dv = dv.cloned().unwrap_or_else(|| r.temp(&c.x.v.shape, DType::F32));
    let mut launch = c
        .launch("backward_kv", c.uniform(shift, false, &dk, &dv), [n.k.div_ceil(keys), n.h, n.b.div_ceil(rows)])
        .read("q", c.x.q, &by_row_and_head(rows))
        .read("k", c.x.k, &by_key)
        .read("v", c.x.v, &by_key)
        .read("go", &c.go, &by_row_and_head(rows))
        .read("aux", &c.aux, &[cut(2, 0, rows)])
        .write("dk", &dk, &by_key)
        .write("dv", &dv, &by_key);
    launch = match &bias {
        Some(bias) => launch.read("bias", bias, &[cut(1, 0, 1), cut(0, 1, keys)]),
        None => launch.read("bias", c.x.k, &by_key),
    };
    r.launch(launch.flops(c.flops(2, 2)));
}

/// Bytes from the first to the last group that `rows` rows of one head touch, for the longest tile of 32 positions.
fn tile_bytes(v: &View, rows: usize) -> usize {
    let positions = v.shape[1].min(32);
    ((rows - 1) * v.strides[0] + (positions - 1) * v.strides[1] + v.groups() * 4) * v.dtype.size()
}

fn pair_bias(c: &Common, r: &mut Recorder, dbias: &View) {
    let n = &c.n;
    let bias = c.op.bias(r, &c.x, false).expect("a bias that has a gradient");
    let part = r.temp(&[n.h, n.q, n.k], DType::F32);
    // As many rows as every binding holds; a window begins at an aligned byte, so that a little room is left in front of it.
    let limit = (r.traits.max_binding as usize).saturating_sub(1024);
    let fits = |rows: usize| {
        let aux = rows * (2 * n.h + 1) * c.aux.groups() * 16;
        aux <= limit && [c.x.q, c.x.k, c.x.v, &c.go].iter().all(|v| tile_bytes(v, rows) <= limit)
    };
    let step = (1..=n.b).rev().find(|&rows| fits(rows)).unwrap_or(1);
    for from in (0..n.b).step_by(step) {
        let rows = from..(from + step).min(n.b);
        let some = |v: &View| v.slice(0, rows.clone());
        let (q, k, v) = (some(c.x.q), some(c.x.k), some(c.x.v));
        let part_of = Common {
            op: c.op,
            x: Inputs { q: &q, k: &k, v: &v, ..c.x },
            n: Extents { b: rows.len(), ..c.n },
            aux: some(&c.aux),
            go: some(&c.go),
        };
        let tile = |grid: usize| [cut(grid, 1, 32), cut(2, 2, 1)];
        let pairs = [cut(2, 0, 1), cut(0, 1, 32)];
        r.launch(
            part_of
                .launch("backward_bias", part_of.uniform(0, from > 0, &q, &q), [n.q.div_ceil(32), n.k.div_ceil(32), n.h])
                .read("q", &q, &tile(0))
                .read("k", &k, &tile(1))
                .read("v", &v, &tile(1))
                .read("go", &part_of.go, &tile(0))
                .read("aux", &part_of.aux, &[])
                .read("bias", &bias, &pairs)
                .write("part", &part, &pairs)
                .flops(part_of.flops(1, 1)),
        );
    }
    Attention::bias_out(r, &part, dbias);
}
