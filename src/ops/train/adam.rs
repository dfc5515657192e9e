//! Adam (Kingma and Ba 2015, Algorithm 1; supplement 1.11.3 for the numbers), with its decision whether the step is taken at all.

use super::{BY_64, CONTROL, STATUS, flat};
use crate::gpu::recorder::Launch;
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Update};

fn source() -> &'static Source {
    shader!("train/adam")
}

/// `control, status, total [n], parameters [n], m [n], v [n]`, and with `scaled` `factor [n]` on the learning rate, 0 for frozen elements.
/// Leaves the total at zero; a step marked bad changes nothing else.
#[derive(Debug, Clone, Copy)]
pub struct Adam {
    /// Whether there is a factor.
    pub scaled: bool,
}

impl Update for Adam {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn writes(&self) -> u32 {
        0b11_1110
    }

    fn record(&self, r: &mut Recorder, x: &[View]) {
        let (control, status) = (&x[0], &x[1]);
        assert!(control.shape == [CONTROL] && status.shape == [STATUS], "adam of {x:?}");
        let arenas: Vec<(View, usize)> = x[2..].iter().map(flat).collect();
        let n = arenas[0].1;
        assert!(arenas.iter().all(|a| a.1 == n), "adam of {x:?}");
        let uniform = UniformData::of(&[("groups", n.into())]);
        r.launch(Launch::new(source(), "begin", uniform.clone(), [1, 1, 1]).read("control", control, &[]).write("status", status, &[]));
        let entry = if self.scaled { "step_by_factor" } else { "step_all" };
        let mut launch = Launch::new(source(), entry, uniform, [n.div_ceil(64), 1, 1])
            .read("control", control, &[])
            .read("status", status, &[])
            .flops(56.0 * n as f64);
        for (name, (arena, _)) in ["total", "param", "m", "v"].into_iter().zip(&arenas) {
            launch = launch.write(name, arena, &BY_64);
        }
        if self.scaled {
            launch = launch.read("factor", &arenas[4].0, &BY_64);
        }
        r.launch(launch);
    }

    fn reference(&self, x: &mut [Array]) {
        let control = x[0].data.clone();
        let [lr, eps, mean] = [control[0], control[1], control[3]];
        let [b1, a1, b2, a2] = [control[4], control[5], control[6], control[7]];
        let taken = x[1].data[4] == 0.0;
        let status = &mut x[1].data;
        if taken {
            status[0] += 1.0;
            (status[1], status[2]) = (a1 + b1 * status[1], a2 + b2 * status[2]);
        } else {
            status[3] += 1.0;
        }
        (status[4], status[5]) = (0.0, f64::from(u8::from(taken)));
        let (c1, c2) = (status[1], status[2]);
        for i in 0..x[2].data.len() {
            let g = x[2].data[i] * mean;
            x[2].data[i] = 0.0;
            if taken {
                x[4].data[i] = b1 * x[4].data[i] + a1 * g;
                x[5].data[i] = b2 * x[5].data[i] + a2 * g * g;
                let factor = if self.scaled { x[6].data[i] } else { 1.0 };
                x[3].data[i] -= lr * factor * (x[4].data[i] / c1) / ((x[5].data[i] / c2).sqrt() + eps);
            }
        }
    }
}
