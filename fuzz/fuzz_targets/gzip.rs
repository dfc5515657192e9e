//! No bytes make the parser panic, hang or take memory out of proportion.
//!
//! The bound on memory: deflate packs at most 1,032 bytes into one, and a growing buffer is there twice while it is moved.
#![no_main]

use std::path::Path;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let path = Path::new("fuzzed");
    anyfold_fuzz::within(data, 4096, || anyfold_fuzz::io::text::unpack(data.to_vec(), path));
});
