//! What all fuzz targets share: the modules that read files, and a count of memory.
//!
//! The modules are those of the main crate, compiled here by themselves: they know no GPU (`src/ARCHITECTURE.md`), and graphics libraries would
//! take most of the time that an instrumented build takes. A parser that holds more memory than its input's length allows is a finding; libFuzzer's
//! own limit (`-rss_limit_mb`) is one number for all inputs, so that a short input that takes much would pass under it.

#[path = "../../src/data/mod.rs"]
pub mod data;
#[path = "../../src/error.rs"]
pub mod error;
#[path = "../../src/hash.rs"]
pub mod hash;
#[path = "../../src/io/mod.rs"]
pub mod io;
#[path = "../../src/protein/mod.rs"]
pub mod protein;
#[path = "../../src/tensor.rs"]
pub mod tensor;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Memory that any input may take: tables, messages, a decompressor's window.
const BASE: usize = 1 << 20;

thread_local! {
    /// Bytes held by this thread, and the most since a count began.
    static HELD: Cell<[isize; 2]> = const { Cell::new([0; 2]) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(bytes: isize) {
    // A thread that ends has no count any more, and nothing is asked of it.
    let _ = HELD.try_with(|held| {
        let [now, most] = held.get();
        held.set([now + bytes, most.max(now + bytes)]);
    });
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old block and the new one are there together while one is copied to the other.
        count(size as isize);
        count(-(layout.size() as isize));
        unsafe { System.realloc(memory, layout, size) }
    }
}

/// Runs a parser on `data`; it may hold at most 1 MiB and `factor` bytes for each byte of its input at any time.
pub fn within<T>(data: &[u8], factor: usize, parse: impl FnOnce() -> T) {
    let before = HELD.with(|held| {
        let now = held.get()[0];
        held.set([now; 2]);
        now
    });
    let made = parse();
    let taken = HELD.with(|held| held.get()[1] - before) as usize;
    drop(made);
    assert!(
        taken <= BASE + factor * data.len(),
        "{taken} bytes were held for an input of {}: more than 1 MiB and {factor} a byte",
        data.len()
    );
}
