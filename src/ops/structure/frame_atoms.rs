//! Algorithm 24 computeAllAtomCoordinates, line 11: atoms from the frames of rigid groups and literature positions.

use glam::DVec3;

use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::rows::Names;
use crate::ops::structure::frame;

fn source() -> &'static Source {
    shader!("structure/frame_atoms")
}

const NAMES: Names =
    Names { x: &["f", "types"], tables: &["groups", "places", "exists"], y: &["y"], reads: &[1, 2, 3, 4], dy: &["dy"], dx: &["df"] };

/// `frames [l n, 8, 12], aatype [n] i32` of one chain `l` times over, and per type the atoms' groups `[types, 14]` i32, positions `[types, 14, 3]` and masks
/// `[types, 14]`, to positions `[l n, 14, 3]`, zero where a type has no atom.
#[derive(Debug, Clone, Copy)]
pub struct FrameAtoms;

fn uniform(x: &[View]) -> UniformData {
    UniformData::of(&[("rows", x[0].shape[0].into()), ("residues", x[1].shape[0].into())])
}

impl Op for FrameAtoms {
    fn name(&self) -> &'static str {
        "frame_atoms"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let (n, t) = (x[0][0], x[2][0]);
        let chains = x[1].len() == 1 && n.is_multiple_of(x[1][0]);
        let fits = chains && x[0] == [n, 8, 12] && x[2] == [t, 14] && x[3] == [t, 14, 3] && x[4] == [t, 14];
        assert!(fits, "frame_atoms of frames {:?}, types {:?} and tables {:?}", x[0], x[1], &x[2..]);
        vec![Spec::f32(&[n, 14, 3])]
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
        let n = x[0].shape[0];
        let atom = |at: usize| {
            let (i, a) = (at / 14, at % 14);
            let slot = 14 * x[1].data[i % x[1].shape[0]] as usize + a;
            let place = DVec3::from_slice(&x[3].data[3 * slot..]);
            (x[4].data[slot] * frame(&x[0].data, 8 * i + x[2].data[slot] as usize).apply(place)).to_array()
        };
        vec![Array::new(&[n, 14, 3], (0..14 * n).flat_map(atom).collect())]
    }
}
