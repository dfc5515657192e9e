//! Algorithm 22 InvariantPointAttention, lines 10-11 before the last linear map: what the heads gathered, as one row a residue.

use glam::DVec3;

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::rows::{BY_ROW, launch};
use crate::ops::structure::frame;

fn source() -> &'static Source {
    shader!("structure/ipa_features")
}

/// Averages of values `[h, n, scalars + 3 points]` with points in global coordinates, averages of pairs `[n, h, c_z]` and frames
/// `[n, 12]`, to `[n, h (scalars + 4 points + c_z)]`: scalars, local x, y and z, norms, pairs, each over all heads (QUIRKS 26).
#[derive(Debug, Clone, Copy)]
pub struct IpaFeatures {
    /// Scalars of a value.
    pub scalars: usize,
    /// Points of a value.
    pub points: usize,
}

/// Under the root of a norm.
const EPS: f64 = 1e-8;

impl IpaFeatures {
    fn uniform(&self, o: &View, pair: &View, y: &View) -> UniformData {
        UniformData::of(&[
            ("rows", o.shape[1].into()),
            ("heads", o.shape[0].into()),
            ("cv", self.scalars.into()),
            ("pv", self.points.into()),
            ("cz", pair.width().into()),
            ("gv", o.groups().into()),
            ("gz", pair.groups().into()),
            ("gy", y.groups().into()),
        ])
    }
}

impl Op for IpaFeatures {
    fn name(&self) -> &'static str {
        "ipa_features"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let (h, n, c_z) = (x[0][0], x[0][1], x[1][2]);
        let fits = x[0] == [h, n, self.scalars + 3 * self.points] && x[1] == [n, h, c_z] && x[2] == [n, 12];
        assert!(fits, "{self:?} of values {:?}, pairs {:?}, frames {:?}", x[0], x[1], x[2]);
        vec![Spec::f32(&[n, h * (self.scalars + 4 * self.points + c_z)])]
    }

    fn needs(&self) -> Needs {
        Needs { x: 0b101, y: 0 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let (row, y) = ([cut(1, 0, 1)], &y[0]);
        let launch = Launch::new(source(), "forward", self.uniform(&x[0], &x[1], y), [y.groups().div_ceil(64), y.shape[0], 1]);
        let launch = launch.read("o", &x[0], &[cut(1, 1, 1)]).read("pair", &x[1], &row).read("f", &x[2], &row);
        r.launch(launch.write("y", y, &row));
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let (o, pair, f, dy, row) = (&b.x[0], &b.x[1], &b.x[2], b.dy0(), [cut(1, 0, 1)]);
        let (h, n) = (o.shape[0], o.shape[1]);
        let over = |entry, groups: usize| Launch::new(source(), entry, self.uniform(o, pair, dy), [groups.div_ceil(64), n, 1]);
        if let Some(d_o) = &b.dx[0] {
            let by_row = [cut(1, 1, 1)];
            let launch = over("backward_heads", h * o.groups()).read("o", o, &by_row).read("f", f, &row);
            r.launch(launch.read("dy", dy, &row).write("d_o", d_o, &by_row));
        }
        if let Some(dpair) = &b.dx[1] {
            r.launch(over("backward_pair", h * pair.groups()).read("dy", dy, &row).write("dpair", dpair, &row));
        }
        if let Some(df) = &b.dx[2] {
            let launch = launch(source(), "backward_frames", self.uniform(o, pair, dy), n).read("o", o, &[cut(0, 1, 64)]);
            r.launch(launch.read("f", f, &BY_ROW).read("dy", dy, &BY_ROW).write("df", df, &BY_ROW));
        }
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let (h, n, c_z) = (x[0].shape[0], x[0].shape[1], x[1].shape[2]);
        let mut y = Vec::new();
        for i in 0..n {
            let f = frame(&x[2].data, i);
            let value = |head: usize| &x[0].data[(head * n + i) * x[0].width()..][..x[0].width()];
            let points: Vec<DVec3> = (0..h)
                .flat_map(|head| value(head)[self.scalars..].chunks(3).map(|p| f.apply_inverse(DVec3::from_slice(p))).collect::<Vec<_>>())
                .collect();
            (0..h).for_each(|head| y.extend(&value(head)[..self.scalars]));
            (0..3).for_each(|axis| y.extend(points.iter().map(|p| p[axis])));
            y.extend(points.iter().map(|p| (EPS + p.length_squared()).sqrt()));
            y.extend(&x[1].data[i * h * c_z..(i + 1) * h * c_z]);
        }
        vec![Array::new(&[n, y.len() / n], y)]
    }
}
