//! Template hits as hmmsearch gives them: an alignment, in Stockholm or A3M, whose rows are named `1abc_A/start-end` and described as
//! `[subseq from] mol:protein length:267 …` (the style of PDB seqres), with AlphaFold's meaning (`data/parsers.py:parse_hmmsearch_a3m`).
//!
//! Capitals and `-` are the query's columns, lower case letters are insertions, `.` fills up their columns.

use std::collections::HashMap;
use std::path::Path;

use super::hhr::TemplateHit;
use super::{fasta, text};
use crate::error::{Error, Result};

/// A row of the alignment.
struct Row<'a> {
    name: &'a str,
    description: String,
    residues: String,
    /// One-based line of its first part.
    line: usize,
}

/// Reads the hits for `query`, gzip or plain, Stockholm or A3M.
pub fn read(path: impl AsRef<Path>, query: &str) -> Result<Vec<TemplateHit>> {
    let path = path.as_ref();
    parse(&text::read_string(path)?, query, path)
}

/// The hits in a text. In A3M a first row that is the query itself is no hit. An alignment whose columns are not the query's residues is refused,
/// for AlphaFold would shift it in silence.
pub fn parse(content: &str, query: &str, path: &Path) -> Result<Vec<TemplateHit>> {
    let stockholm = content.trim_start().starts_with("# STOCKHOLM");
    let records = if stockholm || content.trim().is_empty() { Vec::new() } else { fasta::parse(content.as_bytes(), path)? };
    let rows = if stockholm { stockholm_rows(content, path)? } else { a3m_rows(&records, query) };
    let indices_query: Vec<i32> = (0..query.len() as i32).collect();
    let mut hits = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        // Nucleic acids of the PDB's sequences. Rows of other databases, without the word, can only be proteins here.
        if row.description.contains("mol:") && !row.description.contains("mol:protein") {
            continue;
        }
        let (name, start, end) = range_of_name(row.name).ok_or_else(|| {
            Error::at_line(
                path,
                row.line,
                format!("row `{}`: expected a name such as 1abc_A/12-140 (chain, first and last residue)", row.name),
            )
        })?;
        let hit_sequence: String = row.residues.chars().filter(|&c| c != '.').collect();
        let columns = hit_sequence.bytes().filter(|b| !b.is_ascii_lowercase()).count();
        if columns != query.len() {
            let what = format!("row `{}` has {columns} columns and the query {} residues: hits of another query?", row.name, query.len());
            return Err(Error::at_line(path, row.line, what));
        }
        let residues = hit_sequence.bytes().filter(|&b| b != b'-').count();
        if residues != end + 1 - start {
            let what = format!("row `{}` has {residues} residues where {start}-{end} are {}", row.name, end + 1 - start);
            return Err(Error::at_line(path, row.line, what));
        }
        hits.push(TemplateHit {
            index: i + 1,
            name: name.to_string(),
            aligned_cols: hit_sequence.bytes().filter(u8::is_ascii_uppercase).count(),
            sum_probs: None,
            query: query.to_string(),
            indices_query: indices_query.clone(),
            indices_hit: indices(&hit_sequence, start as i32 - 1),
            hit_sequence: hit_sequence.to_ascii_uppercase(),
        });
    }
    Ok(hits)
}

/// Residue numbers of the columns: -1 in gaps, insertions counted but left out.
fn indices(row: &str, start: i32) -> Vec<i32> {
    let mut next = start;
    let mut out = Vec::with_capacity(row.len());
    for b in row.bytes() {
        if b == b'-' {
            out.push(-1);
            continue;
        }
        if b.is_ascii_uppercase() {
            out.push(next);
        }
        next += 1;
    }
    out
}

/// `1abc_A/12-140` as name, first and last residue.
fn range_of_name(name: &str) -> Option<(&str, usize, usize)> {
    let (chain, range) = name.rsplit_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end): (usize, usize) = (start.parse().ok()?, end.parse().ok()?);
    (start >= 1 && end >= start && end < i32::MAX as usize).then_some((chain, start, end))
}

fn a3m_rows<'a>(records: &'a [fasta::Record], query: &str) -> Vec<Row<'a>> {
    let is_query = |r: &fasta::Record| r.sequence == query && range_of_name(r.id()).is_none();
    let hits = records.iter().enumerate().filter(|(i, r)| *i > 0 || !is_query(r));
    hits.map(|(_, r)| Row { name: r.id(), description: r.description.clone(), residues: r.sequence.clone(), line: r.line }).collect()
}

fn stockholm_rows<'a>(content: &'a str, path: &Path) -> Result<Vec<Row<'a>>> {
    let mut rows: Vec<Row<'a>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut descriptions: HashMap<&str, String> = HashMap::new();
    let mut ended = false;
    for (i, line) in content.lines().enumerate() {
        if let Some(rest) = line.strip_prefix("#=GS") {
            let mut words = rest.split_whitespace();
            if let (Some(name), Some("DE")) = (words.next(), words.next()) {
                descriptions.insert(name, words.collect::<Vec<_>>().join(" "));
            }
        }
        ended |= line.trim() == "//";
        if line.trim().is_empty() || line.starts_with('#') || line.starts_with("//") {
            continue;
        }
        let mut words = line.split_whitespace();
        let (Some(name), Some(part), None) = (words.next(), words.next(), words.next()) else {
            return Err(Error::at_line(path, i + 1, "expected a row's name and its residues, two words"));
        };
        if let Some(b) = part.bytes().find(|b| !b.is_ascii_alphabetic() && !b"-.".contains(b)) {
            return Err(Error::at_line(path, i + 1, format!("row `{name}`: {} is neither a residue nor a gap", text::show(b))));
        }
        let place = *places.entry(name).or_insert_with(|| {
            rows.push(Row { name, description: String::new(), residues: String::new(), line: i + 1 });
            rows.len() - 1
        });
        rows[place].residues.push_str(part);
    }
    if !ended {
        return Err(Error::at_line(path, content.lines().count().max(1), "the alignment is cut off: no closing `//`"));
    }
    for row in &mut rows {
        row.description = descriptions.remove(row.name).unwrap_or_default();
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HITS: &str = "# STOCKHOLM 1.0\n#=GS 1abc_A/3-7 DE [subseq from] mol:protein length:9 X\n#=GS 2abc_B/1-4 DE [subseq from] mol:na length:9\n\n\
        1abc_A/3-7  A-C\n#=GR 1abc_A/3-7 PP 9.9\n2abc_B/1-4 ACD\n\n1abc_A/3-7  yyE\n2abc_B/1-4 ..E\n//\n";

    #[test]
    fn insertions_count_but_have_no_column() {
        let hits = parse(HITS, "WXYZ", Path::new("h.sto")).unwrap();
        assert_eq!(hits.len(), 1);
        let hit = &hits[0];
        assert_eq!((hit.name.as_str(), hit.hit_sequence.as_str(), hit.aligned_cols, hit.sum_probs), ("1abc_A", "A-CYYE", 3, None));
        assert_eq!((&hit.indices_query[..], &hit.indices_hit[..]), (&[0, 1, 2, 3][..], &[2, -1, 3, 6][..]));
        let a3m = ">q\nWXYZ\n>1abc_A/3-7 [subseq from] mol:protein length:9 X\nA-CyyE\n";
        let same = parse(a3m, "WXYZ", Path::new("h.a3m")).unwrap();
        assert_eq!(same[0].indices_hit, hit.indices_hit);
    }

    #[test]
    fn other_queries_and_cut_files_are_refused() {
        let fails = |content: &str, query: &str| parse(content, query, Path::new("h.sto")).unwrap_err().to_string();
        assert_eq!(fails(HITS, "WXYZZ"), "h.sto:5: row `1abc_A/3-7` has 4 columns and the query 5 residues: hits of another query?");
        assert!(fails(&HITS.replace("//\n", ""), "WXYZ").contains("cut off"));
        assert!(fails(&HITS.replace("1abc_A/3-7", "1abc_A/3-8"), "WXYZ").contains("5 residues where 3-8 are 6"));
        assert!(parse("# STOCKHOLM 1.0\n//\n", "WXYZ", Path::new("h.sto")).unwrap().is_empty());
    }
}
