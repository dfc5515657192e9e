//! One over the number of sequences that two residues share: what outer products are divided by.

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::view::LANES;
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};

/// Added to the number.
const EPSILON: f64 = 1e-3;

fn source() -> &'static Source {
    shader!("evoformer/shared_rows")
}

/// `mask [s, n]` to `1 / (1e-3 + sum_s mask[s, i] mask[s, j])`, `[n, n, 1]`, f32 (Algorithm 10 as AlphaFold's code has it). There is no
/// gradient.
#[derive(Debug, Clone, Copy)]
pub struct SharedRows;

impl Op for SharedRows {
    fn name(&self) -> &'static str {
        "shared_rows"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let [_, n] = x[0] else { panic!("shared_rows of {:?}, not [s, n]", x[0]) };
        vec![Spec::f32(&[*n, *n, 1])]
    }

    fn differentiable(&self, _i: usize) -> bool {
        false
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let (mask, n_seq, n) = (&x[0], x[0].shape[0], x[0].shape[1]);
        let step = ((r.traits.max_binding as usize).saturating_sub(1024) / (mask.strides[0] * mask.dtype.size())).max(1);
        for from in (0..n_seq).step_by(step) {
            let part = mask.slice(0, from..(from + step).min(n_seq));
            let uniform = UniformData::of(&[
                ("n", n.into()),
                ("groups", part.groups().into()),
                ("n_seq", part.shape[0].into()),
                ("row", (part.strides[0] / LANES).into()),
                ("chain", u32::from(from > 0).into()),
                ("last", u32::from(from + step >= n_seq).into()),
            ]);
            let launch = Launch::new(source(), "forward", uniform, [part.groups().div_ceil(64), n, 1]);
            let flops = 2.0 * (n * n * part.shape[0]) as f64;
            r.launch(launch.read("mask", &part, &[]).write("norm", &y[0], &[cut(1, 0, 1)]).flops(flops));
        }
    }

    fn backward(&self, _r: &mut Recorder, _b: &Backward) {}

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let (n_seq, n) = (x[0].shape[0], x[0].shape[1]);
        let shared = |i: usize, j: usize| (0..n_seq).map(|s| x[0].data[s * n + i] * x[0].data[s * n + j]).sum::<f64>();
        vec![Array::new(&[n, n, 1], (0..n * n).map(|at| 1.0 / (EPSILON + shared(at / n, at % n))).collect())]
    }
}
