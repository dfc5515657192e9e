//! Template hits as HHsearch and HHblits report them (`.hhr`), with AlphaFold's meaning (`data/parsers.py:parse_hhr`).
//!
//! More tolerant than the original where nothing is lost: reports of HH-suite 2 (no `Template_Neff`, a closing `Done!`) are read as well.
//! Stricter where it would lose data in silence: an alignment with fewer columns than its summary says, or a report that ends before all the
//! hits of its table were shown, is refused. Knows nothing of what hits are used for.

use std::path::Path;

use crate::error::{Error, Result};
use crate::io::text;

/// An alignment of the query with a chain of a template database.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateHit {
    /// One-based rank in its report.
    pub index: usize,
    /// Name and description in the database, such as `1ENX_A Endo-1,4-beta-xylanase …`.
    pub name: String,
    /// Columns in which both have a residue.
    pub aligned_cols: usize,
    /// Sum of the columns' posterior probabilities; hmmsearch has none.
    pub sum_probs: Option<f64>,
    /// The aligned part of the query with gaps, capitals.
    pub query: String,
    /// The aligned part of the template with gaps, capitals.
    pub hit_sequence: String,
    /// Zero-based residue of the query in each column, -1 in gaps.
    pub indices_query: Vec<i32>,
    /// Zero-based residue of the template in each column, -1 in gaps.
    pub indices_hit: Vec<i32>,
}

/// What a report says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Residues of the query, where the header has them (`Match_columns`).
    pub match_columns: Option<usize>,
    /// Hits in the order of the report.
    pub hits: Vec<TemplateHit>,
}

/// Reads a report, gzip or plain.
pub fn read(path: impl AsRef<Path>) -> Result<Report> {
    let path = path.as_ref();
    parse(&text::read_string(path)?, path)
}

/// The hits of a report's text; `path` is for messages.
pub fn parse(report: &str, path: &Path) -> Result<Report> {
    let lines: Vec<&str> = report.lines().collect();
    let header = lines.iter().take(20).find_map(|l| l.strip_prefix("Match_columns"));
    if !lines.iter().any(|l| l.starts_with("Query")) || header.is_none() {
        return Err(Error::at_line(path, 1, "not an HHsearch report: no `Query` and `Match_columns` at its start"));
    }
    let mut starts: Vec<usize> = (0..lines.len()).filter(|&i| lines[i].starts_with("No ")).collect();
    let listed = rows_of_table(&lines[..starts.first().copied().unwrap_or(lines.len())]);
    let limited = lines.iter().any(|l| l.starts_with("Command") && (l.contains(" -B ") || l.contains(" -b ")));
    if starts.len() < listed && !limited {
        let what = format!("the report is cut off: its table lists {listed} hits and {} alignments follow", starts.len());
        return Err(Error::at_line(path, lines.len(), what));
    }
    starts.push(lines.len());
    let hits = starts.windows(2).map(|w| Section { lines: &lines[w[0]..w[1]], first: w[0] + 1, path }.hit()).collect::<Result<_>>()?;
    Ok(Report { match_columns: header.and_then(|h| h.trim().parse().ok()), hits })
}

/// Rows of the summary table.
fn rows_of_table(header: &[&str]) -> usize {
    let rows = header.iter().skip_while(|l| !l.starts_with(" No Hit")).skip(1);
    rows.take_while(|l| l.split_whitespace().next().is_some_and(|w| w.parse::<usize>().is_ok())).count()
}

/// The paragraph of one hit, from its line `No 1` to the next.
struct Section<'a> {
    lines: &'a [&'a str],
    /// One-based number of its first line.
    first: usize,
    path: &'a Path,
}

impl Section<'_> {
    fn wrong(&self, line: usize, what: impl Into<String>) -> Error {
        Error::at_line(self.path, self.first + line, what)
    }

    fn hit(&self) -> Result<TemplateHit> {
        let index = self.lines[0].split_whitespace().last().and_then(|w| w.parse().ok());
        let index = index.ok_or_else(|| self.wrong(0, format!("`{}`: expected `No` and the number of the hit", self.lines[0])))?;
        let name = self.lines.get(1).and_then(|l| l.strip_prefix('>'));
        let name = name.ok_or_else(|| self.wrong(1, format!("hit {index}: expected `>` and the template's name")))?;
        let (aligned_cols, sum_probs) = self.summary(index)?;
        let mut hit = TemplateHit {
            index,
            name: name.to_string(),
            aligned_cols,
            sum_probs: Some(sum_probs),
            query: String::new(),
            hit_sequence: String::new(),
            indices_query: Vec::new(),
            indices_hit: Vec::new(),
        };
        for (i, line) in self.lines.iter().enumerate().skip(3) {
            if is_sequence(line, 'Q') {
                // A query's row whose template's row is missing shows in the next block, or below.
                self.level(i, &hit)?;
                let (start, part) = self.row(i)?;
                hit.query.push_str(part);
                push_indices(part, start, &mut hit.indices_query);
            } else if is_sequence(line, 'T') {
                let (start, part) = self.row(i)?;
                hit.hit_sequence.push_str(part);
                push_indices(part, start, &mut hit.indices_hit);
                self.level(i, &hit)?;
            }
        }
        self.level(self.lines.len() - 1, &hit)?;
        let pairs = hit.indices_query.iter().zip(&hit.indices_hit).filter(|&(&q, &t)| q >= 0 && t >= 0).count();
        if pairs != aligned_cols {
            let what = format!("hit {index} (`{}`): the alignment has {pairs} columns and its summary says {aligned_cols}", short(name));
            return Err(self.wrong(self.lines.len() - 1, what));
        }
        Ok(hit)
    }

    /// Refuses rows of query and template that differ in width.
    fn level(&self, line: usize, hit: &TemplateHit) -> Result<()> {
        match hit.query.len() == hit.hit_sequence.len() {
            true => Ok(()),
            false => Err(self.wrong(line, format!("hit {}: the rows of query and template differ in width or one is missing", hit.index))),
        }
    }

    /// `Aligned_cols` and `Sum_probs` of the line `Probab=… E-value=… …`.
    fn summary(&self, index: usize) -> Result<(usize, f64)> {
        let line = self.lines.get(2).copied().unwrap_or("");
        let value = |key: &str| -> Result<f64> {
            let word = line.split_whitespace().find_map(|w| w.strip_prefix(key)?.strip_prefix('='));
            let number = word.and_then(|w| w.parse::<f64>().ok()).filter(|x| x.is_finite() && *x >= 0.0);
            number.ok_or_else(|| self.wrong(2, format!("hit {index}: no number `{key}=` in the summary `{line}`")))
        };
        value("Probab")?;
        Ok((value("Aligned_cols")? as usize, value("Sum_probs")?))
    }

    /// The first residue's zero-based number and the residues of a row `Q name  start SEQUENCE  end (length)`. Names take 16 columns and may
    /// hold blanks and digits, so they are cut off by width.
    fn row(&self, i: usize) -> Result<(i32, &str)> {
        let line = self.lines[i];
        let wrong = || {
            self.wrong(i, format!("`{line}`: expected a name, the first residue's number, residues, the last one's number and (length)"))
        };
        let mut words = line.get(17..).ok_or_else(wrong)?.split_whitespace();
        let (start, part, end, length) = (words.next(), words.next(), words.next(), words.next());
        let (start, end) = (start.and_then(|w| w.parse::<i32>().ok()), end.and_then(|w| w.parse::<i32>().ok()));
        let (Some(start), Some(part), Some(end), Some(_)) = (start, part, end, length.filter(|l| l.starts_with('('))) else {
            return Err(wrong());
        };
        if let Some(b) = part.bytes().find(|b| !b.is_ascii_uppercase() && *b != b'-') {
            return Err(self.wrong(i, format!("{} is neither a residue nor a gap", text::show(b))));
        }
        let residues = part.bytes().filter(|&b| b != b'-').count() as i64;
        // A row of gaps alone has start = end + 1 or start = end, depending on the version.
        let stated = i64::from(end) - i64::from(start) + 1;
        if start < 1 || (residues > 0 && residues != stated) {
            return Err(self.wrong(i, format!("{residues} residues where {start}-{end} are {stated}")));
        }
        Ok((start - 1, part))
    }
}

/// Whether a line is a row of residues of the query (`Q`) or the template (`T`), not of an annotation.
fn is_sequence(line: &str, side: char) -> bool {
    let Some(rest) = line.strip_prefix(side).and_then(|l| l.strip_prefix(' ')) else { return false };
    !["ss_dssp", "ss_pred", "ss_conf", "Consensus"].iter().any(|a| rest.starts_with(a))
}

fn push_indices(part: &str, start: i32, indices: &mut Vec<i32>) {
    let mut next = start;
    for b in part.bytes() {
        indices.push(if b == b'-' { -1 } else { next });
        next += i32::from(b != b'-');
    }
}

fn short(name: &str) -> &str {
    name.split_whitespace().next().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "Query         q\nMatch_columns 9\nCommand       hhsearch -i q.a3m\n\n No Hit   Prob\n  1 1ABC_A some 99.0\n\nNo 1\n\
        >1ABC_A some protein\nProbab=99.00  E-value=1e-5  Score=20.10  Aligned_cols=4  Identities=50%  Similarity=0.9  Sum_probs=3.5  Template_Neff=2\n\n\
        Q ss_pred             ccccc\nQ my query 1        2 AC-DE    5 (9)\nQ Consensus         2 ac-de    5 (9)\n                      ++ +\n\
        T Consensus        11 acwde   15 (20)\nT 1ABC_A           11 ACWDE   15 (20)\n\n";

    fn fails(report: &str) -> String {
        parse(report, Path::new("r.hhr")).unwrap_err().to_string()
    }

    #[test]
    fn a_hit_is_read_by_columns() {
        let report = parse(REPORT, Path::new("r.hhr")).unwrap();
        assert_eq!(report.match_columns, Some(9));
        let hit = &report.hits[0];
        assert_eq!((hit.index, hit.name.as_str(), hit.sum_probs), (1, "1ABC_A some protein", Some(3.5)));
        assert_eq!(hit.indices_query, [1, 2, -1, 3, 4]);
        assert_eq!(hit.indices_hit, [10, 11, 12, 13, 14]);
    }

    #[test]
    fn what_would_be_lost_is_refused() {
        assert_eq!(
            fails(&REPORT.replace("cols=4", "cols=5")),
            "r.hhr:18: hit 1 (`1ABC_A`): the alignment has 4 columns and its summary says 5"
        );
        assert!(fails(&REPORT.replace("ACWDE   15", "ACWdE   15")).starts_with("r.hhr:17: `d` is neither"));
        assert!(fails(&REPORT.replace("ACWDE   15", "ACWDE   16")).starts_with("r.hhr:17: 5 residues where 11-16 are 6"));
        assert!(fails(&REPORT.replace("T 1ABC_A", "X 1ABC_A")).contains("differ in width or one is missing"));
        assert!(fails(&REPORT.replace("Sum_probs", "Sum")).starts_with("r.hhr:10: hit 1: no number `Sum_probs=`"));
        let listed = REPORT.replace("99.0\n\nNo", "99.0\n  2 2ABC_A more 98.0\n\nNo");
        assert!(fails(&listed).contains("cut off: its table lists 2 hits and 1 alignments follow"));
        assert_eq!(parse(&listed.replace("q.a3m", "q.a3m -B 1 "), Path::new("r.hhr")).unwrap().hits.len(), 1);
        assert!(fails("").starts_with("r.hhr:1: not an HHsearch report"));
    }
}
