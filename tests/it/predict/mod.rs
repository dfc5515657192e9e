//! Prediction without its network: a made-up one stands in its place, and only here.

mod batch;
mod command;
mod fake;
mod files;
mod inputs;
mod outside;
