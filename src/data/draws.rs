//! Chance, keyed by what it decides.
//!
//! Every draw is a function of (seed, example, pass, purpose, index) and of nothing else: not of the thread, the order of calls or how many
//! draws were made before. `verify` puts recorded draws in the same place.

use crate::hash::{STEP, splitmix64};

/// What a draw decides. The numbers are part of the generator's key and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u64)]
pub enum Purpose {
    /// Starts of the deleted blocks of rows.
    BlockDeletion = 1,
    /// Which rows of a distillation alignment stay.
    Subsample = 2,
    /// The order in which rows become cluster centres.
    SampleMsa = 3,
    /// Whether a position is masked.
    MaskPosition = 4,
    /// What a masked position becomes.
    MaskResidue = 5,
    /// Which of the other rows stay as extra rows.
    ExtraMsa = 6,
    /// Where the crop starts.
    CropStart = 7,
    /// The first draw of an unclamped example's crop.
    CropSlack = 8,
    /// How many templates are left out.
    TemplateStart = 9,
    /// The order of the templates.
    TemplateOrder = 10,
    /// Whether the backbone loss is clamped.
    Clamp = 11,
    /// The number of passes.
    Passes = 12,
    /// Which set and which chain is drawn.
    Chain = 13,
    /// AlphaFold's `random_crop_to_size_seed`.
    CropSeed = 14,
}

/// The pass number of draws that hold for all passes of an example.
pub const ALL_PASSES: usize = u32::MAX as usize;

/// Random draws of one example.
pub trait Draws {
    /// 64 random bits.
    fn word(&self, pass: usize, purpose: Purpose, index: u64) -> u64;

    /// A number in [0, 1), a multiple of 2^-24.
    fn uniform(&self, pass: usize, purpose: Purpose, index: u64) -> f32 {
        (self.word(pass, purpose, index) >> 40) as f32 / (1u32 << 24) as f32
    }

    /// An integer in 0..n.
    fn below(&self, pass: usize, purpose: Purpose, index: u64, n: usize) -> usize {
        ((u128::from(self.word(pass, purpose, index)) * n as u128) >> 64) as usize
    }

    /// A random order of 0..n (Fisher and Yates).
    fn permutation(&self, pass: usize, purpose: Purpose, n: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..n as u32).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(pass, purpose, i as u64, i + 1));
        }
        order
    }

    /// One of the classes with probability proportional to its weight. `index` is the position the draw is for.
    fn categorical(&self, pass: usize, purpose: Purpose, index: u64, weights: &[f32]) -> u8 {
        let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
        let mut left = (self.word(pass, purpose, index) >> 11) as f64 / (1u64 << 53) as f64 * total;
        for (class, &w) in weights.iter().enumerate() {
            left -= f64::from(w);
            if left < 0.0 {
                return class as u8;
            }
        }
        // Rounding can leave a sliver above the last class that can be drawn at all.
        weights.iter().rposition(|&w| w > 0.0).expect("a class of positive weight") as u8
    }
}

/// The generator of ordinary runs: splitmix64's finaliser over a counter, started at a hash of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyed {
    key: u64,
}

impl Keyed {
    /// Draws of example number `example` of a run.
    pub fn new(seed: u64, example: u64) -> Self {
        Self { key: splitmix64(splitmix64(seed) ^ example) }
    }
}

impl Draws for Keyed {
    fn word(&self, pass: usize, purpose: Purpose, index: u64) -> u64 {
        let key = splitmix64(splitmix64(self.key ^ pass as u64) ^ purpose as u64);
        splitmix64(key.wrapping_add(index.wrapping_mul(STEP)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_their_key_alone_and_are_spread_evenly() {
        let d = Keyed::new(7, 3);
        assert_eq!(d.word(1, Purpose::SampleMsa, 5), Keyed::new(7, 3).word(1, Purpose::SampleMsa, 5));
        let others = [
            Keyed::new(8, 3).word(1, Purpose::SampleMsa, 5),
            Keyed::new(7, 4).word(1, Purpose::SampleMsa, 5),
            d.word(2, Purpose::SampleMsa, 5),
            d.word(1, Purpose::ExtraMsa, 5),
            d.word(1, Purpose::SampleMsa, 6),
        ];
        assert!(others.iter().all(|&w| w != d.word(1, Purpose::SampleMsa, 5)));
        let mut counts = [0; 3];
        for i in 0..30_000 {
            counts[usize::from(d.categorical(0, Purpose::MaskResidue, i, &[1.0, 0.0, 3.0]))] += 1;
        }
        // Four standard deviations of a binomial with p = 1/4.
        assert!((counts[0] as f64 - 7500.0).abs() < 300.0 && counts[1] == 0, "{counts:?}");
        let mut order = d.permutation(0, Purpose::SampleMsa, 1000);
        assert_ne!(order, (0..1000).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn a_stream_is_the_same_on_every_machine() {
        let d = Keyed::new(42, 0);
        let words: Vec<u64> = (0..3).map(|i| d.word(0, Purpose::Clamp, i)).collect();
        assert_eq!(words, reference(42, 0, 0, 11));
    }

    /// The definition once more, in plain 128-bit arithmetic reduced by hand.
    fn reference(seed: u64, example: u64, pass: u64, purpose: u64) -> Vec<u64> {
        let m = 1u128 << 64;
        let mix = |x: u64| {
            let mut z = (u128::from(x) + 0x9E37_79B9_7F4A_7C15) % m;
            z = (z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9 % m;
            z = (z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB % m;
            (z ^ (z >> 31)) as u64
        };
        let key = mix(mix(mix(mix(seed) ^ example) ^ pass) ^ purpose);
        (0..3u128).map(|i| mix(((u128::from(key) + i * 0x9E37_79B9_7F4A_7C15) % m) as u64)).collect()
    }
}
