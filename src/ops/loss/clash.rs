//! Clashes between atoms of different residues (supplement 1.9.11, equation 46).

use glam::DVec3;

use crate::gpu::recorder::Launch;
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::tensor::DType;

fn source() -> &'static Source {
    shader!("loss/clash")
}

/// Atoms of a row that lie in groups of four, the padding included.
const GROUPS: usize = 4;
/// atom14 slots of N and C, and of the cysteine's sulphur.
const N: usize = 0;
const C: usize = 2;
const SULPHUR: usize = 5;

/// Positions `[n, 14, 3]`, their mask `[n, 14]`, the radii of every type `[types, 14]`, types `[n]` and residue numbers `[n]` to each atom's sum of
/// clashes `[n, 14]`, 1 where it clashes `[n, 14]`, and the mean over all pairs `[1]`. The last output is the mean's inverse divisor.
///
/// Every clash counts for both of its atoms; any two atoms in the sulphur's slot may overlap, whatever the residues are (QUIRKS 42).
#[derive(Debug, Clone, Copy)]
pub struct Clash {
    /// Overlap of two radii that is allowed, Angstrom.
    pub overlap: f32,
}

impl Clash {
    fn launch(self, entry: &'static str, x: &[View], has_dy: bool) -> Launch {
        let n = x[0].shape[0];
        let p = UniformData::of(&[("rows", n.into()), ("has_dy", usize::from(has_dy).into()), ("overlap", self.overlap.into())]);
        let mut launch = Launch::new(source(), entry, p, [(n * GROUPS).div_ceil(64), 1, 1]);
        for (name, view) in ["pos", "exists", "radius", "aatype", "index"].into_iter().zip(x) {
            launch = launch.read(name, view, &[]);
        }
        launch.flops(20.0 * (14 * 14 * n * n) as f64)
    }
}

impl Op for Clash {
    fn name(&self) -> &'static str {
        "clash"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let n = x[0][0];
        let fit = x[0] == [n, 14, 3] && x[1] == [n, 14] && x[2].len() == 2 && x[2][1] == 14 && x[3] == [n] && x[4] == [n];
        assert!(fit, "clash of {x:?}");
        vec![Spec::f32(&[n, 14]), Spec::f32(&[n, 14]), Spec::f32(&[1]), Spec::f32(&[1])]
    }

    fn differentiable(&self, i: usize) -> bool {
        i == 0
    }

    fn needs(&self) -> Needs {
        Needs { x: 0b1_1111, y: 0b1000 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let n = x[0].shape[0];
        let part = r.temp(&[n * GROUPS, 4], DType::F32);
        let launch = self.launch("forward", x, false).write("y", &y[0], &[]).write("clash", &y[1], &[]).write("part", &part, &[]);
        let p = launch.uniform.clone();
        r.launch(launch);
        r.launch(Launch::new(source(), "finish", p, [1, 1, 1]).read("part", &part, &[]).write("mean", &y[2], &[]).write(
            "stats",
            &y[3],
            &[],
        ));
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let Some(dpos) = &b.dx[0] else { return };
        let coef = r.temp(&[1], DType::F32);
        match &b.dy[2] {
            None => r.clear(&coef),
            Some(dmean) => r.launch(
                Launch::new(source(), "backward_scale", UniformData::none(), [1, 1, 1])
                    .read("dmean", dmean, &[])
                    .read("stats", &b.y[3], &[])
                    .write("coef", &coef, &[]),
            ),
        }
        // Without a gradient of the atoms' sums the binding must still name valid memory, and the coefficient is at hand.
        let dy = b.dy[0].as_ref().unwrap_or(&coef);
        r.launch(self.launch("backward", b.x, b.dy[0].is_some()).read("dy", dy, &[]).read("coef", &coef, &[]).write("dpos", dpos, &[]));
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let n = x[0].shape[0];
        let at = |atom: usize| DVec3::from(x[0].data.as_chunks::<3>().0[atom]);
        let radius = |atom: usize| x[2].data[x[3].data[atom / 14] as usize * 14 + atom % 14];
        let (mut sums, mut clashes, mut total, mut pairs) = (vec![0.0; n * 14], vec![0.0; n * 14], 0.0, 0.0);
        for a in 0..n * 14 {
            for b in 0..n * 14 {
                let step = x[4].data[b / 14] - x[4].data[a / 14];
                let bond = step == 1.0 && a % 14 == C && b % 14 == N;
                if step <= 0.0 || bond || a % 14 == SULPHUR && b % 14 == SULPHUR {
                    continue;
                }
                let mask = x[1].data[a] * x[1].data[b];
                let over = radius(a) + radius(b) - f64::from(self.overlap) - (1e-10 + at(a).distance_squared(at(b))).sqrt();
                total += mask * over.max(0.0);
                pairs += mask;
                for end in [a, b] {
                    sums[end] += mask * over.max(0.0);
                    clashes[end] = f64::max(clashes[end], if over > 0.0 { mask } else { 0.0 });
                }
            }
        }
        let inverse = 1.0 / (1e-6 + pairs);
        vec![
            Array::new(&[n, 14], sums),
            Array::new(&[n, 14], clashes),
            Array::new(&[1], vec![total * inverse]),
            Array::new(&[1], vec![inverse]),
        ]
    }
}
