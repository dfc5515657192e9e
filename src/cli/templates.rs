//! Options that name templates: hits with a folder of mmCIF files, and the user's own files. For every command that makes features.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::data::example::Template;
use crate::data::prepare::read_hits;
use crate::data::templates::{Library, Rules, align_by_identity, own_template};
use crate::error::{Error, Result};
use crate::search::config::find_program;
use crate::search::kalign::Kalign;
use crate::search::process::Limits;

/// Longest run of kalign on two sequences.
const KALIGN_LIMIT: Duration = Duration::from_secs(600);

/// Where templates come from.
#[derive(Debug, Clone, Default, Args)]
pub struct TemplateArgs {
    /// A structure of your own (mmCIF or PDB) as template, with its chain where it has several; may be given several times.
    #[arg(long, value_name = "FILE[:CHAIN]")]
    template: Vec<String>,
    /// The sequence's template hits (hhsearch's .hhr, hmmsearch's .sto or .a3m).
    #[arg(long, value_name = "FILE", requires = "mmcif")]
    hits: Vec<PathBuf>,
    /// Folder of the hits' mmCIF files (1abc.cif, 1abc.cif.gz, ab/1abc.cif.gz).
    #[arg(long, value_name = "DIR")]
    mmcif: Option<PathBuf>,
    /// Leave out hits released later (yyyy-mm-dd).
    #[arg(long, value_name = "DATE")]
    max_template_date: Option<String>,
    /// The PDB's list of withdrawn entries (obsolete.dat).
    #[arg(long, value_name = "FILE")]
    obsolete: Option<PathBuf>,
}

impl TemplateArgs {
    /// The templates of a sequence, the user's own first. What is left out, and what was aligned with less than the best program, is said on
    /// standard error.
    pub fn read(&self, query: &str) -> Result<Vec<Template>> {
        self.read_with(query, &[])
    }

    /// [`TemplateArgs::read`] with hits that were found beside the sequence's alignments; they count when there is a folder of mmCIF files.
    pub fn read_with(&self, query: &str, beside: &[PathBuf]) -> Result<Vec<Template>> {
        let kalign = find_program(Path::new("kalign"))
            .map(|program| Kalign { program, limits: Limits { time: KALIGN_LIMIT, stop: super::stop::flag() } });
        let aligner = |a: &[u8], b: &[u8]| match &kalign {
            Some(kalign) => kalign.align(a, b),
            None => {
                eprintln!("note: kalign is not on PATH; sequences are aligned by identity, which is good for close relatives only");
                align_by_identity(a, b)
            }
        };
        let mut all = Vec::new();
        for wanted in &self.template {
            let (file, chain) = file_and_chain(wanted);
            let (found, covered) = own_template(&file, chain.as_deref(), query, &aligner)?;
            eprintln!("template {}: covers {:.1} % of the sequence", found.template.name, 100.0 * covered);
            all.push(found.template);
        }
        let hits = [&self.hits, beside].concat();
        let Some(folder) = self.mmcif.as_ref().filter(|_| !hits.is_empty()) else { return Ok(all) };
        let mut library = Library::new(folder, &aligner)?;
        if let Some(list) = &self.obsolete {
            library = library.with_obsolete(list)?;
        }
        let rules = Rules { max_date: self.max_template_date.clone(), ..Rules::default() };
        let templates = library.templates(query, &read_hits(&hits, query)?, &rules)?;
        for left in &templates.left_out {
            eprintln!("template {} (hit {}) left out: {}", left.name, left.index, left.reason);
        }
        if templates.found.is_empty() && self.template.is_empty() && !self.hits.is_empty() {
            return Err(Error::Data(format!("{}: none of its hits can be a template", self.hits[0].display())));
        }
        all.extend(templates.found.into_iter().map(|f| f.template));
        Ok(all)
    }
}

/// `FILE:CHAIN`, unless a file has that very name.
fn file_and_chain(wanted: &str) -> (PathBuf, Option<String>) {
    match wanted.rsplit_once(':') {
        Some((file, chain)) if !Path::new(wanted).exists() && !chain.contains(['/', '\\']) => (file.into(), Some(chain.to_owned())),
        _ => (wanted.into(), None),
    }
}
