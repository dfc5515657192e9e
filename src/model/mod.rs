//! AlphaFold 2, one file for each part of the supplement, reading like its pseudocode.
//!
//! Must not know wgpu, WGSL, buffers, chunks or storage types.

pub mod heads;
pub mod structure;
