//! No bytes make the text transforms panic, hang or take memory out of proportion.
#![no_main]

use std::path::Path;

use anyfold::io::stockholm_text as sto;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let path = Path::new("fuzzed");
    let text = String::from_utf8_lossy(data);
    let _ = sto::to_a3m(&text, Some(5), true, path);
    let _ = sto::to_a3m(&text, None, false, path);
    let _ = sto::deduplicate(&text, path);
    let _ = sto::remove_empty_columns(&text, path);
    let _ = sto::truncate(&text, 3);
});
