//! The losses as the supplement writes them (1.9). Sees tensors of a graph; must not know wgpu, WGSL or a buffer.

pub mod fape;
