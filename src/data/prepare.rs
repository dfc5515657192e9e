//! From folders of structures and alignments to a data set: in parallel, incrementally, skipping and listing what cannot be used.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use rayon::prelude::*;

use crate::data::alignment::Alignment;
use crate::data::alphabet;
use crate::data::distill::{self, Rules};
use crate::data::example::{Example, Labels, Template};
use crate::data::layout::{self, Finder, Kind, Unit, Wanted};
use crate::data::set::codec;
use crate::data::set::index::{Entry, Input, Skipped};
use crate::data::set::writer::Writer;
use crate::data::templates::{self, Library, align_by_identity};
use crate::error::{Error, Result};
use crate::io::hhr::TemplateHit;
use crate::io::{hhr, hmmsearch, msa, structure, text};
use crate::protein::structure::{Chain, Structure};

/// Structure files worked on between two writes; large enough for many cores, small enough for little memory.
const BATCH: usize = 64;

/// How the clusters are named that no file gives.
const BY_SEQUENCE: &str = "sequence-";

/// What is made of what.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Options {
    /// A list of chains such as `train_set.json`; without one every structure below the folder is taken.
    #[serde(skip)]
    pub list: Option<PathBuf>,
    /// Folders with alignments; the prepared folder itself when empty.
    #[serde(skip)]
    pub alignments: Vec<PathBuf>,
    /// Folder with the mmCIF files of template hits (`1abc.cif`, flat or divided as the PDB is); without one the set has no templates.
    #[serde(skip)]
    pub templates: Option<PathBuf>,
    /// Clusters ([`read_clusters`]). Without them, and without clusters in the list, equal sequences are a cluster.
    #[serde(skip)]
    pub clusters: Option<PathBuf>,
    /// Predictions become examples by these rules; experiments otherwise.
    pub distillation: Option<Rules>,
    /// Rows kept of UniRef90's alignment (published: 10,000).
    pub max_uniref90: usize,
    /// Rows kept of MGnify's alignment (published: 5,000; the public code: 501).
    pub max_mgnify: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            list: None,
            alignments: Vec::new(),
            templates: None,
            clusters: None,
            distillation: None,
            max_uniref90: 10_000,
            max_mgnify: 5_000,
        }
    }
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Report {
    /// Chains made anew.
    pub added: usize,
    /// Chains whose files had not changed.
    pub kept: usize,
    /// Chains and files that could not be used, in this run.
    pub skipped: Vec<Skipped>,
    /// Whether a stop was asked for; what was finished is in the set, and the next run goes on.
    pub stopped: bool,
    /// What the whole set is clustered by.
    pub clustering: Clustering,
}

/// What became of one chain or file.
enum Outcome {
    Made(Box<Entry>, Vec<u8>),
    Kept(String),
    Skipped(Skipped),
}

/// Everything that workers share.
struct Job<'a> {
    folder: &'a Path,
    options: &'a Options,
    finder: Finder,
    clusters: HashMap<String, String>,
    old: BTreeMap<String, Entry>,
    by_structure: HashMap<String, Vec<String>>,
    /// Entries of which the last run skipped a chain: they are looked at again.
    incomplete: HashSet<String>,
}

/// Prepares `folder` into the set `out`. `progress` is told (done, all) structure files.
pub fn prepare(folder: &Path, out: &Path, options: &Options, progress: &dyn Fn(usize, usize), stop: &AtomicBool) -> Result<Report> {
    let own_list = folder.join("train_set.json");
    let list = options.list.clone().or_else(|| own_list.is_file().then_some(own_list));
    let units = match &list {
        Some(list) => layout::read_list(list)?,
        None => layout::structures(folder)?,
    };
    if units.is_empty() {
        return Err(Error::Data(format!(
            "{}: no structure file (.cif, .mmcif, .pdb, .ent, with or without .gz) and no list",
            folder.display()
        )));
    }
    let roots = if options.alignments.is_empty() { vec![folder.to_path_buf()] } else { options.alignments.clone() };
    let finder = if list.is_some() { Finder::default() } else { Finder::new(&roots)? };
    prepare_units(folder, out, &units, finder, options, progress, stop)
}

/// [`prepare`] of structures that the caller has found, with the files that each chain names or `finder` finds; paths below `folder` are kept
/// relative to it.
pub fn prepare_units(
    folder: &Path,
    out: &Path,
    units: &[Unit],
    finder: Finder,
    options: &Options,
    progress: &dyn Fn(usize, usize),
    stop: &AtomicBool,
) -> Result<Report> {
    let clusters = options.clusters.as_deref().map(read_clusters).transpose()?.unwrap_or_default();
    let mut writer = Writer::open(out)?;
    let old: BTreeMap<String, Entry> = writer.index.entries.iter().map(|e| (e.id.clone(), e.clone())).collect();
    let mut by_structure: HashMap<String, Vec<String>> = HashMap::new();
    for entry in old.values() {
        by_structure.entry(entry.inputs[0].path.clone()).or_default().push(entry.id.clone());
    }
    let job = Job {
        folder,
        options,
        finder,
        clusters,
        old,
        by_structure,
        incomplete: writer.index.skipped.iter().filter_map(|s| Some(s.what.rsplit_once('_')?.0.to_owned())).collect(),
    };
    let mut report = Report::default();
    let mut given = HashMap::new();
    for (i, batch) in units.chunks(BATCH).enumerate() {
        let outcomes: Vec<Vec<Outcome>> = batch.par_iter().map(|unit| job.unit(unit, stop)).collect();
        for (unit, outcomes) in batch.iter().zip(outcomes) {
            for outcome in outcomes {
                if let Some(skipped) = report.take(&job, unit, outcome, &mut writer, &mut given)? {
                    report.skipped.push(skipped);
                }
            }
        }
        // A worker that saw the flag gave nothing for its file, so this batch may be incomplete.
        if stop.load(Ordering::Relaxed) {
            report.stopped = true;
            break;
        }
        progress((i * BATCH + batch.len()).min(units.len()), units.len());
    }
    writer.index.skipped = report.skipped.clone();
    writer.close_shard()?;
    report.clustering = Clustering::of(&writer.index.entries);
    Ok(report)
}

impl Report {
    /// Counts an outcome and writes what was made. A chain that another file of this run has given already is skipped: the first file counts.
    fn take(
        &mut self,
        job: &Job,
        unit: &Unit,
        outcome: Outcome,
        writer: &mut Writer,
        given: &mut HashMap<String, String>,
    ) -> Result<Option<Skipped>> {
        let id = match &outcome {
            Outcome::Made(entry, _) => entry.id.clone(),
            Outcome::Kept(id) => id.clone(),
            Outcome::Skipped(skipped) => return Ok(Some(skipped.clone())),
        };
        let file = job.name(&unit.structure);
        if let Some(first) = given.get(&id) {
            return Ok(Some(Skipped { what: format!("{id} in {file}"), why: format!("{first} has given a chain of this name already") }));
        }
        given.insert(id, file);
        match outcome {
            Outcome::Made(entry, bytes) => {
                self.added += 1;
                writer.add(*entry, &bytes)?;
            }
            _ => self.kept += 1,
        }
        Ok(None)
    }
}

/// Clusters by chain, from a list such as `train_set.json` (JSON), or from lines of ids apart by blanks, of which the first names the cluster:
/// all members on one line, or a pair a line, as MMseqs2's `_cluster.tsv` has them (representative, then member).
pub fn read_clusters(path: &Path) -> Result<HashMap<String, String>> {
    let text = text::read_string(path)?;
    let mut clusters = HashMap::new();
    if text.trim_start().starts_with('{') {
        let listed = layout::read_list(path)?.into_iter().flat_map(|unit| unit.chains);
        clusters.extend(listed.filter_map(|chain| Some((chain.id.to_ascii_lowercase(), chain.cluster?))));
    } else {
        for line in text.lines() {
            let mut ids = line.split_whitespace().peekable();
            let Some(name) = ids.peek().map(|n| (*n).to_owned()) else { continue };
            clusters.extend(ids.map(|id| (id.to_ascii_lowercase(), name.clone())));
        }
    }
    match clusters.is_empty() {
        true => Err(Error::format(
            path,
            "no clusters: expected a line for each, ids apart by blanks, or pairs as MMseqs2 writes them, or a list",
        )),
        false => Ok(clusters),
    }
}

/// What chains are clustered by, of which sampling weights are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Clustering {
    /// Clusters among all chains of the set.
    pub clusters: usize,
    /// Chains that no file and no list gives a cluster: equal sequences are one.
    pub by_sequence: usize,
}

impl Clustering {
    fn of(entries: &[Entry]) -> Self {
        let names: HashSet<&str> = entries.iter().map(|e| e.cluster.as_str()).collect();
        Self { clusters: names.len(), by_sequence: entries.iter().filter(|e| e.cluster.starts_with(BY_SEQUENCE)).count() }
    }
}

impl Job<'_> {
    fn unit(&self, unit: &Unit, stop: &AtomicBool) -> Vec<Outcome> {
        if stop.load(Ordering::Relaxed) {
            return Vec::new();
        }
        if let Some(kept) = self.unchanged(unit) {
            return kept;
        }
        let structure = match structure::read(&unit.structure) {
            Ok(structure) => structure,
            Err(e) => {
                let all = unit.chains.iter().map(|w| w.id.clone());
                let names = if unit.chains.is_empty() { vec![self.name(&unit.structure)] } else { all.collect() };
                return names.into_iter().map(|what| Outcome::Skipped(Skipped { what, why: e.to_string() })).collect();
            }
        };
        let found;
        let wanted = if unit.chains.is_empty() {
            found = self.all_chains(&unit.structure, &structure);
            &found
        } else {
            &unit.chains
        };
        if wanted.is_empty() {
            let why = "no protein chain with coordinates".to_owned();
            return vec![Outcome::Skipped(Skipped { what: self.name(&unit.structure), why })];
        }
        let one = |w: &Wanted| match self.chain(&unit.structure, &structure, w) {
            Ok((entry, bytes)) => Outcome::Made(Box::new(entry), bytes),
            Err(e) => Outcome::Skipped(Skipped { what: w.id.clone(), why: e.to_string() }),
        };
        wanted.iter().map(one).collect()
    }

    /// The chains of a file, when none of its and their files has changed since they were made.
    fn unchanged(&self, unit: &Unit) -> Option<Vec<Outcome>> {
        let fresh = |wanted: &Wanted| {
            let old = self.old.get(&wanted.id)?;
            let files = self.files_of(&unit.structure, wanted);
            let same = old.recipe == self.recipe(&unit.structure, wanted)
                && old.inputs.len() == files.len()
                && files.iter().zip(&old.inputs).all(|(f, i)| self.name(f) == i.path && is_unchanged(f, i));
            same.then(|| Outcome::Kept(wanted.id.clone()))
        };
        if !unit.chains.is_empty() {
            return unit.chains.iter().map(fresh).collect();
        }
        let entry = entry_name(&unit.structure);
        if self.incomplete.contains(&entry) {
            return None;
        }
        let ids = self.by_structure.get(&self.name(&unit.structure))?;
        ids.iter().map(|id| fresh(&self.wanted(&entry, id.rsplit_once('_')?.1, ids.len() == 1))).collect()
    }

    fn all_chains(&self, path: &Path, structure: &Structure) -> Vec<Wanted> {
        let (entry, only) = (entry_name(path), structure.chains.len() == 1);
        structure.chains.iter().map(|chain| self.wanted(&entry, &chain.id, only)).collect()
    }

    /// A chain that no list names, with the files that its name finds.
    fn wanted(&self, entry: &str, chain: &str, only: bool) -> Wanted {
        let (alignments, hits) = self.finder.of(entry, chain, only);
        Wanted { id: format!("{entry}_{chain}"), chain: chain.to_owned(), alignments, hits, ..Wanted::default() }
    }

    fn chain(&self, path: &Path, structure: &Structure, wanted: &Wanted) -> Result<(Entry, Vec<u8>)> {
        let chain = structure.chain(Some(&wanted.chain))?;
        let at = |what: String| Error::format(path, format!("chain `{}`: {what}", wanted.chain));
        if let Some(sequence) = wanted.sequence.as_ref().filter(|s| **s != chain.sequence) {
            return Err(at(format!("its sequence is not the list's: {} residues and {}", chain.len(), sequence.len())));
        }
        if chain.n_observed() == 0 {
            return Err(at("no residue was observed".into()));
        }
        let alignment = self.alignment(&chain.sequence, &wanted.alignments)?;
        let mut labels = Labels {
            positions: chain.positions.clone(),
            mask: chain.mask.clone(),
            resolution: structure.resolution.unwrap_or(0.0) as f32,
            is_distillation: false,
        };
        if let Some(rules) = &self.options.distillation {
            let confidence = read_confidence(path)?;
            let kept = distill::kept_residues(chain, alignment.n_seq(), confidence.as_deref(), rules).map_err(at)?;
            labels.is_distillation = true;
            labels.resolution = 0.0;
            for (mask, _) in labels.mask.iter_mut().zip(&kept).filter(|(_, kept)| !**kept) {
                *mask = [0.0; 37];
            }
        }
        let example = Example {
            id: wanted.id.clone(),
            aatype: alphabet::query(chain.sequence.as_bytes()),
            residue_index: (0..chain.len() as i32).collect(),
            alignment,
            templates: self.templates(structure, chain, wanted)?,
            labels: Some(labels),
        };
        let entry = self.entry(path, structure, chain, wanted, &example)?;
        Ok((entry, codec::encode(&example)))
    }

    fn entry(&self, path: &Path, structure: &Structure, chain: &Chain, wanted: &Wanted, example: &Example) -> Result<Entry> {
        let distilled = self.options.distillation.is_some();
        let cluster = self.cluster(wanted).unwrap_or_else(|| format!("{BY_SEQUENCE}{:08x}", crc32fast::hash(chain.sequence.as_bytes())));
        Ok(Entry {
            id: wanted.id.clone(),
            sequence: chain.sequence.clone(),
            length: chain.len(),
            observed: chain.n_observed(),
            backbone_observed: chain.backbone_observed(),
            resolution: structure.resolution.filter(|_| !distilled),
            method: if distilled { "prediction".into() } else { structure.method.clone() },
            release_date: structure.release_date.clone(),
            cluster,
            split: wanted.split.clone().unwrap_or_else(|| "train".into()),
            is_distillation: distilled,
            n_seq: example.alignment.n_seq(),
            n_templates: example.templates.len(),
            recipe: self.recipe(path, wanted),
            inputs: self.files_of(path, wanted).iter().map(|f| input(f, self.name(f))).collect::<Result<_>>()?,
            ..Entry::default()
        })
    }

    /// Alignments read, cut to their limits, stacked and deduplicated; the query alone when there are none.
    fn alignment(&self, sequence: &str, files: &[PathBuf]) -> Result<Alignment> {
        let mut msas = Vec::new();
        for file in files {
            let mut msa = msa::read_for(file, sequence.as_bytes())?;
            match layout::kind(file) {
                Some(Kind::UniRef90) => msa.truncate(self.options.max_uniref90),
                Some(Kind::Mgnify) => msa.truncate(self.options.max_mgnify),
                _ => {}
            }
            msas.push(msa);
        }
        if msas.is_empty() { Alignment::of_query(sequence.as_bytes()) } else { Ok(Alignment::stack(&msas)?.0) }
    }

    /// The cluster that a file of clusters or the list gives a chain.
    fn cluster(&self, wanted: &Wanted) -> Option<String> {
        self.clusters.get(&wanted.id.to_ascii_lowercase()).cloned().or_else(|| wanted.cluster.clone())
    }

    /// Templates of a chain: none of its own entry and none younger than it (supplement 1.2.3). Predictions have none (supplement 1.3).
    fn templates(&self, structure: &Structure, chain: &Chain, wanted: &Wanted) -> Result<Vec<Template>> {
        let Some(folder) = self.options.templates.as_ref().filter(|_| self.options.distillation.is_none()) else { return Ok(Vec::new()) };
        let hits = read_hits(&wanted.hits, &chain.sequence)?;
        let own_entry = wanted.id.rsplit_once('_').map(|(entry, _)| entry.to_ascii_lowercase());
        let rules = templates::Rules { max_date: structure.release_date.clone(), own_entry, ..templates::Rules::default() };
        let found = Library::new(folder, &align_by_identity)?.templates(&chain.sequence, &hits, &rules)?.found;
        Ok(found.into_iter().map(|f| f.template).collect())
    }

    /// The files that a chain is made of, its structure first.
    fn files_of(&self, structure: &Path, wanted: &Wanted) -> Vec<PathBuf> {
        let confidence = self.options.distillation.as_ref().map(|_| confidence_file(structure)).filter(|f| f.is_file());
        let hits = wanted.hits.iter().filter(|_| self.options.templates.is_some()).cloned();
        std::iter::once(structure.to_path_buf()).chain(wanted.alignments.iter().cloned()).chain(hits).chain(confidence).collect()
    }

    /// A digest of everything but the files' bytes that an entry depends on.
    fn recipe(&self, path: &Path, wanted: &Wanted) -> u32 {
        let names: Vec<String> = self.files_of(path, wanted).iter().map(|f| self.name(f)).collect();
        let all = (self.options, names, self.cluster(wanted), &wanted.split, &wanted.sequence);
        crc32fast::hash(&serde_json::to_vec(&all).expect("options are JSON"))
    }

    /// A file's name within the prepared folder.
    fn name(&self, path: &Path) -> String {
        path.strip_prefix(self.folder).unwrap_or(path).to_string_lossy().into_owned()
    }
}

/// A structure file's name without its suffixes, in lower case when it is a PDB id.
fn entry_name(path: &Path) -> String {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let length = text::plain_name(path).rsplit_once('.').map_or(name.len(), |(stem, _)| stem.len());
    let stem = &name[..length];
    if stem.len() == 4 { stem.to_ascii_lowercase() } else { stem.to_owned() }
}

/// The hits of all files: hhsearch's reports, and hmmsearch's alignments of `query`.
pub fn read_hits(files: &[PathBuf], query: &str) -> Result<Vec<TemplateHit>> {
    let mut hits = Vec::new();
    for file in files {
        if text::plain_name(file).ends_with(".hhr") {
            let report = hhr::read(file)?;
            if report.match_columns.is_some_and(|n| n != query.len()) {
                let n = report.match_columns.unwrap_or(0);
                return Err(Error::format(file, format!("hits of another query, of {n} residues and not {}", query.len())));
            }
            hits.extend(report.hits);
        } else {
            hits.extend(hmmsearch::read(file, query)?);
        }
    }
    Ok(hits)
}

fn confidence_file(structure: &Path) -> PathBuf {
    structure.with_file_name(format!("{}.confidence.json", entry_name(structure)))
}

/// Per-residue distogram confidences beside a prediction: `NAME.confidence.json` with an array `distogram_confidence`.
fn read_confidence(path: &Path) -> Result<Option<Vec<f64>>> {
    let file = confidence_file(path);
    if !file.is_file() {
        return Ok(None);
    }
    let json: serde_json::Value =
        serde_json::from_slice(&text::read(&file)?).map_err(|e| Error::at_line(&file, e.line(), e.to_string()))?;
    let values = json["distogram_confidence"].as_array().and_then(|a| a.iter().map(serde_json::Value::as_f64).collect::<Option<Vec<_>>>());
    values.map(Some).ok_or_else(|| Error::format(&file, "no array of numbers `distogram_confidence`"))
}

fn input(path: &Path, name: String) -> Result<Input> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    Ok(Input { path: name, bytes: bytes.len() as u64, modified: modified(path).unwrap_or(0), crc32: crc32fast::hash(&bytes) })
}

fn modified(path: &Path) -> Option<u64> {
    Some(std::fs::metadata(path).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos() as u64)
}

/// A file of the same size and time is the same; of the same size and another time, when its bytes are.
fn is_unchanged(path: &Path, input: &Input) -> bool {
    let Ok(meta) = std::fs::metadata(path) else { return false };
    meta.len() == input.bytes
        && (modified(path) == Some(input.modified) || std::fs::read(path).is_ok_and(|b| crc32fast::hash(&b) == input.crc32))
}
