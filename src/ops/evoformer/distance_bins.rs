//! Bins of the distances between the points of a set: AlphaFold's `dgram_from_positions`, and the distogram's true bins.

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::tensor::DType;

fn source() -> &'static Source {
    shader!("evoformer/distance_bins")
}

/// `x [.., n, 3]` to the bins `[.., n, n] i32` and the squared distances `[.., n, n]` f32. There is no gradient.
#[derive(Debug, Clone, Copy)]
pub struct DistanceBins {
    /// The first edge, Angstrom.
    pub first: f32,
    /// The last edge, Angstrom.
    pub last: f32,
    /// Number of edges, at equal distances.
    pub edges: usize,
    /// Whether the bins are those of `dgram_from_positions`, one for each edge: between it and the next one, both excluded, the last up to
    /// a squared distance of 1e8, and -1 for what is in none (QUIRKS 16). Otherwise a bin is the number of edges below the distance.
    pub dgram: bool,
}

impl DistanceBins {
    /// `dgram_from_positions` with `bins` bins from `first` to `last`: an [`super::super::basic::embedding::Embedding`] of the bins is a
    /// linear map of the dgram, an [`super::super::basic::one_hot::OneHot`] the dgram itself.
    pub fn dgram(first: f32, last: f32, bins: usize) -> Self {
        Self { first, last, edges: bins, dgram: true }
    }

    /// The bin of each distance among `bins` that `bins - 1` edges part.
    pub fn count(first: f32, last: f32, bins: usize) -> Self {
        Self { first, last, edges: bins - 1, dgram: false }
    }

    fn step(&self) -> f32 {
        (self.last - self.first) / (self.edges - 1) as f32
    }
}

impl Op for DistanceBins {
    fn name(&self) -> &'static str {
        "distance_bins"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let [outer @ .., n, 3] = x[0] else { panic!("distance_bins of {:?}, not [.., n, 3]", x[0]) };
        let shape = [outer, &[*n, *n]].concat();
        vec![Spec { shape: shape.clone(), dtype: Some(DType::I32) }, Spec::f32(&shape)]
    }

    fn differentiable(&self, _i: usize) -> bool {
        false
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let rank = x[0].shape.len();
        let (batch, n) = (x[0].shape[..rank - 2].iter().product(), x[0].shape[rank - 2]);
        let x = x[0].reshape(&[batch, n, 3]);
        let [bins, square] = [0, 1].map(|k: usize| y[k].reshape(&[batch, n, n]));
        let uniform = UniformData::of(&[
            ("n", n.into()),
            ("groups", bins.groups().into()),
            ("first", self.first.into()),
            ("step", self.step().into()),
            ("count", self.edges.into()),
            ("dgram", u32::from(self.dgram).into()),
        ]);
        let cuts = [cut(2, 0, 1), cut(1, 1, 1)];
        let launch = Launch::new(source(), "forward", uniform, [bins.groups().div_ceil(64), n, batch]).read("x", &x, &[cut(2, 0, 1)]);
        r.launch(launch.write("bins", &bins, &cuts).write("square", &square, &cuts).flops((2 * self.edges * bins.len()) as f64));
    }

    fn backward(&self, _r: &mut Recorder, _b: &Backward) {}

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let edge = |k: usize| f64::from(self.first) + k as f64 * f64::from(self.last - self.first) / (self.edges - 1) as f64;
        let bin = |d2: f64| {
            let above: Vec<usize> = (0..self.edges).filter(|&k| d2 > edge(k).powi(2)).collect();
            let upper = |k: usize| if k + 1 == self.edges { 1e8 } else { edge(k + 1).powi(2) };
            match self.dgram {
                true => above.last().filter(|&&k| d2 < upper(k)).map_or(-1.0, |&k| k as f64),
                false => above.len() as f64,
            }
        };
        let rank = x[0].shape.len();
        let n = x[0].shape[rank - 2];
        let (mut bins, mut square) = (Vec::new(), Vec::new());
        for set in x[0].data.chunks(3 * n) {
            for (a, b) in set.chunks(3).flat_map(|a| set.chunks(3).map(move |b| (a, b))) {
                let d2 = (0..3).map(|k| (a[k] - b[k]).powi(2)).sum::<f64>();
                square.push(d2);
                bins.push(bin(d2));
            }
        }
        let shape = [&x[0].shape[..rank - 2], &[n, n]].concat();
        vec![Array::new(&shape, bins), Array::new(&shape, square)]
    }
}
