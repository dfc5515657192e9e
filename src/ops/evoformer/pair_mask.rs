//! The mask of pairs from the masks of residues.

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};

fn source() -> &'static Source {
    shader!("evoformer/pair_mask")
}

/// `mask [n]` to `mask_i mask_j [n, n]`, f32. There is no gradient.
#[derive(Debug, Clone, Copy)]
pub struct PairMask;

impl Op for PairMask {
    fn name(&self) -> &'static str {
        "pair_mask"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let [n] = x[0] else { panic!("pair_mask of {:?}, not [n]", x[0]) };
        vec![Spec::f32(&[*n, *n])]
    }

    fn differentiable(&self, _i: usize) -> bool {
        false
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let uniform = UniformData::of(&[("groups", y[0].groups().into())]);
        let launch = Launch::new(source(), "forward", uniform, [y[0].groups().div_ceil(64), x[0].width(), 1]);
        r.launch(launch.read("x", &x[0], &[]).write("y", &y[0], &[cut(1, 0, 1)]));
    }

    fn backward(&self, _r: &mut Recorder, _b: &Backward) {}

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let (n, m) = (x[0].width(), &x[0].data);
        vec![Array::new(&[n, n], (0..n * n).map(|at| m[at / n] * m[at % n]).collect())]
    }
}
