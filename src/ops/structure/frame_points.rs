//! Points between the coordinates of a frame and those of the whole.

use glam::DVec3;

use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::rows::Names;
use crate::ops::structure::frame;

fn source() -> &'static Source {
    shader!("structure/frame_points")
}

const NAMES: Names = Names { x: &["f", "x"], tables: &[], y: &["y"], reads: &[0, 1], dy: &["dy"], dx: &["df", "dx"] };

/// `frames [n, 12], points [n, p, 3]` to `points [n, p, 3]`: `R x + t`, or `R^T (x - t)`.
#[derive(Debug, Clone, Copy)]
pub struct FramePoints {
    /// From global to local coordinates.
    pub inverse: bool,
}

impl FramePoints {
    fn uniform(self, x: &[View]) -> UniformData {
        let inverse = u32::from(self.inverse);
        UniformData::of(&[("rows", x[0].shape[0].into()), ("points", x[1].shape[1].into()), ("inverse", inverse.into())])
    }
}

impl Op for FramePoints {
    fn name(&self) -> &'static str {
        "frame_points"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let fits = x[0].len() == 2 && x[0][1] == 12 && x[1].len() == 3 && x[1][0] == x[0][0] && x[1][2] == 3;
        assert!(fits, "frame_points of frames {:?} and points {:?}", x[0], x[1]);
        vec![Spec::f32(x[1])]
    }

    fn needs(&self) -> Needs {
        NAMES.needs()
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        NAMES.forward(r, source(), "forward", self.uniform(x), x, y);
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        NAMES.backward(r, source(), "backward", self.uniform(b.x), b);
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let points = x[1].shape[1];
        let moved = x[1].data.chunks(3).enumerate().flat_map(|(k, v)| {
            let (f, v) = (frame(&x[0].data, k / points), DVec3::from_slice(v));
            if self.inverse { f.apply_inverse(v) } else { f.apply(v) }.to_array()
        });
        vec![Array::new(&x[1].shape, moved.collect())]
    }
}
