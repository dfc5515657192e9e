//! AlphaFold's initialisers: truncated normals scaled by fan-in, Glorot uniform, constants.
//!
//! Every value is a function of the seed, the parameter's official name and the element's place in the official tensor, so that neither the
//! arena's layout nor the order of declarations matters.

use crate::hash::{STEP, fnv1a64, mix, splitmix64};

/// How a parameter begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// All the same value: zeros for final layers and biases, ones for gates and scales.
    Constant(f32),
    /// Normal of variance `1 / fan_in`, cut off at two of the normal's deviations (LeCun).
    Linear,
    /// The same of variance `2 / fan_in` (He).
    Relu,
    /// Normal of variance `1 / fan_in`, not cut off: the weights of pair biases.
    Normal,
    /// Uniform of variance `2 / (fan_in + fan_out)` (Glorot), whose fans count as Haiku's do: of a weight `[c, h, d]` they are `c h` and `c d`.
    Glorot,
}

/// The deviation of a standard normal that is cut off at plus and minus two.
const TRUNCATED_DEVIATION: f64 = 0.879_625_661_034_239_8;

/// The key of a parameter: its name under FNV-1a, and the seed.
pub fn key(seed: u64, name: &str) -> u64 {
    mix(fnv1a64(name).wrapping_add(splitmix64(seed)))
}

/// A number in (0, 1): draw `n` of element `index`.
fn uniform(key: u64, index: u64, n: u64) -> f64 {
    let element = mix(key.wrapping_add(index.wrapping_mul(STEP)));
    let word = mix(element.wrapping_add((n + 1).wrapping_mul(STEP)));
    ((word >> 12) as f64 + 0.5) / (1u64 << 52) as f64
}

/// A standard normal by Box and Muller: pair `n` of an element's draws.
fn normal(key: u64, index: u64, n: u64) -> f64 {
    let (a, b) = (uniform(key, index, 2 * n), uniform(key, index, 2 * n + 1));
    (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}

impl Init {
    /// Half the width of the uniform, or the deviation of the normal before it is cut off.
    fn scale(self, shape: &[usize], fan_in: usize) -> f64 {
        let fan_in = fan_in as f64;
        match self {
            Init::Constant(value) => f64::from(value),
            Init::Linear => (1.0 / fan_in).sqrt() / TRUNCATED_DEVIATION,
            Init::Relu => (2.0 / fan_in).sqrt() / TRUNCATED_DEVIATION,
            Init::Normal => (1.0 / fan_in).sqrt(),
            Init::Glorot => {
                let [outer @ .., a, b] = shape else { panic!("Glorot's rule needs two axes; the parameter is {shape:?}") };
                let field: usize = outer.iter().product();
                (6.0 / (field * (a + b)) as f64).sqrt()
            }
        }
    }

    /// Values of one block's parameter of this official shape, row-major: those from element `first` on of the tensor with this [`key`].
    /// `fan_in` is the product of all input axes.
    pub fn values(self, key: u64, first: usize, shape: &[usize], fan_in: usize) -> Vec<f32> {
        let n: usize = shape.iter().product();
        let scale = self.scale(shape, fan_in);
        let one = |i: usize| {
            let index = (first + i) as u64;
            let standard = match self {
                Init::Constant(_) => 1.0,
                Init::Normal => normal(key, index, 0),
                Init::Glorot => 2.0 * uniform(key, index, 0) - 1.0,
                Init::Linear | Init::Relu => {
                    let mut tries = (0..).map(|n| normal(key, index, n));
                    tries.find(|z| z.abs() <= 2.0).expect("a normal that is not cut off turns up")
                }
            };
            (standard * scale) as f32
        };
        (0..n).map(one).collect()
    }
}
