//! Dropout with the residual, from a generator that is keyed by what it decides: the mask is never stored, and made again where needed.

use crate::gpu::Recorder;
use crate::gpu::recorder::{Cut, Launch, cut};
use crate::gpu::shader::{Scalar, Source, UniformData};
use crate::gpu::view::{LANES, View, padded};
use crate::op::{Array, Backward, Needs, Op, Spec};

/// Words of the seed tensor: the seed's low and high word, step, example (all bits of each), and pass (below 16).
pub const SEED_WORDS: usize = 5;

/// Columns that a workgroup makes.
const COLUMNS: usize = 16;

/// How bindings with three axes follow the grid.
const CUTS: [Cut; 2] = [cut(1, 0, 1), cut(0, 1, COLUMNS)];

fn source() -> &'static Source {
    shader!("basic/dropout")
}

/// Which elements share a mask (supplement 1.11.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// None: every element has its own.
    Nothing,
    /// Row-wise: one mask for all rows, that is along the first of three axes.
    Rows,
    /// Column-wise: one mask for so many neighbouring columns, along the second of three axes.
    Columns(usize),
}

impl Share {
    /// Panics where columns of `[.., b, c]` cannot share masks in this way.
    pub(in crate::ops) fn check(self, shape: &[usize]) {
        let columns = shape[shape.len() - 2];
        assert!(!matches!(self, Self::Columns(run) if run == 0 || !columns.is_multiple_of(run)), "a dropout of {shape:?}: {self:?}");
    }

    /// What kernels call it, and how many columns are one row of numbers: among `columns`, those that share a mask or all.
    pub(in crate::ops) fn numbers(self, columns: usize) -> [(&'static str, Scalar); 2] {
        let (share, run) = match self {
            Self::Nothing => (0u32, columns),
            Self::Rows => (1, columns),
            Self::Columns(run) => (2, run),
        };
        [("share", share.into()), ("run", run.into())]
    }
}

/// With a residual `residual, x [a, b, c], seed [5] i32` to `y = residual + mask x / (1 - rate)`, without one `x, seed` to
/// `mask x / (1 - rate)`. Two axes `[b, c]` are taken as `[1, b, c]`.
///
/// The mask is a function of seed, step, example, pass, `key` and the element's place, not of windows, chunks or recompute.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    /// Share of elements that are dropped, in 0..1.
    pub rate: f32,
    /// Which elements share a mask.
    pub share: Share,
    /// What tells this dropout from all others: the hash of its scope's path.
    pub key: u64,
    /// Whether there is a residual.
    pub residual: bool,
}

/// The view with three axes.
fn three(v: &View) -> View {
    match v.shape[..] {
        [n, c] => View { shape: vec![1, n, c], strides: vec![v.strides[0] * n, v.strides[0], 1], ..v.clone() },
        [_, _, _] => v.clone(),
        _ => panic!("dropout of {:?}: two or three axes", v.shape),
    }
}

impl Dropout {
    /// Random words below it drop their elements.
    pub(in crate::ops) fn threshold(&self) -> u32 {
        assert!((0.0..1.0).contains(&self.rate), "dropout rate {}", self.rate);
        (f64::from(self.rate) * 2f64.powi(32)) as u32
    }

    /// What an element that is kept is multiplied by.
    pub(in crate::ops) fn kept(&self) -> f32 {
        1.0 / (1.0 - self.rate)
    }

    fn launch(&self, entry: &'static str, residual: &View, x: &View, y: &View) -> Launch {
        let s = |v: &View, axis: usize| (v.strides[axis] / LANES).into();
        let [share, run] = self.share.numbers(x.shape[1]);
        let uniform = UniformData::of(&[
            ("n_j", x.shape[1].into()),
            ("groups", x.groups().into()),
            ("plus", u32::from(self.residual).into()),
            share,
            run,
            ("threshold", self.threshold().into()),
            ("kept", self.kept().into()),
            ("key_lo", (self.key as u32).into()),
            ("key_hi", ((self.key >> 32) as u32).into()),
            ("r0", s(residual, 0)),
            ("r1", s(residual, 1)),
            ("x0", s(x, 0)),
            ("x1", s(x, 1)),
            ("y0", s(y, 0)),
            ("y1", s(y, 1)),
        ]);
        let groups = [x.shape[1].div_ceil(COLUMNS), x.shape[0], 1];
        Launch::new(source(), entry, uniform, groups).flops(2.0 * x.len() as f64)
    }
}

impl Dropout {
    /// `dx = mask dy / (1 - rate)`.
    pub(in crate::ops) fn through(&self, r: &mut Recorder, seed: &View, dy: &View, dx: &View) {
        let (dy, dx) = (three(dy), three(dx));
        let launch = self.launch("backward_plain", &dy, &dx, &dy).read("seed", seed, &[]);
        r.launch(launch.read("dy", &dy, &CUTS).write("dx", &dx, &CUTS));
    }
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let last = x.len() - 1;
        let fits = last == 1 + usize::from(self.residual) && x[..last].iter().all(|s| *s == x[0]) && x[last] == [SEED_WORDS];
        assert!(fits, "dropout of {x:?}: the residual and x have one shape, the seed is [{SEED_WORDS}]");
        self.share.check(x[0]);
        vec![Spec::of(x[0])]
    }

    fn strided(&self, i: usize) -> bool {
        i < 1 + usize::from(self.residual)
    }

    fn differentiable(&self, i: usize) -> bool {
        i < 1 + usize::from(self.residual)
    }

    fn passes(&self, i: usize) -> bool {
        self.residual && i == 0
    }

    fn needs(&self) -> Needs {
        Needs { x: 1 << (1 + u32::from(self.residual)), y: 0 }
    }

    fn in_place(&self) -> u32 {
        if self.residual { 0b11 } else { 0b1 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let (residual, value, y) = (three(&x[0]), three(&x[x.len() - 2]), three(&y[0]));
        // Without a residual x stands in for it, so that the binding names memory that is there.
        let launch = self.launch("forward", &residual, &value, &y).read("residual", &residual, &CUTS).read("x", &value, &CUTS);
        r.launch(launch.read("seed", &x[x.len() - 1], &[]).write("y", &y, &CUTS));
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let dy = three(b.dy0());
        let seed = &b.x[b.x.len() - 1];
        let dx = b.dx[usize::from(self.residual)].as_ref().map(three);
        match b.dx[0].as_ref().filter(|_| self.residual).map(three) {
            None => {
                let Some(dx) = dx else { return };
                self.through(r, seed, &dy, &dx);
            }
            Some(dresidual) => {
                let dx = dx.unwrap_or_else(|| r.temp(&dy.shape, dy.dtype));
                let launch = self.launch("backward", &dresidual, &dx, &dy).read("seed", seed, &[]).read("dy", &dy, &CUTS);
                r.launch(launch.write("dresidual", &dresidual, &CUTS).write("dx", &dx, &CUTS));
            }
        }
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let (value, seed) = (&x[x.len() - 2], &x[x.len() - 1].data);
        let word = |k: usize| seed[k] as i64 as u32;
        let c = value.width();
        let n = value.shape[value.shape.len() - 2];
        let keep = |at: usize| {
            let (i, j, f) = (at / c / n, at / c % n, at % c);
            let row = match self.share {
                Share::Nothing => i * n + j,
                Share::Rows => j,
                Share::Columns(run) => (i * n + j) / run,
            };
            let number = row * padded(c) / LANES + f / LANES;
            let counter = [number as u32, word(2) ^ (word(4) << 28), word(3), self.key as u32];
            philox(counter, [word(0), word(1) ^ (self.key >> 32) as u32])[f % LANES] >= self.threshold()
        };
        let scaled = |at: usize| if keep(at) { value.data[at] / (1.0 - f64::from(self.rate)) } else { 0.0 };
        let residual = |at: usize| if self.residual { x[0].data[at] } else { 0.0 };
        vec![Array::new(&value.shape, (0..value.data.len()).map(|at| residual(at) + scaled(at)).collect())]
    }
}

/// Philox4x32-10 (Salmon et al. 2011): four random words from a counter and a key.
fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let wide = |a: u32, b: u32| {
        let product = u64::from(a) * u64::from(b);
        ((product >> 32) as u32, product as u32)
    };
    let ([mut a, mut b, mut c, mut d], [mut k, mut l]) = (counter, key);
    for _ in 0..10 {
        let ((hi_a, lo_a), (hi_c, lo_c)) = (wide(0xD251_1F53, a), wide(0xCD9E_8D57, c));
        [a, b, c, d] = [hi_c ^ b ^ k, lo_c, hi_a ^ d ^ l, lo_a];
        (k, l) = (k.wrapping_add(0x9E37_79B9), l.wrapping_add(0xBB67_AE85));
    }
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::{Dropout, Share, philox};
    use crate::op::{Array, Op};

    /// The known answers that the generator's authors publish with it (Random123, `kat_vectors`).
    #[test]
    fn philox_gives_its_known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        assert_eq!(philox(pi, [0xa409_3822, 0x299f_31d0]), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    /// The mask over ones: 0 where an element is dropped, else 1 / (1 - rate).
    fn mask(share: Share, key: u64, seed: [f64; 5]) -> Vec<f64> {
        let ones = Array::new(&[40, 50, 30], vec![1.0; 60_000]);
        Dropout { rate: 0.25, share, key, residual: false }.reference(&[ones, Array::new(&[5], seed.to_vec())])[0].data.clone()
    }

    #[test]
    fn a_quarter_is_dropped_and_everything_in_the_key_counts() {
        let seed = [-3.0, 7.0, 11.0, 5.0, 1.0];
        let base = mask(Share::Nothing, 1, seed);
        // 60,000 draws at 1/4: four standard deviations of the share are 0.0071.
        let dropped = base.iter().filter(|m| **m == 0.0).count() as f64 / 6e4;
        assert!((dropped - 0.25).abs() < 0.0071, "{dropped} of the elements are dropped");
        let agree = |other: &[f64]| base.iter().zip(other).filter(|(a, b)| a == b).count() as f64 / 6e4;
        // Independent masks agree in 1/16 + 9/16 of their elements.
        let apart = |what: &str, other: Vec<f64>| assert!((agree(&other) - 0.625).abs() < 0.01, "{what}: {}", agree(&other));
        for word in 0..5 {
            let mut other = seed;
            other[word] += 1.0;
            apart(&format!("seed word {word}"), mask(Share::Nothing, 1, other));
        }
        apart("low half of the scope's hash", mask(Share::Nothing, 2, seed));
        apart("high half of the scope's hash", mask(Share::Nothing, 1 | 1 << 32, seed));
    }

    #[test]
    fn rows_or_columns_share_a_mask() {
        let seed = [1.0, 0.0, 2.0, 0.0, 0.0];
        let (by_row, by_column) = (mask(Share::Rows, 9, seed), mask(Share::Columns(50), 9, seed));
        let at = |m: &[f64], i: usize, j: usize| m[(i * 50 + j) * 30..][..30].to_vec();
        for (i, j) in (0..40).flat_map(|i| (0..50).map(move |j| (i, j))) {
            assert_eq!(at(&by_row, i, j), at(&by_row, 0, j));
            assert_eq!(at(&by_column, i, j), at(&by_column, i, 0));
        }
        assert!(at(&by_row, 0, 0) != at(&by_row, 0, 1) && at(&by_column, 0, 0) != at(&by_column, 1, 0));
    }
}
