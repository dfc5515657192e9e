//! Training: configuration, schedule, sampling, checkpoints, logs and their report.
//!
//! Knows the operations that change states in place, and the data sets. Must not know the command line.

pub mod baseline;
pub mod chart;
pub mod checkpoint;
pub mod config;
pub mod events;
pub mod fit;
pub mod labels;
#[cfg_attr(not(feature = "mpi"), path = "link_alone.rs")]
pub mod link;
pub mod lists;
pub mod log;
pub mod optimizer;
pub mod presets;
pub mod ranks;
pub mod report;
pub mod run;
pub mod sampler;
pub mod schedule;
pub mod settings;
pub mod step;
pub mod sum;
pub mod validation;

/// A run's resolved configuration, within its folder.
pub const CONFIG: &str = "config.toml";
/// Its newest validation structures: `CHAIN.pdb` and `CHAIN.reference.pdb`.
pub const VALIDATION: &str = "validation";
