//! Torsion angles as points on the unit circle.

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::axes::as_groups;

fn source() -> &'static Source {
    shader!("structure/unit_pairs")
}

/// `x [.., 2 k]` to the same shape: each pair of neighbours (sin, cos) divided by `sqrt(max(sin² + cos², eps))`. AlphaFold takes the larger
/// of the two, where the paper adds (QUIRKS 31).
#[derive(Debug, Clone, Copy)]
pub struct UnitPairs {
    /// AlphaFold's is 1e-12.
    pub eps: f32,
}

impl UnitPairs {
    fn uniform(self, groups: &View) -> UniformData {
        UniformData::of(&[("count", groups.shape[0].into()), ("eps", self.eps.into())])
    }
}

impl Op for UnitPairs {
    fn name(&self) -> &'static str {
        "unit_pairs"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        assert!(x[0].last().is_some_and(|w| w.is_multiple_of(2)), "unit_pairs of {:?}: an even last axis", x[0]);
        vec![Spec::f32(x[0])]
    }

    fn needs(&self) -> Needs {
        Needs { x: 1, y: 0 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let (x, y) = (as_groups(&x[0]), as_groups(&y[0]));
        let by_group = [cut(0, 0, 64)];
        let launch = Launch::new(source(), "forward", self.uniform(&x), [x.shape[0].div_ceil(64), 1, 1]);
        r.launch(launch.read("x", &x, &by_group).write("y", &y, &by_group));
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let Some(dx) = &b.dx[0] else { return };
        let [x, dy, dx] = [&b.x[0], b.dy0(), dx].map(as_groups);
        let by_group = [cut(0, 0, 64)];
        let launch = Launch::new(source(), "backward", self.uniform(&x), [x.shape[0].div_ceil(64), 1, 1]);
        r.launch(launch.read("x", &x, &by_group).read("dy", &dy, &by_group).write("dx", &dx, &by_group));
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let unit = |p: &[f64]| {
            let norm = (p[0] * p[0] + p[1] * p[1]).max(f64::from(self.eps)).sqrt();
            [p[0] / norm, p[1] / norm]
        };
        vec![Array::new(&x[0].shape, x[0].data.chunks(2).flat_map(unit).collect())]
    }
}
