//! No bytes make the parser panic, hang or take memory out of proportion.
#![no_main]

use std::path::Path;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let path = Path::new("fuzzed");
    anyfold_fuzz::within(data, 64, || anyfold_fuzz::io::a3m::parse_psicov(data, path));
});
