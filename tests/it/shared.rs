//! Where the shared data folder is: `ANYFOLD_SHARED`, or `../shared` beside the crate.

use std::path::PathBuf;

/// A path inside the shared folder, or `None`, said aloud, when the folder is not there.
pub fn shared(inside: &str) -> Option<PathBuf> {
    let root =
        std::env::var_os("ANYFOLD_SHARED").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = root.join(inside);
    if !path.exists() {
        eprintln!("LEFT OUT: {} is not there (set ANYFOLD_SHARED)", path.display());
        return None;
    }
    Some(path)
}
