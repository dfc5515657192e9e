//! Stockholm alignments, as jackhmmer, hmmsearch, HMMER's tools and Pfam write them.
//!
//! Columns where the query has a gap are taken out of every row and counted as deletions. `.` and `-` are both gaps; lower case is a residue.

use std::collections::HashMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::io::msa::Msa;
use crate::io::text;

/// Rows of one alignment as in the file, gaps of the query included, put together from their blocks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows<'a> {
    pub names: Vec<&'a [u8]>,
    pub aligned: Vec<Vec<u8>>,
    /// Where each row was last continued.
    last_line: Vec<usize>,
    index: HashMap<&'a [u8], usize>,
}

impl<'a> Rows<'a> {
    fn add(&mut self, line: usize, name: &'a [u8], part: &[u8]) {
        let i = *self.index.entry(name).or_insert_with(|| {
            self.names.push(name);
            self.aligned.push(Vec::new());
            self.last_line.push(line);
            self.names.len() - 1
        });
        self.aligned[i].extend_from_slice(part);
        self.last_line[i] = line;
    }
}

/// The rows of every alignment in the file. A file that ends before `//` has lost its end and is refused.
pub(crate) fn rows<'a>(bytes: &'a [u8], path: &Path) -> Result<Vec<Rows<'a>>> {
    let mut all = Vec::new();
    let mut rows = Rows::default();
    for (line, content) in text::lines(bytes) {
        let content = content.trim_ascii();
        if content.is_empty() || content.starts_with(b"#") {
            continue;
        }
        if content == b"//" {
            if !rows.names.is_empty() {
                all.push(std::mem::take(&mut rows));
            }
            continue;
        }
        let mut fields = content.split(|b| b.is_ascii_whitespace()).filter(|f| !f.is_empty());
        let (Some(name), Some(part), None) = (fields.next(), fields.next(), fields.next()) else {
            return Err(Error::at_line(path, line, "expected a row's name and its residues, two words"));
        };
        if let Some(&b) = part.iter().find(|b| !(b.is_ascii_alphabetic() || b"-.*~_".contains(b))) {
            return Err(Error::at_line(path, line, format!("{} cannot be part of an aligned sequence", text::show(b))));
        }
        rows.add(line, name, part);
    }
    if !rows.names.is_empty() {
        return Err(Error::format(path, "the file ends without `//`: rows or columns may be missing"));
    }
    if all.is_empty() {
        return Err(Error::format(path, "no aligned row"));
    }
    Ok(all)
}

/// All alignments of a Stockholm file, at least one, each cut to the columns of its first row.
pub fn parse(bytes: &[u8], path: &Path) -> Result<Vec<Msa>> {
    rows(bytes, path)?.iter().map(|r| cut(r, path)).collect()
}

fn is_gap(b: u8) -> bool {
    matches!(b, b'-' | b'.' | b'~' | b'_')
}

fn cut(rows: &Rows, path: &Path) -> Result<Msa> {
    let query = &rows.aligned[0];
    let name = |i: usize| String::from_utf8_lossy(rows.names[i]).into_owned();
    let width = query.iter().filter(|&&b| !is_gap(b)).count();
    if width == 0 {
        return Err(Error::at_line(path, rows.last_line[0], format!("the first row `{}` holds gaps only", name(0))));
    }
    let mut msa = Msa { width, ..Msa::default() };
    for (i, row) in rows.aligned.iter().enumerate() {
        if row.len() != query.len() {
            let what = format!("row {} `{}` has {} columns and the first row has {}", i + 1, name(i), row.len(), query.len());
            return Err(Error::at_line(path, rows.last_line[i], what));
        }
        let mut deleted = 0u32;
        for (&b, &q) in row.iter().zip(query) {
            if is_gap(q) {
                deleted += u32::from(!is_gap(b));
                continue;
            }
            let count = u16::try_from(deleted)
                .map_err(|_| Error::at_line(path, rows.last_line[i], "more than 65,535 residues inserted at one place"))?;
            msa.letters.push(match b {
                _ if is_gap(b) => b'-',
                b'*' => b'X',
                _ => b.to_ascii_uppercase(),
            });
            msa.deletions.push(count);
            deleted = 0;
        }
        msa.names.push(name(i));
    }
    Ok(msa)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_joined_and_the_querys_gaps_cut_out() {
        let text = b"# STOCKHOLM 1.0\n#=GF ID x\nq  A-C\nr  ag-\n\n#=GR r SS xxx\nq  .D\nr  kD\n//\n";
        let m = parse(text, Path::new("x.sto")).unwrap().remove(0);
        assert_eq!((m.width, m.letters, m.deletions), (3, b"ACDA-D".to_vec(), vec![0, 0, 0, 0, 1, 1]));
        assert_eq!(m.names, ["q", "r"]);
    }

    #[test]
    fn refusals_name_the_line() {
        let err = |s: &[u8]| parse(s, Path::new("x.sto")).unwrap_err().to_string();
        assert_eq!(err(b"q ACD\nr AC\n//\n"), "x.sto:2: row 2 `r` has 2 columns and the first row has 3");
        assert_eq!(err(b"q ACD\n"), "x.sto: the file ends without `//`: rows or columns may be missing");
        assert_eq!(err(b"q ACD 3\n//\n"), "x.sto:1: expected a row's name and its residues, two words");
        assert_eq!(err(b"q A\0D\n//\n"), "x.sto:1: byte 0x00 cannot be part of an aligned sequence");
        assert_eq!(err(b"q ...\n//\n"), "x.sto:1: the first row `q` holds gaps only");
    }
}
