//! Operations of the losses. Always in single precision; sums are made in one fixed order.

pub mod fape;
