//! Prediction: most of it without its network, in whose place a made-up one stands; [`network`] has the real one.

mod batch;
mod command;
mod distillation;
mod fake;
mod files;
mod inputs;
mod network;
mod outside;
