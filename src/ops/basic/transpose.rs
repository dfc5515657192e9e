//! The last two axes exchanged: the one permutation that no view can make, since the innermost axis stays innermost in a view.

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::view::LANES;
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::basic::copy::copy;
use crate::ops::basic::gated::Gated;

/// Elements along each side of what a workgroup turns.
const TILE: usize = 32;

fn source() -> &'static Source {
    shader!("basic/transpose")
}

/// `x [.., a, b]` to `y [.., b, a]`.
#[derive(Debug, Clone, Copy)]
pub struct Transpose;

/// `[.., a, b]` as `[batch, a, b]`.
fn three(v: &View) -> View {
    let n = v.shape.len();
    let batch: usize = v.shape[..n - 2].iter().product();
    v.reshape(&[batch, v.shape[n - 2], v.shape[n - 1]])
}

/// `y[b, j, i] = x[b, i, j]` for strided views.
pub(in crate::ops) fn turn(r: &mut Recorder, x: &View, y: &View) {
    turn_gated(r, x, None, y);
}

/// The same of `mask[b, i] x[b, i, j] sigmoid(gate[b, i, j])`, where a gate and a mask are given.
pub(in crate::ops) fn turn_gated(r: &mut Recorder, x: &View, gate: Option<&[View; 2]>, y: &View) {
    let [batch, rows, columns] = x.shape[..] else { panic!("turn of {:?}", x.shape) };
    assert_eq!(y.shape, [batch, columns, rows], "turn of {:?}", x.shape);
    // Rows so far apart that no binding holds a tile of them are brought together first.
    let far = |v: &View| TILE.min(rows) * v.strides[1] * v.dtype.size() + 1024 > r.traits.max_binding as usize && !v.is_contiguous();
    if far(x) || gate.is_some_and(|[gate, _]| far(gate)) {
        let near = r.temp(&x.shape, x.dtype);
        match gate {
            None => copy(r, &near, x),
            Some([gate, mask]) => Gated::with_gate(true).forward(r, &[x.clone(), gate.clone(), mask.clone()], std::slice::from_ref(&near)),
        }
        return turn(r, &near, y);
    }
    // What is not there is x again, so that a binding names memory that is there.
    let [of, mask] = gate.map_or([x; 2], |[gate, mask]| [gate, mask]);
    let stride = |v: &View, axis: usize| (v.strides[axis] / LANES).into();
    let uniform = UniformData::of(&[
        ("rows", rows.into()),
        ("columns", columns.into()),
        ("row_groups", rows.div_ceil(LANES).into()),
        ("column_groups", columns.div_ceil(LANES).into()),
        ("x0", stride(x, 0)),
        ("x1", stride(x, 1)),
        ("g0", stride(of, 0)),
        ("g1", stride(of, 1)),
        ("m0", mask.strides[0].into()),
        ("m1", mask.strides[1].into()),
        ("y0", stride(y, 0)),
        ("y1", stride(y, 1)),
    ]);
    let launch = Launch::new(source(), "turn", uniform, [rows.div_ceil(TILE), batch, columns.div_ceil(TILE)]);
    let cuts = [cut(1, 0, 1), cut(0, 1, TILE)];
    let launch = launch.constant("GATED", f64::from(u8::from(gate.is_some())));
    let launch = launch.read("x", x, &cuts).read("gate", of, &cuts).read("mask", mask, &cuts);
    r.launch(launch.write("y", y, &[cut(1, 0, 1), cut(2, 1, TILE)]));
}

impl Op for Transpose {
    fn name(&self) -> &'static str {
        "transpose"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let n = x[0].len();
        assert!(n >= 2, "transpose of {:?}", x[0]);
        let mut shape = x[0].to_vec();
        shape.swap(n - 2, n - 1);
        vec![Spec::of(&shape)]
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        turn(r, &three(&x[0]), &three(&y[0]));
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        if let Some(dx) = &b.dx[0] {
            turn(r, &three(b.dy0()), &three(dx));
        }
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let n = x[0].shape.len();
        let (rows, columns) = (x[0].shape[n - 2], x[0].shape[n - 1]);
        let mut shape = x[0].shape.clone();
        shape.swap(n - 2, n - 1);
        let turn = |m: &[f64]| (0..rows * columns).map(|at| m[at % rows * columns + at / rows]).collect::<Vec<_>>();
        vec![Array::new(&shape, x[0].data.chunks(rows * columns).flat_map(turn).collect())]
    }
}
