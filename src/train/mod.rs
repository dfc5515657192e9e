//! Training: configuration, schedule, sampling, checkpoints, logs and their report.
//!
//! Knows the operations that change states in place, and the data sets. Must not know the command line.

pub mod checkpoint;
pub mod config;
pub mod events;
pub mod log;
pub mod presets;
pub mod sampler;
pub mod schedule;
pub mod settings;
