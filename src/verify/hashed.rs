//! Parameters made from their names: the rule by which golden cases of full width leave them out.

use crate::hash::{STEP, fnv1a64, splitmix64};
use crate::tensor::HostTensor;

/// Stacks whose parameters have a leading block axis, which does not count towards fan-in.
const STACKS: [&str; 3] = ["evoformer/evoformer_iteration/", "evoformer/extra_msa_stack/", "__layer_stack_no_state/"];

fn uniform(hash: u64, i: u64) -> f64 {
    (splitmix64(hash.wrapping_add(i.wrapping_mul(STEP))) >> 40) as f64 / (1u64 << 24) as f64
}

/// The parameter `name` (`scope//name`) of this shape, stack axis included.
pub fn tensor(name: &str, shape: &[usize]) -> HostTensor {
    let (scope, last) = name.split_once("//").unwrap_or(("", name));
    let stacked = STACKS.iter().any(|s| format!("{scope}/").contains(s));
    let own = if stacked { &shape[1..] } else { shape };
    let fan_in: usize = if last == "output_w" { own[..own.len() - 1].iter().product() } else { own.first().copied().unwrap_or(1) };
    let hash = fnv1a64(name);
    let value = |i: usize| {
        let u = uniform(hash, i as u64);
        (match last {
            "bias" | "offset" | "output_b" | "gating_b" => 0.1 * (2.0 * u - 1.0),
            "scale" | "trainable_point_weights" => 1.0 + 0.1 * (2.0 * u - 1.0),
            _ => (u - 0.5) * 2.0 * (3.0 / fan_in as f64).sqrt(),
        }) as f32
    };
    HostTensor::f32(shape, (0..shape.iter().product()).map(value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worked_examples_come_out() {
        let row = "alphafold/alphafold_iteration/evoformer/evoformer_iteration/msa_row_attention_with_pair_bias/query_norm";
        let first = |name: &str, shape: &[usize]| tensor(name, shape).as_f32()[..4].to_vec();
        let weights = first("alphafold/alphafold_iteration/evoformer/preprocess_1d//weights", &[22, 256]);
        assert_eq!(weights, [-0.109_108_21, -0.255_946_9, -0.080_279_95, 0.155_003_7]);
        assert_eq!(first(&format!("{row}//scale"), &[48, 256]), [1.071_851_4, 0.976_799_2, 1.094_724, 1.048_264_7]);
        assert_eq!(first(&format!("{row}//offset"), &[48, 256]), [-0.089_926_3, 0.054_212_33, -0.046_907_414, -0.042_896_59]);
    }
}
