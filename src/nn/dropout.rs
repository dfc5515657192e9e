//! Dropout of a layer's update, as it is added to its residual.

use crate::graph::Tensor;
use crate::hash::fnv1a64;
use crate::nn::params::Scope;
use crate::ops::basic::dropout::{Dropout, SEED_WORDS, Share};
use crate::tensor::{DType, HostTensor};

/// Name of the graph's input that all masks depend on.
pub const SEED: &str = "dropout";

/// The input that all masks of a graph depend on, to be set before each replay to what [`seed_words`] gives.
pub fn seed_input<'g>(scope: &Scope<'g>) -> Tensor<'g> {
    scope.graph.input(SEED, &[SEED_WORDS], DType::I32, false)
}

/// The value of [`seed_input`] for one example of one step in one recycling pass. Steps below 2^28 and passes below 16 never share masks.
pub fn seed_words(seed: u64, step: u32, example: u32, pass: u32) -> HostTensor {
    let words = [seed as u32, (seed >> 32) as u32, step, example, pass];
    HostTensor::i32(&[SEED_WORDS], words.map(|w| w as i32).to_vec())
}

/// `residual + dropout(update)`, both `[a, b, c]` or `[b, c]`, with the mask of `scope`'s path: one scope holds one dropout. Without a
/// seed (prediction, and tests without chance) and at rate 0 nothing is dropped.
pub fn add_dropout<'g>(
    scope: &Scope<'g>,
    residual: Tensor<'g>,
    update: Tensor<'g>,
    (rate, share): (f32, Share),
    seed: Option<Tensor<'g>>,
) -> Tensor<'g> {
    match seed.filter(|_| rate > 0.0) {
        None => residual + update,
        Some(seed) => scope.graph.apply(Dropout { rate, share, key: fnv1a64(&scope.key()), residual: true }, &[residual, update, seed]),
    }
}

/// `dropout(x)` without a residual, as the structure module has it; otherwise like [`add_dropout`].
pub fn dropout<'g>(scope: &Scope<'g>, x: Tensor<'g>, rate: f32, seed: Option<Tensor<'g>>) -> Tensor<'g> {
    match seed.filter(|_| rate > 0.0) {
        None => x,
        Some(seed) => {
            let op = Dropout { rate, share: Share::Nothing, key: fnv1a64(&scope.key()), residual: false };
            scope.graph.apply(op, &[x, seed])
        }
    }
}
