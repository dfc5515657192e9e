//! Algorithm 24 computeAllAtomCoordinates, lines 1-10: torsion angles and the backbone's frame to the frames of all rigid groups.

use glam::{DMat3, DVec3};

use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::rows::Names;
use crate::ops::structure::frame;

fn source() -> &'static Source {
    shader!("structure/torsion_frames")
}

const NAMES: Names =
    Names { x: &["f", "angles", "types"], tables: &["table"], y: &["y"], reads: &[0, 1, 2, 3], dy: &["dy"], dx: &["df", "dangles"] };

/// `backbone [l n, 12], angles [l n, 7, 2], aatype [n] i32, literature frames [types, 96]` to frames `[l n, 8, 12]`, for one chain `l`
/// times over. Angles are (sin, cos) of pre-omega, phi, psi and chi1 to chi4; groups are the backbone, then these.
#[derive(Debug, Clone, Copy)]
pub struct TorsionFrames;

fn uniform(x: &[View]) -> UniformData {
    UniformData::of(&[("rows", x[0].shape[0].into()), ("residues", x[2].shape[0].into())])
}

impl Op for TorsionFrames {
    fn name(&self) -> &'static str {
        "torsion_frames"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let n = x[0][0];
        let chains = x[2].len() == 1 && n.is_multiple_of(x[2][0]);
        let fits = chains && x[0] == [n, 12] && x[1] == [n, 7, 2] && x[3].len() == 2 && x[3][1] == 96;
        assert!(fits, "torsion_frames of frames {:?}, angles {:?}, types {:?}, table {:?}", x[0], x[1], x[2], x[3]);
        vec![Spec::f32(&[n, 8, 12])]
    }

    fn differentiable(&self, i: usize) -> bool {
        i < 2
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
        let mut y = Vec::new();
        for i in 0..x[0].shape[0] {
            let backbone = frame(&x[0].data, i);
            let mut before = backbone;
            for k in 0..8 {
                let (sin, cos) = if k == 0 { (0.0, 1.0) } else { (x[1].data[14 * i + 2 * k - 2], x[1].data[14 * i + 2 * k - 1]) };
                let about_x = DMat3::from_cols(DVec3::X, DVec3::new(0.0, cos, sin), DVec3::new(0.0, -sin, cos));
                let local = frame(&x[3].data, 8 * x[2].data[i % x[2].shape[0]] as usize + k).turned(about_x);
                // Chi2 to chi4 turn with the chi before, all others with the backbone.
                before = if k > 4 { before } else { backbone }.compose(&local);
                y.extend(before.flat12());
            }
        }
        vec![Array::new(&[x[0].shape[0], 8, 12], y)]
    }
}
