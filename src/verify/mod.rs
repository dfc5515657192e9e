//! `anyfold verify`: golden cases against what this program computes on this machine.
//!
//! [`golden`] reads a case and `rules` holds every tolerance. Each other file runs the modules of one group.

pub mod data;
pub mod golden;
pub mod host_files;
pub mod host_structure;
pub mod replay;
pub mod templates;
