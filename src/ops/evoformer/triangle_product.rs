//! The sum over the third edge of a triangle: the heart of Algorithms 11 and 12, triangle multiplication.

use crate::gpu::recorder::{Family, Launch, cut};
use crate::gpu::shader::UniformData;
use crate::gpu::view::{LANES, padded};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::basic::gemm::{self, Gemm};
use crate::ops::basic::transpose::turn;
use crate::tensor::DType;

/// Pairs that a workgroup of the tiled kernel makes, along `i` and along `j`.
const PAIRS: [usize; 2] = [64, 32];

/// Left `a` and right `b`, both `[n, n, c]` and already masked and gated, to `y [n, n, c]`, summed in f32.
#[derive(Debug, Clone, Copy)]
pub struct TriangleProduct {
    /// `y[i, j] = sum_k a[i, k] b[j, k]`; otherwise incoming edges, `y[i, j] = sum_k a[k, j] b[k, i]` as AlphaFold's code has it (left
    /// and right are swapped relative to the paper's Algorithm 12).
    pub outgoing: bool,
}

/// One product of matrices for each channel: `y[.., c] = a[.., c] b[.., c]`, all `[n, n, c]` and strided as they like, the first two axes
/// of `a` and `b` in the order that `ta` and `tb` say.
fn product(r: &mut Recorder, a: (&View, bool), b: (&View, bool), y: &View) {
    if r.traits.family != Family::Tiled || !tiled(r, a, b, y) {
        by_channel(r, a, b, y);
    }
}

/// The product from where the pairs lie, without workspace; nothing is recorded where that is beyond what the device can bind.
fn tiled(r: &mut Recorder, (a, ta): (&View, bool), (b, tb): (&View, bool), y: &View) -> bool {
    let (n, c) = (y.shape[0], y.width());
    // A window begins at an aligned byte, so that a little room is left in front of it.
    let limit = (r.traits.max_binding as usize).saturating_sub(1024);
    let fits = |v: &View, rows: usize, columns: usize| v.span(&[0..rows.min(n), 0..columns.min(n), 0..c]).len() * v.dtype.size() <= limit;
    // The axes of k, and how much of it a launch may reach along: the sum goes on from what the last launch stored.
    let axes = [usize::from(!ta), usize::from(tb)];
    let reach = |v: &View, axis: usize, pairs: usize, k: usize| if axis == 0 { fits(v, k, pairs) } else { fits(v, pairs, k) };
    let both = |k: usize| reach(a, axes[0], PAIRS[0], k) && reach(b, axes[1], PAIRS[1], k);
    let halves = std::iter::successors(Some(n), |k| (*k > LANES).then(|| k.div_ceil(2)));
    let Some(step) = halves.into_iter().find(|k| both(*k)) else { return false };
    if step < n && y.dtype != DType::F32 || !fits(y, PAIRS[0], PAIRS[1]) {
        return false;
    }
    let stride = |v: &View, axis: usize| v.strides[axis] / LANES;
    for from in (0..n).step_by(step) {
        let part = from..(from + step).min(n);
        let [a, b] = [(a, axes[0]), (b, axes[1])].map(|(v, axis)| v.slice(axis, part.clone()));
        let fields = [("n", n), ("k", part.len()), ("groups", y.groups()), ("ai", stride(&a, 1 - axes[0])), ("ak", stride(&a, axes[0]))];
        let more = [("bj", stride(&b, 1 - axes[1])), ("bk", stride(&b, axes[1])), ("y0", stride(y, 0)), ("y1", stride(y, 1))];
        let fields: Vec<_> = fields.into_iter().chain(more).map(|(name, v)| (name, v.into())).collect();
        let groups = [n.div_ceil(PAIRS[0]), n.div_ceil(PAIRS[1]), y.groups().div_ceil(2)];
        let launch = Launch::new(shader!("evoformer/triangle_product"), "product", UniformData::of(&fields), groups)
            .constant("CHAIN", f64::from(u8::from(from > 0)))
            .read("a", &a, &[cut(0, 1 - axes[0], PAIRS[0])])
            .read("b", &b, &[cut(1, 1 - axes[1], PAIRS[1])])
            .write("y", y, &[cut(0, 0, PAIRS[0]), cut(1, 1, PAIRS[1])]);
        r.launch(launch.flops(2.0 * (n * n * part.len() * c) as f64));
    }
    true
}

/// The product with channels turned to the outside and back. Workspace: as many channels at a time as twice the device's limit allows.
fn by_channel(r: &mut Recorder, (a, ta): (&View, bool), (b, tb): (&View, bool), y: &View) {
    let (n, c) = (y.shape[0], y.shape[2]);
    let bytes = n * padded(n) * [a, b, y].iter().map(|v| v.dtype.size()).sum::<usize>();
    let step = r.chunk_rows_within(2 * r.traits.workspace, c, bytes, LANES).min(c);
    let held = [a, b, y].map(|v| r.temp(&[n, step, n], v.dtype)); // [i, c, k]
    for from in (0..c).step_by(step) {
        let channels = from..(from + step).min(c);
        let part = held.each_ref().map(|v| v.slice(1, 0..channels.len()));
        for (v, to) in [a, b].into_iter().zip(&part) {
            turn(r, &v.slice(2, channels.clone()), to);
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

impl Op for TriangleProduct {
    fn name(&self) -> &'static str {
        "triangle_product"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let fits = x.len() == 2 && x[0] == x[1] && x[0].len() == 3 && x[0][0] == x[0][1];
        assert!(fits, "triangle_product of {x:?}: both are [n, n, c]");
        vec![Spec::of(x[0])]
    }

    fn strided(&self, _i: usize) -> bool {
        true
    }

    fn needs(&self) -> Needs {
        Needs { x: 0b11, y: 0 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        // line 4
        if self.outgoing { product(r, (&x[0], false), (&x[1], true), &y[0]) } else { product(r, (&x[1], true), (&x[0], false), &y[0]) }
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let dy = b.dy0();
        let [left, right] = [&b.x[0], &b.x[1]];
        // Outgoing: da[i, k] = sum_j dy[i, j] b[j, k],  db[j, k] = sum_i dy[i, j] a[i, k].
        // Incoming: da[k, j] = sum_i b[k, i] dy[i, j],  db[k, i] = sum_j a[k, j] dy[i, j].
        if let Some(da) = &b.dx[0] {
            if self.outgoing { product(r, (dy, false), (right, false), da) } else { product(r, (right, false), (dy, false), da) }
        }
        if let Some(db) = &b.dx[1] {
            if self.outgoing { product(r, (dy, true), (left, false), db) } else { product(r, (left, false), (dy, true), db) }
        }
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let (n, c) = (x[0].shape[0], x[0].shape[2]);
        let at = |v: &Array, i: usize, j: usize, q: usize| v.data[(i * n + j) * c + q];
        let mut y = Array::zeros(&x[0].shape);
        for (i, j, q) in (0..n * n * c).map(|f| (f / c / n, f / c % n, f % c)) {
            let term = |k| if self.outgoing { at(&x[0], i, k, q) * at(&x[1], j, k, q) } else { at(&x[0], k, j, q) * at(&x[1], k, i, q) };
            y.data[(i * n + j) * c + q] = (0..n).map(term).sum();
        }
        vec![y]
    }
}
