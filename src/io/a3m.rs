//! A3M, and PSICOV's bare rows.
//!
//! Upper case and `-` are the query's columns, lower case is inserted between them and only counted. Blocks of several queries, as ColabFold's
//! server writes them, are set apart by NUL bytes and come back as several alignments. Rows of another width than their block's query are
//! refused: nothing tells where their residues belong.

use std::path::Path;

use crate::error::{Error, Result};
use crate::io::msa::Msa;
use crate::io::text;

/// Rows by which HH-suite and other programs annotate the query; they hold no protein sequence.
const ANNOTATIONS: [&[u8]; 7] = [b"ss_pred", b"ss_conf", b"ss_dssp", b"sa_dssp", b"sa_pred", b"aa_dssp", b"aa_pred"];

/// All alignments of an A3M file, at least one, each with at least its query.
pub fn parse(bytes: &[u8], path: &Path) -> Result<Vec<Msa>> {
    let mut reader = Reader { path, done: Vec::new(), msa: Msa::default(), row: Row::Before };
    for (line, content) in text::lines(bytes) {
        reader.line(line, content)?;
    }
    reader.close_block()?;
    if reader.done.is_empty() {
        return Err(Error::format(path, "no sequence: an A3M file has at least its query (`>name`, then the sequence)"));
    }
    Ok(reader.done)
}

/// What the line being read belongs to.
enum Row {
    /// Nothing yet in this block.
    Before,
    /// An annotation that is skipped.
    Skipped,
    /// The row whose header stood on this line, with so many inserted residues since its last column.
    Open { line: usize, inserted: u32 },
}

struct Reader<'a> {
    path: &'a Path,
    done: Vec<Msa>,
    msa: Msa,
    row: Row,
}

impl Reader<'_> {
    fn line(&mut self, line: usize, content: &[u8]) -> Result<()> {
        // A NUL ends a block wherever it stands: ColabFold writes it before the next header on the same line.
        let mut parts = content.split(|&b| b == 0);
        self.part(line, parts.next().unwrap_or_default())?;
        for part in parts {
            self.close_block()?;
            self.part(line, part)?;
        }
        Ok(())
    }

    fn part(&mut self, line: usize, content: &[u8]) -> Result<()> {
        let content = content.trim_ascii();
        match content.first() {
            None | Some(b'#') => Ok(()),
            Some(b'>') => self.header(line, &content[1..]),
            Some(_) => self.residues(line, content),
        }
    }

    fn header(&mut self, line: usize, name: &[u8]) -> Result<()> {
        self.close_row()?;
        let name = name.trim_ascii();
        let word = name.split(|b| b.is_ascii_whitespace()).next().unwrap_or_default();
        if ANNOTATIONS.contains(&word) {
            self.row = Row::Skipped;
        } else {
            self.msa.names.push(String::from_utf8_lossy(name).into_owned());
            self.row = Row::Open { line, inserted: 0 };
        }
        Ok(())
    }

    fn residues(&mut self, line: usize, content: &[u8]) -> Result<()> {
        let inserted = match &mut self.row {
            Row::Before => return Err(Error::at_line(self.path, line, "sequence before the first header (`>name`)")),
            Row::Skipped => return Ok(()),
            Row::Open { inserted, .. } => inserted,
        };
        for &b in content {
            match b {
                b'A'..=b'Z' | b'-' | b'*' => {
                    let count = u16::try_from(*inserted)
                        .map_err(|_| Error::at_line(self.path, line, "more than 65,535 residues inserted at one place"))?;
                    self.msa.letters.push(if b == b'*' { b'X' } else { b });
                    self.msa.deletions.push(count);
                    *inserted = 0;
                }
                b'a'..=b'z' => *inserted += 1,
                // Dots only pad insertions to a common width and blanks mean nothing.
                b'.' | b' ' | b'\t' => {}
                _ => return Err(Error::at_line(self.path, line, format!("{} cannot be part of an aligned sequence", text::show(b)))),
            }
        }
        Ok(())
    }

    /// Checks the row that ends here against the width of the block's query.
    fn close_row(&mut self) -> Result<()> {
        let Row::Open { line, .. } = self.row else { return Ok(()) };
        let n = self.msa.names.len();
        let name = &self.msa.names[n - 1];
        let width = self.msa.letters.len() - (n - 1) * self.msa.width;
        if width == 0 {
            return Err(Error::at_line(self.path, line, format!("row `{name}` has no sequence")));
        }
        if n == 1 {
            self.msa.width = width;
        } else if width != self.msa.width {
            let query = &self.msa.names[0];
            let what = format!("row {n} `{name}` has {width} columns and the query `{query}` has {}", self.msa.width);
            return Err(Error::at_line(self.path, line, what));
        }
        Ok(())
    }

    fn close_block(&mut self) -> Result<()> {
        self.close_row()?;
        self.row = Row::Before;
        let msa = std::mem::take(&mut self.msa);
        if !msa.names.is_empty() {
            self.done.push(msa);
        }
        Ok(())
    }
}

/// PSICOV's format: one aligned row per line and no headers. Rows are named by their numbers, the query `1`.
pub fn parse_psicov(bytes: &[u8], path: &Path) -> Result<Msa> {
    let mut msa = Msa::default();
    for (line, content) in text::lines(bytes) {
        let content = content.trim_ascii();
        if content.is_empty() {
            continue;
        }
        if msa.names.is_empty() {
            msa.width = content.len();
        } else if content.len() != msa.width {
            return Err(Error::at_line(path, line, format!("a row of {} columns; the first has {}", content.len(), msa.width)));
        }
        for &b in content {
            msa.letters.push(match b {
                b'A'..=b'Z' | b'-' => b,
                b'a'..=b'z' => b.to_ascii_uppercase(),
                b'.' => b'-',
                b'*' => b'X',
                _ => return Err(Error::at_line(path, line, format!("{} cannot be part of an aligned sequence", text::show(b)))),
            });
        }
        msa.names.push((msa.names.len() + 1).to_string());
    }
    if msa.names.is_empty() {
        return Err(Error::format(path, "no row"));
    }
    msa.deletions = vec![0; msa.letters.len()];
    Ok(msa)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(s: &str) -> Result<Vec<Msa>> {
        parse(s.as_bytes(), Path::new("x.a3m"))
    }

    #[test]
    fn insertions_are_counted_before_the_column_that_follows() {
        let m = read("#3\t1\n>ss_pred\nCCC\n> q \nAC\nD\n>a\tb\naaA-.cD\n").unwrap().remove(0);
        assert_eq!((m.names, m.letters, m.deletions), (vec!["q".into(), "a\tb".into()], b"ACDA-D".to_vec(), vec![0, 0, 0, 2, 0, 1]));
    }

    #[test]
    fn a_nul_begins_another_alignment() {
        let all = read(">101\nAC\n>x\nA-\n\0>102\nACD\n\0").unwrap();
        assert_eq!(all.iter().map(|m| (m.n_seq(), m.width)).collect::<Vec<_>>(), [(2, 2), (1, 3)]);
    }

    #[test]
    fn refusals_name_the_line() {
        assert_eq!(read(">q\nACD\n>a\nAC\n>b\nACD\n").unwrap_err().to_string(), "x.a3m:3: row 2 `a` has 2 columns and the query `q` has 3");
        assert_eq!(read(">q\nAC\n>a\n").unwrap_err().to_string(), "x.a3m:3: row `a` has no sequence");
        assert_eq!(read(">q\nA9\n").unwrap_err().to_string(), "x.a3m:2: `9` cannot be part of an aligned sequence");
        assert_eq!(read("AC\n").unwrap_err().to_string(), "x.a3m:1: sequence before the first header (`>name`)");
        assert!(read("").is_err());
    }
}
