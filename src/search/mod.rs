//! Sequence and template searches by other programs, as child processes: jackhmmer, hhblits, hhsearch, hmmsearch, MMseqs2, kalign.
//!
//! [`config`] says which databases and programs there are, [`tools`] how each program is called, [`steps`] what one search makes of a query,
//! [`run`] does all of them within a budget of cores, [`process`] keeps a child in check. A result appears under its final name only when it is
//! whole and was read back, and what is there is not searched again. Knows nothing of features or networks.

pub mod config;
pub mod kalign;
pub mod process;
pub mod run;
pub mod steps;
pub mod tools;
