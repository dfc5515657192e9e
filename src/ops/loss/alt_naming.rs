//! Algorithm 26 Rename symmetric ground truth atoms, lines 1-5: for which residues the other naming of ambiguous atoms fits better.

use glam::DVec3;

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::view::LANES;
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};

fn source() -> &'static Source {
    shader!("loss/alt_naming")
}

/// Predicted, true and renamed true positions, each `[n, 14, 3]`, `ambiguous [n, 14]` and `gt_exists [n, 14]` to 1 where the renamed
/// distances to all unambiguous atoms are nearer to the predicted ones, strictly, `[n]` (QUIRKS 39). It has no gradient.
#[derive(Debug, Clone, Copy)]
pub struct AltNaming;

impl Op for AltNaming {
    fn name(&self) -> &'static str {
        "alt_naming"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let n = x[0][0];
        let fit = x[..3].iter().all(|x| *x == [n, 14, 3]) && x[3..5].iter().all(|x| *x == [n, 14]);
        assert!(fit, "alt_naming of {x:?}");
        vec![Spec::f32(&[n])]
    }

    fn differentiable(&self, _i: usize) -> bool {
        false
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let n = x[0].shape[0];
        let mut launch = Launch::new(source(), "forward", UniformData::of(&[("rows", n.into())]), [n.div_ceil(LANES), 1, 1]);
        for (name, view) in ["pred", "gt", "alt", "ambiguous", "exists"].into_iter().zip(x) {
            launch = launch.read(name, view, &[]);
        }
        // Few atoms are ambiguous: about one of fourteen.
        r.launch(launch.write("y", &y[0], &[cut(0, 0, LANES)]).flops(40.0 * 14.0 * (n * n) as f64));
    }

    fn backward(&self, _r: &mut Recorder, _b: &Backward) {
        panic!("alt_naming has no gradient");
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let n = x[0].shape[0];
        let at = |k: usize, atom: usize| DVec3::from(x[k].data.as_chunks::<3>().0[atom]);
        let distance = |k: usize, a: usize, b: usize| (1e-10 + at(k, a).distance_squared(at(k, b))).sqrt();
        let error = |k: usize, a: usize, b: usize| (1e-10 + (distance(0, a, b) - distance(k, a, b)).powi(2)).sqrt();
        let (ambiguous, exists) = (&x[3].data, &x[4].data);
        let mask = |a: usize, b: usize| exists[a] * ambiguous[a] * exists[b] * (1.0 - ambiguous[b]);
        let sum = |k: usize, i: usize| -> f64 {
            (14 * i..14 * i + 14).map(|a| (0..14 * n).map(|b| mask(a, b) * error(k, a, b)).sum::<f64>()).sum()
        };
        vec![Array::new(&[n], (0..n).map(|i| f64::from(u8::from(sum(2, i) < sum(1, i)))).collect())]
    }
}
