//! An alignment as its file has it: names, letters of the query's columns, and how much each row has deleted before each.
//!
//! What A3M, Stockholm and PSICOV files are read into. Knows letters, not residue types.

use std::path::Path;

use crate::error::{Error, Result};
use crate::io::{a3m, stockholm, text};

/// One alignment; the first row is the query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Msa {
    /// Columns, those of the query.
    pub width: usize,
    /// The text after `>` (A3M) or the row's name (Stockholm), one per row.
    pub names: Vec<String>,
    /// Upper-case letters and `-`, row-major `[n_seq, width]`.
    pub letters: Vec<u8>,
    /// Residues of the row left out before each column, row-major `[n_seq, width]`.
    pub deletions: Vec<u16>,
}

impl Msa {
    /// Number of rows.
    pub fn n_seq(&self) -> usize {
        self.names.len()
    }

    /// The letters of row `i`.
    pub fn row(&self, i: usize) -> &[u8] {
        &self.letters[i * self.width..][..self.width]
    }

    /// The deletion counts of row `i`.
    pub fn row_deletions(&self, i: usize) -> &[u16] {
        &self.deletions[i * self.width..][..self.width]
    }

    /// The first row without its gaps: an A3M query may hold none, a Stockholm query has none left.
    pub fn query(&self) -> Vec<u8> {
        if self.n_seq() == 0 { Vec::new() } else { self.row(0).iter().copied().filter(|&b| b != b'-').collect() }
    }

    /// The first `n` rows.
    pub fn truncate(&mut self, n: usize) {
        let n = n.min(self.n_seq());
        self.names.truncate(n);
        self.letters.truncate(n * self.width);
        self.deletions.truncate(n * self.width);
    }
}

/// Reads an alignment file by what its name says it is (`.a3m`, `.sto`/`.sth`/`.stockholm`, `.aln`; gzip or plain), or else by how it begins.
///
/// A file may hold several alignments: A3M blocks set apart by NUL bytes, Stockholm blocks ended by `//`.
pub fn read_all(path: impl AsRef<Path>) -> Result<Vec<Msa>> {
    let path = path.as_ref();
    let bytes = text::read(path)?;
    let name = text::plain_name(path);
    let ends = |suffixes: &[&str]| suffixes.iter().any(|s| name.ends_with(s));
    if ends(&[".a3m", ".fasta", ".fa", ".fas", ".afa"]) {
        a3m::parse(&bytes, path)
    } else if ends(&[".sto", ".sth", ".stockholm", ".stk"]) {
        stockholm::parse(&bytes, path)
    } else if ends(&[".aln"]) {
        a3m::parse_psicov(&bytes, path).map(|m| vec![m])
    } else if bytes.starts_with(b"# STOCKHOLM") {
        stockholm::parse(&bytes, path)
    } else if bytes.starts_with(b">") || bytes.starts_with(b"#") {
        a3m::parse(&bytes, path)
    } else {
        Err(Error::format(path, "not an alignment that is known here: expected A3M, Stockholm or PSICOV `.aln`"))
    }
}

/// Reads a file that should hold one alignment.
pub fn read(path: impl AsRef<Path>) -> Result<Msa> {
    let path = path.as_ref();
    let mut all = read_all(path)?;
    if all.len() != 1 {
        let names: Vec<_> = all.iter().map(|m| m.names[0].as_str()).collect();
        return Err(Error::format(path, format!("{} alignments (of {}) where one was expected", all.len(), names.join(", "))));
    }
    Ok(all.remove(0))
}

/// Reads the alignment whose query is `sequence`: letter for letter, but that X stands for any residue in either, since programs differ in what
/// they make of modified residues. The first row is given as the sequence has it.
pub fn read_for(path: impl AsRef<Path>, sequence: &[u8]) -> Result<Msa> {
    let path = path.as_ref();
    let all = read_all(path)?;
    let same = |a: u8, b: u8| a == b || (a == b'X' && b.is_ascii_uppercase()) || (b == b'X' && a.is_ascii_uppercase());
    let is_query = |row: &[u8]| row.len() == sequence.len() && row.iter().zip(sequence).all(|(&a, &b)| same(a, b));
    let exact = all.iter().position(|m| m.row(0) == sequence);
    if let Some(i) = exact.or_else(|| all.iter().position(|m| is_query(m.row(0)))) {
        let mut msa = all.into_iter().nth(i).expect("found above");
        msa.letters[..sequence.len()].copy_from_slice(sequence);
        return Ok(msa);
    }
    let first = all.first().expect("a parsed file holds at least one alignment");
    let (row, name) = (first.row(0), &first.names[0]);
    let what = match row.iter().zip(sequence).position(|(&a, &b)| !same(a, b)) {
        Some(i) if row.len() == sequence.len() => {
            let (theirs, ours) = (text::show(row[i]), text::show(sequence[i]));
            format!("its first row `{name}` has {theirs} at residue {} where the sequence has {ours}", i + 1)
        }
        _ => format!("its first row `{name}` has {} residues and the sequence {}", row.len(), sequence.len()),
    };
    Err(Error::format(path, format!("the alignment is of another query: {what}")))
}
