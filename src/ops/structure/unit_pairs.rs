//! Torsion angles as points on the unit circle.

use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::rows::Names;

fn source() -> &'static Source {
    shader!("structure/unit_pairs")
}

const NAMES: Names = Names { x: &["x"], tables: &[], y: &["y", "pairs"], reads: &[0], dy: &["dy", "dpairs"], dx: &["dx"] };

/// `x [n, 2 k]` as pairs `[n, k, 2]` (sin, cos): each divided by `sqrt(max(sin² + cos², eps))`, and as it is. AlphaFold takes the larger
/// of the two, where the paper adds (QUIRKS 31).
#[derive(Debug, Clone, Copy)]
pub struct UnitPairs {
    /// AlphaFold's is 1e-12.
    pub eps: f32,
}

impl UnitPairs {
    fn uniform(self, x: &View) -> UniformData {
        UniformData::of(&[
            ("rows", x.shape[0].into()),
            ("count", (x.shape[1] / 2).into()),
            ("groups", x.groups().into()),
            ("eps", self.eps.into()),
        ])
    }
}

impl Op for UnitPairs {
    fn name(&self) -> &'static str {
        "unit_pairs"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        assert!(x[0].len() == 2 && x[0][1].is_multiple_of(2), "unit_pairs of {:?}, not [n, 2 k]", x[0]);
        vec![Spec::f32(&[x[0][0], x[0][1] / 2, 2]); 2]
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
        let unit = |p: &[f64]| {
            let norm = (p[0] * p[0] + p[1] * p[1]).max(f64::from(self.eps)).sqrt();
            [p[0] / norm, p[1] / norm]
        };
        let shape = [x[0].shape[0], x[0].shape[1] / 2, 2];
        vec![Array::new(&shape, x[0].data.chunks(2).flat_map(unit).collect()), Array::new(&shape, x[0].data.clone())]
    }
}
