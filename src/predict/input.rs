//! What users give: sequences, alignments, folders of them, features. Each becomes a target of its own, or a refusal of its own, so that one bad
//! record does not end a batch.
//!
//! Finding targets reads sequences only; [`Target::load`] reads alignments and templates when the target's turn comes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::data::alignment::Alignment;
use crate::data::alphabet;
use crate::data::example::{Example, Template};
use crate::data::layout::{self, Finder, Kind};
use crate::data::raw_example;
use crate::error::{Error, Result};
use crate::io::{fasta, msa, npz, text};
use crate::predict::names::Names;
use crate::protein::letters::restype_of_letter;
use crate::tensor::HostTensor;

/// Something to predict.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Its folder's name, unique in the batch (see [`crate::predict::names`]).
    pub name: String,
    /// The header, or the file's name, as given.
    pub title: String,
    /// Residues.
    pub n_res: usize,
    /// What it is made of.
    pub source: Source,
}

/// What a target is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A sequence, upper case, with its files.
    Sequence {
        /// Letters A-Z.
        sequence: String,
        /// Its alignments, in stacking order; none for the sequence alone.
        alignments: Vec<PathBuf>,
        /// Hits of template searches that were found beside the alignments.
        hits: Vec<PathBuf>,
    },
    /// A file of features: AlphaFold's raw ones, or processed ones.
    Features(PathBuf),
}

/// Something that cannot be predicted.
#[derive(Debug)]
pub struct Refused {
    /// The name that it would have had.
    pub name: String,
    /// Why.
    pub error: Error,
}

/// What the network starts from.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// A sequence with its alignment and templates, from which features are drawn.
    Example(Box<Example>),
    /// AlphaFold's processed arrays with the leading pass axis, taken as they are.
    Arrays(BTreeMap<String, HostTensor>),
}

/// How alignments are found.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// Alignments of the only target, in stacking order.
    pub msa: Vec<PathBuf>,
    /// Folders in AlphaFold's, OpenFold's or ColabFold's layout, in which targets find theirs by name.
    pub alignments: Vec<PathBuf>,
    /// Leave out all alignments.
    pub single_sequence: bool,
}

/// Reads templates of a sequence, given the hits that lay beside its alignments.
pub type Templates<'a> = dyn Fn(&str, &[PathBuf]) -> Result<Vec<Template>> + 'a;

/// The targets of files and folders, in their order, and what was refused. Fails as a whole when nothing is left to predict.
pub fn targets(inputs: &[PathBuf], files: &Files) -> Result<Vec<Result<Target, Refused>>> {
    let mut found = Collector { names: Names::default(), all: Vec::new() };
    if let (true, Some(first)) = (inputs.is_empty(), files.msa.first()) {
        found.alignment(first);
    }
    for input in inputs {
        let before = found.all.len();
        if let Err(error) = found.input(input) {
            found.all.truncate(before);
            let name = found.names.unique(&stem(input));
            found.all.push(Err(Refused { name, error }));
        }
    }
    let mut all = found.all;
    if all.is_empty() {
        return Err(Error::Config("nothing to predict: name a FASTA file, an alignment, a folder of them, or features (.npz)".into()));
    }
    if all.iter().all(Result::is_err) {
        return Err(all.swap_remove(0).expect_err("all are refused").error);
    }
    attach(&mut all, files)?;
    Ok(all)
}

/// Gives targets the alignments that options name.
fn attach(all: &mut [Result<Target, Refused>], files: &Files) -> Result<()> {
    let good = all.iter().filter(|t| t.is_ok()).count();
    if !files.msa.is_empty() && good > 1 {
        return Err(Error::Config(format!("--msa names alignments of one sequence, and there are {good}: use --alignments with a folder")));
    }
    let finder = Finder::new(&files.alignments)?;
    for target in all.iter_mut().flatten() {
        let id = target.title.split_whitespace().next().unwrap_or_default().to_owned();
        let Source::Sequence { alignments, hits, .. } = &mut target.source else { continue };
        if files.single_sequence {
            alignments.clear();
            continue;
        }
        alignments.extend(files.msa.iter().cloned());
        for name in [id.as_str(), target.name.as_str()] {
            let (more, more_hits) = finder.named(name);
            if !more.is_empty() || !more_hits.is_empty() {
                alignments.extend(more);
                hits.extend(more_hits);
                break;
            }
        }
        if let (true, [folder], 1) = (alignments.is_empty(), files.alignments.as_slice(), good) {
            let (own, own_hits) = searched(folder)?.unwrap_or_default();
            alignments.extend(own);
            hits.extend(own_hits);
        }
        let mut seen = Vec::new();
        alignments.retain(|a| {
            !seen.contains(a) && {
                seen.push(a.clone());
                true
            }
        });
    }
    Ok(())
}

/// Refuses sequences that have no alignment: a prediction from the sequence alone is seldom good, and should be asked for.
pub fn require_alignments(all: &mut [Result<Target, Refused>]) {
    for target in all {
        let bare = matches!(target, Ok(Target { source: Source::Sequence { alignments, .. }, .. }) if alignments.is_empty());
        if let (true, Ok(t)) = (bare, &*target) {
            let what = format!("`{}` has no alignment: give --msa, --alignments or --search, or ask for --single-sequence", t.name);
            *target = Err(Refused { name: t.name.clone(), error: Error::Data(what) });
        }
    }
}

/// Gives a target the results of its searches, which lie in `folder` or in `folder/msas`.
pub fn attach_searches(target: &mut Target, folder: &Path) -> Result<()> {
    if let Source::Sequence { alignments, hits, .. } = &mut target.source
        && folder.is_dir()
        && let Some((found, found_hits)) = searched(folder)?
    {
        alignments.extend(found);
        hits.extend(found_hits);
    }
    Ok(())
}

struct Collector {
    names: Names,
    all: Vec<Result<Target, Refused>>,
}

impl Collector {
    fn input(&mut self, path: &Path) -> Result<()> {
        if path.is_dir() {
            return self.folder(path);
        }
        match kind(path) {
            Some(What::Features) => self.features(path),
            Some(What::Alignment) => self.alignment(path),
            Some(What::Fasta) => self.fasta(path)?,
            None => {
                let bytes = text::read(path)?;
                if bytes.starts_with(b"# STOCKHOLM") { self.alignment(path) } else { self.fasta(path)? }
            }
        }
        Ok(())
    }

    fn push(&mut self, wanted: &str, title: &str, made: Result<(usize, Source)>) {
        let name = self.names.unique(wanted);
        self.all.push(match made {
            Ok((n_res, source)) => Ok(Target { name, title: title.to_owned(), n_res, source }),
            Err(error) => Err(Refused { name, error }),
        });
    }

    fn fasta(&mut self, path: &Path) -> Result<()> {
        let records = fasta::read_each(path)?;
        let only = records.len() == 1;
        for (record, wrong) in records {
            let id = if record.id().is_empty() && only { stem(path) } else { record.id().to_owned() };
            let made = match wrong {
                Some(error) => Err(error),
                None => match query(record.sequence.as_bytes()) {
                    Ok(sequence) => Ok((sequence.len(), Source::Sequence { sequence, alignments: Vec::new(), hits: Vec::new() })),
                    Err(what) => Err(Error::at_line(path, record.line, format!("`{}`: {what}", shown(&record.description)))),
                },
            };
            let title = if record.description.is_empty() { id.clone() } else { record.description };
            self.push(&id, &title, made);
        }
        Ok(())
    }

    /// An alignment is a target whose sequence is its first row; a file of several blocks is several.
    fn alignment(&mut self, path: &Path) {
        let blocks = match msa::read_all(path) {
            Ok(blocks) => blocks,
            Err(error) => return self.push(&stem(path), &stem(path), Err(error)),
        };
        let only = blocks.len() == 1;
        for block in blocks {
            let header = block.names[0].clone();
            let id = if only { stem(path) } else { header.split_whitespace().next().unwrap_or_default().to_owned() };
            let made = query(&block.query()).map_err(|what| Error::format(path, format!("its query `{}`: {what}", shown(&header))));
            let source =
                |sequence: String| (sequence.len(), Source::Sequence { sequence, alignments: vec![path.to_path_buf()], hits: Vec::new() });
            self.push(&id, &id, made.map(source));
        }
    }

    fn features(&mut self, path: &Path) {
        let made = length_of_features(path).map(|n| (n, Source::Features(path.to_path_buf())));
        self.push(&stem(path), &stem(path), made);
    }

    /// A folder of one target's searches, or of files that are targets, with folders of searches beside them.
    fn folder(&mut self, folder: &Path) -> Result<()> {
        if let Some(files) = searched(folder)? {
            self.searches(folder, files);
            return Ok(());
        }
        let before = self.all.len();
        let (files, folders) = entries(folder)?;
        let of_kind = |what: What| files.iter().filter(move |f| kind(f) == Some(what));
        let aligned: Vec<String> = of_kind(What::Alignment).map(|f| stem(f)).collect();
        // A sequence beside an alignment of its name is the same target.
        for file in of_kind(What::Fasta).filter(|f| !aligned.contains(&stem(f))) {
            if let Err(error) = self.fasta(file) {
                self.push(&stem(file), &stem(file), Err(error));
            }
        }
        of_kind(What::Alignment).for_each(|f| self.alignment(f));
        of_kind(What::Features).for_each(|f| self.features(f));
        // ColabFold keeps its server's files in `NAME_env`, beside the `NAME.a3m` that it makes of them.
        for inner in folders.iter().filter(|f| !f.file_name().is_some_and(|n| n.to_string_lossy().ends_with("_env"))) {
            if let Some(files) = searched(inner)? {
                self.searches(inner, files);
            }
        }
        match self.all.len() - before {
            0 => Err(Error::format(folder, "no FASTA file, alignment, folder of searches or features (.npz) in this folder")),
            _ => Ok(()),
        }
    }

    /// A target made of its searches' files; the first row of the first alignment is its sequence.
    fn searches(&mut self, folder: &Path, (alignments, hits): (Vec<PathBuf>, Vec<PathBuf>)) {
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
        let named = folder.ancestors().filter_map(|f| f.file_name()).find(|n| *n != "msas").map(|n| n.to_string_lossy().into_owned());
        let name = named.unwrap_or_default();
        let made = match alignments.first() {
            None => Err(Error::format(&folder, "template hits without an alignment: there is no sequence to predict")),
            Some(first) => msa::read(first).and_then(|m| {
                query(&m.query()).map_err(|what| Error::format(first, format!("its query `{}`: {what}", shown(&m.names[0]))))
            }),
        };
        self.push(&name, &name, made.map(|sequence| (sequence.len(), Source::Sequence { sequence, alignments, hits })));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Fasta,
    Alignment,
    Features,
}

/// What a file is by its name.
fn kind(path: &Path) -> Option<What> {
    let name = text::plain_name(path);
    match name.rsplit_once('.')?.1 {
        "fasta" | "fa" | "faa" | "fas" | "seq" => Some(What::Fasta),
        "a3m" | "sto" | "sth" | "stk" | "stockholm" | "aln" => Some(What::Alignment),
        "npz" => Some(What::Features),
        _ => None,
    }
}

/// A file's name without its endings, in its own case.
fn stem(path: &Path) -> String {
    let plain = text::plain_name(path);
    let length = plain.rsplit_once('.').map_or(plain.len(), |(s, _)| s.len());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.get(..length).unwrap_or(&name).to_owned()
}

/// The beginning of a header for a message.
fn shown(header: &str) -> String {
    header.chars().take(60).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Files and folders directly in a folder, sorted.
fn entries(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let listed = std::fs::read_dir(folder).and_then(|all| all.map(|e| e.map(|e| e.path())).collect::<std::io::Result<Vec<_>>>());
    let mut all = listed.map_err(|e| Error::io(folder, e))?;
    all.sort();
    Ok(all.into_iter().partition(|p| !p.is_dir()))
}

/// Alignments and hits of a folder that holds one target's searches: AlphaFold's `TARGET/msas/…` and `TARGET/…`, or ColabFold's `NAME_env`.
fn searched(folder: &Path) -> Result<Option<(Vec<PathBuf>, Vec<PathBuf>)>> {
    let (mut files, folders) = entries(folder)?;
    for inner in folders.iter().filter(|f| f.ends_with("msas")) {
        files.extend(entries(inner)?.0);
    }
    let of_search = |f: &PathBuf| match layout::kind(f) {
        Some(Kind::Other) => ["uniref.a3m", "bfd.mgnify30.metaeuk30.smag30.a3m"].contains(&text::plain_name(f).as_str()),
        kind => kind.is_some(),
    };
    Ok(files.iter().any(of_search).then(|| layout::sort(&files)))
}

/// A sequence to predict, upper case, or what is wrong with it.
fn query(letters: &[u8]) -> Result<String, String> {
    let sequence = letters.to_ascii_uppercase();
    if let Some(at) = sequence.iter().position(|b| !b.is_ascii_uppercase()) {
        return Err(format!(
            "{} at residue {} is no amino acid; the one-letter codes are ACDEFGHIKLMNPQRSTVWY",
            text::show(sequence[at]),
            at + 1
        ));
    }
    let kinds: std::collections::BTreeSet<u8> = sequence.iter().copied().collect();
    if kinds.len() > 2 && sequence.len() > 15 && kinds.iter().all(|b| b"ACGTUN".contains(b)) {
        return Err("made of A, C, G, T, U and N alone, it looks like DNA or RNA; proteins are predicted here".into());
    }
    if sequence.iter().all(|&b| restype_of_letter(b) == 20) {
        return Err("none of its letters is a known amino acid".into());
    }
    Ok(String::from_utf8(sequence).expect("letters are ASCII"))
}

/// Residues of a features file.
fn length_of_features(path: &Path) -> Result<usize> {
    let features = npz::read(path)?;
    match processed(&features) {
        true => residues_of_arrays(&features, path),
        false => raw_example::from_arrays(features, path).map(|e| e.n_res()),
    }
}

fn processed(features: &BTreeMap<String, HostTensor>) -> bool {
    features.contains_key("msa_feat")
}

/// Residues of processed arrays, without padding.
fn residues_of_arrays(arrays: &BTreeMap<String, HostTensor>, path: &Path) -> Result<usize> {
    let need = |name: &str| arrays.get(name).ok_or_else(|| Error::format(path, format!("feature `{name}` is missing")));
    let (aatype, index) = (need("aatype")?, need("residue_index")?);
    let &[passes, padded] = &aatype.shape[..] else {
        return Err(Error::format(path, format!("`aatype` has the shape {:?}, not [passes, residues]", aatype.shape)));
    };
    if index.shape != aatype.shape || passes == 0 {
        return Err(Error::format(path, format!("`residue_index` has the shape {:?} and `aatype` {:?}", index.shape, aatype.shape)));
    }
    let n_res = match arrays.get("seq_length") {
        Some(length) => length.to_f64().first().map_or(0, |&n| n as usize),
        None => padded,
    };
    if n_res == 0 || n_res > padded {
        return Err(Error::format(path, format!("`seq_length` is {n_res} and there are {padded} places for residues")));
    }
    if aatype.to_f64().iter().any(|t| !(0.0..=20.0).contains(t)) {
        return Err(Error::format(path, "`aatype` holds a type outside 0..=20"));
    }
    Ok(n_res)
}

impl Target {
    /// Reads alignments and templates. A sequence without an alignment is the only row of its own.
    pub fn load(&self, templates: &Templates) -> Result<Given> {
        let (sequence, files, hits) = match &self.source {
            Source::Features(path) => {
                let features = npz::read(path)?;
                if processed(&features) {
                    residues_of_arrays(&features, path)?;
                    return Ok(Given::Arrays(features));
                }
                let mut example = raw_example::from_arrays(features, path)?;
                let letters = alphabet::to_letters(&example.aatype);
                example.templates.splice(..0, templates(&letters, &[])?);
                return Ok(Given::Example(Box::new(example)));
            }
            Source::Sequence { sequence, alignments, hits } => (sequence, alignments, hits),
        };
        let alignment = match files.is_empty() {
            true => Alignment::of_query(sequence.as_bytes())?,
            false => {
                let read: Vec<_> = files.iter().map(|f| Ok(cut(f, msa::read_for(f, sequence.as_bytes())?))).collect::<Result<_>>()?;
                Alignment::stack(&read)?.0
            }
        };
        Ok(Given::Example(Box::new(Example {
            id: self.name.clone(),
            aatype: alphabet::query(sequence.as_bytes()),
            residue_index: (0..sequence.len() as i32).collect(),
            alignment,
            templates: templates(sequence, hits)?,
            labels: None,
        })))
    }
}

/// An alignment within the row limits of AlphaFold's pipeline (`run_alphafold.py`), by the search that its file's name tells.
fn cut(file: &Path, mut msa: msa::Msa) -> msa::Msa {
    match layout::kind(file) {
        Some(Kind::UniRef90) => msa.truncate(10_000),
        Some(Kind::Mgnify) => msa.truncate(501),
        _ => {}
    }
    msa
}

impl Given {
    /// Residue types 0..=20 and residue numbers of a target of `n_res` residues.
    pub fn residues(&self, n_res: usize) -> (Vec<u8>, Vec<i32>) {
        match self {
            Given::Example(e) => (e.aatype.clone(), e.residue_index.clone()),
            Given::Arrays(arrays) => {
                let row = |name: &str| arrays[name].to_f64()[..n_res].to_vec();
                (row("aatype").into_iter().map(|t| t as u8).collect(), row("residue_index").into_iter().map(|i| i as i32).collect())
            }
        }
    }

    /// The alignment, where there is one.
    pub fn alignment(&self) -> Option<&Alignment> {
        match self {
            Given::Example(e) => Some(&e.alignment),
            Given::Arrays(_) => None,
        }
    }
}
