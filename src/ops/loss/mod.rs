//! Operations of the losses. Always in single precision; sums are made in one fixed order.

pub mod aligned_error_bins;
pub mod alt_naming;
pub mod choose;
pub mod clash;
pub mod fape;
pub mod lddt;
pub mod masked_mean;
pub mod peptide;
pub mod torsion_loss;
pub mod violation_metrics;
pub mod weighted_sum;
pub mod within;
