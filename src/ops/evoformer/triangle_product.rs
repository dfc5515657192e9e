//! The sum over the third edge of a triangle: the heart of Algorithms 11 and 12, triangle multiplication.

use crate::gpu::recorder::{Family, Launch, cut};
use crate::gpu::shader::UniformData;
use crate::gpu::view::{LANES, padded};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::basic::gated::Gated;
use crate::ops::basic::gemm::{self, Gemm};
use crate::ops::basic::transpose::{turn, turn_gated};
use crate::tensor::DType;

/// Pairs that a workgroup of the tiled kernel makes, along `i` and along `j`.
const PAIRS: [usize; 2] = [64, 32];

/// Left `a` and right `b`, both `[n, t n, c]`, to `y [n, t n, c]`, summed in f32: t squares side by side, each of which knows nothing of the
/// others (templates, or one pair representation).
#[derive(Debug, Clone, Copy)]
pub struct TriangleProduct {
    /// `y[i, j] = sum_k a[i, k] b[j, k]`; otherwise incoming edges, `y[i, j] = sum_k a[k, j] b[k, i]` as AlphaFold's code has it (left
    /// and right are swapped relative to the paper's Algorithm 12).
    pub outgoing: bool,
    /// The sides are masked and gated where they are read: inputs are the projections of `a`, then of `b`, `[n, t n, 2 c]` with c whole groups,
    /// their gates before the sigmoids, which lie alike, and a mask `[n, t, n]` without a gradient. Otherwise the inputs are the sides.
    pub gated: bool,
}

/// The axes of a residue and of the other one in the views below.
const AXES: [usize; 2] = [0, 2];

/// `[n, t n, c]` as `[n, t, n, c]`.
fn squares(v: &View) -> View {
    v.regroup(1..2, &[v.shape[1] / v.shape[0], v.shape[0]])
}

/// A side `[n, t, n, c]`, strided as it likes: as it is, or under a gate of its shape and a mask `[n, t, n]`.
#[derive(Debug)]
struct Side {
    x: View,
    gate: Option<[View; 2]>,
}

impl Side {
    fn plain(x: &View) -> Self {
        Self { x: squares(x), gate: None }
    }

    /// Square `t`, `[n, n, c]`, with its mask `[n, n]`.
    fn square(&self, t: usize) -> Self {
        Self { x: self.x.nth(1, t), gate: self.gate.as_ref().map(|both| both.each_ref().map(|v| v.nth(1, t))) }
    }

    /// Values, gate and mask; what is not there is the values again, so that a binding names memory that is there.
    fn views(&self) -> [&View; 3] {
        self.gate.as_ref().map_or([&self.x; 3], |[gate, mask]| [&self.x, gate, mask])
    }
}

/// The two sides that lie next to each other in `[n, t n, 2 c]`.
fn halves(both: &View) -> [View; 2] {
    let c = both.width() / 2;
    [0..c, c..2 * c].map(|part| both.slice(2, part))
}

/// One product of matrices for each square and channel: `y[.., c] = a[.., c] b[.., c]`, the axes of residues of `a` and `b` in the order that
/// `ta` and `tb` say.
fn product(r: &mut Recorder, a: (&Side, bool), b: (&Side, bool), y: &View) {
    let y = &squares(y);
    if r.traits.family != Family::Tiled || !tiled(r, a, b, y) {
        (0..y.shape[1]).for_each(|t| by_channel(r, a, b, y, t));
    }
}

/// The product from where the pairs lie, without workspace; nothing is recorded where that is beyond what the device can bind.
fn tiled(r: &mut Recorder, (a, ta): (&Side, bool), (b, tb): (&Side, bool), y: &View) -> bool {
    let (n, c) = (y.shape[0], y.width());
    // A window begins at an aligned byte, so that a little room is left in front of it.
    let limit = (r.traits.max_binding as usize).saturating_sub(1024);
    let fits = |v: &View, rows: usize, columns: usize| {
        let ranges = [0..rows.min(n), 0..v.shape[1], 0..columns.min(n), 0..c];
        v.span(&ranges[..v.shape.len()]).len() * v.dtype.size() <= limit
    };
    // The axes of k, and how much of it a launch may reach along: the sum goes on from what the last launch stored.
    let axes = [AXES[usize::from(!ta)], AXES[usize::from(tb)]];
    let reach = |side: &Side, axis: usize, pairs: usize, k: usize| {
        side.views().into_iter().all(|v| if axis == 0 { fits(v, k, pairs) } else { fits(v, pairs, k) })
    };
    let both = |k: usize| reach(a, axes[0], PAIRS[0], k) && reach(b, axes[1], PAIRS[1], k);
    // Whole groups, since k may be the innermost axis of a mask.
    let halves = std::iter::successors(Some(n), |k| (*k > LANES).then(|| padded(k.div_ceil(2))));
    let Some(step) = halves.into_iter().find(|k| both(*k)) else { return false };
    if step < n && y.dtype != DType::F32 || !fits(y, PAIRS[0], PAIRS[1]) {
        return false;
    }
    for from in (0..n).step_by(step) {
        let part = from..(from + step).min(n);
        let [a_part, b_part] = [(a, axes[0]), (b, axes[1])].map(|(side, axis)| side.views().map(|v| v.slice(axis, part.clone())));
        let groups = [n.div_ceil(PAIRS[0]), n.div_ceil(PAIRS[1]), y.groups().div_ceil(2) * y.shape[1]];
        let uniform = uniform(part.len(), [(&a_part, axes[0]), (&b_part, axes[1])], y);
        let (i, j) = ([cut(0, 2 - axes[0], PAIRS[0])], [cut(1, 2 - axes[1], PAIRS[1])]);
        let constant = |there: bool| f64::from(u8::from(there));
        let launch = Launch::new(shader!("evoformer/triangle_product"), "product", uniform, groups)
            .constant("CHAIN", constant(from > 0))
            .constant("A_GATED", constant(a.gate.is_some()))
            .constant("B_GATED", constant(b.gate.is_some()));
        let launch = launch.read("a", &a_part[0], &i).read("a_gate", &a_part[1], &i).read("a_mask", &a_part[2], &i);
        let launch = launch.read("b", &b_part[0], &j).read("b_gate", &b_part[1], &j).read("b_mask", &b_part[2], &j);
        let launch = launch.write("y", y, &[cut(0, AXES[0], PAIRS[0]), cut(1, AXES[1], PAIRS[1])]);
        r.launch(launch.flops(2.0 * (n * y.shape[1] * n * part.len() * c) as f64));
    }
    true
}

/// Of `k` terms; each operand with the axis of k.
fn uniform(k: usize, sides: [(&[View; 3], usize); 2], y: &View) -> UniformData {
    let stride = |v: &View, axis: usize| v.strides[axis] / if v.shape.len() == 3 { 1 } else { LANES }; // A mask is read by element.
    let of = |v: &View, k: usize| [stride(v, 1), stride(v, 2 - k), stride(v, k)];
    let strides = sides.map(|(views, axis)| views.each_ref().map(|v| of(v, axis)).concat()).concat();
    let a = ["at", "ai", "ak", "agt", "agi", "agk", "amt", "ami", "amk"];
    let b = ["bt", "bj", "bk", "bgt", "bgj", "bgk", "bmt", "bmj", "bmk"];
    let names = [a, b].concat();
    let [y0, yt, y1] = [0, 1, 2].map(|axis| stride(y, axis));
    let sizes = [("n", y.shape[0]), ("k", k), ("groups", y.groups()), ("y0", y0), ("yt", yt), ("y1", y1)];
    let fields: Vec<_> = sizes.into_iter().chain(names.into_iter().zip(strides)).map(|(name, v)| (name, v.into())).collect();
    UniformData::of(&fields)
}

/// The product of square `t` with channels turned to the outside and back. Workspace: as many channels at a time as twice the device's limit
/// allows.
fn by_channel(r: &mut Recorder, (a, ta): (&Side, bool), (b, tb): (&Side, bool), y: &View, t: usize) {
    let (y, [a, b]) = (&y.nth(1, t), [a, b].map(|side| side.square(t)));
    let (n, c) = (y.shape[0], y.shape[2]);
    let all = [&a.x, &b.x, y];
    let bytes = n * padded(n) * all.iter().map(|v| v.dtype.size()).sum::<usize>();
    let step = r.chunk_rows_within(2 * r.traits.workspace, c, bytes, LANES).min(c);
    let held = all.map(|v| r.temp(&[n, step, n], v.dtype)); // [i, c, k]
    for from in (0..c).step_by(step) {
        let channels = from..(from + step).min(c);
        let part = held.each_ref().map(|v| v.slice(1, 0..channels.len()));
        for (side, to) in [&a, &b].into_iter().zip(&part) {
            let gate = side.gate.as_ref().map(|[gate, mask]| [gate.slice(2, channels.clone()), mask.clone()]);
            turn_gated(r, &side.x.slice(2, channels.clone()), gate.as_ref(), to);
        }
        // Channels are the outermost axis of a batch: [c, 1, i, k].
        let matrices = part.each_ref().map(|v| View {
            shape: vec![channels.len(), 1, n, n],
            strides: vec![v.strides[1], 0, v.strides[0], 1],
            ..v.clone()
        });
        gemm::record(r, &Gemm::new(&matrices[0], ta, &matrices[1], tb, &matrices[2]));
        turn(r, &part[2], &y.slice(2, channels));
    }
}

impl TriangleProduct {
    fn sides(&self, x: &[View]) -> [Side; 2] {
        if !self.gated {
            return [0, 1].map(|i| Side::plain(&x[i]));
        }
        let gates = halves(&x[1]).map(|gate| [squares(&gate), x[2].clone()]);
        let mut gates = gates.into_iter();
        halves(&x[0]).map(|projection| Side { gate: gates.next(), ..Side::plain(&projection) })
    }
}

impl Op for TriangleProduct {
    fn name(&self) -> &'static str {
        "triangle_product"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let fits = x.len() == 2 + usize::from(self.gated) && x[0] == x[1] && x[0].len() == 3 && x[0][1].is_multiple_of(x[0][0]);
        assert!(fits, "triangle_product of {x:?}: both are [n, t n, c], with gates a mask follows");
        if !self.gated {
            return vec![Spec::of(x[0])];
        }
        let [n, columns, both] = x[0] else { unreachable!("three axes") };
        let fits = both.is_multiple_of(2 * LANES) && x[2] == [*n, columns / n, *n];
        assert!(fits, "triangle_product of {x:?}: projections and gates are [n, t n, 2 c] with c whole groups, a mask [n, t, n]");
        vec![Spec::of(&[*n, *columns, both / 2])]
    }

    fn strided(&self, _i: usize) -> bool {
        true
    }

    fn differentiable(&self, i: usize) -> bool {
        i < 2
    }

    fn needs(&self) -> Needs {
        Needs { x: if self.gated { 0b111 } else { 0b11 }, y: 0 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let [left, right] = &self.sides(x);
        // line 4
        if self.outgoing { product(r, (left, false), (right, true), &y[0]) } else { product(r, (right, true), (left, false), &y[0]) }
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let dy = &Side::plain(b.dy0());
        let [left, right] = &self.sides(b.x);
        // Gradients of gated sides lie as the projections do, so that one launch takes both on to projections and gates.
        let both = self.gated.then(|| r.temp(&b.x[0].shape, b.x[0].dtype));
        let [da, db] = both.as_ref().map_or_else(|| [b.dx[0].clone(), b.dx[1].clone()], |both| halves(both).map(Some));
        // Outgoing: da[i, k] = sum_j dy[i, j] b[j, k],  db[j, k] = sum_i dy[i, j] a[i, k].
        // Incoming: da[k, j] = sum_i b[k, i] dy[i, j],  db[k, i] = sum_j a[k, j] dy[i, j].
        if let Some(da) = &da {
            if self.outgoing { product(r, (dy, false), (right, false), da) } else { product(r, (right, false), (dy, false), da) }
        }
        if let Some(db) = &db {
            if self.outgoing { product(r, (dy, true), (left, false), db) } else { product(r, (left, false), (dy, true), db) }
        }
        if both.is_some() {
            Gated::with_gate(true).backward(r, &Backward { x: b.x, y: &[], dy: &[both], dx: b.dx, own: true, add: 0 });
        }
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        if self.gated {
            let both = &Gated::with_gate(true).reference(x)[0];
            let c = both.shape[2] / 2;
            let side = |half: usize| both.data.chunks(c).skip(half).step_by(2).flatten().copied().collect();
            let sides = [0, 1].map(|half| Array::new(&[both.shape[0], both.shape[1], c], side(half)));
            return Self { gated: false, ..*self }.reference(&sides);
        }
        let [n, columns, c] = x[0].shape[..] else { unreachable!("three axes") };
        let mut y = Array::zeros(&x[0].shape);
        for (i, column, q) in (0..n * columns * c).map(|f| (f / c / columns, f / c % columns, f % c)) {
            let (t, j) = (column / n, column % n);
            let at = |v: &Array, i: usize, j: usize| v.data[(i * columns + t * n + j) * c + q];
            let term = |k| if self.outgoing { at(&x[0], i, k) * at(&x[1], j, k) } else { at(&x[0], k, j) * at(&x[1], k, i) };
            y.data[(i * columns + column) * c + q] = (0..n).map(term).sum();
        }
        vec![y]
    }
}
