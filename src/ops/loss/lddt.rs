//! lDDT of one atom of every residue: the truth that the pLDDT head learns.

use crate::gpu::recorder::Launch;
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::view::padded;
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::tensor::DType;

fn source() -> &'static Source {
    shader!("loss/lddt")
}

/// `predicted [n, atoms, 3], truth [n, atoms, 3], mask [n, atoms]` of zeros and ones to the score `[n]` in 0..1 of the atom `atom`, its
/// class `[n] i32`, `floor(bins score)` and at most `bins - 1`, and the mask `[n]` of that atom. There is no gradient, as AlphaFold stops it
/// here. A residue without any pair to score has 1 (QUIRKS 45).
#[derive(Debug, Clone, Copy)]
pub struct Lddt {
    /// Which of the atoms.
    pub atom: usize,
    /// Pairs that are closer than this in the truth are scored, Angstrom: 15.
    pub cutoff: f32,
    /// Number of classes.
    pub bins: usize,
}

impl Op for Lddt {
    fn name(&self) -> &'static str {
        "lddt"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let [n, atoms] = *x[2] else { panic!("lddt of {x:?}: the mask is [n, atoms]") };
        assert!(x[0] == [n, atoms, 3] && x[1] == x[0] && self.atom < atoms, "lddt of {x:?}: positions are [n, atoms, 3]");
        vec![Spec::f32(&[n]), Spec { shape: vec![n], dtype: Some(DType::I32) }, Spec::f32(&[n])]
    }

    fn differentiable(&self, _i: usize) -> bool {
        false
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let (n, atoms) = (x[2].shape[0], x[2].shape[1]);
        let groups = y[0].groups();
        let uniform = UniformData::of(&[
            ("n", n.into()),
            ("atoms", atoms.into()),
            ("atom", self.atom.into()),
            ("mask_pitch", padded(atoms).into()),
            ("groups", groups.into()),
            ("cutoff", self.cutoff.into()),
            ("bins", self.bins.into()),
        ]);
        r.launch(
            Launch::new(source(), "forward", uniform, [groups.div_ceil(64), 1, 1])
                .read("predicted", &x[0], &[])
                .read("truth", &x[1], &[])
                .read("mask", &x[2], &[])
                .write("score", &y[0], &[])
                .write("label", &y[1], &[])
                .write("there", &y[2], &[])
                .flops(20.0 * (n * n) as f64),
        );
    }

    fn backward(&self, _r: &mut Recorder, _b: &Backward) {}

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let (n, atoms) = (x[2].shape[0], x[2].shape[1]);
        let has = |i: usize| x[2].data[i * atoms + self.atom];
        let distance = |p: &Array, i: usize, j: usize| {
            let at = |i: usize, k: usize| p.data[(i * atoms + self.atom) * 3 + k];
            (1e-10 + (0..3).map(|k| (at(i, k) - at(j, k)).powi(2)).sum::<f64>()).sqrt()
        };
        let score = |i: usize| {
            let (mut sum, mut count) = (1e-10, 1e-10);
            for j in (0..n).filter(|&j| j != i && distance(&x[1], i, j) < f64::from(self.cutoff)) {
                let off = (distance(&x[1], i, j) - distance(&x[0], i, j)).abs();
                let pair = has(i) * has(j);
                sum += pair * [0.5, 1.0, 2.0, 4.0].iter().filter(|&&t| off < t).count() as f64 / 4.0;
                count += pair;
            }
            sum / count
        };
        let scores: Vec<f64> = (0..n).map(score).collect();
        let labels = scores.iter().map(|s| (s * self.bins as f64).floor().min((self.bins - 1) as f64)).collect();
        vec![Array::new(&[n], scores.clone()), Array::new(&[n], labels), Array::new(&[n], (0..n).map(has).collect())]
    }
}
