//! No bytes in a data set's shard make reading an entry panic, hang or take memory out of proportion.
#![no_main]

use anyfold_fuzz::data::set::codec;
use anyfold_fuzz::data::set::index::Entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    anyfold_fuzz::within(data, 64, || codec::decode(data, &Entry::default()));
});
