#![doc = include_str!("ARCHITECTURE.md")]

// In floor order: a module imports only from those above it (`tests/it/tidy.rs`).
pub mod error;
pub mod hash;
pub mod tensor;

pub mod data;
pub mod io;
pub mod protein;
pub mod search;

pub mod gpu;
pub mod op;

pub mod graph;
pub mod ops;

pub mod nn;

pub mod loss;
pub mod model;

pub mod predict;
pub mod train;

pub mod verify;

pub mod bench;

pub mod cli;
