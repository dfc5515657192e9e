//! Algorithm 27 Side chain and backbone torsion angle loss, in the form of AlphaFold's `supervised_chi_loss`.

use crate::gpu::recorder::Launch;
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::tensor::DType;

fn source() -> &'static Source {
    shader!("loss/torsion_loss")
}

/// Residues of a workgroup.
const GROUP: usize = 64;

/// `angles [l, n, 7, 2]` of unit length and as they were before, both (sin, cos); `chi [n, 4]` in radians, `chi_mask [n, 4]`, `seq_mask [n]`,
/// `aatype [n]` and the table `pi_periodic [types, 4]` to the chi loss `[1]` and the angle norm loss `[1]`. The four chis alone are
/// supervised, all seven lengths are (QUIRKS 40; the paper supervises all torsions). The third output holds the inverse divisors.
#[derive(Debug, Clone, Copy)]
pub struct TorsionLoss;

fn uniform(x: &[View]) -> (UniformData, usize) {
    let (l, n) = (x[0].shape[0], x[0].shape[1]);
    let parts = (l * n).div_ceil(GROUP);
    (UniformData::of(&[("layers", l.into()), ("residues", n.into()), ("parts", parts.into())]), parts)
}

impl Op for TorsionLoss {
    fn name(&self) -> &'static str {
        "torsion_loss"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let &[_, n, 7, 2] = x[0] else { panic!("torsion_loss of {:?}, not [l, n, 7, 2]", x[0]) };
        let fit = x[1] == x[0] && x[2] == [n, 4] && x[3] == [n, 4] && x[4] == [n] && x[5] == [n] && x[6].len() == 2 && x[6][1] == 4;
        assert!(fit, "torsion_loss of {x:?}");
        vec![Spec::f32(&[1]), Spec::f32(&[1]), Spec::f32(&[2])]
    }

    fn differentiable(&self, i: usize) -> bool {
        i < 2
    }

    fn needs(&self) -> Needs {
        Needs { x: 0b111_1111, y: 0b100 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let (p, parts) = uniform(x);
        let part = r.temp(&[parts, 4], DType::F32);
        let mut launch = Launch::new(source(), "forward", p.clone(), [parts, 1, 1]);
        for (name, view) in ["angles", "raw", "chi", "chi_mask", "seq_mask", "aatype", "periodic"].into_iter().zip(x) {
            launch = launch.read(name, view, &[]);
        }
        r.launch(launch.write("part", &part, &[]).flops(10.0 * x[0].len() as f64));
        r.launch(
            Launch::new(source(), "finish", p, [1, 1, 1]).read("part", &part, &[]).write("y", &y[0], &[]).write("norm", &y[1], &[]).write(
                "stats",
                &y[2],
                &[],
            ),
        );
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let (p, parts) = uniform(b.x);
        match (&b.dx[0], &b.dy[0]) {
            (Some(dangles), Some(dy)) => r.launch(
                Launch::new(source(), "backward_angles", p.clone(), [parts, 1, 1])
                    .read("angles", &b.x[0], &[])
                    .read("chi", &b.x[2], &[])
                    .read("chi_mask", &b.x[3], &[])
                    .read("aatype", &b.x[5], &[])
                    .read("periodic", &b.x[6], &[])
                    .read("stats", &b.y[2], &[])
                    .read("dy", dy, &[])
                    .write("dangles", dangles, &[]),
            ),
            (Some(dangles), None) => r.clear(dangles),
            _ => {}
        }
        match (&b.dx[1], &b.dy[1]) {
            (Some(draw), Some(dnorm)) => r.launch(
                Launch::new(source(), "backward_norm", p, [parts, 1, 1])
                    .read("raw", &b.x[1], &[])
                    .read("seq_mask", &b.x[4], &[])
                    .read("stats", &b.y[2], &[])
                    .read("dnorm", dnorm, &[])
                    .write("draw", draw, &[]),
            ),
            (Some(draw), None) => r.clear(draw),
            _ => {}
        }
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let (l, n) = (x[0].shape[0], x[0].shape[1]);
        let (mut chi, mut norm, mut chis, mut norms) = (0.0, 0.0, 0.0, 0.0);
        for row in 0..l * n {
            let i = row % n;
            for k in 0..4 {
                let a = &x[0].data[(row * 7 + 3 + k) * 2..][..2];
                let (sin, cos) = x[2].data[i * 4 + k].sin_cos();
                let periodic = x[6].data[x[5].data[i] as usize * 4 + k];
                let error = |s: f64| (s * sin - a[0]).powi(2) + (s * cos - a[1]).powi(2);
                chi += x[3].data[i * 4 + k] * error(1.0).min(error(1.0 - 2.0 * periodic));
                chis += x[3].data[i * 4 + k];
            }
            for u in x[1].data[row * 14..][..14].chunks(2) {
                norm += x[4].data[i] * ((u[0] * u[0] + u[1] * u[1] + 1e-6).sqrt() - 1.0).abs();
                norms += x[4].data[i];
            }
        }
        let inverse = [1.0 / (chis + 1e-10), 1.0 / (norms + 1e-10)];
        vec![Array::new(&[1], vec![chi * inverse[0]]), Array::new(&[1], vec![norm * inverse[1]]), Array::new(&[2], inverse.to_vec())]
    }
}
