//! Files as they exist in the world: reading and writing, with the file and the line in every complaint.
//!
//! Strict where data would be lost, tolerant where real files are merely odd. Knows nothing of features or networks.

pub mod a3m;
pub mod archive;
pub mod atoms;
pub mod cif;
pub mod fasta;
pub mod hhr;
pub mod hmmsearch;
pub mod mmcif;
pub mod mmcif_polymers;
pub mod modelcif;
pub mod msa;
pub mod npz;
pub mod pdb;
pub mod pdb_write;
pub mod safetensors;
pub mod seqres;
pub mod stockholm;
pub mod stockholm_text;
pub mod structure;
pub mod text;
