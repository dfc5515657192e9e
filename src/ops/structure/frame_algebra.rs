//! The algebra of frames and quaternions by itself: what the fused kernels are made of, held against AlphaFold's `r3` and `quat_affine`.

use glam::DVec3;

use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::rows::Names;
use crate::ops::structure::frame;
use crate::protein::rigid::{Rigid, quat_multiply};

fn source() -> &'static Source {
    shader!("structure/frame_algebra")
}

/// One row in, one row out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameAlgebra {
    /// `a [n, 12], b [n, 12]` to `[n, 12]`: first `b`, then `a`.
    Product,
    /// `[n, 12]` to `[n, 12]`.
    Inverse,
    /// Algorithm 21 rigidFrom3Points: a point at negative x, the origin, a point in the xy plane, each `[n, 3]`, to `[n, 12]`.
    ThreePoints,
    /// `a [n, 4], b [n, 4]` to `[n, 4]`: the product of quaternions (w, x, y, z).
    Quaternions,
}

impl FrameAlgebra {
    /// The entry points, the number of inputs and the widths of an input and of the output.
    fn facts(self) -> ([&'static str; 2], usize, [usize; 2]) {
        match self {
            Self::Product => (["product", "product_back"], 2, [12, 12]),
            Self::Inverse => (["inverse", "inverse_back"], 1, [12, 12]),
            Self::ThreePoints => (["three_points", "three_points_back"], 3, [3, 12]),
            Self::Quaternions => (["quaternions", "quaternions_back"], 2, [4, 4]),
        }
    }

    fn names(self) -> Names {
        let inputs = self.facts().1;
        Names {
            x: &["a", "b", "c"][..inputs],
            tables: &[],
            y: &["y"],
            reads: &[0, 1, 2][..inputs],
            dy: &["dy"],
            dx: &["da", "db", "dc"][..inputs],
        }
    }
}

fn uniform(x: &View) -> UniformData {
    UniformData::of(&[("rows", x.shape[0].into())])
}

impl Op for FrameAlgebra {
    fn name(&self) -> &'static str {
        "frame_algebra"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let (_, inputs, [from, to]) = self.facts();
        let n = x[0][0];
        assert!(x.len() == inputs && x.iter().all(|s| *s == [n, from]), "{self:?} of {x:?}: {inputs} inputs [n, {from}]");
        vec![Spec::f32(&[n, to])]
    }

    fn needs(&self) -> Needs {
        self.names().needs()
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        self.names().forward(r, source(), self.facts().0[0], uniform(&x[0]), x, y);
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        self.names().backward(r, source(), self.facts().0[1], uniform(&b.x[0]), b);
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let n = x[0].shape[0];
        let point = |k: usize, i: usize| DVec3::from_slice(&x[k].data[3 * i..]);
        let quat = |k: usize, i: usize| [0, 1, 2, 3].map(|c| x[k].data[4 * i + c]);
        let row = |i: usize| match self {
            Self::Product => frame(&x[0].data, i).compose(&frame(&x[1].data, i)).flat12().to_vec(),
            Self::Inverse => frame(&x[0].data, i).inverse().flat12().to_vec(),
            Self::ThreePoints => Rigid::from_3_points(point(0, i), point(1, i), point(2, i)).flat12().to_vec(),
            Self::Quaternions => quat_multiply(quat(0, i), quat(1, i)).to_vec(),
        };
        vec![Array::new(&[n, self.facts().2[1]], (0..n).flat_map(row).collect())]
    }
}
