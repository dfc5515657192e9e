//! Algorithm 20 StructureModule, line 20: the next layer's rotations are constants.

use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::rows::Names;

fn source() -> &'static Source {
    shader!("structure/stop_rotation")
}

const NAMES: Names = Names { x: &["x"], tables: &[], y: &["y"], reads: &[], dy: &["dy"], dx: &["dx"] };

/// `affine [n, 7]` as it is; gradients pass through the translation alone.
#[derive(Debug, Clone, Copy)]
pub struct StopRotation;

fn uniform(x: &View) -> UniformData {
    UniformData::of(&[("rows", x.shape[0].into())])
}

impl Op for StopRotation {
    fn name(&self) -> &'static str {
        "stop_rotation"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        assert!(x[0].len() == 2 && x[0][1] == 7, "stop_rotation of {:?}, not [n, 7]", x[0]);
        vec![Spec::f32(x[0])]
    }

    fn needs(&self) -> Needs {
        NAMES.needs()
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        NAMES.forward(r, source(), "forward", uniform(&x[0]), x, y);
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        NAMES.backward(r, source(), "backward", uniform(&b.x[0]), b);
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        x.to_vec()
    }
}
