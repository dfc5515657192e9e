//! No bytes make the parser panic, hang or take memory out of proportion.
//!
//! The bound on memory: a residue of SEQRES is named in four bytes and has room for 37 atoms.
#![no_main]

use std::path::Path;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let path = Path::new("fuzzed");
    anyfold_fuzz::within(data, 1024, || anyfold_fuzz::io::pdb::parse_structure(data, path));
});
