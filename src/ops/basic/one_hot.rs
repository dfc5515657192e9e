//! One-hot vectors of integers, for the few places where a table of rows does not serve.

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::view::padded;
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};

/// Columns that a workgroup makes.
const COLUMNS: usize = 16;

fn source() -> &'static Source {
    shader!("basic/one_hot")
}

/// `index [..] i32` to `y [.., classes]`; an index that is no class gives zeros. There is no gradient.
#[derive(Debug, Clone, Copy)]
pub struct OneHot {
    /// Number of classes.
    pub classes: usize,
}

impl Op for OneHot {
    fn name(&self) -> &'static str {
        "one_hot"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        vec![Spec::of(&[x[0], &[self.classes]].concat())]
    }

    fn differentiable(&self, _i: usize) -> bool {
        false
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let index = x[0].as_rows();
        let (outer, columns) = (index.n_rows(), index.width());
        let y = y[0].reshape(&[outer, columns, self.classes]);
        let uniform = UniformData::of(&[
            ("columns", columns.into()),
            ("pitch", padded(columns).into()),
            ("groups", y.groups().into()),
            ("width", self.classes.into()),
        ]);
        let cuts = [cut(1, 0, 1), cut(0, 1, COLUMNS)];
        let launch = Launch::new(source(), "forward", uniform, [columns.div_ceil(COLUMNS), outer, 1]);
        r.launch(launch.read("index", &index, &cuts).write("y", &y, &cuts));
    }

    fn backward(&self, _r: &mut Recorder, _b: &Backward) {}

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let one_hot = |i: &f64| (0..self.classes).map(|k| f64::from(u8::from(*i == k as f64))).collect::<Vec<_>>();
        vec![Array::new(&[x[0].shape.as_slice(), &[self.classes]].concat(), x[0].data.iter().flat_map(one_hot).collect())]
    }
}
