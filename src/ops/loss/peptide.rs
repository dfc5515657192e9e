//! Lengths and angles of peptide bonds, and distances of consecutive CA atoms (supplement 1.9.11, equations 44 and 45).

use glam::DVec3;

use crate::gpu::recorder::Launch;
use crate::gpu::shader::{Scalar, Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::protein::letters::restype_of_letter;
use crate::protein::metrics::violations::CA_CA_TOLERANCE;
use crate::protein::stereo::{C_N_LENGTH, C_N_LENGTH_STDDEV, CA_CA, COS_C_N_CA, COS_CA_C_N};

fn source() -> &'static Source {
    shader!("loss/peptide")
}

/// Positions `[n, 14, 3]`, their mask `[n, 14]`, residue numbers `[n]` and types `[n]` to the mean losses of C-N lengths, CA-C-N angles and
/// C-N-CA angles `[3, 1]`, each residue's half of the losses of its bonds `[n]`, 1 where one of its bonds is out of bounds `[n]`, and `[4, 1]`: the
/// share of consecutive CA atoms that are too far apart, then the means' inverse divisors.
///
/// Consecutive residue numbers are bonded. The losses per residue ignore the mask (QUIRKS 41); the last two outputs have no gradient.
#[derive(Debug, Clone, Copy)]
pub struct Peptide {
    /// Standard deviations that a length or cosine may be off.
    pub factor: f32,
}

const CONSTANTS: [(&str, f64); 8] = [
    ("length", C_N_LENGTH[0]),
    ("length_std", C_N_LENGTH_STDDEV[0]),
    ("pro_length", C_N_LENGTH[1]),
    ("pro_length_std", C_N_LENGTH_STDDEV[1]),
    ("cos_c", COS_CA_C_N[0]),
    ("cos_c_std", COS_CA_C_N[1]),
    ("cos_n", COS_C_N_CA[0]),
    ("cos_n_std", COS_C_N_CA[1]),
];

impl Peptide {
    fn uniform(self, rows: usize, given: [bool; 2]) -> UniformData {
        let mut fields: Vec<(&'static str, Scalar)> = vec![
            ("rows", rows.into()),
            ("proline", Scalar::I32(restype_of_letter(b'P') as i32)),
            ("has_dmeans", usize::from(given[0]).into()),
            ("has_dper", usize::from(given[1]).into()),
            ("factor", self.factor.into()),
            ("ca_ca_most", ((CA_CA + CA_CA_TOLERANCE) as f32).into()),
        ];
        fields.extend(CONSTANTS.map(|(name, value)| (name, (value as f32).into())));
        UniformData::of(&fields)
    }
}

impl Op for Peptide {
    fn name(&self) -> &'static str {
        "peptide"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let n = x[0][0];
        assert!(x[0] == [n, 14, 3] && x[1] == [n, 14] && x[2] == [n] && x[3] == [n], "peptide of {x:?}");
        vec![Spec::f32(&[3, 1]), Spec::f32(&[n]), Spec::f32(&[n]), Spec::f32(&[4, 1])]
    }

    fn differentiable(&self, i: usize) -> bool {
        i == 0
    }

    fn needs(&self) -> Needs {
        Needs { x: 0b1111, y: 0b1000 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let n = x[0].shape[0];
        let mut launch = Launch::new(source(), "forward", self.uniform(n, [false; 2]), [1, 1, 1]).flops(200.0 * n as f64);
        for (name, view) in ["pos", "mask", "index", "aatype"].into_iter().zip(x) {
            launch = launch.read(name, view, &[]);
        }
        for (name, view) in ["means", "per_residue", "violation", "stats"].into_iter().zip(y) {
            launch = launch.write(name, view, &[]);
        }
        r.launch(launch);
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let Some(dpos) = &b.dx[0] else { return };
        let n = dpos.shape[0];
        let p = self.uniform(n, [b.dy[0].is_some(), b.dy[1].is_some()]);
        let mut launch = Launch::new(source(), "backward", p, [n.div_ceil(64), 1, 1]).flops(200.0 * n as f64);
        for (name, view) in ["pos", "mask", "index", "aatype"].into_iter().zip(b.x) {
            launch = launch.read(name, view, &[]);
        }
        // Where nothing depends on an output the binding must still name valid memory, and the statistics are at hand.
        for (name, dy) in ["dmeans", "dper_residue"].into_iter().zip(b.dy) {
            launch = launch.read(name, dy.as_ref().unwrap_or(&b.y[3]), &[]);
        }
        r.launch(launch.read("stats", &b.y[3], &[]).write("dpos", dpos, &[]));
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let n = x[0].shape[0];
        let at = |i: usize, atom: usize| DVec3::from(x[0].data.as_chunks::<3>().0[i * 14 + atom]);
        let has = |i: usize, atom: usize| x[1].data[i * 14 + atom];
        let norm = |d: DVec3| (1e-6 + d.length_squared()).sqrt();
        let factor = f64::from(self.factor);
        let (mut losses, mut known, mut apart, mut pairs) = ([0.0; 3], [0.0; 3], 0.0, 0.0);
        let (mut per_residue, mut violation) = (vec![0.0; n], vec![0.0; n]);
        for (i, j) in (1..n).map(|j| (j - 1, j)) {
            let joined = f64::from(u8::from(x[2].data[j] - x[2].data[i] == 1.0));
            let pro = usize::from(x[3].data[j] == restype_of_letter(b'P') as f64);
            let (c_ca, c_n, n_ca) = (at(i, 1) - at(i, 2), at(j, 0) - at(i, 2), at(j, 1) - at(j, 0));
            let bonded = joined * has(i, 2) * has(j, 0);
            let cosine = |u: DVec3, v: DVec3| u.dot(v) / (norm(u) * norm(v));
            let terms = [
                (norm(c_n), C_N_LENGTH[pro], C_N_LENGTH_STDDEV[pro], bonded),
                (cosine(c_ca, c_n), COS_CA_C_N[0], COS_CA_C_N[1], bonded * has(i, 1)),
                (cosine(-c_n, n_ca), COS_C_N_CA[0], COS_C_N_CA[1], bonded * has(j, 1)),
            ];
            for (k, (value, mean, stddev, mask)) in terms.into_iter().enumerate() {
                let over = (1e-6 + (value - mean).powi(2)).sqrt() - factor * stddev;
                losses[k] += mask * over.max(0.0);
                known[k] += mask;
                for end in [i, j] {
                    per_residue[end] += 0.5 * over.max(0.0);
                    violation[end] = f64::max(violation[end], if over > 0.0 { mask } else { 0.0 });
                }
            }
            let both = joined * has(i, 1) * has(j, 1);
            pairs += both;
            apart += both * f64::from(u8::from(norm(at(i, 1) - at(j, 1)) - CA_CA > CA_CA_TOLERANCE));
        }
        let inverse = known.map(|k| 1.0 / (k + 1e-6));
        vec![
            Array::new(&[3, 1], (0..3).map(|k| losses[k] * inverse[k]).collect()),
            Array::new(&[n], per_residue),
            Array::new(&[n], violation),
            Array::new(&[4, 1], [&[apart / (pairs + 1e-10)], &inverse[..]].concat()),
        ]
    }
}
