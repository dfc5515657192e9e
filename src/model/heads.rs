//! The heads: logits from the representations (supplement 1.9.6-1.9.10). Each takes the scope above its own name.

use crate::graph::Tensor;
use crate::nn::init::Init;
use crate::nn::layers::{layer_norm, linear};
use crate::nn::params::Scope;
use crate::ops::basic::linear::Act;

/// Final layers begin at zero.
const FINAL: Init = Init::Constant(0.0);

/// Masked MSA prediction: `m [n_seq, n_res, c_m]` to logits `[n_seq, n_res, classes]`; AlphaFold's classes are 23.
pub fn masked_msa_head<'g>(scope: &Scope<'g>, m: Tensor<'g>, classes: usize) -> Tensor<'g> {
    linear(&scope.child("masked_msa_head/logits"), m, classes, FINAL, Act::None)
}

/// Distogram: `z [n_res, n_res, c_z]` to logits `[n_res, n_res, bins]`, the same for (i, j) and (j, i).
pub fn distogram_head<'g>(scope: &Scope<'g>, z: Tensor<'g>, bins: usize) -> Tensor<'g> {
    let half = linear(&scope.child("distogram_head/half_logits"), z, bins, FINAL, Act::None); // [n_res, n_res, bins]
    half + half.permute(&[1, 0, 2])
}

/// Algorithm 29 predictPerResidueLDDT_Ca, lines 1-3: the structure module's `s [n_res, c_s]` to logits `[n_res, bins]`.
pub fn predicted_lddt_head<'g>(scope: &Scope<'g>, s: Tensor<'g>, channels: usize, bins: usize) -> Tensor<'g> {
    let scope = scope.child("predicted_lddt_head");
    let a = layer_norm(&scope.child("input_layer_norm"), s); // line 1  [n_res, c_s]
    let a = linear(&scope.child("act_0"), a, channels, Init::Relu, Act::Relu); // line 2  [n_res, channels]
    let a = linear(&scope.child("act_1"), a, channels, Init::Relu, Act::Relu); // line 2  [n_res, channels]
    linear(&scope.child("logits"), a, bins, FINAL, Act::None) // line 3  [n_res, bins]
}

/// Experimentally resolved: the single representation `s [n_res, c_s]` to one logit for each atom `[n_res, atoms]`; AlphaFold's are 37.
pub fn experimentally_resolved_head<'g>(scope: &Scope<'g>, s: Tensor<'g>, atoms: usize) -> Tensor<'g> {
    linear(&scope.child("experimentally_resolved_head/logits"), s, atoms, FINAL, Act::None)
}

/// Predicted aligned error: `z [n_res, n_res, c_z]` to logits `[n_res, n_res, bins]`, from the frame of the first residue.
pub fn predicted_aligned_error_head<'g>(scope: &Scope<'g>, z: Tensor<'g>, bins: usize) -> Tensor<'g> {
    linear(&scope.child("predicted_aligned_error_head/logits"), z, bins, FINAL, Act::None)
}
