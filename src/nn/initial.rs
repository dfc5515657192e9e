//! Parameters at the beginning of training from scratch: AlphaFold's initialisers, drawn by name.

use std::collections::BTreeMap;

use crate::nn::init::Init;
use crate::nn::params::{Entry, Params};
use crate::tensor::HostTensor;

/// Standard deviation of a standard normal cut off at two: what truncated normals are divided by.
const TRUNCATED: f64 = 0.879_625_661_034_239_8;

/// A sequence of numbers in (0, 1) that is a function of seed, name and block alone: splitmix64 from an FNV-1a of the name.
struct Uniform(u64);

impl Uniform {
    fn of(seed: u64, entry: &Entry) -> Self {
        let name = format!("{seed} {} {:?}", entry.name, entry.block.map(|b| b.0));
        Self(name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)))
    }

    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64 + f64::EPSILON / 4.0
    }

    /// A standard normal that is drawn again when it lies beyond two (Box and Muller).
    fn truncated(&mut self) -> f64 {
        loop {
            let x = (-2.0 * self.next().ln()).sqrt() * (std::f64::consts::TAU * self.next()).cos();
            if x.abs() < 2.0 {
                return x;
            }
        }
    }
}

fn values(entry: &Entry, seed: u64) -> Vec<f32> {
    let n: usize = entry.shape.iter().product();
    let mut draw = Uniform::of(seed, entry);
    // Attention's output map has heads and channels as inputs; every other weight one axis.
    let inputs = if entry.name.ends_with("//output_w") { entry.shape.len() - 1 } else { 1 };
    let fan_in: usize = entry.shape[..inputs.min(entry.shape.len())].iter().product();
    let mut normal = |scale: f64| {
        let deviation = (scale / fan_in as f64).sqrt() / TRUNCATED;
        (0..n).map(|_| (deviation * draw.truncated()) as f32).collect()
    };
    match entry.init {
        Init::Constant(value) => vec![value; n],
        Init::Linear => normal(1.0),
        Init::Relu => normal(2.0),
        Init::Glorot => {
            // Haiku counts the axes before the last two to both fans.
            let (outer, last) = entry.shape.split_at(entry.shape.len() - 2);
            let field: usize = outer.iter().product();
            let mean = (field * (last[0] + last[1])) as f64 / 2.0;
            let limit = (3.0 / mean).sqrt();
            (0..n).map(|_| (limit * (2.0 * draw.next() - 1.0)) as f32).collect()
        }
    }
}

impl Params {
    /// The official tensors at the beginning of training, a function of the seed alone.
    pub fn initial(&self, seed: u64) -> BTreeMap<String, HostTensor> {
        let mut all: BTreeMap<String, HostTensor> = self.official().into_iter().map(|(n, s)| (n, HostTensor::zeros(&s))).collect();
        for entry in self.entries() {
            let own = values(entry, seed);
            let first = entry.block.map_or(0, |b| b.0) * own.len();
            let crate::tensor::Data::F32(into) = &mut all.get_mut(&entry.name).expect("every entry is official").data else { continue };
            into[first..first + own.len()].copy_from_slice(&own);
        }
        all
    }
}
