//! kalign as the aligner of two sequences.

use std::path::{Path, PathBuf};

use super::process::Limits;
use super::tools;
use crate::error::{Error, Result};
use crate::io::fasta;

/// Shortest sequence that kalign takes.
const SHORTEST: usize = 6;

/// The program and its time limit.
#[derive(Debug, Clone)]
pub struct Kalign {
    /// The executable.
    pub program: PathBuf,
    /// Longest run, and the user's wish to stop.
    pub limits: Limits,
}

impl Kalign {
    /// Pairs (residue of `a`, residue of `b`) that stand in the same column, in rising order.
    pub fn align(&self, a: &[u8], b: &[u8]) -> Result<Vec<(usize, usize)>> {
        if a.len().min(b.len()) < SHORTEST {
            return Err(Error::Data(format!(
                "kalign takes sequences of {SHORTEST} residues or more; these have {} and {}",
                a.len(),
                b.len()
            )));
        }
        let folder = tempfile::tempdir().map_err(|e| Error::io(std::env::temp_dir(), e))?;
        let (input, output) = (folder.path().join("in.fasta"), folder.path().join("out.fasta"));
        let text = format!(">a\n{}\n>b\n{}\n", String::from_utf8_lossy(a), String::from_utf8_lossy(b));
        std::fs::write(&input, text).map_err(|e| Error::io(&input, e))?;
        tools::kalign(&self.program, &input, &output).run(folder.path(), &self.limits)?;
        columns(&output, a, b)
    }
}

fn columns(output: &Path, a: &[u8], b: &[u8]) -> Result<Vec<(usize, usize)>> {
    let rows = fasta::read(output)?;
    let whole = |row: &str, sequence: &[u8]| row.bytes().filter(|&c| c != b'-').eq(sequence.iter().copied());
    let [first, second] = rows.as_slice() else {
        return Err(Error::Program(format!("kalign wrote {} rows for 2 sequences", rows.len())));
    };
    if first.sequence.len() != second.sequence.len() || !whole(&first.sequence, a) || !whole(&second.sequence, b) {
        return Err(Error::Program("kalign's rows are not the two sequences that it was given".into()));
    }
    let (mut i, mut j) = (0, 0);
    let mut pairs = Vec::new();
    for (x, y) in first.sequence.bytes().zip(second.sequence.bytes()) {
        if x != b'-' && y != b'-' {
            pairs.push((i, j));
        }
        i += usize::from(x != b'-');
        j += usize::from(y != b'-');
    }
    Ok(pairs)
}
