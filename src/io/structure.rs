//! Structure files of either format, told apart by their content.

use std::path::Path;

use super::{mmcif, pdb, text};
use crate::error::Result;
use crate::protein::structure::Structure;

/// Reads an mmCIF or legacy PDB file, plain or gzip.
pub fn read(path: impl AsRef<Path>) -> Result<Structure> {
    let path = path.as_ref();
    let bytes = text::read(path)?;
    if is_cif(&bytes) { mmcif::parse_structure(&String::from_utf8_lossy(&bytes), path) } else { pdb::parse_structure(&bytes, path) }
}

/// Whether the first line that is neither blank nor a comment begins a data block, a loop or an item.
fn is_cif(bytes: &[u8]) -> bool {
    let starts = |line: &[u8], word: &[u8]| line.get(..word.len()).is_some_and(|w| w.eq_ignore_ascii_case(word));
    let mut lines = bytes.split(|&b| b == b'\n').map(|l| l.trim_ascii()).filter(|l| !l.is_empty() && l[0] != b'#');
    lines.next().is_some_and(|l| starts(l, b"data_") || starts(l, b"loop_") || l[0] == b'_')
}
