//! FASTA: several records, wrapped lines, comments.
//!
//! Read as AlphaFold's `parse_fasta` does, except that what it would lose in silence or fail on without a place is refused with a line.

use std::path::Path;

use crate::error::{Error, Result};
use crate::io::text;

/// One sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The header after `>`, without blanks around it.
    pub description: String,
    /// Letters as in the file, without line ends, blanks and a closing `*`.
    pub sequence: String,
    /// One-based line of the header.
    pub line: usize,
}

impl Record {
    /// The header's first word, by which programs call a record; empty when the header is.
    pub fn id(&self) -> &str {
        self.description.split_whitespace().next().unwrap_or("")
    }
}

/// All records. Lines that start with `#` or `;` are comments; letters, `-`, `.` and `*` make a sequence; anything else is refused.
pub fn parse(bytes: &[u8], path: &Path) -> Result<Vec<Record>> {
    parse_each(bytes, path)?.into_iter().map(|(record, wrong)| wrong.map_or(Ok(record), Err)).collect()
}

/// All records, each with what is wrong with it, so that the others can be used. Fails as a whole when there is none.
pub fn parse_each(bytes: &[u8], path: &Path) -> Result<Vec<(Record, Option<Error>)>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut records: Vec<(Record, Option<Error>)> = Vec::new();
    for (line, content) in text::lines(bytes) {
        let content = content.trim_ascii();
        match content.first() {
            None | Some(b'#' | b';') => {}
            Some(b'>') => {
                let description = String::from_utf8_lossy(&content[1..]).trim().to_owned();
                records.push((Record { description, sequence: String::new(), line }, None));
            }
            Some(_) => {
                let last = records.last_mut();
                let (record, wrong) = last.ok_or_else(|| Error::at_line(path, line, "sequence before the first header (`>name`)"))?;
                for &b in content {
                    match b {
                        b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'*' => record.sequence.push(b as char),
                        b' ' | b'\t' => {}
                        _ if wrong.is_some() => {}
                        _ => {
                            let what = format!("{} cannot be part of a sequence (after residue {})", text::show(b), record.sequence.len());
                            *wrong = Some(Error::at_line(path, line, what));
                        }
                    }
                }
            }
        }
    }
    if records.is_empty() {
        return Err(Error::format(path, "no FASTA record (a line `>name`, then the sequence)"));
    }
    for (record, wrong) in &mut records {
        if record.sequence.is_empty() && wrong.is_none() {
            *wrong = Some(Error::at_line(path, record.line, format!("record `{}` has no sequence", record.description)));
        }
        if record.sequence.ends_with('*') {
            record.sequence.pop();
        }
    }
    Ok(records)
}

/// Reads a FASTA file, gzip or plain.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<Record>> {
    parse(&text::read(&path)?, path.as_ref())
}

/// [`parse_each`] of a file, gzip or plain.
pub fn read_each(path: impl AsRef<Path>) -> Result<Vec<(Record, Option<Error>)>> {
    parse_each(&text::read(&path)?, path.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_comments_and_refusals() {
        let parse = |s: &[u8]| super::parse(s, Path::new("q.fasta"));
        let r = parse(b"# note\n> a b \nAC\n D*\n\n>c\r\nE\r\n").unwrap();
        assert_eq!((r[0].description.as_str(), r[0].sequence.as_str(), r[0].id(), r[0].line), ("a b", "ACD", "a", 2));
        assert_eq!((r[1].description.as_str(), r[1].sequence.as_str()), ("c", "E"));
        assert_eq!(parse(b"AC\n").unwrap_err().to_string(), "q.fasta:1: sequence before the first header (`>name`)");
        assert_eq!(parse(b">a\nA\n>b\n").unwrap_err().to_string(), "q.fasta:3: record `b` has no sequence");
        assert_eq!(parse(b">a\nA1\n").unwrap_err().to_string(), "q.fasta:2: `1` cannot be part of a sequence (after residue 1)");
        assert!(parse(b"").is_err());
    }
}
