//! The global norm of one example's gradient, and the factor that clips it (supplement 1.11.3: each example's gradient is clipped).

use super::{BY_BLOCK, CONTROL, STATUS, flat};
use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Update};
use crate::tensor::DType;

fn source() -> &'static Source {
    shader!("train/norm")
}

/// `control, status, loss [1], gradients [n]`, and with `masked` `factor [n]`: the norm over the elements whose factor is not zero.
#[derive(Debug, Clone, Copy)]
pub struct Norm {
    /// Whether there is a factor.
    pub masked: bool,
}

impl Update for Norm {
    fn name(&self) -> &'static str {
        "norm"
    }

    fn writes(&self) -> u32 {
        0b10
    }

    fn record(&self, r: &mut Recorder, x: &[View]) {
        let [control, status, loss, gradients] = [0, 1, 2, 3].map(|i| &x[i]);
        assert!(control.shape == [CONTROL] && status.shape == [STATUS] && loss.shape == [1], "norm of {x:?}");
        let uniform = |groups: usize, square: bool, blocks: usize| {
            UniformData::of(&[("groups", groups.into()), ("square", usize::from(square).into()), ("blocks", blocks.into())])
        };
        let (mut from, mut n) = flat(gradients);
        let mut square = true;
        loop {
            let blocks = n.div_ceil(super::BLOCK);
            let part = r.temp(&[blocks, 4], DType::F32);
            let entry = if square && self.masked { "partial_free" } else { "partial" };
            let mut launch = Launch::new(source(), entry, uniform(n, square, 0), [blocks, 1, 1])
                .read("x", &from, &BY_BLOCK)
                .write("part", &part, &[cut(0, 0, 1)])
                .flops(8.0 * n as f64);
            if square && self.masked {
                launch = launch.read("factor", &flat(&x[4]).0, &BY_BLOCK);
            }
            r.launch(launch);
            (from, n, square) = (part, blocks, false);
            if n <= super::BLOCK {
                break;
            }
        }
        r.launch(
            Launch::new(source(), "finish", uniform(0, false, n), [1, 1, 1])
                .read("part", &from, &[])
                .read("loss", loss, &[])
                .read("control", control, &[])
                .write("status", status, &[]),
        );
    }

    fn reference(&self, x: &mut [Array]) {
        let free = |i: usize| !self.masked || x[4].data[i] != 0.0;
        let norm = x[3].data.iter().enumerate().filter(|(i, _)| free(*i)).map(|(_, g)| g * g).sum::<f64>().sqrt();
        let (clip, ok) = (x[0].data[2], norm.is_finite() && x[2].data[0].is_finite());
        let status = &mut x[1].data;
        status[4] = if ok { status[4] } else { 1.0 };
        status[6] = norm;
        status[7] = if ok { (clip / norm).min(1.0) } else { 0.0 };
    }
}
