//! Distances of atoms of one residue against their bounds (supplement 1.9.11, equation 46).

use glam::DVec3;

use crate::gpu::recorder::Launch;
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};

fn source() -> &'static Source {
    shader!("loss/within")
}

/// Positions `[n, 14, 3]`, their mask `[n, 14]`, types `[n]` and the bounds of every type, `lower` and `upper [types, 14, 14]`, to each atom's sum
/// of what its distances are out of bounds `[n, 14]` and 1 where there is such a distance `[n, 14]`. The table of pairs is summed along both
/// axes, so that every pair counts four times in the total (QUIRKS 43).
#[derive(Debug, Clone, Copy)]
pub struct Within;

fn launch(entry: &'static str, x: &[View], per_residue: usize) -> Launch {
    let n = x[0].shape[0];
    let mut launch = Launch::new(source(), entry, UniformData::of(&[("rows", n.into())]), [(n * per_residue).div_ceil(64), 1, 1]);
    for (name, view) in ["pos", "exists", "aatype", "lower", "upper"].into_iter().zip(x) {
        launch = launch.read(name, view, &[]);
    }
    launch.flops(20.0 * (14 * 14 * n) as f64)
}

impl Op for Within {
    fn name(&self) -> &'static str {
        "within"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let n = x[0][0];
        let fit = x[0] == [n, 14, 3] && x[1] == [n, 14] && x[2] == [n] && x[3].len() == 3 && x[3][1..] == [14, 14] && x[4] == x[3];
        assert!(fit, "within of {x:?}");
        vec![Spec::f32(&[n, 14]), Spec::f32(&[n, 14])]
    }

    fn differentiable(&self, i: usize) -> bool {
        i == 0
    }

    fn needs(&self) -> Needs {
        Needs { x: 0b1_1111, y: 0 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        r.launch(launch("forward", x, 4).write("y", &y[0], &[]).write("violation", &y[1], &[]));
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        match (&b.dx[0], &b.dy[0]) {
            (Some(dpos), Some(dy)) => r.launch(launch("backward", b.x, 14).read("dy", dy, &[]).write("dpos", dpos, &[])),
            (Some(dpos), None) => r.clear(dpos),
            _ => {}
        }
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let n = x[0].shape[0];
        let at = |atom: usize| DVec3::from(x[0].data.as_chunks::<3>().0[atom]);
        let (mut sums, mut bad) = (vec![0.0; n * 14], vec![0.0; n * 14]);
        for a in 0..n * 14 {
            for b in (a / 14 * 14..a / 14 * 14 + 14).filter(|b| *b != a) {
                let mask = x[1].data[a] * x[1].data[b];
                let pair = (x[2].data[a / 14] as usize * 14 + a % 14) * 14 + b % 14;
                let distance = (1e-10 + at(a).distance_squared(at(b))).sqrt();
                let error = (x[3].data[pair] - distance).max(0.0) + (distance - x[4].data[pair]).max(0.0);
                for end in [a, b] {
                    sums[end] += mask * error;
                    bad[end] = f64::max(bad[end], if error > 0.0 { mask } else { 0.0 });
                }
            }
        }
        vec![Array::new(&[n, 14], sums), Array::new(&[n, 14], bad)]
    }
}
