//! Algorithm 22 InvariantPointAttention, lines 1-3: projections to the queries, keys and values of each head.

use glam::DVec3;

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::view::padded;
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::rows::{BY_ROW, cotangent, gradient, launch};
use crate::ops::structure::frame;

fn source() -> &'static Source {
    shader!("structure/ipa_heads")
}

/// `projections [n, ..], frames [n, 12]` to queries and keys `[n, heads, scalar_qk + 3 point_qk]` and values
/// `[n, heads, scalar_v + 3 point_v]`: scalars, then points in global coordinates.
///
/// A row of the projections holds, each from a multiple of four on ([`IpaHeads::starts`]): `q_scalar` `[heads, scalar_qk]`; `kv_scalar`
/// `[heads, scalar_qk + scalar_v]`; `q_point_local` `[3, heads, point_qk]`; `kv_point_local` `[3, heads, point_qk + point_v]` (QUIRKS 25).
#[derive(Debug, Clone, Copy)]
pub struct IpaHeads {
    /// Heads.
    pub heads: usize,
    /// Scalars of a query or key.
    pub scalar_qk: usize,
    /// Scalars of a value.
    pub scalar_v: usize,
    /// Points of a query or key.
    pub point_qk: usize,
    /// Points of a value.
    pub point_v: usize,
}

impl IpaHeads {
    /// Columns of the four projections.
    pub fn widths(&self) -> [usize; 4] {
        let (qk, v) = ([self.scalar_qk, 3 * self.point_qk], [self.scalar_v, 3 * self.point_v]);
        [qk[0], qk[0] + v[0], qk[1], qk[1] + v[1]].map(|n| n * self.heads)
    }

    /// Where the four begin in a row.
    pub fn starts(&self) -> [usize; 4] {
        let w = self.widths().map(padded);
        [0, w[0], w[0] + w[1], w[0] + w[1] + w[2]]
    }

    /// Elements of a query or key, and of a value.
    fn head(&self) -> [usize; 2] {
        [self.scalar_qk + 3 * self.point_qk, self.scalar_v + 3 * self.point_v]
    }

    fn uniform(&self, proj: &View) -> UniformData {
        let ([_, s1, s2, s3], [dq, dv]) = (self.starts(), self.head());
        UniformData::of(&[
            ("rows", proj.shape[0].into()),
            ("heads", self.heads.into()),
            ("c", self.scalar_qk.into()),
            ("cv", self.scalar_v.into()),
            ("pq", self.point_qk.into()),
            ("pv", self.point_v.into()),
            ("s1", s1.into()),
            ("s2", s2.into()),
            ("s3", s3.into()),
            ("groups", proj.groups().into()),
            ("gq", dq.div_ceil(4).into()),
            ("gv", dv.div_ceil(4).into()),
        ])
    }
}

impl Op for IpaHeads {
    fn name(&self) -> &'static str {
        "ipa_heads"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let (n, width) = (x[0][0], self.starts()[3] + self.widths()[3]);
        assert!(x[0] == [n, width] && x[1] == [n, 12], "{self:?} of projections {:?}, expected [n, {width}], and frames {:?}", x[0], x[1]);
        let [dq, dv] = self.head().map(|d| Spec::f32(&[n, self.heads, d]));
        vec![dq.clone(), dq, dv]
    }

    fn needs(&self) -> Needs {
        Needs { x: 0b11, y: 0 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let row = [cut(1, 0, 1)];
        let groups = self.heads * (2 * y[0].groups() + y[2].groups());
        let launch = Launch::new(source(), "forward", self.uniform(&x[0]), [groups.div_ceil(64), x[0].shape[0], 1]);
        let launch = launch.read("proj", &x[0], &row).read("f", &x[1], &row);
        r.launch(launch.write("q", &y[0], &row).write("k", &y[1], &row).write("v", &y[2], &row));
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let dy = [0, 1, 2].map(|i| cotangent(r, b, i));
        let (row, names) = ([cut(1, 0, 1)], ["dq", "dk", "dv"]);
        let with = |launch: Launch, cuts: &[_]| names.iter().zip(&dy).fold(launch, |l, (name, view)| l.read(name, view, cuts));
        if let Some(dproj) = &b.dx[0] {
            let launch = Launch::new(source(), "backward", self.uniform(dproj), [dproj.groups().div_ceil(64), dproj.shape[0], 1]);
            r.launch(with(launch.read("f", &b.x[1], &row), &row).write("dproj", dproj, &row));
        }
        if b.dx[1].is_some() {
            let df = gradient(r, b, 1);
            let launch = launch(source(), "backward_frames", self.uniform(&b.x[0]), b.x[0].shape[0]);
            r.launch(with(launch.read("proj", &b.x[0], &BY_ROW), &BY_ROW).write("df", &df, &BY_ROW));
        }
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let (n, h, starts, [dq, dv]) = (x[0].shape[0], self.heads, self.starts(), self.head());
        let mut out = [Vec::new(), Vec::new(), Vec::new()];
        for (i, row) in x[0].data.chunks(x[0].width()).enumerate() {
            let f = frame(&x[1].data, i);
            // The scalars and the global points of one head, `first` scalars and points into its part of both.
            let part = |at: [usize; 2], per_head: [usize; 2], first: [usize; 2], count: [usize; 2], head: usize| {
                let scalars = (0..count[0]).map(|e| row[starts[at[0]] + head * per_head[0] + first[0] + e]).collect::<Vec<_>>();
                let points = (0..count[1]).flat_map(|j| {
                    let x = starts[at[1]] + head * per_head[1] + first[1] + j;
                    f.apply(DVec3::from_array([0, 1, 2].map(|axis| row[x + axis * h * per_head[1]]))).to_array()
                });
                scalars.into_iter().chain(points.collect::<Vec<_>>())
            };
            let (qk, v) = ([self.scalar_qk, self.point_qk], [self.scalar_v, self.point_v]);
            let both = [qk[0] + v[0], qk[1] + v[1]];
            for head in 0..h {
                out[0].extend(part([0, 2], qk, [0, 0], qk, head));
                out[1].extend(part([1, 3], both, [0, 0], qk, head));
                out[2].extend(part([1, 3], both, qk, v, head));
            }
        }
        let [q, k, v] = out;
        vec![Array::new(&[n, h, dq], q), Array::new(&[n, h, dq], k), Array::new(&[n, h, dv], v)]
    }
}
