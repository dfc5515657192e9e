//! Which residues have a violation of any kind, and the shares of those that have one.

use crate::gpu::recorder::Launch;
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};

fn source() -> &'static Source {
    shader!("loss/violation_metrics")
}

/// Violations of bonds `[n]`, clashes `[n, 14]` and distances within residues `[n, 14]`, and `seq_mask [n]`, to 1 for residues with any of them
/// `[n]`, and the shares of residues with a bond, a clash, a distance, and any of them `[4, 1]`. It has no gradient.
#[derive(Debug, Clone, Copy)]
pub struct ViolationMetrics;

impl Op for ViolationMetrics {
    fn name(&self) -> &'static str {
        "violation_metrics"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let n = x[0][0];
        assert!(x[0] == [n] && x[1] == [n, 14] && x[2] == [n, 14] && x[3] == [n], "violation_metrics of {x:?}");
        vec![Spec::f32(&[n]), Spec::f32(&[4, 1])]
    }

    fn differentiable(&self, _i: usize) -> bool {
        false
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let mut launch = Launch::new(source(), "forward", UniformData::of(&[("rows", x[0].shape[0].into())]), [1, 1, 1]);
        for (name, view) in ["bond", "clash", "within", "seq_mask"].into_iter().zip(x) {
            launch = launch.read(name, view, &[]);
        }
        r.launch(launch.write("total", &y[0], &[]).write("shares", &y[1], &[]).flops(30.0 * x[0].shape[0] as f64));
    }

    fn backward(&self, _r: &mut Recorder, _b: &Backward) {
        panic!("violation_metrics has no gradient");
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let n = x[0].shape[0];
        let largest = |v: &Array, i: usize| v.data[i * 14..][..14].iter().fold(0.0, |m, x| f64::max(m, *x));
        let (mut total, mut sums, mut count) = (Vec::new(), [0.0; 4], 1e-10);
        for i in 0..n {
            let kinds = [x[0].data[i], largest(&x[1], i), largest(&x[2], i)];
            let any = kinds.into_iter().fold(0.0, f64::max);
            total.push(any);
            count += x[3].data[i];
            sums.iter_mut().zip(kinds.into_iter().chain([any])).for_each(|(s, k)| *s += x[3].data[i] * k);
        }
        vec![Array::new(&[n], total), Array::new(&[4, 1], sums.map(|s| s / count).to_vec())]
    }
}
