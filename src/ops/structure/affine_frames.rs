//! Affines as frames.

use glam::DVec3;

use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::rows::Names;
use crate::protein::rigid::{Rigid, quat_to_rot};

fn source() -> &'static Source {
    shader!("structure/affine_frames")
}

const NAMES: Names = Names { x: &["x"], tables: &[], y: &["y", "trans"], reads: &[0], dy: &["dy", "dtrans"], dx: &["dx"] };

/// `affine [n, 7]` to frames `[n, 12]` and their origins `[n, 3]`, both with the translation times `scale`.
#[derive(Debug, Clone, Copy)]
pub struct AffineFrames {
    /// From the structure module's unit to Angstrom: AlphaFold's `position_scale` is 10.
    pub scale: f32,
}

impl AffineFrames {
    fn uniform(self, x: &View) -> UniformData {
        UniformData::of(&[("rows", x.shape[0].into()), ("scale", self.scale.into())])
    }
}

impl Op for AffineFrames {
    fn name(&self) -> &'static str {
        "affine_frames"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let [n, 7] = x[0] else { panic!("affine_frames of {:?}, not [n, 7]", x[0]) };
        vec![Spec::f32(&[*n, 12]), Spec::f32(&[*n, 3])]
    }

    fn needs(&self) -> Needs {
        NAMES.needs()
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        NAMES.forward(r, source(), "forward", self.uniform(&x[0]), x, y);
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        NAMES.backward(r, source(), "backward", self.uniform(&b.x[0]), b);
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let (mut frames, mut trans) = (Vec::new(), Vec::new());
        for a in x[0].data.chunks(7) {
            let t = DVec3::new(a[4], a[5], a[6]) * f64::from(self.scale);
            frames.extend(Rigid { rot: quat_to_rot([a[0], a[1], a[2], a[3]]), trans: t }.flat12());
            trans.extend(t.to_array());
        }
        let n = x[0].shape[0];
        vec![Array::new(&[n, 12], frames), Array::new(&[n, 3], trans)]
    }
}
