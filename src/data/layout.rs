//! Where structures and alignments lie: lists, and the folder layouts of AlphaFold, OpenFold / OpenProteinSet and ColabFold.
//!
//! Finds and names files; reads only the list.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::io::text;

/// A structure file and what is wanted of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// The file.
    pub structure: PathBuf,
    /// Chains a list names; empty for all that the file has.
    pub chains: Vec<Wanted>,
}

/// A chain that a list names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wanted {
    /// Its name in the set.
    pub id: String,
    /// The author's chain id.
    pub chain: String,
    /// The sequence it should have.
    pub sequence: Option<String>,
    /// Its alignments.
    pub alignments: Vec<PathBuf>,
    /// Its template hits.
    pub hits: Vec<PathBuf>,
    /// Its cluster.
    pub cluster: Option<String>,
    /// Its split.
    pub split: Option<String>,
}

/// What an alignment file is by its name, in the order in which AlphaFold stacks them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// jackhmmer against UniRef90.
    UniRef90,
    /// hhblits against BFD, Uniclust30 or UniRef30.
    Bfd,
    /// jackhmmer against MGnify.
    Mgnify,
    /// Anything else, such as ColabFold's.
    Other,
    /// Only for pairing the chains of complexes; used when there is nothing else.
    Pairing,
    /// Hits of a template search.
    Hits,
}

/// The kind of an alignment or hits file, `None` for other files.
pub fn kind(path: &Path) -> Option<Kind> {
    let name = text::plain_name(path);
    let (stem, suffix) = name.rsplit_once('.')?;
    match suffix {
        "hhr" => Some(Kind::Hits),
        "sto" | "sth" | "stockholm" | "a3m" | "aln" => Some(match stem {
            s if s.starts_with("hmm_output") || s.starts_with("pdb_hits") || s.starts_with("pdb70") => Kind::Hits,
            s if s.contains("uniref90") => Kind::UniRef90,
            s if ["bfd", "uniclust", "uniref30"].iter().any(|k| s.contains(k)) => Kind::Bfd,
            s if s.contains("mgnify") => Kind::Mgnify,
            s if s.contains("uniprot") || s == "pair" || s == "pairing" => Kind::Pairing,
            _ => Kind::Other,
        }),
        _ => None,
    }
}

/// Splits files into alignments, in stacking order, and template hits.
pub fn sort(files: &[PathBuf]) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let mut known: Vec<(Kind, &PathBuf)> = files.iter().filter_map(|f| Some((kind(f)?, f))).collect();
    known.sort();
    let hits = known.iter().filter(|k| k.0 == Kind::Hits).map(|k| k.1.clone()).collect();
    known.retain(|k| k.0 != Kind::Hits);
    if known.iter().any(|k| k.0 != Kind::Pairing) {
        known.retain(|k| k.0 != Kind::Pairing);
    }
    (known.into_iter().map(|k| k.1.clone()).collect(), hits)
}

/// Reads a list such as `train_set.json`: `chains[]` with `id`, `file`, `chain_auth`, and optionally `sequence`, `msa`, `template_hits`,
/// `cluster` (or `cluster30`, `cluster40`), `split`. Paths are relative to the list and may not leave its folder.
pub fn read_list(list: &Path) -> Result<Vec<Unit>> {
    let json: Value = serde_json::from_slice(&text::read(list)?).map_err(|e| Error::at_line(list, e.line(), e.to_string()))?;
    let chains = json["chains"].as_array().ok_or_else(|| Error::format(list, "no array `chains`"))?;
    let folder = list.parent().unwrap_or(Path::new("."));
    let mut units: Vec<Unit> = Vec::new();
    let mut places: HashMap<PathBuf, usize> = HashMap::new();
    for (i, chain) in chains.iter().enumerate() {
        let text = |key: &str| chain[key].as_str().map(str::to_owned);
        let need = |key: &str| text(key).ok_or_else(|| Error::format(list, format!("chain {} has no `{key}`", i + 1)));
        let inside = |path: &str| {
            let plain = Path::new(path).components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
            if plain { Ok(folder.join(path)) } else { Err(Error::format(list, format!("path `{path}` leaves the list's folder"))) }
        };
        let paths = |key: &str| -> Result<Vec<PathBuf>> {
            chain[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(inside).collect()
        };
        let structure = inside(&need("file")?)?;
        let wanted = Wanted {
            id: need("id")?,
            chain: need("chain_auth")?,
            sequence: text("sequence"),
            alignments: sort(&paths("msa")?).0,
            hits: paths("template_hits")?,
            cluster: text("cluster").or(text("cluster40")).or(text("cluster30")),
            split: text("split"),
        };
        let place = *places.entry(structure.clone()).or_insert_with(|| {
            units.push(Unit { structure, chains: Vec::new() });
            units.len() - 1
        });
        units[place].chains.push(wanted);
    }
    Ok(units)
}

/// All structure files below a folder, in the order of their paths.
pub fn structures(folder: &Path) -> Result<Vec<Unit>> {
    let is_structure = |p: &Path| [".cif", ".mmcif", ".pdb", ".ent"].iter().any(|s| text::plain_name(p).ends_with(s));
    let files = files_below(folder)?;
    Ok(files.into_iter().filter(|p| is_structure(p)).map(|structure| Unit { structure, chains: Vec::new() }).collect())
}

/// Every file below a folder, sorted; links to folders are not followed, so that nothing outside is read.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(at) = open.pop() {
        for item in std::fs::read_dir(&at).map_err(|e| Error::io(&at, e))? {
            let item = item.map_err(|e| Error::io(&at, e))?;
            let kind = item.file_type().map_err(|e| Error::io(item.path(), e))?;
            if kind.is_dir() {
                open.push(item.path());
            } else {
                files.push(item.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Alignment files by the chain they belong to.
#[derive(Debug, Default)]
pub struct Finder {
    files: HashMap<String, Vec<PathBuf>>,
    /// Chains of one sequence, of which only one has alignments.
    twins: HashMap<String, Arc<[String]>>,
}

impl Finder {
    /// Looks through folders once. A file belongs to the nearest folder above it that is no mere `msas`, `a3m`, `hhr`, `alignments`, and, where
    /// its own name is that of no search, to its stem as well: `1abc_A/uniref90_hits.sto`, `1abc_A/msas/…`, `1abc_A/a3m/…`, `1abc_A.a3m`.
    pub fn new(roots: &[PathBuf]) -> Result<Self> {
        let mut found = Self::default();
        for root in roots {
            for file in files_below(root)? {
                if file.file_name().is_some_and(|n| n == "duplicate_pdb_chains.txt") {
                    found.read_twins(&file)?;
                }
                if kind(&file).is_none() {
                    continue;
                }
                let folders = file.parent().into_iter().flat_map(Path::ancestors).filter_map(|f| f.file_name()?.to_str());
                let owner = folders.into_iter().find(|f| !["msas", "a3m", "hhr", "alignments"].contains(f)).map(key);
                let stem = text::plain_name(&file).rsplit_once('.').map(|(s, _)| s.to_owned());
                // plain_name is in lower case, but chain ids are not.
                let stem = stem.and_then(|s| Some(key(&file.file_name()?.to_str()?[..s.len()])));
                for name in owner.into_iter().chain(stem) {
                    let files = found.files.entry(name).or_default();
                    if files.last() != Some(&file) {
                        files.push(file.clone());
                    }
                }
            }
        }
        Ok(found)
    }

    /// OpenProteinSet's list of chains of one sequence: a line each, ids apart by blanks.
    fn read_twins(&mut self, list: &Path) -> Result<()> {
        for line in text::read_string(list)?.lines() {
            let ids: Arc<[String]> = line.split_whitespace().map(key).collect();
            self.twins.extend(ids.iter().map(|id| (id.clone(), ids.clone())));
        }
        Ok(())
    }

    /// Alignments and hits of a target by its whole name.
    pub fn named(&self, name: &str) -> (Vec<PathBuf>, Vec<PathBuf>) {
        self.files.get(&key(name)).map(|f| sort(f)).unwrap_or_default()
    }

    /// Alignments and hits of a chain: those of `entry_chain`, or of a chain that a list says has the same sequence, or of `entry` when that is
    /// its only chain.
    pub fn of(&self, entry: &str, chain: &str, only: bool) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let id = key(&format!("{entry}_{chain}"));
        let twin = || self.twins.get(&id)?.iter().find_map(|t| self.files.get(t));
        let own = self.files.get(&id).or_else(twin);
        let files = own.or_else(|| self.files.get(&key(entry)).filter(|_| only));
        files.map(|f| sort(f)).unwrap_or_default()
    }
}

/// `1ABC_A` and `1abc_A` are the same chain, `1abc_a` is another: only the part before the last underscore is compared without case.
fn key(name: &str) -> String {
    match name.rsplit_once('_') {
        Some((entry, chain)) => format!("{}_{chain}", entry.to_ascii_lowercase()),
        None => name.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_sorted_as_alphafold_stacks_them() {
        let files =
            ["x/mgnify_hits.sto.gz", "x/uniprot_hits.sto", "x/bfd_uniref_hits.a3m", "x/pdb70_hits.hhr", "x/uniref90_hits.sto", "x/a.txt"];
        let (alignments, hits) = sort(&files.map(PathBuf::from));
        assert_eq!(alignments, ["x/uniref90_hits.sto", "x/bfd_uniref_hits.a3m", "x/mgnify_hits.sto.gz"].map(PathBuf::from));
        assert_eq!(hits, [PathBuf::from("x/pdb70_hits.hhr")]);
    }

    #[test]
    fn every_layout_finds_its_chain() {
        let folder = tempfile::tempdir().unwrap();
        let put = |path: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "x").unwrap();
            path
        };
        let openfold = put("alignments/1abc_A/uniref90_hits.sto");
        let proteinset = put("pdb/2abc_B/a3m/bfd_uniclust_hits.a3m");
        let alphafold = put("out/T1078/msas/mgnify_hits.sto");
        let colabfold = put("flat/3ABC_a.a3m.gz");
        std::fs::write(folder.path().join("duplicate_pdb_chains.txt"), "4abc_X 1ABC_A 5abc_Y\n").unwrap();
        let finder = Finder::new(&[folder.path().to_path_buf()]).unwrap();
        assert_eq!(finder.of("5abc", "Y", false).0, std::slice::from_ref(&openfold));
        assert_eq!(finder.of("1ABC", "A", false).0, [openfold]);
        assert_eq!(finder.of("2abc", "B", false).0, [proteinset]);
        assert_eq!(finder.of("T1078", "A", true).0, [alphafold]);
        assert_eq!(finder.of("3abc", "a", false).0, [colabfold]);
        assert!(finder.of("3abc", "A", false).0.is_empty() && finder.of("T1078", "A", false).0.is_empty());
    }
}
