//! Atoms from the layout of fourteen slots to that of thirty-seven, and back.

use crate::gpu::shader::{Source, UniformData};
use crate::gpu::view::padded;
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::rows::Names;

fn source() -> &'static Source {
    shader!("structure/atom_gather")
}

const NAMES: Names = Names { x: &["x", "index", "exists"], tables: &[], y: &["y"], reads: &[1, 2], dy: &["dy"], dx: &["dx"] };

/// `x [n, a, 3], index [n, b] i32, exists [n, b]` to `[n, b, 3]`: slot `b` of the result is slot `index[b]` of `x`, zero where it does not
/// exist.
#[derive(Debug, Clone, Copy)]
pub struct AtomGather;

fn uniform(x: &[View]) -> UniformData {
    let (from, to) = (x[0].shape[1], x[1].shape[1]);
    UniformData::of(&[("rows", x[0].shape[0].into()), ("slots", from.into()), ("out", to.into()), ("pitch", padded(to).into())])
}

impl Op for AtomGather {
    fn name(&self) -> &'static str {
        "atom_gather"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let (n, to) = (x[1][0], x[1][1]);
        let fits = x[0].len() == 3 && x[0][0] == n && x[0][2] == 3 && x[1] == x[2];
        assert!(fits, "atom_gather of {:?} by {:?} and {:?}", x[0], x[1], x[2]);
        vec![Spec::f32(&[n, to, 3])]
    }

    fn differentiable(&self, i: usize) -> bool {
        i == 0
    }

    fn needs(&self) -> Needs {
        NAMES.needs()
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        NAMES.forward(r, source(), "forward", uniform(x), x, y);
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        NAMES.backward(r, source(), "backward", uniform(b.x), b);
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let ([n, to], from) = ([x[1].shape[0], x[1].shape[1]], x[0].shape[1]);
        let coordinate = |at: usize| {
            let (slot, axis) = (at / 3, at % 3);
            x[2].data[slot] * x[0].data[3 * (slot / to * from + x[1].data[slot] as usize) + axis]
        };
        vec![Array::new(&[n, to, 3], (0..n * to * 3).map(coordinate).collect())]
    }
}
