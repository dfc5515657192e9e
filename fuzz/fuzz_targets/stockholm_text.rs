//! No bytes make the text transforms panic, hang or take memory out of proportion.
#![no_main]

use std::path::Path;

use anyfold_fuzz::io::stockholm_text as sto;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let path = Path::new("fuzzed");
    let text = String::from_utf8_lossy(data);
    anyfold_fuzz::within(data, 64, || sto::to_a3m(&text, Some(5), true, path));
    anyfold_fuzz::within(data, 64, || sto::to_a3m(&text, None, false, path));
    anyfold_fuzz::within(data, 64, || sto::deduplicate(&text, path));
    anyfold_fuzz::within(data, 64, || sto::remove_empty_columns(&text, path));
    anyfold_fuzz::within(data, 64, || sto::truncate(&text, 3));
});
