//! Stockholm as text: what AlphaFold's pipeline does to an alignment between two programs.
//!
//! jackhmmer's output is cut, deduplicated, freed of empty columns and turned into A3M before hhsearch or hmmbuild reads it. The results are
//! AlphaFold's to the letter (`data/parsers.py`), so that searches give the same hits.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Cursor, Seek, SeekFrom, Write};
use std::path::Path;

use crate::error::{Error, Result};

/// Whether a line is part of an aligned row (and not markup, blank or an end).
fn is_row(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with('#') && !line.starts_with("//")
}

/// Rows by name in the order of first appearance, joined over blocks.
fn joined<'a>(sto: &'a str, max_sequences: Option<usize>, path: &Path) -> Result<Vec<(&'a str, String)>> {
    let mut rows: Vec<(&str, String)> = Vec::new();
    let mut index: HashMap<&str, usize> = HashMap::new();
    for (i, line) in sto.lines().enumerate().filter(|(_, l)| is_row(l)) {
        let mut fields = line.split_whitespace();
        let (Some(name), Some(part), None) = (fields.next(), fields.next(), fields.next()) else {
            return Err(Error::at_line(path, i + 1, "expected a row's name and its residues, two words"));
        };
        match index.get(name) {
            Some(&k) => rows[k].1.push_str(part),
            None if max_sequences.is_some_and(|m| rows.len() >= m) => {}
            None => {
                index.insert(name, rows.len());
                rows.push((name, part.to_owned()));
            }
        }
    }
    if rows.is_empty() {
        return Err(Error::format(path, "no aligned row"));
    }
    if let Some((name, row)) = rows.iter().find(|r| r.1.len() != rows[0].1.len()) {
        let what = format!("row `{name}` has {} columns and the first row has {}", row.len(), rows[0].1.len());
        return Err(Error::format(path, what));
    }
    Ok(rows)
}

/// A3M with the descriptions of the `#=GS … DE` lines. With `remove_first_row_gaps`, columns where the query has a gap become lower-case
/// insertions; without, every column stays. `path` is for messages.
pub fn to_a3m(sto: &str, max_sequences: Option<usize>, remove_first_row_gaps: bool, path: &Path) -> Result<String> {
    let rows = joined(sto, max_sequences, path)?;
    let mut descriptions: HashMap<&str, &str> = HashMap::new();
    for line in sto.lines().filter(|l| l.starts_with("#=GS")) {
        let Some((name, rest)) = line[4..].trim_start().split_once(char::is_whitespace) else { continue };
        let rest = rest.trim_start();
        if let Some(value) = rest.strip_prefix("DE").filter(|v| v.is_empty() || v.starts_with(char::is_whitespace)) {
            descriptions.insert(name, value.trim());
        }
    }
    // Dots are dropped before columns are matched, as in the original: with dots in a row its columns would shift, so they are refused.
    let query = &rows[0].1;
    let mut out = String::with_capacity(sto.len());
    for (name, row) in &rows {
        if remove_first_row_gaps && row.contains('.') {
            return Err(Error::format(path, format!("row `{name}` has `.` for a gap; only `-` keeps its columns in place here")));
        }
        out.push('>');
        out.push_str(name);
        out.push(' ');
        out.push_str(descriptions.get(name).copied().unwrap_or(""));
        out.push('\n');
        for (c, q) in row.chars().zip(query.chars()) {
            match c {
                '.' => {}
                _ if !remove_first_row_gaps || q != '-' => out.push(c),
                '-' => {}
                _ => out.push(c.to_ascii_lowercase()),
            }
        }
        out.push('\n');
    }
    Ok(out)
}

/// Whether `truncate` and `deduplicate` keep a line, given the names of the rows that stay.
fn keep(line: &str, names: &HashSet<&str>) -> bool {
    let trimmed = line.trim();
    if trimmed.is_empty() || trimmed == "//" || line.starts_with("# STOCKHOLM") || line.starts_with("#=GC RF") {
        true
    } else if let Some(rest) = line.strip_prefix("#=GS") {
        rest.split_whitespace().next().is_some_and(|name| names.contains(name))
    } else {
        !line.starts_with('#') && names.contains(line.split(' ').next().unwrap_or(""))
    }
}

/// The file with its first `max_sequences` rows only.
pub fn truncate(sto: &str, max_sequences: usize) -> String {
    let mut out = Vec::new();
    truncate_into(&mut Cursor::new(sto), &mut out, max_sequences).expect("memory can be read and written");
    String::from_utf8(out).expect("whole lines of text are text")
}

/// [`truncate`] from file to file, a line at a time: jackhmmer's output for a large family is gigabytes, of which little stays.
pub fn truncate_file(from: &Path, to: &Path, max_sequences: usize) -> Result<()> {
    let mut input = BufReader::new(File::open(from).map_err(|e| Error::io(from, e))?);
    let mut output = BufWriter::new(File::create(to).map_err(|e| Error::io(to, e))?);
    truncate_into(&mut input, &mut output, max_sequences).and_then(|()| output.flush()).map_err(|e| Error::io(to, e))
}

fn truncate_into(from: &mut (impl BufRead + Seek), to: &mut impl Write, max_sequences: usize) -> std::io::Result<()> {
    let mut names: HashSet<String> = HashSet::new();
    let mut line = Vec::new();
    while names.len() < max_sequences && from.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        if is_row(&text) {
            names.insert(text.split(' ').next().unwrap_or("").to_owned());
        }
        line.clear();
    }
    let names: HashSet<&str> = names.iter().map(String::as_str).collect();
    from.seek(SeekFrom::Start(0))?;
    while from.read_until(b'\n', &mut line)? > 0 {
        if keep(&String::from_utf8_lossy(&line), &names) {
            to.write_all(&line)?;
        }
        line.clear();
    }
    Ok(())
}

/// The file without rows that repeat an earlier one in the query's columns.
pub fn deduplicate(sto: &str, path: &Path) -> Result<String> {
    let rows = joined(sto, None, path)?;
    let query = rows[0].1.clone();
    let mut seen = HashSet::new();
    let mut names = HashSet::new();
    for (name, row) in &rows {
        let masked: String = row.chars().zip(query.chars()).filter(|&(_, q)| q != '-').map(|(c, _)| c).collect();
        if seen.insert(masked) {
            names.insert(*name);
        }
    }
    let kept: Vec<&str> = sto.lines().filter(|line| keep(line, &names)).collect();
    Ok(kept.join("\n") + "\n")
}

/// The file without columns that hold gaps only. A block ends at its `#=GC RF` line; without one its rows are refused, since they would be lost.
pub fn remove_empty_columns(sto: &str, path: &Path) -> Result<String> {
    let mut out: Vec<String> = Vec::new();
    let mut block: Vec<usize> = Vec::new();
    for (i, line) in sto.lines().enumerate() {
        let is_reference = line.starts_with("#=GC RF");
        out.push(line.to_owned());
        if !is_reference && !is_row(line) {
            continue;
        }
        block.push(i);
        if is_reference {
            squeeze(&mut out, &block, path)?;
            block.clear();
        }
    }
    match block.first() {
        Some(i) => Err(Error::at_line(path, i + 1, "rows that no `#=GC RF` line follows")),
        None => Ok(out.join("\n")),
    }
}

/// Takes the empty columns out of one block, whose last line is its reference annotation.
fn squeeze(out: &mut [String], block: &[usize], path: &Path) -> Result<()> {
    let aligned = |line: &str| line.rsplit_once(' ').map_or(line, |(_, a)| a).to_owned();
    let parts: Vec<String> = block.iter().map(|&i| aligned(&out[i])).collect();
    let reference = &parts[parts.len() - 1];
    if let Some(k) = parts.iter().position(|p| p.len() != reference.len() || !p.is_ascii()) {
        return Err(Error::at_line(path, block[k] + 1, format!("a row of another width than its `#=GC RF` line ({})", reference.len())));
    }
    let rows = &parts[..parts.len() - 1];
    let mask: Vec<bool> = (0..reference.len()).map(|j| rows.iter().any(|r| r.as_bytes()[j] != b'-')).collect();
    for (&i, part) in block.iter().zip(&parts) {
        let kept: String = part.chars().zip(&mask).filter(|&(_, &m)| m).map(|(c, _)| c).collect();
        let prefix = out[i].rsplit_once(' ').map_or("", |(p, _)| p);
        out[i] = if mask.contains(&true) { format!("{prefix} {kept}") } else { String::new() };
    }
    Ok(())
}
