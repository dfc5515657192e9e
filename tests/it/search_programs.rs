//! `anyfold search` with the real programs where they are installed: a xylanase against small real databases.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyfold::data::layout;
use anyfold::data::templates::{Aligner, Library, Rules, align_by_identity, own_template};
use anyfold::io::{fasta, hhr, hmmsearch, msa};
use anyfold::search::config::find_program;
use anyfold::search::kalign::Kalign;
use anyfold::search::process::Limits;

use crate::shared::{left_out, shared};

fn asset(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/search").join(name)
}

/// Whether all programs are installed; says aloud which are not.
fn installed(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|p| find_program(Path::new(p)).is_none()).collect();
    if !missing.is_empty() {
        left_out(&format!("{missing:?} not installed"));
    }
    missing.is_empty()
}

pub fn anyfold(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_anyfold")).args(args).output().unwrap()
}

fn unpack(from: &Path, to: &Path) {
    let mut bytes = Vec::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(from).unwrap()).read_to_end(&mut bytes).unwrap();
    std::fs::write(to, bytes).unwrap();
}

/// The HH-suite database `tm` of a folder, unpacked into another.
fn unpack_templates(from: &Path, to: &Path) {
    for part in ["a3m", "hhm", "cs219"] {
        let (data, index) = (format!("tm_{part}.ffdata"), format!("tm_{part}.ffindex"));
        std::fs::copy(from.join(&index), to.join(&index)).unwrap();
        match from.join(format!("{data}.gz")) {
            packed if packed.is_file() => unpack(&packed, &to.join(&data)),
            _ => drop(std::fs::copy(from.join(&data), to.join(&data)).unwrap()),
        }
    }
}

fn search(folder: &Path, query: &Path, config: &str, more: &[&str]) -> (PathBuf, String) {
    let (db, out) = (folder.join("db.toml"), folder.join("out"));
    std::fs::write(&db, config).unwrap();
    let (query, db, to) = (query.to_str().unwrap(), db.to_str().unwrap(), out.to_str().unwrap());
    let output = anyfold(&[&["search", query, "--db", db, "--out", to, "--cores", "2"], more].concat());
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    println!("{printed}");
    let unfinished = std::fs::read_dir(&out).unwrap().chain(std::fs::read_dir(out.join("6kwc_A")).unwrap());
    assert!(unfinished.map(|e| e.unwrap().file_name()).all(|n| !n.to_string_lossy().starts_with(".unfinished")));
    (out.join("6kwc_A"), printed)
}

fn rows(file: &Path, query: &str) -> usize {
    msa::read_for(file, query.as_bytes()).unwrap().n_seq()
}

/// The first template of the hits in a folder of results, whose structure lies in `structures`.
fn first_template(results: &Path, structures: &Path, query: &str, aligner: &Aligner) -> (String, f64) {
    let report = hhr::read(results.join("pdb70_hits.hhr")).unwrap();
    assert!(report.hits[0].name.starts_with("1enx_A"), "{}", report.hits[0].name);
    let rules = Rules { max_date: Some("2021-09-30".into()), ..Rules::default() };
    let templates = Library::new(structures, aligner).unwrap().templates(query, &report.hits, &rules).unwrap();
    println!("left out: {:?}", templates.left_out);
    let first = &templates.found[0];
    let same = first.sequence.bytes().zip(query.bytes()).filter(|(a, b)| a == b).count();
    (first.template.name.clone(), same as f64 / query.len() as f64)
}

#[test]
fn the_repositorys_own_search_finds_the_template() {
    if !installed(&["jackhmmer", "hhblits", "hhsearch"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    unpack(&asset("sequences.fasta.gz"), &folder.path().join("sequences.fasta"));
    unpack_templates(&asset(""), folder.path());
    let query = fasta::read(asset("query.fasta")).unwrap().remove(0).sequence;
    let config = "uniref90 = 'sequences.fasta'\nmgnify = 'sequences.fasta'\nbfd = ['tm']\npdb70 = ['tm']\n[options]\nuniref90_rows = 100\ncores_per_search = 1\n";
    let (results, _) = search(folder.path(), &asset("query.fasta"), config, &[]);
    // 200 homologues are in the database; the limits of the two searches cut one of them.
    assert_eq!(rows(&results.join("uniref90_hits.sto"), &query), 100);
    assert!(rows(&results.join("mgnify_hits.sto"), &query) > 190);
    assert!(rows(&results.join("bfd_uniref_hits.a3m"), &query) > 10);
    let files: Vec<PathBuf> = std::fs::read_dir(&results).unwrap().map(|e| e.unwrap().path()).collect();
    let (alignments, hits) = layout::sort(&files);
    assert_eq!(alignments, ["uniref90_hits.sto", "bfd_uniref_hits.a3m", "mgnify_hits.sto"].map(|f| results.join(f)));
    assert_eq!(hits, [results.join("pdb70_hits.hhr")]);
    let (name, identity) = first_template(&results, &asset("mmcif"), &query, &align_by_identity);
    assert_eq!(name, "1enx_A");
    assert!(identity > 0.95, "{identity}");
    // A second run finds everything there.
    let before = std::fs::metadata(results.join("pdb70_hits.hhr")).unwrap().modified().unwrap();
    let (_, printed) = search(folder.path(), &asset("query.fasta"), config, &[]);
    assert_eq!(printed.matches("reused").count(), 4, "{printed}");
    assert_eq!(std::fs::metadata(results.join("pdb70_hits.hhr")).unwrap().modified().unwrap(), before);
}

#[test]
fn mmseqs_and_hmmsearch_find_the_template() {
    if !installed(&["mmseqs", "hmmbuild", "hmmsearch"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    unpack(&asset("sequences.fasta.gz"), &folder.path().join("sequences.fasta"));
    // Letters beyond the twenty, which each program writes in its own way.
    let query = fasta::read(asset("query.fasta")).unwrap().remove(0).sequence.replacen("GST", "UZT", 1).replacen("YNNGYF", "YNBGXF", 1);
    let path = folder.path().join("query.fasta");
    std::fs::write(&path, format!(">6kwc_A\n{query}\n")).unwrap();
    let seqres = asset("pdb_seqres.fasta");
    let config = format!("mmseqs = 'sequences.fasta'\npdb_seqres = '{}'\n", seqres.display());
    let (results, _) = search(folder.path(), &path, &config, &[]);
    assert!(rows(&results.join("mmseqs_hits.a3m"), &query) > 150);
    let hits = hmmsearch::read(results.join("pdb_hits.sto"), &query).unwrap();
    assert_eq!(hits[0].name, "1enx_A");
    let templates = Library::new(&asset("mmcif"), &align_by_identity).unwrap().templates(&query, &hits, &Rules::default()).unwrap();
    assert_eq!(templates.found[0].template.name, "1enx_A");
    assert!(templates.found[0].template.mask.iter().filter(|m| m[1] > 0.0).count() >= 185);
}

#[test]
fn kalign_aligns_as_our_own_aligner_where_sequences_are_close() {
    if !installed(&["kalign"]) {
        return;
    }
    let time = std::time::Duration::from_secs(60);
    let kalign = Kalign { program: find_program(Path::new("kalign")).unwrap(), limits: Limits { time, stop: Default::default() } };
    let (a, b) = (b"GSTIQPGTGYNNGYFYSYWNDGHGGVTYTNGPGGQFSVNWSNSGEF", b"TIQPGTGYNNGYFYSYWNDGHVTYTNGPGGQFSANWSNSG");
    assert_eq!(kalign.align(a, b).unwrap(), align_by_identity(a, b).unwrap());
    assert!(kalign.align(b"ACDEF", a).unwrap_err().to_string().contains("6 residues or more"));
}

#[test]
fn a_users_own_structure_is_a_template() {
    let query = fasta::read(asset("query.fasta")).unwrap().remove(0).sequence;
    let (found, covered) = own_template(&asset("mmcif/1enx.cif.gz"), Some("A"), &query, &align_by_identity).unwrap();
    assert_eq!(found.template.name, "1enx_A");
    assert!(covered > 0.98, "{covered}");
    // 6KWC's column i + 1 is residue i of 1ENX.
    assert_eq!(&found.sequence[..6], "-ETIQP");
    let fails = |chain| own_template(&asset("mmcif/1enx.cif.gz"), chain, &query, &align_by_identity).unwrap_err().to_string();
    assert!(fails(Some("Z")).contains("1enx.cif.gz") && fails(Some("Z")).contains("no protein chain `Z`"), "{}", fails(Some("Z")));
    assert!(fails(None).contains("choose one of"), "{}", fails(None));
}

#[test]
fn the_shared_databases_give_6kwc_its_alignments_and_template() {
    let Some(data) = shared("data/fasta") else { return };
    if !installed(&["jackhmmer", "hhblits", "mmseqs", "hhsearch", "kalign"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    unpack(&data.join("combined.fasta.gz"), &folder.path().join("combined.fasta"));
    unpack(&data.join("mini_dbs/mgy_clusters__subsampled_1000.fa.gz"), &folder.path().join("mgnify.fasta"));
    unpack_templates(&data.join("templates_db"), folder.path());
    let path = data.join("queries/6kwc_A.fasta");
    let query = fasta::read(&path).unwrap().remove(0).sequence;
    let config = "uniref90 = 'combined.fasta'\nmgnify = 'mgnify.fasta'\nbfd = ['tm']\nmmseqs = 'combined.fasta'\npdb70 = ['tm']\n";
    let (results, _) = search(folder.path(), &path, config, &["--json", folder.path().join("r.json").to_str().unwrap()]);
    // The data folder's README has 2,764 rows for this search.
    assert_eq!(rows(&results.join("uniref90_hits.sto"), &query), 2764);
    assert!(rows(&results.join("mmseqs_hits.a3m"), &query) > 500);
    assert!(rows(&results.join("bfd_uniref_hits.a3m"), &query) > 100);
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.path().join("r.json")).unwrap()).unwrap();
    assert_eq!(json["searches"].as_array().unwrap().len(), 5);
    let time = std::time::Duration::from_secs(60);
    let kalign = Kalign { program: find_program(Path::new("kalign")).unwrap(), limits: Limits { time, stop: Default::default() } };
    let aligner = |a: &[u8], b: &[u8]| kalign.align(a, b);
    let (name, identity) = first_template(&results, &data.join("../structures/mmcif"), &query, &aligner);
    assert_eq!(name, "1enx_A");
    assert!(identity > 0.95, "{identity}");
}

/// Shapes of the numeric arrays of an npz file.
fn shapes(path: &Path) -> std::collections::BTreeMap<String, Vec<usize>> {
    anyfold::io::npz::read(path).unwrap().into_iter().map(|(name, tensor)| (name, tensor.shape)).collect()
}

#[test]
fn features_are_written_with_templates_of_hits_and_of_a_users_file() {
    let folder = tempfile::tempdir().unwrap();
    let (out, own) = (folder.path().join("f.npz"), asset("mmcif/1enx.cif.gz"));
    let write = |more: &[&str]| {
        let query = asset("query.fasta");
        let output = anyfold(&[&["data", "features", "--fasta", query.to_str().unwrap(), "--out", out.to_str().unwrap()], more].concat());
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (status, printed) = write(&["--template", &format!("{}:A", own.display())]);
    assert!(status == 0 && printed.contains("template 1enx_A: covers 9"), "{printed}");
    assert_eq!(shapes(&out)["template_all_atom_positions"], [4, 1, 191, 37, 3]);
    let (status, printed) = write(&["--template", &format!("{}:Z", own.display())]);
    assert!(status == 2 && printed.contains("1enx.cif.gz: ") && printed.contains("no protein chain `Z`"), "{printed}");
    let Some(hits) = shared("data/msas/6kwc_A/hhsearch_templates_db.hhr") else { return };
    let (hits, mmcif) = (hits.to_str().unwrap(), asset("mmcif"));
    let mmcif = mmcif.to_str().unwrap();
    let (status, printed) = write(&["--hits", hits, "--mmcif", mmcif, "--max-template-date", "2021-09-30"]);
    // Nine of the ten hits are too short, which is known without their files.
    assert!(status == 0 && printed.matches(" left out: covers only 0.0").count() == 9, "{printed}");
    assert_eq!(shapes(&out)["template_all_atom_positions"], [4, 1, 191, 37, 3]);
    let none = folder.path().join("none");
    std::fs::create_dir(&none).unwrap();
    let (status, printed) = write(&["--hits", hits, "--mmcif", none.to_str().unwrap(), "--max-template-date", "2021-09-30"]);
    assert!(status == 2 && printed.contains("template 1enx_A (hit 1) left out: its mmCIF file is not in the folder"), "{printed}");
    let (status, printed) = write(&["--hits", hits, "--mmcif", mmcif, "--max-template-date", "1990-01-01"]);
    assert!(
        status == 2 && printed.contains("none of its hits can be a template") && printed.contains("after the latest date allowed"),
        "{printed}"
    );
}
