//! Algorithm 28 Compute the frame aligned point error, for several layers at once; no tensor of frames times points is ever stored.

use glam::DVec3;

use crate::gpu::recorder::{Cut, Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::view::padded;
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::protein::rigid::Rigid;
use crate::tensor::DType;

fn source() -> &'static Source {
    shader!("loss/fape")
}

/// Frames or points of a workgroup.
const GROUP: usize = 64;
/// How frames or points of all layers follow the grid when each is one invocation's, and when every invocation reads all of its layer.
const OWN: [Cut; 2] = [cut(0, 1, GROUP), cut(1, 0, 1)];
const LAYER: [Cut; 1] = [cut(1, 0, 1)];
/// How the truth follows the grid when each frame or point is one invocation's.
const TRUTH: [Cut; 1] = [cut(0, 0, GROUP)];

/// Predicted `frames [l, f, 12], points [l, p, 3]`, true `frames [f, 12], frame_mask, points [p, 3], point_mask` and `mix [1]` to the mean of
/// the layers' errors `[1]` and the last layer's `[1]`. A mask is a vector, or rows `[r, k]` whose product is the number of frames or points.
///
/// The error of a pair is `mix * min(e, clamp) + (1 - mix) * e` with `e = sqrt(|a - b|^2 + eps)`, divided by `scale`; a layer's is the
/// pairs' sum over `eps + sum(frame_mask) * sum(point_mask)` (QUIRKS 35). The third output is that divisor's inverse and `mix`, for backward.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fape {
    /// Where the error is cut off, Angstrom; `None`: nowhere.
    pub clamp: Option<f32>,
    /// The length in units of which the error is given, Angstrom.
    pub scale: f32,
    /// Added under the root and to the divisor.
    pub eps: f32,
}

/// The extent of a mask's innermost axis.
fn width(mask: &[usize]) -> usize {
    *mask.last().expect("a mask has an axis")
}

impl Fape {
    fn uniform(&self, x: &[View], b: Option<&Backward>) -> UniformData {
        let given = |k: usize| usize::from(b.is_some_and(|b| b.dy[k].is_some()));
        let k = [width(&x[3].shape), width(&x[5].shape)];
        UniformData::of(&[
            ("layers", x[0].shape[0].into()),
            ("frames", x[0].shape[1].into()),
            ("points", x[1].shape[1].into()),
            ("frame_k", k[0].into()),
            ("frame_pitch", padded(k[0]).into()),
            ("point_k", k[1].into()),
            ("point_pitch", padded(k[1]).into()),
            ("has_dy", given(0).into()),
            ("has_dlast", given(1).into()),
            ("clamp", self.clamp.unwrap_or(f32::MAX).into()),
            ("scale", self.scale.into()),
            ("eps", self.eps.into()),
        ])
    }

    /// A launch with one invocation per frame (`of` is 0) or per point (1) of every layer, with what all of them read.
    fn launch(entry: &'static str, p: UniformData, x: &[View], of: usize) -> Launch {
        let cuts = |i: usize| -> &[Cut] { if i == of { &OWN } else { &LAYER } };
        let truth = |i: usize| -> &[Cut] { if i == of { &TRUTH } else { &[] } };
        let (l, f, n) = (x[0].shape[0], x[0].shape[1], x[1].shape[1]);
        Launch::new(source(), entry, p, [[f, n][of].div_ceil(GROUP), l, 1])
            .read("frames", &x[0], cuts(0))
            .read("points", &x[1], cuts(1))
            .read("true_frames", &x[2], truth(0))
            .read("frame_mask", &x[3], &[])
            .read("true_points", &x[4], truth(1))
            .read("point_mask", &x[5], &[])
            .flops(45.0 * (l * f * n) as f64)
    }
}

impl Op for Fape {
    fn name(&self) -> &'static str {
        "fape"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let (&[l, f, 12], &[layers, p, 3]) = (x[0], x[1]) else { panic!("fape of frames {:?} and points {:?}", x[0], x[1]) };
        let masks = x[3].iter().product::<usize>() == f && x[5].iter().product::<usize>() == p && x[3].len() <= 2 && x[5].len() <= 2;
        assert!(l == layers && x[2] == [f, 12] && x[4] == [p, 3] && masks && x[6] == [1], "fape of {x:?}");
        vec![Spec::f32(&[1]), Spec::f32(&[1]), Spec::f32(&[2])]
    }

    fn differentiable(&self, i: usize) -> bool {
        i < 2
    }

    fn needs(&self) -> Needs {
        Needs { x: 0b11_1111, y: 0b100 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let p = self.uniform(x, None);
        let part = r.temp(&[x[0].shape[0], x[0].shape[1], 1], DType::F32);
        r.launch(Self::launch("forward", p.clone(), x, 0).read("mix", &x[6], &[]).write("part", &part, &OWN));
        r.launch(
            Launch::new(source(), "finish", p, [1, 1, 1])
                .read("part", &part, &[])
                .read("frame_mask", &x[3], &[])
                .read("point_mask", &x[5], &[])
                .read("mix", &x[6], &[])
                .write("y", &y[0], &[])
                .write("last", &y[1], &[])
                .write("stats", &y[2], &[]),
        );
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let p = self.uniform(b.x, Some(b));
        let layers = b.x[0].shape[0];
        let coef = r.temp(&[layers, 4], DType::F32);
        // Where nothing depends on an output the binding must still name valid memory, and the statistics are at hand.
        let cotangent = |k: usize| b.dy[k].as_ref().unwrap_or(&b.y[2]);
        r.launch(
            Launch::new(source(), "backward_scale", p.clone(), [layers.div_ceil(GROUP), 1, 1])
                .read("dy", cotangent(0), &[])
                .read("dlast", cotangent(1), &[])
                .read("stats", &b.y[2], &[])
                .write("coef", &coef, &[]),
        );
        if let Some(dframes) = &b.dx[0] {
            let launch = Self::launch("backward_frames", p.clone(), b.x, 0);
            r.launch(launch.read("coef", &coef, &LAYER).write("dframes", dframes, &OWN));
        }
        if let Some(dpoints) = &b.dx[1] {
            let launch = Self::launch("backward_points", p, b.x, 1);
            r.launch(launch.read("coef", &coef, &LAYER).write("dpoints", dpoints, &OWN));
        }
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let rigids = |a: &Array| -> Vec<Rigid> { a.data.as_chunks::<12>().0.iter().map(|v| Rigid::from_flat12(*v)).collect() };
        let points = |a: &Array| -> Vec<DVec3> { a.data.as_chunks::<3>().0.iter().map(|v| DVec3::from(*v)).collect() };
        let (eps, mix) = (f64::from(self.eps), x[6].data[0]);
        let clamp = self.clamp.map_or(f64::INFINITY, f64::from);
        let (frames, xs, true_frames, true_xs) = (rigids(&x[0]), points(&x[1]), rigids(&x[2]), points(&x[4]));
        let sum = |a: &Array| a.data.iter().sum::<f64>();
        let c = 1.0 / (f64::from(self.scale) * (eps + sum(&x[3]) * sum(&x[5])));
        let layer = |(frames, xs): (&[Rigid], &[DVec3])| {
            let mut total = 0.0;
            for (f, mf) in x[3].data.iter().enumerate() {
                for (p, mp) in x[5].data.iter().enumerate() {
                    let difference = frames[f].apply_inverse(xs[p]) - true_frames[f].apply_inverse(true_xs[p]);
                    let e = (difference.length_squared() + eps).sqrt();
                    total += mf * mp * (mix * e.min(clamp) + (1.0 - mix) * e);
                }
            }
            c * total
        };
        let layers: Vec<f64> = frames.chunks(true_frames.len()).zip(xs.chunks(true_xs.len())).map(layer).collect();
        let mean = layers.iter().sum::<f64>() / layers.len() as f64;
        vec![Array::new(&[1], vec![mean]), Array::new(&[1], vec![layers[layers.len() - 1]]), Array::new(&[2], vec![c, mix])]
    }
}
