//! The weighted sum of losses.

use crate::gpu::recorder::Launch;
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::rows::gradient;
use crate::tensor::DType;

fn source() -> &'static Source {
    shader!("loss/weighted_sum")
}

/// Terms of one sum: as many as may be bound beside the result.
pub const MOST: usize = 7;
const TERMS: [&str; MOST] = ["x0", "x1", "x2", "x3", "x4", "x5", "x6"];

/// Up to seven scalars `[1]` to the sum `[1]` of each times its weight. A weight of 0 is a loss that is not there, whatever its value.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedSum {
    /// A weight for each term.
    pub weights: Vec<f32>,
}

impl WeightedSum {
    fn uniform(&self) -> UniformData {
        let names = ["w0", "w1", "w2", "w3", "w4", "w5", "w6"];
        let weight = |k: usize| self.weights.get(k).copied().unwrap_or(0.0);
        UniformData::of(&names.iter().enumerate().map(|(k, name)| (*name, weight(k).into())).collect::<Vec<_>>())
    }
}

impl Op for WeightedSum {
    fn name(&self) -> &'static str {
        "weighted_sum"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        assert!(x.len() == self.weights.len() && (1..=MOST).contains(&x.len()), "weighted_sum of {} terms: {:?}", x.len(), self.weights);
        assert!(x.iter().all(|x| *x == [1]), "weighted_sum of {x:?}, not scalars");
        vec![Spec::f32(&[1])]
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let mut launch = Launch::new(source(), "forward", self.uniform(), [1, 1, 1]);
        for (k, name) in TERMS.into_iter().enumerate() {
            launch = launch.read(name, x.get(k).unwrap_or(&x[0]), &[]);
        }
        r.launch(launch.write("y", &y[0], &[]).flops(2.0 * x.len() as f64));
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let mut launch = Launch::new(source(), "backward", self.uniform(), [1, 1, 1]).read("y", b.dy0(), &[]);
        for (k, name) in TERMS.into_iter().enumerate() {
            let dx = if k < b.dx.len() { gradient(r, b, k) } else { r.temp(&[1], DType::F32) };
            launch = launch.write(name, &dx, &[]);
        }
        r.launch(launch);
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let terms = self.weights.iter().zip(x).filter(|(w, _)| **w != 0.0);
        vec![Array::new(&[1], vec![terms.map(|(w, x)| f64::from(*w) * x.data[0]).sum()])]
    }
}
