//! The exponential moving average of the parameters, which validation and prediction use (supplement 1.11.3).

use super::{BY_64, CONTROL, STATUS, flat};
use crate::gpu::recorder::Launch;
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Update};

fn source() -> &'static Source {
    shader!("train/ema")
}

/// `control, status, parameters [n], mean [n]`: `mean = decay mean + (1 - decay) parameters`, unless the last step was not taken.
#[derive(Debug, Clone, Copy)]
pub struct Ema;

impl Update for Ema {
    fn name(&self) -> &'static str {
        "ema"
    }

    fn writes(&self) -> u32 {
        0b1000
    }

    fn record(&self, r: &mut Recorder, x: &[View]) {
        let [(param, n), (mean, m)] = [flat(&x[2]), flat(&x[3])];
        assert!(n == m && x[0].shape == [CONTROL] && x[1].shape == [STATUS], "ema of {x:?}");
        r.launch(
            Launch::new(source(), "ema", UniformData::of(&[("groups", n.into())]), [n.div_ceil(64), 1, 1])
                .read("control", &x[0], &[])
                .read("status", &x[1], &[])
                .read("param", &param, &BY_64)
                .write("mean", &mean, &BY_64)
                .flops(12.0 * n as f64),
        );
    }

    fn reference(&self, x: &mut [Array]) {
        if x[1].data[5] != 0.0 {
            let (rest, param) = (x[0].data[8], x[2].data.clone());
            x[3].data.iter_mut().zip(param).for_each(|(mean, p)| *mean = (1.0 - rest) * *mean + rest * p);
        }
    }
}
