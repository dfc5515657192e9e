//! One search of one query: which program reads what, and the file it leaves.

use std::path::{Path, PathBuf};

use super::config::SearchConfig;
use super::process::Limits;
use super::tools;
use crate::error::{Error, Result};
use crate::io::{fasta, hhr, hmmsearch, msa, stockholm_text, text};

/// A sequence to search with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Name of its folder: the record's first word with letters, digits and `._-` only.
    pub id: String,
    /// Capitals.
    pub sequence: String,
}

/// The searches, in the order in which they are begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Search {
    /// jackhmmer against UniRef90.
    UniRef90,
    /// hhblits against BFD and UniRef30.
    Bfd,
    /// jackhmmer against the reduced BFD.
    SmallBfd,
    /// MMseqs2.
    Mmseqs,
    /// jackhmmer against MGnify.
    Mgnify,
    /// hhsearch against PDB70, with the alignment of another search.
    Pdb70,
    /// hmmsearch against the sequences of the PDB, with the alignment of another search.
    PdbSeqres,
}

impl Search {
    /// The searches that a configuration asks for.
    pub fn wanted(config: &SearchConfig) -> Vec<Search> {
        let asked = [
            (Search::UniRef90, config.uniref90.is_some()),
            (Search::Bfd, !config.bfd.is_empty()),
            (Search::SmallBfd, config.small_bfd.is_some()),
            (Search::Mmseqs, config.mmseqs.is_some()),
            (Search::Mgnify, config.mgnify.is_some()),
            (Search::Pdb70, !config.pdb70.is_empty()),
            (Search::PdbSeqres, config.pdb_seqres.is_some()),
        ];
        asked.into_iter().filter(|a| a.1).map(|a| a.0).collect()
    }

    /// The file it leaves, by AlphaFold's and OpenFold's names.
    pub fn file(self) -> &'static str {
        match self {
            Search::UniRef90 => "uniref90_hits.sto",
            Search::Bfd => "bfd_uniref_hits.a3m",
            Search::SmallBfd => "small_bfd_hits.sto",
            Search::Mmseqs => "mmseqs_hits.a3m",
            Search::Mgnify => "mgnify_hits.sto",
            Search::Pdb70 => "pdb70_hits.hhr",
            Search::PdbSeqres => "pdb_hits.sto",
        }
    }

    /// The programs it calls.
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Search::UniRef90 | Search::SmallBfd | Search::Mgnify => &["jackhmmer"],
            Search::Bfd => &["hhblits"],
            Search::Mmseqs => &["mmseqs"],
            Search::Pdb70 => &["hhsearch"],
            Search::PdbSeqres => &["hmmbuild", "hmmsearch"],
        }
    }

    /// Whether it looks for templates, with the alignment of another search.
    pub fn is_template(self) -> bool {
        matches!(self, Search::Pdb70 | Search::PdbSeqres)
    }

    /// The alignment that template searches start from: UniRef90's as published, or else the first there is.
    pub fn source(wanted: &[Search]) -> Option<Search> {
        wanted.iter().copied().find(|s| !s.is_template())
    }
}

/// What all searches of a run share.
#[derive(Debug)]
pub struct Setting<'a> {
    /// Databases and programs.
    pub config: &'a SearchConfig,
    /// Cores of one search.
    pub cores: usize,
    /// Longest run of one program, and the user's wish to stop.
    pub limits: Limits,
    /// The database for MMseqs2, made from FASTA where need be.
    pub mmseqs: Option<PathBuf>,
    /// Where template searches get their alignment.
    pub source: Option<Search>,
}

impl Setting<'_> {
    /// Runs a search and puts its result into `folder` under its final name, read back and whole. Gives the number of rows or hits.
    pub fn run(&self, search: Search, query: &Query, folder: &Path) -> Result<usize> {
        let work = tempfile::Builder::new().prefix(".unfinished-").tempdir_in(folder).map_err(|e| Error::io(folder, e))?;
        let work = work.path();
        let input = work.join("query.fasta");
        std::fs::write(&input, format!(">{}\n{}\n", query.id, query.sequence)).map_err(|e| Error::io(&input, e))?;
        let output = work.join(search.file());
        match search {
            Search::UniRef90 => self.jackhmmer(&self.config.uniref90, &input, &output, Some(self.config.options.uniref90_rows))?,
            Search::Mgnify => self.jackhmmer(&self.config.mgnify, &input, &output, Some(self.config.options.mgnify_rows))?,
            Search::SmallBfd => self.jackhmmer(&self.config.small_bfd, &input, &output, None)?,
            Search::Bfd => {
                tools::hhblits(&self.config.program("hhblits")?, self.cores, &input, &self.config.bfd, &output).run(work, &self.limits)?
            }
            Search::Mmseqs => self.mmseqs(query, &input, &output)?,
            Search::Pdb70 => self.hhsearch(query, folder, work, &output)?,
            Search::PdbSeqres => self.hmmsearch(query, folder, work, &output)?,
        }
        let count = check(search, &output, query)?;
        let place = folder.join(search.file());
        std::fs::rename(&output, &place).map_err(|e| Error::io(&place, e))?;
        Ok(count)
    }

    fn jackhmmer(&self, database: &Option<PathBuf>, input: &Path, output: &Path, rows: Option<usize>) -> Result<()> {
        let database = database.as_ref().expect("a search is wanted only when its database is named");
        let folder = input.parent().expect("the input lies in the work folder");
        let found = folder.join("found.sto");
        let target = if rows.is_some() { &found } else { output };
        tools::jackhmmer(&self.config.program("jackhmmer")?, self.cores, input, database, target).run(folder, &self.limits)?;
        match rows {
            Some(rows) => stockholm_text::truncate_file(&found, output, rows),
            None => Ok(()),
        }
    }

    fn mmseqs(&self, sequence: &Query, input: &Path, output: &Path) -> Result<()> {
        let program = self.config.program("mmseqs")?;
        let target = self.mmseqs.as_ref().expect("a search is wanted only when its database is named");
        let work = input.parent().expect("the input lies in the work folder");
        let [query, result, scratch, alignment] = ["query", "result", "scratch", "alignment"].map(|n| work.join(n));
        tools::mmseqs_createdb(&program, input, &query).run(work, &self.limits)?;
        tools::mmseqs_search(&program, self.cores, &query, target, &result, &scratch).run(work, &self.limits)?;
        tools::mmseqs_result2msa(&program, self.cores, &query, target, &result, &alignment).run(work, &self.limits)?;
        // An entry of the result ends with a NUL; without hits there is no entry at all.
        let rows = text::read_string(&alignment)?;
        let rows = rows.trim_end_matches('\0');
        if rows.trim().is_empty() { write(output, &text::read_string(input)?) } else { write(output, &with_query(rows, sequence)) }
    }

    /// The alignment that a template search starts from, and its file.
    fn source_alignment(&self, folder: &Path) -> Result<(Search, PathBuf, String)> {
        let source = self.source.expect("a configuration without any alignment is refused");
        let path = folder.join(source.file());
        let content = text::read_string(&path)?;
        if path.extension().is_some_and(|e| e == "a3m") {
            return Ok((source, path, content));
        }
        let unique = stockholm_text::deduplicate(&content, &path)?;
        let content = stockholm_text::remove_empty_columns(&unique, &path)?;
        Ok((source, path, content))
    }

    fn hhsearch(&self, query: &Query, folder: &Path, work: &Path, output: &Path) -> Result<()> {
        let (_, path, content) = self.source_alignment(folder)?;
        let a3m = if path.extension().is_some_and(|e| e == "sto") { stockholm_text::to_a3m(&content, None, true, &path)? } else { content };
        let input = work.join("query.a3m");
        write(&input, &a3m)?;
        tracing::debug!("templates of {} from {}", query.id, path.display());
        tools::hhsearch(&self.config.program("hhsearch")?, self.cores, &input, &self.config.pdb70, output).run(work, &self.limits)
    }

    fn hmmsearch(&self, query: &Query, folder: &Path, work: &Path, output: &Path) -> Result<()> {
        let (_, path, content) = self.source_alignment(folder)?;
        let sto = if path.extension().is_some_and(|e| e == "a3m") { a3m_to_stockholm(&content, &path)? } else { content };
        let [input, profile] = ["query.sto", "query.hmm"].map(|n| work.join(n));
        write(&input, &sto)?;
        tracing::debug!("templates of {} from {}", query.id, path.display());
        tools::hmmbuild(&self.config.program("hmmbuild")?, &input, &profile).run(work, &self.limits)?;
        let database = self.config.pdb_seqres.as_ref().expect("a search is wanted only when its database is named");
        tools::hmmsearch(&self.config.program("hmmsearch")?, self.cores, &profile, database, output).run(work, &self.limits)?;
        // Without hits hmmsearch leaves an empty file, or none.
        match std::fs::metadata(output) {
            Ok(m) if m.len() > 0 => Ok(()),
            _ => write(output, "# STOCKHOLM 1.0\n//\n"),
        }
    }
}

/// An A3M whose first row is the query as it was given: MMseqs2 writes B as D, Z as E, J as L, U and O as X.
fn with_query(a3m: &str, query: &Query) -> String {
    let written = |letter: u8| match letter {
        b'B' => b'D',
        b'Z' => b'E',
        b'J' => b'L',
        b'U' | b'O' => b'X',
        other => other,
    };
    let after_first = a3m.match_indices('\n').nth(1).map_or("", |(end, _)| &a3m[end + 1..]);
    let first = a3m.lines().nth(1).unwrap_or("");
    let same = first.len() == query.sequence.len() && first.bytes().zip(query.sequence.bytes()).all(|(a, b)| a == written(b));
    // Anything else is another alignment, which the check of the result refuses.
    if same { format!(">{}\n{}\n{after_first}", query.id, query.sequence) } else { a3m.to_owned() }
}

/// Columns of the query only, all of them marked as such: hmmbuild then makes a profile with one state per residue of the query.
fn a3m_to_stockholm(a3m: &str, path: &Path) -> Result<String> {
    let records = fasta::parse(a3m.as_bytes(), path)?;
    let mut out = String::from("# STOCKHOLM 1.0\n\n");
    let mut width = 0;
    for (i, record) in records.iter().enumerate() {
        let row: String = record.sequence.chars().filter(|c| !c.is_ascii_lowercase()).collect();
        width = row.len();
        out.push_str(&format!("r{i} {row}\n"));
    }
    out.push_str(&format!("#=GC RF {}\n//\n", "x".repeat(width)));
    Ok(out)
}

fn write(path: &Path, content: &str) -> Result<()> {
    std::fs::write(path, content).map_err(|e| Error::io(path, e))
}

/// Reads a result and refuses one that is damaged or of another query. Gives its rows or hits.
pub fn check(search: Search, path: &Path, query: &Query) -> Result<usize> {
    match search {
        Search::Pdb70 => {
            let report = hhr::read(path)?;
            match report.match_columns {
                Some(n) if n != query.sequence.len() => Err(Error::format(
                    path,
                    format!("hits of another query: it has {n} residues and `{}` {}", query.id, query.sequence.len()),
                )),
                _ => Ok(report.hits.len()),
            }
        }
        Search::PdbSeqres => Ok(hmmsearch::read(path, &query.sequence)?.len()),
        _ => Ok(msa::read_for(path, query.sequence.as_bytes())?.n_seq()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_have_a_state_for_each_residue_of_the_query() {
        let sto = a3m_to_stockholm(">q\nACD\n>h x\nA-wwD\n", Path::new("q.a3m")).unwrap();
        assert_eq!(sto, "# STOCKHOLM 1.0\n\nr0 ACD\nr1 A-D\n#=GC RF xxx\n//\n");
    }

    #[test]
    fn letters_that_mmseqs_cannot_write_are_put_back() {
        let query = Query { id: "q".into(), sequence: "AUD".into() };
        assert_eq!(with_query(">q\nAXD\n>h\nA-D\n", &query), ">q\nAUD\n>h\nA-D\n");
        assert_eq!(with_query(">q\nAXE\n", &query), ">q\nAXE\n");
    }

    #[test]
    fn templates_start_from_uniref90_when_it_is_there() {
        let config =
            SearchConfig { uniref90: Some("u".into()), mmseqs: Some("m".into()), pdb_seqres: Some("p".into()), ..SearchConfig::default() };
        let wanted = Search::wanted(&config);
        assert_eq!(wanted, [Search::UniRef90, Search::Mmseqs, Search::PdbSeqres]);
        assert_eq!(Search::source(&wanted), Some(Search::UniRef90));
        assert_eq!(Search::source(&wanted[1..]), Some(Search::Mmseqs));
    }
}
