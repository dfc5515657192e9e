//! Where the shared data folder is: `ANYFOLD_SHARED`, or `../shared` beside the crate.

use std::io::Write;
use std::path::PathBuf;
use std::process::Output;

/// Says that a test was left out. Not by `eprintln!`, which the test harness hides when a test passes.
pub fn left_out(why: &str) {
    let line = format!("LEFT OUT: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// What a command said on standard error, without what a driver says there by itself: libwayland, which Mesa's
/// drivers ask for screens, complains of a machine without a desktop's `XDG_RUNTIME_DIR` whenever an adapter is opened.
pub fn complaints(out: &Output) -> String {
    let all = String::from_utf8_lossy(&out.stderr);
    all.lines().filter(|l| !l.contains("XDG_RUNTIME_DIR")).fold(String::new(), |said, line| said + line + "\n")
}

/// A path inside the shared folder, or `None`, said aloud, when the folder is not there.
pub fn shared(inside: &str) -> Option<PathBuf> {
    let root =
        std::env::var_os("ANYFOLD_SHARED").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = root.join(inside);
    if !path.exists() {
        left_out(&format!("{} is not there (set ANYFOLD_SHARED)", path.display()));
        return None;
    }
    Some(path)
}
