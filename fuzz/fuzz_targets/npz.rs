//! No bytes make reading an npz archive panic, hang or take memory out of proportion.
#![no_main]

use std::path::Path;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = anyfold::io::npz::parse(data, Path::new("fuzzed"));
});
