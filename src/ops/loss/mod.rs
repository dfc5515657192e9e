//! Operations of the losses. Always in single precision; sums are made in one fixed order.

pub mod aligned_error_bins;
pub mod fape;
pub mod lddt;
pub mod masked_mean;
