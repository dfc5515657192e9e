//! AlphaFold 2, one file for each part of the supplement, reading like its pseudocode.
//!
//! Must not know wgpu, WGSL, buffers, chunks or storage types.

pub mod alphafold;
pub mod config;
pub mod embed;
pub mod evoformer;
pub mod features;
pub mod heads;
pub mod network;
pub mod parameters;
pub mod presets;
pub mod structure;
pub mod template;
pub mod trunk;
