#![doc = include_str!("ARCHITECTURE.md")]

// In floor order: a module imports only from those above it (`tests/it/tidy.rs`). Browsers have neither processes nor signals: there the
// network and its losses are all.
pub mod error;
pub mod hash;
pub mod tensor;

pub mod data;
pub mod io;
pub mod protein;
#[cfg(not(target_arch = "wasm32"))]
pub mod search;

pub mod gpu;
pub mod op;

pub mod graph;
pub mod ops;

pub mod nn;

pub mod loss;
pub mod model;

#[cfg(not(target_arch = "wasm32"))]
pub mod predict;
#[cfg(not(target_arch = "wasm32"))]
pub mod train;

#[cfg(not(target_arch = "wasm32"))]
pub mod verify;

#[cfg(not(target_arch = "wasm32"))]
pub mod bench;

#[cfg(not(target_arch = "wasm32"))]
pub mod cli;
