//! No bytes in a data set's shard make reading an entry panic, hang or take memory out of proportion.
#![no_main]

use anyfold::data::set::codec;
use anyfold::data::set::index::Entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = codec::decode(data, &Entry::default());
});
