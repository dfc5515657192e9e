//! Attention by subgroups, for CPUs: 32 queries (or keys) a workgroup of eight lanes, the other side handed round, no barriers.
//!
//! Records launches for [`Attention`]; it is no operation of its own.

use crate::gpu::recorder::{Cut, Family, Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::view::LANES;
use crate::gpu::{Recorder, View};
use crate::ops::basic::copy::copy;
use crate::ops::evoformer::attention::{Attention, Inputs};
use crate::ops::evoformer::attention_backward::{Common, parts};
use crate::tensor::DType;

/// Queries or keys that a workgroup holds.
const TILE: usize = 32;
/// Positions from which on a tile is worth its empty places.
const ENOUGH: usize = 8;

fn source() -> &'static Source {
    shader!("evoformer/attention/subgroup")
}

fn source_backward() -> &'static Source {
    shader!("evoformer/attention/subgroup_backward")
}

/// Whether these kernels suit the device and `n` positions.
pub(in crate::ops::evoformer) fn suits(r: &Recorder, n: usize) -> bool {
    r.traits.family == Family::Subgroup && n >= ENOUGH
}

/// How a tensor `[b, length, heads, channels]` follows the grid where a workgroup holds a tile of its positions.
const BY_TILE: [Cut; 3] = [cut(2, 0, 1), cut(0, 1, TILE), cut(1, 2, 1)];
/// The same where a workgroup reads all of its positions.
const BY_ROW: [Cut; 2] = [cut(2, 0, 1), cut(1, 2, 1)];
/// What a row has once for all heads and positions.
const WHOLE_ROW: [Cut; 1] = [cut(2, 0, 1)];
/// Tiles of pairs `[heads, t, tiles, other, 32]`.
const PAIRS: [Cut; 2] = [cut(1, 0, 1), cut(0, 2, 1)];

/// Turns every `pair [t, i, j, heads]` to tiles or, with `out`, writes it from them.
fn turn_all(r: &mut Recorder, pairs: &View, tiles: &View, out: bool) {
    for t in 0..pairs.shape[0] {
        turn(r, &pairs.nth(0, t), &tiles.nth(1, t), out);
    }
}

/// Turns `pair [i, j, heads]` to tiles `[heads, tiles, other, 32]` or, with `out`, writes it from them.
fn turn(r: &mut Recorder, pair: &View, tiles: &View, out: bool) {
    let fields = UniformData::of(&[
        ("n_i", pair.shape[0].into()),
        ("n_j", pair.shape[1].into()),
        ("heads", pair.shape[2].into()),
        ("pi", (pair.strides[0] / LANES).into()),
        ("pj", (pair.strides[1] / LANES).into()),
        ("th", (tiles.strides[0] / LANES).into()),
        ("tt", (tiles.strides[1] / LANES).into()),
    ]);
    let groups = [pair.shape[1].div_ceil(8), pair.shape[0].div_ceil(TILE), pair.groups()];
    let by_pair = [cut(1, 0, TILE), cut(0, 1, 8)];
    let by_tile = [cut(2, 0, LANES), cut(1, 1, 1), cut(0, 2, 8)];
    let launch = Launch::new(shader!("evoformer/attention/tiles"), if out { "tiles_out" } else { "tiles_in" }, fields, groups);
    r.launch(match out {
        false => launch.read("pair", pair, &by_pair).write("tiles", tiles, &by_tile),
        true => launch.write("pair", pair, &by_pair).read("tiles", tiles, &by_tile),
    });
}

/// Workspace for a pair of which a binding cannot hold a tile, because it is some columns of a wide projection.
fn near(r: &mut Recorder, pair: &View) -> Option<View> {
    let tile = pair.span(&[0..1, 0..TILE.min(pair.shape[1]), 0..8.min(pair.shape[2]), 0..pair.width()]);
    let far = tile.len() * pair.dtype.size() + 1024 > r.traits.max_binding as usize;
    far.then(|| r.temp(&pair.shape, pair.dtype))
}

/// The bias `[t, i, j, heads]` as `[heads, t, tiles of i, j, 32]`.
fn tiled(r: &mut Recorder, pair: &View) -> View {
    let near = near(r, pair);
    let pair = near.as_ref().map_or(pair, |held| {
        copy(r, held, pair);
        held
    });
    let [t, i, j, heads] = pair.shape[..] else { panic!("a bias of {:?}", pair.shape) };
    let tiles = r.temp(&[heads, t, i.div_ceil(TILE), j, TILE], pair.dtype);
    turn_all(r, pair, &tiles, false);
    tiles
}

/// Records the forward pass.
pub(in crate::ops::evoformer) fn forward(op: &Attention, r: &mut Recorder, x: &Inputs<View>, y: &[View]) {
    let n = Attention::extents(x);
    let keep = op.keep(r, x);
    let bias = x.bias.map(|pair| tiled(r, pair));
    // What is not there is not read; the binding still names valid memory.
    let (keep, keep_cuts) = keep.as_ref().map_or((x.q, &BY_TILE[..]), |keep| (keep, &WHOLE_ROW));
    let uniform = op.uniform(x, 0, bias.as_ref());
    let (bias, bias_cuts) = bias.as_ref().map_or((x.q, &BY_TILE[..]), |bias| (bias, &PAIRS));
    r.launch(
        op.constants(&n, Launch::new(source(), "forward", uniform, [n.q.div_ceil(TILE), n.h, n.b]))
            .constant("GATE", f64::from(u8::from(op.gate)))
            .read("q", x.q, &BY_TILE)
            .read("k", x.k, &BY_ROW)
            .read("v", x.v, &BY_ROW)
            .read("keep", keep, keep_cuts)
            .read("bias", bias, bias_cuts)
            .read("gate", x.gate.unwrap_or(x.q), &BY_TILE)
            .write("y", &y[0], &BY_TILE)
            .write("stats", &y[1], &[cut(2, 0, 1), cut(1, 1, 1), cut(0, 2, TILE)])
            .flops(2.0 * (n.b * n.h * n.q * n.k) as f64 * (x.q.width() + x.v.width()) as f64),
    );
}

/// Records the gradient of the queries and, where it is wanted, that of the bias: the same workgroup holds a tile of both.
pub(in crate::ops::evoformer) fn queries(c: &Common, r: &mut Recorder, dq: Option<&View>, dbias: Option<&View>) {
    let bias = c.x.bias.map(|pair| tiled(r, pair));
    let dq = dq.cloned().unwrap_or_else(|| r.temp(&c.x.q.shape, DType::F32));
    // Without a gradient of the bias every row is a workgroup's own, and windows may cut between rows.
    let Some(dbias) = dbias else { return query_rows(c, r, &dq, bias.as_ref(), None, false) };
    let sums = r.temp(&[c.n.h, c.n.t, c.n.q.div_ceil(TILE), c.n.k, TILE], DType::F32);
    for part in parts(c, c.rows_that_fit(r, c.n.k, 1)) {
        let [bias, sums] = [bias.as_ref(), Some(&sums)].map(|v| v.map(|v| v.slice(1, part.pairs.clone())));
        let dq = dq.slice(0, part.rows.clone());
        c.with_rows(part.rows, part.pairs.len(), |some| query_rows(some, r, &dq, bias.as_ref(), sums.as_ref(), part.chain));
    }
    match near(r, dbias) {
        None => turn_all(r, dbias, &sums, true),
        Some(held) => {
            turn_all(r, &held, &sums, true);
            copy(r, dbias, &held);
        }
    }
}

fn query_rows(c: &Common, r: &mut Recorder, dq: &View, bias: Option<&View>, part: Option<&View>, chain: bool) {
    let n = &c.n;
    let rows = if part.is_some() { n.b / n.t } else { 1 };
    let uniform = c.uniform(0, rows, chain, [dq; 2], bias);
    let (bias, bias_cuts) = bias.map_or((c.x.q, &BY_TILE[..]), |bias| (bias, &PAIRS));
    let launch = c
        .launch(source_backward(), "backward_q", uniform, [n.q.div_ceil(TILE), n.h, n.b.div_ceil(rows)])
        .constant("DBIAS", f64::from(u8::from(part.is_some())));
    // With all rows in one workgroup, nothing may be cut along them.
    let along = |cuts: &'static [Cut]| if part.is_some() { &cuts[1..] } else { cuts };
    let launch = launch
        .read("q", c.x.q, along(&BY_TILE))
        .read("k", c.x.k, along(&BY_ROW))
        .read("v", c.x.v, along(&BY_ROW))
        .read("go", &c.go, along(&BY_TILE))
        .read("aux", &c.aux, along(&WHOLE_ROW))
        .read("bias", bias, if c.x.bias.is_some() { bias_cuts } else { along(bias_cuts) })
        .write("dq", dq, along(&BY_TILE));
    // The binding of partial sums that nobody wants names memory that is there.
    let launch = match part {
        Some(part) => launch.write("part", part, &PAIRS),
        None => launch.read("part", dq, &BY_TILE),
    };
    r.launch(launch.flops(c.flops(2, 1)));
}

/// Records the gradients of keys and values.
pub(in crate::ops::evoformer) fn keys(c: &Common, r: &mut Recorder, dk: Option<&View>, dv: Option<&View>) {
    let n = &c.n;
    let bias = c.x.bias.map(|pair| tiled(r, &pair.permute(&[0, 2, 1, 3])));
    let dk = dk.cloned().unwrap_or_else(|| r.temp(&c.x.k.shape, DType::F32));
    let dv = dv.cloned().unwrap_or_else(|| r.temp(&c.x.v.shape, DType::F32));
    let uniform = c.uniform(0, 1, false, [&dk, &dv], bias.as_ref());
    let (bias, bias_cuts) = bias.as_ref().map_or((c.x.k, &BY_TILE[..]), |bias| (bias, &PAIRS));
    r.launch(
        c.launch(source_backward(), "backward_kv", uniform, [n.k.div_ceil(TILE), n.h, n.b])
            .read("q", c.x.q, &BY_ROW)
            .read("k", c.x.k, &BY_TILE)
            .read("v", c.x.v, &BY_TILE)
            .read("go", &c.go, &BY_ROW)
            .read("aux", &c.aux, &WHOLE_ROW)
            .read("bias", bias, bias_cuts)
            .write("dk", &dk, &BY_TILE)
            .write("dv", &dv, &BY_TILE)
            .flops(c.flops(2, 2)),
    );
}
