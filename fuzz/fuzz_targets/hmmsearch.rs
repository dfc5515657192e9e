//! No bytes make the parser panic, hang or take memory out of proportion.
#![no_main]

use std::path::Path;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let path = Path::new("fuzzed");
    anyfold_fuzz::within(data, 256, || anyfold_fuzz::io::hmmsearch::parse(&String::from_utf8_lossy(data), "MKTAYIAKQR", path));
});
