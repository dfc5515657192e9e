//! Prediction: what goes into the network and what is made of what comes out.
//!
//! [`confidence`] turns logits into numbers. Knows nothing of clap or exit codes.

pub mod confidence;
