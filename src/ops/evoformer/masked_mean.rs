//! The mean over rows under a mask: the one query of a column's global attention.
//!
//! Algorithm 19 MSAColumnGlobalAttention line 3, where AlphaFold's code leaves out masked sequences.

use crate::gpu::recorder::{Cut, Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::view::LANES;
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::tensor::DType;

/// Rows that one partial sum covers: fixed, so that neither windows nor devices change a bit.
const BLOCK: usize = 64;
/// Groups of channels that one workgroup covers.
const GROUP: usize = 16;

fn source() -> &'static Source {
    shader!("evoformer/masked_mean")
}

/// `x [a, n, c]`, `mask [a, n]` to `sum_n mask x / (sum_n mask + 1e-10) [a, c]` (QUIRKS 6), and the weight `1 / (sum_n mask + 1e-10) [a]`,
/// always f32. Where everything is masked the mean is 0. `x` may be any strided view; the mask is not differentiable.
#[derive(Debug, Clone, Copy)]
pub struct MaskedMean;

fn uniform(x: &View, mask: &View) -> UniformData {
    UniformData::of(&[
        ("n_a", x.shape[0].into()),
        ("n", x.shape[1].into()),
        ("groups", x.groups().into()),
        ("block", BLOCK.into()),
        ("blocks", x.shape[1].div_ceil(BLOCK).into()),
        ("x0", (x.strides[0] / LANES).into()),
        ("x1", (x.strides[1] / LANES).into()),
        ("m0", mask.strides[0].into()),
    ])
}

/// A row of the mean and all of its rows of x, block by block.
const BY_BLOCK: [Cut; 2] = [cut(1, 0, 1), cut(2, 1, BLOCK)];
/// What has a row for each mean; a vector with one element a mean is needed whole.
const BY_MEAN: [Cut; 1] = [cut(1, 0, 1)];

impl Op for MaskedMean {
    fn name(&self) -> &'static str {
        "masked_mean"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let fits = x.len() == 2 && x[0].len() == 3 && x[1] == &x[0][..2];
        assert!(fits, "masked mean of {x:?}: x is [a, n, c], the mask [a, n]");
        vec![Spec::of(&[x[0][0], x[0][2]]), Spec::f32(&[x[0][0]])]
    }

    fn strided(&self, i: usize) -> bool {
        i == 0
    }

    fn differentiable(&self, i: usize) -> bool {
        i == 0
    }

    fn needs(&self) -> Needs {
        Needs { x: 0b10, y: 0b10 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let (x, mask, y, weight) = (&x[0], &x[1], &y[0], &y[1]);
        let (rows, blocks, groups) = (x.shape[0], x.shape[1].div_ceil(BLOCK), x.groups().div_ceil(GROUP));
        let p = uniform(x, mask);
        let part = r.temp(&[blocks, rows, x.width()], DType::F32);
        r.launch(Launch::new(source(), "weights", p.clone(), [rows.div_ceil(64), 1, 1]).read("mask", mask, &[cut(0, 0, 64)]).write(
            "weight",
            weight,
            &[cut(0, 0, 64)],
        ));
        r.launch(
            Launch::new(source(), "partial", p.clone(), [groups, rows, blocks])
                .read("x", x, &BY_BLOCK)
                .read("mask", mask, &BY_BLOCK)
                .write("part", &part, &[cut(1, 1, 1), cut(2, 0, 1)])
                .flops(2.0 * x.len() as f64),
        );
        r.launch(
            Launch::new(source(), "finish", p, [groups, rows, 1])
                .read("part", &part, &[cut(1, 1, 1)])
                .read("weight", weight, &[])
                .write("y", y, &BY_MEAN),
        );
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let (Some(dx), dy) = (&b.dx[0], b.dy0()) else { return };
        let groups = [dx.groups().div_ceil(GROUP), dx.shape[0], dx.shape[1].div_ceil(BLOCK)];
        r.launch(
            Launch::new(source(), "backward", uniform(dx, &b.x[1]), groups)
                .read("mask", &b.x[1], &BY_BLOCK)
                .read("weight", &b.y[1], &[])
                .read("dy", dy, &BY_MEAN)
                .write("dx", dx, &BY_BLOCK)
                .flops(dx.len() as f64),
        );
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let (rows, n, c) = (x[0].shape[0], x[0].shape[1], x[0].shape[2]);
        let (mut y, mut weight) = (Array::zeros(&[rows, c]), Array::zeros(&[rows]));
        for a in 0..rows {
            let mask = &x[1].data[a * n..(a + 1) * n];
            weight.data[a] = 1.0 / (mask.iter().sum::<f64>() + 1e-10);
            for e in 0..c {
                y.data[a * c + e] = (0..n).map(|i| mask[i] * x[0].data[(a * n + i) * c + e]).sum::<f64>() * weight.data[a];
            }
        }
        vec![y, weight]
    }
}
