//! One test binary.

mod protein_files;
mod protein_goldens;
mod protein_metrics;
mod shared;
