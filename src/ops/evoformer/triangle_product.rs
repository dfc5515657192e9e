//! The sum over the third edge of a triangle: the heart of Algorithms 11 and 12, triangle multiplication.

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::view::{LANES, padded};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::basic::gemm::{self, Gemm};

/// Elements along each side of what a workgroup turns.
const TILE: usize = 32;

fn source() -> &'static Source {
    shader!("evoformer/triangle_product")
}

/// Left `a` and right `b`, both `[n, n, c]` and already masked and gated, to `y [n, n, c]`, summed in f32.
#[derive(Debug, Clone, Copy)]
pub struct TriangleProduct {
    /// `y[i, j] = sum_k a[i, k] b[j, k]`; otherwise incoming edges, `y[i, j] = sum_k a[k, j] b[k, i]` as AlphaFold's code has it (left
    /// and right are swapped relative to the paper's Algorithm 12).
    pub outgoing: bool,
}

/// `y[b, j, i] = x[b, i, j]` for strided views.
fn turn(r: &mut Recorder, x: &View, y: &View) {
    let [batch, rows, columns] = x.shape[..] else { panic!("turn of {:?}", x.shape) };
    assert_eq!(y.shape, [batch, columns, rows], "turn of {:?}", x.shape);
    let stride = |v: &View, axis: usize| (v.strides[axis] / LANES).into();
    let uniform = UniformData::of(&[
        ("rows", rows.into()),
        ("columns", columns.into()),
        ("row_groups", rows.div_ceil(LANES).into()),
        ("column_groups", columns.div_ceil(LANES).into()),
        ("x0", stride(x, 0)),
        ("x1", stride(x, 1)),
        ("y0", stride(y, 0)),
        ("y1", stride(y, 1)),
    ]);
    let launch = Launch::new(source(), "turn", uniform, [rows.div_ceil(TILE), batch, columns.div_ceil(TILE)]);
    r.launch(launch.read("x", x, &[cut(1, 0, 1), cut(0, 1, TILE)]).write("y", y, &[cut(1, 0, 1), cut(2, 1, TILE)]));
}

/// One product of matrices for each channel: `y[.., c] = a[.., c] b[.., c]`, all `[n, n, c]` and strided as they like, the first two axes
/// of `a` and `b` in the order that `ta` and `tb` say. Workspace: as many channels at a time as the device's limit allows.
fn product(r: &mut Recorder, (a, ta): (&View, bool), (b, tb): (&View, bool), y: &View) {
    let (n, c) = (y.shape[0], y.shape[2]);
    let bytes = n * padded(n) * [a, b, y].iter().map(|v| v.dtype.size()).sum::<usize>();
    let step = r.chunk_rows(c, bytes, LANES).min(c);
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
