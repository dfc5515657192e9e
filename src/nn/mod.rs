//! Layers and parameters: AlphaFold's names over the arena that kernels want. Fusion is decided here.
//!
//! Knows operations; must not know AlphaFold's parts, nor wgpu.

pub mod attention;
pub mod dropout;
pub mod global_attention;
pub mod init;
pub mod layers;
pub mod outer_product_mean;
pub mod params;
