//! From alignments, structures and templates to what the network takes.
//!
//! An [`example::Example`] holds what files say, in integers. A [`features::Features`] holds what one example's passes need, cropped, masked
//! and clustered, still in integers and counts; the GPU expands them. [`full`] builds AlphaFold's float arrays from it, for `data features`
//! and `verify` only. [`set`] keeps examples in a memory-mapped set, [`loader`] prepares them ahead of training.
//!
//! Knows nothing of GPUs, parameters or losses.

pub mod alignment;
pub mod alphabet;
pub mod cluster;
pub mod distill;
pub mod draws;
pub mod example;
pub mod features;
pub mod full;
pub mod layout;
pub mod loader;
pub mod mask;
pub mod policy;
pub mod prepare;
pub mod raw;
pub mod raw_example;
pub mod set;
pub mod ship;
pub mod template_angles;
pub mod templates;
