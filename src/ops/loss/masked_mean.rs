//! The mean of errors under a mask: how nearly every loss ends.

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::tensor::DType;

/// Rows of one partial sum: fixed, so that windows change no bit.
const BLOCK: usize = 4;

fn source() -> &'static Source {
    shader!("loss/masked_mean")
}

/// `values [.., n], mask [.., n]` and, where it is weighted, `weight [1]`, to the loss `[1] = weight sum(mask values) / (eps + sum(mask))`
/// and the factor `[1]` before the sum. Only the values have a gradient.
#[derive(Debug, Clone, Copy)]
pub struct MaskedMean {
    /// Added to the sum of the mask.
    pub eps: f32,
    /// The values are `[n, n]` and the mask `[n]` stands for `mask_i mask_j`.
    pub pair: bool,
    /// Whether there is a weight.
    pub weighted: bool,
}

impl MaskedMean {
    /// Under a mask of the values' shape.
    pub fn over(eps: f32) -> Self {
        Self { eps, pair: false, weighted: false }
    }

    /// Under the pairs of a mask `[n]`.
    pub fn over_pairs(eps: f32) -> Self {
        Self { pair: true, ..Self::over(eps) }
    }

    /// The same, times a weight.
    pub fn weighted(self) -> Self {
        Self { weighted: true, ..self }
    }

    fn uniform(&self, values: &View, blocks: usize) -> UniformData {
        UniformData::of(&[
            ("outer", values.n_rows().into()),
            ("columns", values.width().into()),
            ("groups", values.groups().into()),
            ("block", BLOCK.into()),
            ("blocks", blocks.into()),
            ("pair", u32::from(self.pair).into()),
            ("weighted", u32::from(self.weighted).into()),
            ("eps", self.eps.into()),
        ])
    }

    /// The mask as the kernel reads it.
    fn mask(&self, mask: &View) -> View {
        if self.pair { mask.clone() } else { mask.as_rows() }
    }
}

impl Op for MaskedMean {
    fn name(&self) -> &'static str {
        "masked_mean"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let mask = if self.pair { x[0] == [x[1], x[1]].concat() && x[1].len() == 1 } else { x[1] == x[0] };
        let weight = if self.weighted { x.len() == 3 && x[2] == [1] } else { x.len() == 2 };
        assert!(mask && weight, "masked_mean of {x:?}: values, a mask of their shape or of pairs, and a weight [1]");
        vec![Spec::f32(&[1]), Spec::f32(&[1])]
    }

    fn differentiable(&self, i: usize) -> bool {
        i == 0
    }

    fn needs(&self) -> Needs {
        Needs { x: 0b10, y: 0b10 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let values = x[0].as_rows();
        let blocks = values.n_rows().div_ceil(BLOCK);
        let part = r.temp(&[blocks, 2], DType::F32);
        let uniform = self.uniform(&values, blocks);
        let by_block = [cut(0, 0, BLOCK)];
        let launch = Launch::new(source(), "forward_part", uniform.clone(), [blocks, 1, 1]).read("values", &values, &by_block);
        let launch = launch.read("mask", &self.mask(&x[1]), if self.pair { &[] } else { &by_block });
        r.launch(launch.write("part", &part, &[cut(0, 0, 1)]).flops(3.0 * values.len() as f64));
        // Without a weight the binding still names memory that is there.
        let weight = if self.weighted { &x[2] } else { &part };
        let launch = Launch::new(source(), "forward", uniform, [1, 1, 1]).read("part", &part, &[]).read("weight", weight, &[]);
        r.launch(launch.write("loss", &y[0], &[]).write("factor", &y[1], &[]));
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let (Some(dx), Some(dloss)) = (&b.dx[0], &b.dy[0]) else { panic!("masked_mean: the loss is the only output with a gradient") };
        let dx = dx.as_rows();
        let by_row = [cut(1, 0, 1)];
        let launch = Launch::new(source(), "backward", self.uniform(&dx, 0), [dx.groups().div_ceil(64), dx.n_rows(), 1])
            .read("mask", &self.mask(&b.x[1]), if self.pair { &[] } else { &by_row })
            .read("factor", &b.y[1], &[])
            .read("dloss", dloss, &[]);
        r.launch(launch.write("dvalues", &dx, &by_row).flops(2.0 * dx.len() as f64));
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let n = x[0].width();
        let mask = |at: usize| if self.pair { x[1].data[at / n] * x[1].data[at % n] } else { x[1].data[at] };
        let count: f64 = (0..x[0].data.len()).map(mask).sum();
        let sum: f64 = x[0].data.iter().enumerate().map(|(at, v)| v * mask(at)).sum();
        let factor = if self.weighted { x[2].data[0] } else { 1.0 } / (f64::from(self.eps) + count);
        vec![Array::new(&[1], vec![factor * sum]), Array::new(&[1], vec![factor])]
    }
}
