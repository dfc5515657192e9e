//! Algorithm 22 InvariantPointAttention, line 7 before its softmax: logits from scalars, points, the pair representation and the mask.

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::view::LANES;
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::rows::gradient;
use crate::tensor::DType;

fn source() -> &'static Source {
    shader!("structure/ipa_logits")
}

/// Queries and keys `[n, h, scalars + 3 points]` in global coordinates, pair bias `[n, n, h]`, mask `[n]` and the points' weights before
/// their softplus `[h]`, to logits `[n, h, n]` (query, head, key).
///
/// AlphaFold adds `-inf (1 - m_i m_j)`. What of that is the same for all keys of a query, `-inf (1 - m_i)`, leaves the softmax as it is
/// but takes the logits of padded queries to where single precision has steps of 1/128 (QUIRKS 24); it is left out here.
#[derive(Debug, Clone, Copy)]
pub struct IpaLogits {
    /// Scalars of a query or key.
    pub scalars: usize,
    /// Points of a query or key.
    pub points: usize,
    /// What a masked key costs; AlphaFold's is 1e5.
    pub inf: f32,
}

/// Queries that one partial sum of the weights' gradients covers.
const BLOCK: usize = 16;

impl IpaLogits {
    /// The factors of scalars, points and pair bias: each of the three terms has the variance 1/3 (supplement 1.8.2).
    fn factors(&self) -> [f64; 3] {
        let [c, points] = [self.scalars, self.points].map(|n| n.max(1) as f64);
        [(3.0 * c).recip().sqrt(), (3.0 * points * 4.5).recip().sqrt(), 3f64.recip().sqrt()]
    }

    fn uniform(&self, q: &View) -> UniformData {
        let [s, wp, wb] = self.factors().map(|f| f as f32);
        UniformData::of(&[
            ("n", q.shape[0].into()),
            ("heads", q.shape[1].into()),
            ("c", self.scalars.into()),
            ("width", q.width().into()),
            ("gq", q.groups().into()),
            ("gj", q.shape[0].div_ceil(LANES).into()),
            ("gh", q.shape[1].div_ceil(LANES).into()),
            ("s", s.into()),
            ("wp", wp.into()),
            ("wb", wb.into()),
            ("inf", self.inf.into()),
            ("block", BLOCK.into()),
            ("blocks", q.shape[0].div_ceil(BLOCK).into()),
        ])
    }

    /// The gradients of keys and pair bias, each in one launch over its rows.
    fn of_keys_and_bias(&self, r: &mut Recorder, b: &Backward) {
        let (q, k, raw, dy, row) = (&b.x[0], &b.x[1], &b.x[4], b.dy0(), [cut(1, 0, 1)]);
        let (n, heads) = (q.shape[0], q.shape[1]);
        let over = |entry, groups: usize| Launch::new(source(), entry, self.uniform(q), [groups.div_ceil(64), n, 1]);
        if let Some(dk) = &b.dx[1] {
            let launch = over("backward_k", heads * q.groups()).read("q", q, &[]).read("k", k, &row).read("raw", raw, &[]);
            r.launch(launch.read("dy", dy, &[]).write("dk", dk, &row).flops(4.0 * (n * n * heads * q.width()) as f64));
        }
        if let Some(dbias) = &b.dx[2] {
            r.launch(over("backward_bias", n * dbias.groups()).read("dy", dy, &row).write("dbias", dbias, &row));
        }
    }

    /// The gradients of queries and, from what the same pass adds up, of the points' weights.
    fn of_queries_and_weights(&self, r: &mut Recorder, b: &Backward) {
        let (q, k, raw, row) = (&b.x[0], &b.x[1], &b.x[4], [cut(1, 0, 1)]);
        let (n, heads) = (q.shape[0], q.shape[1]);
        let (dq, part) = (gradient(r, b, 0), r.temp(&q.shape, DType::F32));
        let launch = Launch::new(source(), "backward_q", self.uniform(q), [(heads * q.groups()).div_ceil(64), n, 1]);
        let launch = launch.read("q", q, &row).read("k", k, &[]).read("raw", raw, &[]).read("dy", b.dy0(), &row);
        r.launch(launch.write("dq", &dq, &row).write("part", &part, &row).flops(6.0 * (n * n * heads * q.width()) as f64));
        let Some(draw) = &b.dx[4] else { return };
        let sums = r.temp(&[n.div_ceil(BLOCK), heads], DType::F32);
        let groups = (sums.shape[0] * sums.groups()).div_ceil(64);
        let launch = Launch::new(source(), "backward_block", self.uniform(q), [groups, 1, 1]);
        r.launch(launch.read("part", &part, &[]).write("sums", &sums, &[]));
        let launch = Launch::new(source(), "backward_weight", self.uniform(q), [draw.groups().div_ceil(64), 1, 1]);
        r.launch(launch.read("sums", &sums, &[]).read("raw", raw, &[]).write("draw", draw, &[]));
    }
}

impl Op for IpaLogits {
    fn name(&self) -> &'static str {
        "ipa_logits"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let (n, h) = (x[0][0], x[0][1]);
        let width = self.scalars + 3 * self.points;
        let fits = x[0] == [n, h, width] && x[1] == x[0] && x[2] == [n, n, h] && x[3] == [n] && x[4] == [h];
        assert!(fits, "{self:?} of {x:?}: q and k are [n, h, {width}], then bias [n, n, h], mask [n], weights [h]");
        vec![Spec::f32(&[n, h, n])]
    }

    fn differentiable(&self, i: usize) -> bool {
        i != 3
    }

    fn needs(&self) -> Needs {
        Needs { x: 0b10011, y: 0 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let row = [cut(1, 0, 1)];
        let (n, heads) = (x[0].shape[0], x[0].shape[1]);
        let launch = Launch::new(source(), "forward", self.uniform(&x[0]), [(heads * y[0].groups()).div_ceil(64), n, 1]);
        let launch = launch.read("q", &x[0], &row).read("k", &x[1], &[]).read("bias", &x[2], &row);
        let launch = launch.read("mask", &x[3], &[]).read("raw", &x[4], &[]).write("y", &y[0], &row);
        r.launch(launch.flops(3.0 * (n * n * heads * x[0].width()) as f64));
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        self.of_keys_and_bias(r, b);
        if b.dx[0].is_some() || b.dx[4].is_some() {
            self.of_queries_and_weights(r, b);
        }
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let (n, h, d) = (x[0].shape[0], x[0].shape[1], x[0].shape[2]);
        let [s, wp, wb] = self.factors();
        let mut y = Array::zeros(&[n, h, n]);
        for (at, logit) in y.data.iter_mut().enumerate() {
            let (i, head, j) = (at / (h * n), at / n % h, at % n);
            let (q, k) = (&x[0].data[(i * h + head) * d..][..d], &x[1].data[(j * h + head) * d..][..d]);
            let scalar: f64 = (0..self.scalars).map(|e| q[e] * k[e]).sum();
            let distance: f64 = (self.scalars..d).map(|e| (q[e] - k[e]).powi(2)).sum();
            let w = wp * x[4].data[head].exp().ln_1p();
            let mask = -f64::from(self.inf) * x[3].data[i] * (1.0 - x[3].data[j]);
            *logit = s * scalar - 0.5 * w * distance + wb * x[2].data[(i * n + j) * h + head] + mask;
        }
        vec![y]
    }
}
