//! One example's gradient, clipped, added to the step's.

use super::{BY_64, STATUS, flat};
use crate::gpu::recorder::Launch;
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Update};

fn source() -> &'static Source {
    shader!("train/clip_accumulate")
}

/// `status, gradients [n], total [n]`: adds the gradients times the factor that [`super::norm::Norm`] found.
#[derive(Debug, Clone, Copy)]
pub struct ClipAccumulate;

impl Update for ClipAccumulate {
    fn name(&self) -> &'static str {
        "clip_accumulate"
    }

    fn writes(&self) -> u32 {
        0b100
    }

    fn record(&self, r: &mut Recorder, x: &[View]) {
        let [(gradients, n), (total, m)] = [flat(&x[1]), flat(&x[2])];
        assert!(n == m && x[0].shape == [STATUS], "clip_accumulate of {x:?}");
        r.launch(
            Launch::new(source(), "accumulate", UniformData::of(&[("groups", n.into()), ("zero", 0u32.into())]), [n.div_ceil(64), 1, 1])
                .read("status", &x[0], &[])
                .read("x", &gradients, &BY_64)
                .write("total", &total, &BY_64)
                .flops(8.0 * n as f64),
        );
    }

    fn reference(&self, x: &mut [Array]) {
        let scale = x[0].data[7];
        if scale != 0.0 {
            let gradients = x[1].data.clone();
            x[2].data.iter_mut().zip(gradients).for_each(|(t, g)| *t += scale * g);
        }
    }
}
