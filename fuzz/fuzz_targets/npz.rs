//! No bytes make reading an npz archive panic, hang or take memory out of proportion.
//!
//! The bound on memory: deflate packs at most 1,032 bytes into one, of which each becomes an integer of four, twice while it is made.
#![no_main]

use std::path::Path;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    anyfold_fuzz::within(data, 8192, || anyfold_fuzz::io::npz::parse(data, Path::new("fuzzed")));
});
