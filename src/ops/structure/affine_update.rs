//! Algorithm 23 Backbone update, applied: a frame moved in its own coordinates.

use glam::DVec3;

use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::rows::Names;
use crate::protein::rigid::{quat_multiply, quat_to_rot};

fn source() -> &'static Source {
    shader!("structure/affine_update")
}

const NAMES: Names = Names { x: &["x", "u"], tables: &[], y: &["y"], reads: &[0, 1], dy: &["dy"], dx: &["dx", "du"] };

/// `affine [n, 7], update [n, 6]` to `affine [n, 7]`: `q' = normalised(q + q (0, b, c, d))`, `t' = t + R(q) u`, where the update is
/// (b, c, d, u). The translation turns with the old rotation, and the norm has no epsilon (QUIRKS 27).
#[derive(Debug, Clone, Copy)]
pub struct AffineUpdate;

fn uniform(x: &View) -> UniformData {
    UniformData::of(&[("rows", x.shape[0].into())])
}

impl Op for AffineUpdate {
    fn name(&self) -> &'static str {
        "affine_update"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let n = x[0][0];
        assert!(x[0] == [n, 7] && x[1] == [n, 6], "affine_update of {:?} by {:?}", x[0], x[1]);
        vec![Spec::f32(&[n, 7])]
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
        let mut y = Vec::new();
        for (a, u) in x[0].data.chunks(7).zip(x[1].data.chunks(6)) {
            let q = [a[0], a[1], a[2], a[3]];
            let step = quat_multiply(q, [0.0, u[0], u[1], u[2]]);
            let moved: Vec<f64> = (0..4).map(|k| q[k] + step[k]).collect();
            let norm = moved.iter().map(|v| v * v).sum::<f64>().sqrt();
            y.extend(moved.iter().map(|v| v / norm));
            y.extend((DVec3::new(a[4], a[5], a[6]) + quat_to_rot(q) * DVec3::new(u[3], u[4], u[5])).to_array());
        }
        vec![Array::new(&x[0].shape, y)]
    }
}
