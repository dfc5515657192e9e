//! Which databases and programs there are: the TOML file of `--db`.
//!
//! ```toml
//! uniref90 = "uniref90.fasta"            # jackhmmer
//! mgnify = "mgy_clusters.fa"             # jackhmmer
//! bfd = ["bfd/bfd_metaclust", "uniref30/UniRef30"]   # hhblits: prefixes, up to but without _a3m.ffdata
//! small_bfd = "bfd-first_non_consensus_sequences.fasta"   # jackhmmer, in place of bfd
//! mmseqs = "uniref50.fasta"              # MMseqs2: a FASTA file or a database made with `mmseqs createdb`
//! pdb70 = ["pdb70/pdb70"]                # hhsearch
//! pdb_seqres = "pdb_seqres.txt"          # hmmsearch, in place of pdb70
//!
//! [options]
//! cores_per_search = 8
//! uniref90_rows = 10000
//! mgnify_rows = 501
//!
//! [programs]
//! jackhmmer = "/opt/hmmer/bin/jackhmmer"   # otherwise from PATH
//! ```
//!
//! Every key is optional; a search is done for each database that is named. Paths are relative to the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};

/// Databases, options and programs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SearchConfig {
    /// UniRef90, FASTA.
    pub uniref90: Option<PathBuf>,
    /// MGnify clusters, FASTA.
    pub mgnify: Option<PathBuf>,
    /// HH-suite databases searched together, as prefixes.
    pub bfd: Vec<PathBuf>,
    /// Reduced BFD, FASTA.
    pub small_bfd: Option<PathBuf>,
    /// For MMseqs2: FASTA or an MMseqs2 database.
    pub mmseqs: Option<PathBuf>,
    /// HH-suite template databases, as prefixes.
    pub pdb70: Vec<PathBuf>,
    /// Sequences of the PDB, FASTA.
    pub pdb_seqres: Option<PathBuf>,
    /// Limits.
    pub options: Options,
    /// Executables that are not on PATH.
    pub programs: BTreeMap<String, PathBuf>,
}

/// Limits of the searches.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Cores that one search uses, at most the budget.
    pub cores_per_search: usize,
    /// Rows kept of the UniRef90 search.
    pub uniref90_rows: usize,
    /// Rows kept of the MGnify search; the paper has 5000.
    pub mgnify_rows: usize,
}

impl Default for Options {
    /// AlphaFold's (`data/pipeline.py`).
    fn default() -> Self {
        Self { cores_per_search: 8, uniref90_rows: 10_000, mgnify_rows: 501 }
    }
}

/// Programs and the Debian package that has each.
const PACKAGES: [(&str, &str); 6] = [
    ("jackhmmer", "hmmer"),
    ("hmmsearch", "hmmer"),
    ("hmmbuild", "hmmer"),
    ("hhblits", "hhsuite"),
    ("hhsearch", "hhsuite"),
    ("mmseqs", "mmseqs2"),
];

impl SearchConfig {
    /// Reads and checks the file: unknown keys, nothing to search, databases that are not there.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        let mut config: Self = toml::from_str(&text).map_err(|e| {
            let line = e.span().map(|s| text[..s.start.min(text.len())].matches('\n').count() + 1);
            Error::Format { path: path.to_path_buf(), line, what: e.message().replace('\n', " ") }
        })?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = std::path::absolute(folder).map_err(|e| Error::io(folder, e))?;
        let singles = [&mut config.uniref90, &mut config.mgnify, &mut config.small_bfd, &mut config.mmseqs, &mut config.pdb_seqres];
        let lists = config.bfd.iter_mut().chain(&mut config.pdb70);
        for place in singles.into_iter().flatten().chain(lists) {
            *place = folder.join(&*place);
        }
        // A bare name is looked up on PATH.
        for place in config.programs.values_mut().filter(|p| p.components().count() > 1) {
            *place = folder.join(&*place);
        }
        config.check(path)?;
        Ok(config)
    }

    fn check(&self, path: &Path) -> Result<()> {
        let wrong = |what: String| Err(Error::Config(format!("{}: {what}", path.display())));
        if let Some(name) = self.programs.keys().find(|k| PACKAGES.iter().all(|p| p.0 != k.as_str())) {
            return wrong(format!("[programs] has `{name}`; known are {}", PACKAGES.map(|p| p.0).join(", ")));
        }
        if self.options.cores_per_search == 0 || self.options.uniref90_rows == 0 || self.options.mgnify_rows == 0 {
            return wrong("options must be at least 1".into());
        }
        if !self.bfd.is_empty() && self.small_bfd.is_some() {
            return wrong("`bfd` and `small_bfd` are alternatives; name one".into());
        }
        if !self.pdb70.is_empty() && self.pdb_seqres.is_some() {
            return wrong("`pdb70` and `pdb_seqres` are alternatives; name one".into());
        }
        let fasta = [
            ("uniref90", &self.uniref90),
            ("mgnify", &self.mgnify),
            ("small_bfd", &self.small_bfd),
            ("mmseqs", &self.mmseqs),
            ("pdb_seqres", &self.pdb_seqres),
        ];
        for (key, file) in fasta.iter().filter_map(|(k, f)| Some((k, f.as_ref()?))) {
            if !file.is_file() {
                return wrong(format!("database `{key}`: {} is not there{}", file.display(), packed(file)));
            }
            if file.extension().is_some_and(|e| e == "gz") {
                return wrong(format!("database `{key}`: {} must be unpacked first (gunzip -k)", file.display()));
            }
        }
        for (key, prefix) in self.bfd.iter().map(|p| ("bfd", p)).chain(self.pdb70.iter().map(|p| ("pdb70", p))) {
            for part in ["_a3m.ffdata", "_a3m.ffindex", "_hhm.ffdata", "_hhm.ffindex", "_cs219.ffdata", "_cs219.ffindex"] {
                let mut file = prefix.as_os_str().to_owned();
                file.push(part);
                let file = PathBuf::from(file);
                if !file.is_file() {
                    return wrong(format!(
                        "database `{key}`: {} is not there{} (the key is a prefix, without _a3m.ffdata)",
                        file.display(),
                        packed(&file)
                    ));
                }
            }
        }
        match self.has_alignment() {
            false => wrong("no database to search: name at least one of uniref90, mgnify, bfd, small_bfd, mmseqs".into()),
            true => Ok(()),
        }
    }

    fn has_alignment(&self) -> bool {
        self.uniref90.is_some() || self.mgnify.is_some() || self.small_bfd.is_some() || self.mmseqs.is_some() || !self.bfd.is_empty()
    }

    /// Where a program is: as configured, or on PATH.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        let configured = self.programs.get(name);
        find_program(configured.map_or(Path::new(name), PathBuf::as_path)).ok_or_else(|| {
            let package = PACKAGES.iter().find(|p| p.0 == name).map_or(name, |p| p.1);
            match configured {
                Some(path) => Error::Program(format!(
                    "program {name}: {} is not there or cannot be run ([programs] of the configuration)",
                    path.display()
                )),
                None => Error::Program(format!(
                    "program {name} is not on PATH: install it (Debian package {package}) or name it under [programs]"
                )),
            }
        })
    }
}

fn packed(file: &Path) -> String {
    let mut gz = file.as_os_str().to_owned();
    gz.push(".gz");
    if Path::new(&gz).is_file() { format!("; unpack {} first (gunzip -k)", Path::new(&gz).display()) } else { String::new() }
}

/// An executable by its path, or by its name on PATH.
pub fn find_program(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return is_executable(name).then(|| name.to_path_buf());
    }
    let path = std::env::var_os("PATH")?;
    let mut places = std::env::split_paths(&path).flat_map(|p| [p.join(name), p.join(name).with_extension("exe")]);
    places.find(|p| is_executable(p))
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("u.fasta"), ">a\nA\n").unwrap();
        std::fs::write(folder.path().join("m.fasta.gz"), "").unwrap();
        let read = |text: &str| {
            let path = folder.path().join("db.toml");
            std::fs::write(&path, text).unwrap();
            SearchConfig::read(&path)
        };
        let fails = |text: &str| read(text).unwrap_err().to_string();
        assert_eq!(read("uniref90 = 'u.fasta'").unwrap().uniref90.unwrap(), folder.path().join("u.fasta"));
        assert!(fails("\nuniref = 'u.fasta'").contains("db.toml:2: unknown field `uniref`"));
        assert!(fails("").contains("no database to search"));
        assert!(fails("mgnify = 'm.fasta'").contains("m.fasta.gz first (gunzip -k)"));
        assert!(fails("uniref90 = 'u.fasta'\nbfd = ['x']").contains("database `bfd`"));
        assert!(fails("uniref90 = 'u.fasta'\n[programs]\nblast = 'x'").contains("[programs] has `blast`"));
        let config = read("uniref90 = 'u.fasta'\n[programs]\njackhmmer = '/no/such/jackhmmer'").unwrap();
        assert!(config.program("jackhmmer").unwrap_err().to_string().contains("/no/such/jackhmmer is not there"));
    }
}
