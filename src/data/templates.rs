//! Templates: known structures in the query's columns, from a search's hits and a folder of mmCIF files, or from a user's own file.
//!
//! Hits are judged and read as by AlphaFold (`data/templates.py`, supplement 1.2.3). Where the original would fail or shift residues by
//! accident we differ, and say so at the place. How two sequences are aligned is the caller's choice ([`Aligner`]): kalign as published, or our
//! own [`align_by_identity`]. Knows no search program.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::data::example::Template;
use crate::error::{Error, Result};
use crate::io::hhr::TemplateHit;
use crate::io::{mmcif, structure, text};
use crate::protein::align;
use crate::protein::letters::{GAP, HHBLITS_TO_RESTYPE, UNKNOWN, hhblits_of_letter};
use crate::protein::structure::{Chain, Structure};

/// Aligns two sequences: pairs (residue of the first, residue of the second) in rising order.
pub type Aligner<'a> = dyn Fn(&[u8], &[u8]) -> Result<Vec<(usize, usize)>> + 'a;

/// Largest step between the CA of neighbours, Angstrom. Essentially infinite: it leaves out broken files only.
const MAX_CA_STEP: f32 = 150.0;
/// Fewest atoms of a template: alanine has N, CA, C, O and CB.
const MIN_ATOMS: f32 = 5.0;
/// Least identity, of the shorter sequence, between a hit and the file's chain.
const MIN_IDENTITY: f64 = 0.9;
/// Structures kept in memory: chains of one entry are often neighbours among hits.
const KEPT: usize = 4;

/// Which hits become templates; the default is AlphaFold's.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Templates at most.
    pub max_templates: usize,
    /// Latest release date, `yyyy-mm-dd`. With a date, structures that have none are left out.
    pub max_date: Option<String>,
    /// Hits that cover no more than this share of the query are left out.
    pub min_align_ratio: f64,
    /// A hit that is a part of the query itself is left out when it is longer than this share of it.
    pub max_subsequence_ratio: f64,
    /// Hits with fewer residues are left out.
    pub min_length: usize,
    /// An entry that is left out, in lower case: the query's own, in training.
    pub own_entry: Option<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { max_templates: 20, max_date: None, min_align_ratio: 0.1, max_subsequence_ratio: 0.95, min_length: 10, own_entry: None }
    }
}

impl Rules {
    fn check(&self) -> Result<()> {
        match &self.max_date {
            Some(date) if !is_date(date) => Err(Error::Config(format!("latest release date `{date}`: expected yyyy-mm-dd"))),
            _ => Ok(()),
        }
    }
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.bytes().enumerate().all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() })
}

/// Why a hit did not become a template.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// The name is not that of a PDB entry and chain (`1abc_A`).
    Name,
    /// The entry was withdrawn.
    Obsolete,
    /// The query's own entry.
    OwnEntry,
    /// Released after the latest date.
    Date(String),
    /// The structure states no release date, and there is a latest date.
    NoDate,
    /// Covers this small share of the query.
    AlignRatio(f64),
    /// Is a part of the query itself, of this share of its length.
    Duplicate(f64),
    /// Has this few residues.
    Length(usize),
    /// The file is not in the folder.
    NoFile,
    /// The file cannot be read.
    File(String),
    /// The hit's sequence is not in the file and could not be aligned to it.
    Sequence(String),
    /// The file's coordinates cannot be used.
    Atoms(String),
    /// Fewer than five atoms in the aligned residues, which are these of the chain (zero-based, both included).
    NoAtoms(usize, usize),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Name => write!(f, "the name is not that of a PDB chain, such as 1abc_A"),
            Reason::Obsolete => write!(f, "the entry was withdrawn"),
            Reason::OwnEntry => write!(f, "the query's own entry"),
            Reason::Date(date) => write!(f, "released {date}, after the latest date allowed"),
            Reason::NoDate => write!(f, "the file states no release date, so that it may be too new"),
            Reason::AlignRatio(ratio) => write!(f, "covers only {ratio:.3} of the query"),
            Reason::Duplicate(ratio) => write!(f, "a part of the query itself ({ratio:.3} of its length)"),
            Reason::Length(n) => write!(f, "only {n} residues"),
            Reason::NoFile => write!(f, "its mmCIF file is not in the folder"),
            Reason::File(what) | Reason::Sequence(what) | Reason::Atoms(what) => f.write_str(what),
            Reason::NoAtoms(first, last) => write!(f, "fewer than {MIN_ATOMS} atoms were observed in residues {}-{}", first + 1, last + 1),
        }
    }
}

/// A hit that was left out.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftOut {
    /// Entry and chain, or the hit's name when it has none.
    pub name: String,
    /// Rank in the search.
    pub index: usize,
    /// Why.
    pub reason: Reason,
}

/// A template, and its letters in the query's columns (`-` where it has none).
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Coordinates and types.
    pub template: Template,
    /// AlphaFold's `template_sequence`.
    pub sequence: String,
    /// Set when the hit's sequence was not in the file and was aligned to it.
    pub realigned: bool,
}

/// What became of the hits.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Templates {
    /// Templates, best first.
    pub found: Vec<Found>,
    /// Hits that were looked at and left out.
    pub left_out: Vec<LeftOut>,
}

/// Where structures come from.
pub struct Library<'a> {
    folder: PathBuf,
    /// Withdrawn entries with what replaced them.
    obsolete: HashMap<String, Option<String>>,
    aligner: &'a Aligner<'a>,
    recent: VecDeque<(String, Rc<Structure>)>,
}

impl<'a> Library<'a> {
    /// A folder of `1abc.cif` or `1abc.cif.gz`, flat or divided as the PDB is (`ab/1abc.cif.gz`).
    pub fn new(folder: &Path, aligner: &'a Aligner<'a>) -> Result<Self> {
        if !folder.is_dir() {
            return Err(Error::Config(format!("no folder of templates at {}", folder.display())));
        }
        Ok(Self { folder: folder.to_path_buf(), obsolete: HashMap::new(), aligner, recent: VecDeque::new() })
    }

    /// Adds the PDB's list of withdrawn entries (`obsolete.dat`: `OBSLTE    31-JUL-94 116L     216L`).
    pub fn with_obsolete(mut self, list: &Path) -> Result<Self> {
        for line in text::read_string(list)?.lines().filter(|l| l.starts_with("OBSLTE")) {
            // Entries become names of files, so that nothing but an entry may pass.
            let is_entry = |w: &&str| w.len() == 4 && w.bytes().all(|b| b.is_ascii_alphanumeric());
            let mut words = line.split_whitespace().skip(2).filter(is_entry).map(str::to_ascii_lowercase);
            if let Some(old) = words.next() {
                self.obsolete.insert(old, words.next());
            }
        }
        Ok(self)
    }

    fn file(&self, entry: &str) -> Option<PathBuf> {
        let upper = entry.to_ascii_uppercase();
        let divided = self.folder.join(&entry[1..3]).join(format!("{entry}.cif"));
        [self.folder.join(format!("{entry}.cif")), divided, self.folder.join(format!("{upper}.cif"))].iter().find_map(text::find)
    }

    fn structure(&mut self, entry: &str) -> Result<Rc<Structure>, Reason> {
        if let Some((_, known)) = self.recent.iter().find(|r| r.0 == entry) {
            return Ok(known.clone());
        }
        let file = self.file(entry).ok_or(Reason::NoFile)?;
        let read = Rc::new(mmcif::read(&file).map_err(|e| Reason::File(e.to_string()))?);
        self.recent.truncate(KEPT - 1);
        self.recent.push_front((entry.to_string(), read.clone()));
        Ok(read)
    }

    /// The templates among the hits of `query`: hhsearch's by falling sum of probabilities, hmmsearch's in their order and each aligned sequence
    /// once. A hit whose file is missing or damaged is left out and reported; AlphaFold would stop there.
    pub fn templates(&mut self, query: &str, hits: &[TemplateHit], rules: &Rules) -> Result<Templates> {
        rules.check()?;
        let mut order: Vec<&TemplateHit> = hits.iter().collect();
        let ranked = hits.iter().all(|h| h.sum_probs.is_some());
        if ranked {
            order.sort_by(|a, b| b.sum_probs.partial_cmp(&a.sum_probs).expect("a report's numbers are finite"));
        }
        let mut out = Templates::default();
        let mut seen = HashSet::new();
        for hit in order {
            if out.found.len() >= rules.max_templates {
                break;
            }
            match self.template(query, hit, rules) {
                Ok(found) if !ranked && !seen.insert(found.sequence.clone()) => {}
                Ok(found) => out.found.push(found),
                Err((name, reason)) => out.left_out.push(LeftOut { name, index: hit.index, reason }),
            }
        }
        Ok(out)
    }

    fn template(&mut self, query: &str, hit: &TemplateHit, rules: &Rules) -> Result<Found, (String, Reason)> {
        let first_word = hit.name.split_whitespace().next().unwrap_or("");
        let (mut entry, chain) = entry_and_chain(&hit.name).ok_or_else(|| (first_word.to_string(), Reason::Name))?;
        match self.obsolete.get(&entry) {
            Some(None) => return Err((format!("{entry}_{chain}"), Reason::Obsolete)),
            Some(Some(new)) => entry = new.clone(),
            None => {}
        }
        let name = format!("{entry}_{chain}");
        let outcome = prefilter(query, hit, &entry, rules).and_then(|()| {
            let structure = self.structure(&entry)?;
            if let Some(latest) = &rules.max_date {
                match &structure.release_date {
                    None => return Err(Reason::NoDate),
                    Some(date) if date > latest => return Err(Reason::Date(date.clone())),
                    Some(_) => {}
                }
            }
            extract(query, hit, &entry, &chain, &structure, self.aligner)
        });
        outcome.map_err(|reason| (name, reason))
    }
}

/// `1ABC_B some protein` as (`1abc`, `B`).
fn entry_and_chain(name: &str) -> Option<(String, String)> {
    let entry = name.get(..4).filter(|e| e.bytes().all(|b| b.is_ascii_alphanumeric()))?;
    let rest = name[4..].strip_prefix('_')?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len());
    (end > 0).then(|| (entry.to_ascii_lowercase(), rest[..end].to_string()))
}

/// The filters that need no structure, in AlphaFold's order.
fn prefilter(query: &str, hit: &TemplateHit, entry: &str, rules: &Rules) -> Result<(), Reason> {
    let n_res = query.len() as f64;
    let sequence = hit.hit_sequence.replace('-', "");
    let (align_ratio, length_ratio) = (hit.aligned_cols as f64 / n_res, sequence.len() as f64 / n_res);
    if rules.own_entry.as_deref() == Some(entry) {
        return Err(Reason::OwnEntry);
    }
    if align_ratio <= rules.min_align_ratio {
        return Err(Reason::AlignRatio(align_ratio));
    }
    if length_ratio > rules.max_subsequence_ratio && query.contains(&sequence) {
        return Err(Reason::Duplicate(length_ratio));
    }
    if sequence.len() < rules.min_length {
        return Err(Reason::Length(sequence.len()));
    }
    Ok(())
}

/// Pairs (residue of the query, residue of the hit's own sequence). Numbers of both start at their first aligned residue; the query's is where
/// its aligned part first occurs in the whole. Should it not occur there (letters that the program changed), we take the report's own number,
/// where AlphaFold would shift by one.
fn map_to_hit(query: &str, hit: &TemplateHit) -> Vec<(usize, usize)> {
    let least = |indices: &[i32]| indices.iter().copied().filter(|&i| i >= 0).min();
    let (Some(first_query), Some(first_hit)) = (least(&hit.indices_query), least(&hit.indices_hit)) else { return Vec::new() };
    let offset = query.find(&hit.query.replace('-', "")).map_or(i64::from(first_query), |o| o as i64);
    let length = hit.hit_sequence.bytes().filter(|&b| b != b'-').count();
    let pairs = hit.indices_query.iter().zip(&hit.indices_hit).filter(|&(&q, &t)| q >= 0 && t >= 0);
    let pairs = pairs.map(|(q, t)| ((i64::from(q - first_query) + offset) as usize, (t - first_hit) as usize));
    pairs.filter(|&(q, t)| q < query.len() && t < length).collect()
}

/// The chain that has the hit's sequence, and where: the named chain, else any, else any with X as a wildcard on either side.
fn find_sequence<'s>(sequence: &str, chain: &str, structure: &'s Structure) -> Option<(&'s Chain, usize)> {
    let named = structure.chains.iter().find(|c| c.id == chain);
    let exact = named.into_iter().chain(&structure.chains).find_map(|c| Some((c, c.sequence.find(sequence)?)));
    let wild = |a: u8, b: u8| a == b || a == b'X' || b == b'X';
    exact.or_else(|| {
        structure.chains.iter().find_map(|c| {
            let mut windows = c.sequence.as_bytes().windows(sequence.len());
            Some((c, windows.position(|w| w.iter().zip(sequence.bytes()).all(|(&a, b)| wild(a, b)))?))
        })
    })
}

/// The hit in the query's columns.
fn extract(query: &str, hit: &TemplateHit, entry: &str, chain_id: &str, structure: &Structure, aligner: &Aligner) -> Result<Found, Reason> {
    let sequence = hit.hit_sequence.replace('-', "");
    let mapping = map_to_hit(query, hit);
    let found = find_sequence(&sequence, chain_id, structure);
    let (chain, pairs, letters) = match found {
        // The letters are the hit's: an X of the file may be known to the database.
        Some((chain, offset)) => {
            (chain, mapping.iter().map(|&(q, t)| (q, t + offset)).collect(), mapping.iter().map(|&(_, t)| sequence.as_bytes()[t]).collect())
        }
        None => {
            let chain = chain_to_realign(entry, chain_id, structure)?;
            let pairs = realign(&sequence, chain, &mapping, aligner)?;
            let letters: Vec<u8> = pairs.iter().map(|&(_, t)| chain.sequence.as_bytes()[t]).collect();
            (chain, pairs, letters)
        }
    };
    let pairs: Vec<(usize, usize)> = pairs;
    if let Some((i, distance)) = chain.ca_gap_beyond(MAX_CA_STEP) {
        return Err(Reason::Atoms(format!("residues {i} and {} of chain {} are {distance:.0} Angstrom apart", i + 1, chain.id)));
    }
    // As in the original the name has the chain of the file, which a realigned hit keeps from the report.
    let named = if found.is_some() { &chain.id } else { chain_id };
    let (template, letters) =
        in_columns(query.len(), chain, &pairs, &letters, format!("{entry}_{named}"), hit.sum_probs.unwrap_or(0.0) as f32);
    if template.mask.as_flattened().iter().sum::<f32>() < MIN_ATOMS {
        let residues = || pairs.iter().map(|p| p.1);
        return Err(Reason::NoAtoms(residues().min().unwrap_or(0), residues().max().unwrap_or(0)));
    }
    Ok(Found { template, sequence: letters, realigned: found.is_none() })
}

fn chain_to_realign<'s>(entry: &str, chain_id: &str, structure: &'s Structure) -> Result<&'s Chain, Reason> {
    match structure.chains.as_slice() {
        [only] => Ok(only),
        all => all.iter().find(|c| c.id == chain_id).ok_or_else(|| Reason::Sequence(format!("{entry} has no protein chain {chain_id}"))),
    }
}

/// The mapping carried over to a chain whose sequence differs from the hit's. Residues of the hit that the chain lacks become gaps; AlphaFold
/// gives them the chain's last residue (an index of -1), which cannot be meant.
fn realign(sequence: &str, chain: &Chain, mapping: &[(usize, usize)], aligner: &Aligner) -> Result<Vec<(usize, usize)>, Reason> {
    let (old, new) = (sequence.as_bytes(), chain.sequence.as_bytes());
    let pairs =
        aligner(old, new).map_err(|e| Reason::Sequence(format!("the hit's sequence is not in the file, and aligning it failed: {e}")))?;
    let same = pairs.iter().filter(|&&(a, b)| old[a] == new[b]).count();
    let identity = same as f64 / old.len().min(new.len()).max(1) as f64;
    if identity < MIN_IDENTITY {
        return Err(Reason::Sequence(format!("the hit's sequence differs from that of chain {} (identity {identity:.2})", chain.id)));
    }
    let carried: HashMap<usize, usize> = pairs.into_iter().collect();
    Ok(mapping.iter().filter_map(|&(q, t)| Some((q, *carried.get(&t)?))).collect())
}

/// A chain's residues in the query's columns, with `letters` for each pair (residue of the query, residue of the chain).
fn in_columns(n_res: usize, chain: &Chain, pairs: &[(usize, usize)], letters: &[u8], name: String, sum_probs: f32) -> (Template, String) {
    let mut template =
        Template { name, sum_probs, aatype: vec![GAP as u8; n_res], positions: vec![[[0.0; 3]; 37]; n_res], mask: vec![[0.0; 37]; n_res] };
    let mut sequence = vec![b'-'; n_res];
    for (&(q, t), &letter) in pairs.iter().zip(letters) {
        template.positions[q] = chain.positions[t];
        template.mask[q] = chain.mask[t];
        template.aatype[q] = hhblits_of_letter(letter).map_or(UNKNOWN, |h| HHBLITS_TO_RESTYPE[h]) as u8;
        sequence[q] = letter;
    }
    (template, String::from_utf8(sequence).expect("letters of sequences are ASCII"))
}

/// A user's own template: a chain of an mmCIF or PDB file (the only one when `chain` is `None`), aligned to the query. No filter applies but
/// that something must align; the share of the query's residues that got coordinates is given with it.
pub fn own_template(file: &Path, chain: Option<&str>, query: &str, aligner: &Aligner) -> Result<(Found, f64)> {
    let read = structure::read(file)?;
    let chain = read.chain(chain).map_err(|e| Error::format(file, e.to_string()))?;
    let pairs =
        aligner(query.as_bytes(), chain.sequence.as_bytes()).map_err(|e| Error::format(file, format!("chain {}: {e}", chain.id)))?;
    let letters: Vec<u8> = pairs.iter().map(|&(_, t)| chain.sequence.as_bytes()[t]).collect();
    let stem = text::plain_name(file);
    let stem = stem.rsplit_once('.').map_or(stem.as_str(), |s| s.0);
    let (template, sequence) = in_columns(query.len(), chain, &pairs, &letters, format!("{stem}_{}", chain.id), 0.0);
    if template.mask.as_flattened().iter().sum::<f32>() < MIN_ATOMS {
        return Err(Error::format(file, format!("chain {}: no observed residue aligns with the query", chain.id)));
    }
    let covered = template.mask.iter().filter(|m| m.iter().any(|&x| x > 0.0)).count() as f64 / query.len() as f64;
    Ok((Found { template, sequence, realigned: true }, covered))
}

/// [`align::align`] as an [`Aligner`]; needs no program.
pub fn align_by_identity(a: &[u8], b: &[u8]) -> Result<Vec<(usize, usize)>> {
    align::align(a, b).ok_or_else(|| Error::Memory(format!("sequences of {} and {} residues are too long to align", a.len(), b.len())))
}

#[cfg(test)]
#[path = "templates_tests.rs"]
mod tests;
