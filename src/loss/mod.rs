//! The losses as the supplement writes them (1.9). Sees tensors of a graph; must not know wgpu, WGSL or a buffer.

pub mod aligned_error;
pub mod chi;
pub mod distogram;
pub mod fape;
pub mod masked_msa;
pub mod plddt;
pub mod resolved;
pub mod structure;
pub mod total;
pub mod violation;

/// Resolutions, in Angstrom, of structures that the heads of confidence learn from (supplement 1.9.6, 1.9.7 and 1.9.10).
const RESOLUTIONS: std::ops::RangeInclusive<f32> = 0.1..=3.0;

/// The weight of a structure in the losses of confidence: 1 where its resolution is known and good, else 0 (QUIRKS 47).
pub fn resolution_weight(resolution: f32) -> f32 {
    if RESOLUTIONS.contains(&resolution) { 1.0 } else { 0.0 }
}
