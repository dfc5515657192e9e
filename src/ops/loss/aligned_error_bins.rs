//! Bins of the aligned error of every pair of residues: the truth that the predicted-aligned-error head learns.

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::tensor::DType;

fn source() -> &'static Source {
    shader!("loss/aligned_error_bins")
}

/// Backbone frames `predicted [n, 12], truth [n, 12]`, translations in Angstrom, to `bins [n, n] i32`: the class of the distance between the
/// predicted and the true origin of residue j, each seen from its own frame i. Class k counts the edges below, of `bins - 1` edges from 0
/// to `max`; class 0 holds exact zeros only (QUIRKS 46). There is no gradient, as AlphaFold stops it here.
#[derive(Debug, Clone, Copy)]
pub struct AlignedErrorBins {
    /// The last edge, Angstrom: 31.
    pub max: f32,
    /// Number of classes: 64.
    pub bins: usize,
}

impl AlignedErrorBins {
    fn step(&self) -> f32 {
        self.max / (self.bins - 2) as f32
    }
}

impl Op for AlignedErrorBins {
    fn name(&self) -> &'static str {
        "aligned_error_bins"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let [n, 12] = *x[0] else { panic!("aligned_error_bins of {x:?}: frames are [n, 12]") };
        assert!(x[1] == x[0], "aligned_error_bins of {x:?}: both are [n, 12]");
        vec![Spec { shape: vec![n, n], dtype: Some(DType::I32) }]
    }

    fn differentiable(&self, _i: usize) -> bool {
        false
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let (n, groups) = (x[0].shape[0], y[0].groups());
        let edges = self.bins - 1;
        let uniform = UniformData::of(&[("n", n.into()), ("groups", groups.into()), ("step", self.step().into()), ("edges", edges.into())]);
        let launch = Launch::new(source(), "forward", uniform, [groups.div_ceil(64), n, 1]).read("predicted", &x[0], &[]);
        r.launch(launch.read("truth", &x[1], &[]).write("bins", &y[0], &[cut(1, 0, 1)]).flops((3 * edges * n * n) as f64));
    }

    fn backward(&self, _r: &mut Recorder, _b: &Backward) {}

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let n = x[0].shape[0];
        // Component k of the origin of frame j, seen from frame i: column k of the rotation times the difference.
        let seen = |f: &Array, i: usize, j: usize, k: usize| {
            let at = |r: usize, c: usize| f.data[r * 12 + c];
            (0..3).map(|c| at(i, 3 * c + k) * (at(j, 9 + c) - at(i, 9 + c))).sum::<f64>()
        };
        let bin = |i: usize, j: usize| {
            let d2 = (0..3).map(|k| (seen(&x[0], i, j, k) - seen(&x[1], i, j, k)).powi(2)).sum::<f64>();
            (0..self.bins - 1).filter(|&k| d2 > (k as f64 * f64::from(self.step())).powi(2)).count() as f64
        };
        vec![Array::new(&[n, n], (0..n).flat_map(|i| (0..n).map(move |j| (i, j))).map(|(i, j)| bin(i, j)).collect())]
    }
}
