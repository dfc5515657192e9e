//! Dense f64 arithmetic over the threads of the machine: products of matrices, and what acts on each row by itself.
//!
//! Tensors are row-major slices whose last axis is the channels.

use rayon::prelude::*;

/// Rows that one task projects.
const ROWS: usize = 512;

/// AlphaFold's epsilon of layer normalisation (QUIRKS 2).
const EPSILON: f64 = 1e-5;

/// A matrix that lies in a slice: its rows and columns, and the distances between neighbours along both.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f64],
    shape: [usize; 2],
    steps: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// Columns side by side in rows of `pitch` elements, from the slice's first element on.
    pub fn within(data: &'a [f64], shape: [usize; 2], pitch: usize) -> Self {
        Self { data, shape, steps: [pitch, 1] }
    }

    /// Row after row.
    pub fn new(data: &'a [f64], shape: [usize; 2]) -> Self {
        Self::within(data, shape, shape[1])
    }

    /// The transposed matrix.
    pub fn turned(self) -> Self {
        let ([rows, columns], [down, right]) = (self.shape, self.steps);
        Self { shape: [columns, rows], steps: [right, down], ..self }
    }
}

/// `y += a b`, on rows of `pitch` elements from the first element of `y` on.
pub fn multiply(a: Matrix, b: Matrix, y: &mut [f64], pitch: usize) {
    let ([m, k], [inner, n]) = (a.shape, b.shape);
    assert!(k == inner && m * k * n > 0, "{:?} times {:?}", a.shape, b.shape);
    let reach = |shape: [usize; 2], steps: [usize; 2]| (shape[0] - 1) * steps[0] + (shape[1] - 1) * steps[1];
    assert!(reach(a.shape, a.steps) < a.data.len() && reach(b.shape, b.steps) < b.data.len());
    assert!(n <= pitch && reach([m, n], [pitch, 1]) < y.len());
    let step = |steps: [usize; 2]| steps.map(|s| s as isize);
    let ([down_a, right_a], [down_b, right_b]) = (step(a.steps), step(b.steps));
    let (from, with, to) = (a.data.as_ptr(), b.data.as_ptr(), y.as_mut_ptr());
    // SAFETY: the last element of each matrix lies within its slice, and rows of `y` do not overlap.
    unsafe { matrixmultiply::dgemm(m, k, n, 1.0, from, down_a, right_a, with, down_b, right_b, 1.0, to, pitch as isize, 1) }
}

/// `x [rows, c] w [c, out]` plus a bias, by the calling thread alone.
pub fn project(x: &[f64], c: usize, w: &[f64], bias: Option<&[f64]>) -> Vec<f64> {
    let (rows, out) = (x.len() / c, w.len() / c);
    let mut y = match bias {
        Some(bias) => bias.repeat(rows),
        None => vec![0.0; rows * out],
    };
    multiply(Matrix::new(x, [rows, c]), Matrix::new(w, [c, out]), &mut y, out);
    y
}

/// What `body` makes of every few rows of `x [rows, c]`, each as `[.., out]`, on all threads.
pub fn by_rows(x: &[f64], c: usize, out: usize, body: impl Fn(&[f64]) -> Vec<f64> + Sync) -> Vec<f64> {
    let mut y = vec![0.0; x.len() / c * out];
    y.par_chunks_mut(ROWS * out).zip(x.par_chunks(ROWS * c)).for_each(|(y, x)| y.copy_from_slice(&body(x)));
    y
}

/// `x [rows, c] w [c, out]` plus a bias, on all threads.
pub fn linear(x: &[f64], c: usize, w: &[f64], bias: Option<&[f64]>) -> Vec<f64> {
    by_rows(x, c, w.len() / c, |x| project(x, c, w, bias))
}

/// Layer normalisation of every row.
pub fn layer_norm(x: &[f64], scale: &[f64], offset: &[f64]) -> Vec<f64> {
    let c = scale.len();
    let one = |row: &[f64]| {
        let mean = row.iter().sum::<f64>() / c as f64;
        let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / c as f64;
        let root = 1.0 / (variance + EPSILON).sqrt();
        row.iter().zip(scale).zip(offset).map(|((v, s), o)| (v - mean) * root * s + o).collect::<Vec<_>>()
    };
    by_rows(x, c, c, |x| x.chunks(c).flat_map(one).collect())
}

/// The logistic function of every element, in place.
pub fn sigmoid(x: &mut [f64]) {
    x.iter_mut().for_each(|v| *v = 1.0 / (1.0 + (-*v).exp()));
}

/// Softmax of every row of `n` logits, in place.
pub fn softmax(x: &mut [f64], n: usize) {
    for row in x.chunks_mut(n) {
        let most = row.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v));
        row.iter_mut().for_each(|v| *v = (*v - most).exp());
        let total = 1.0 / row.iter().sum::<f64>();
        row.iter_mut().for_each(|v| *v *= total);
    }
}

/// `[a, b, c]` as `[b, a, c]`.
pub fn turn(x: &[f64], [a, b, c]: [usize; 3]) -> Vec<f64> {
    let mut y = vec![0.0; x.len()];
    y.par_chunks_mut(a * c).enumerate().for_each(|(j, y)| {
        y.chunks_mut(c).enumerate().for_each(|(i, y)| y.copy_from_slice(&x[(i * b + j) * c..][..c]));
    });
    y
}

/// `[n, c]` as `[c, n]`.
pub fn channels_first(x: &[f64], c: usize) -> Vec<f64> {
    // Eight channels lie in one line of the cache.
    const TOGETHER: usize = 8;
    let n = x.len() / c;
    let mut y = vec![0.0; x.len()];
    y.par_chunks_mut(TOGETHER * n).enumerate().for_each(|(group, y)| {
        for i in 0..n {
            (0..y.len() / n).for_each(|k| y[k * n + i] = x[i * c + group * TOGETHER + k]);
        }
    });
    y
}

/// `[c, n]` as `[n, c]`.
pub fn channels_last(x: &[f64], c: usize) -> Vec<f64> {
    let n = x.len() / c;
    let mut y = vec![0.0; x.len()];
    y.par_chunks_mut(ROWS * c).enumerate().for_each(|(part, y)| {
        for k in 0..c {
            let from = &x[k * n + part * ROWS..];
            (0..y.len() / c).for_each(|i| y[i * c + k] = from[i]);
        }
    });
    y
}

/// The elements' sum of `x` and `y`.
pub fn sum(x: &[f64], y: &[f64]) -> Vec<f64> {
    x.par_iter().zip(y).map(|(x, y)| x + y).collect()
}

/// `x y`, element by element, in place in `x`.
pub fn scale_by(x: &mut [f64], y: &[f64]) {
    x.par_iter_mut().zip(y).for_each(|(x, y)| *x *= y);
}

/// The sum of the products of elements, in an order that no number of threads changes.
pub fn dot(x: &[f64], y: &[f64]) -> f64 {
    assert_eq!(x.len(), y.len());
    let part = |(x, y): (&[f64], &[f64])| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    x.par_chunks(4096).zip(y.par_chunks(4096)).map(part).collect::<Vec<_>>().iter().sum()
}
