//! Structure files as they exist in the world: what becomes of each, and that nothing is lost on the way.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyfold::error::Result;
use anyfold::io::{mmcif, modelcif, pdb, pdb_write, structure, text};
use anyfold::protein::structure::{Chain, Structure};
use serde_json::Value;

use crate::shared::shared;

fn json(path: &Path) -> Value {
    serde_json::from_slice(&text::read(path).unwrap()).unwrap()
}

#[test]
fn every_training_chain_comes_out_as_stated() {
    let Some(data) = shared("data") else { return };
    let set = json(&data.join("train_set.json"));
    let chains = set["chains"].as_array().unwrap();
    let mut read: BTreeMap<&str, Structure> = BTreeMap::new();
    for c in chains {
        let file = c["file"].as_str().unwrap();
        let s = read.entry(file).or_insert_with(|| mmcif::read(data.join(file)).unwrap());
        let id = c["id"].as_str().unwrap();
        let chain = s.chain(c["chain_auth"].as_str()).unwrap();
        assert_eq!(chain.sequence, c["sequence"].as_str().unwrap(), "{id}");
        assert_eq!(chain.len() as u64, c["length"].as_u64().unwrap(), "{id}");
        assert_eq!(chain.label_id, c["chain_label"].as_str().unwrap(), "{id}");
        assert_eq!(chain.entity, c["entity"].as_str().unwrap(), "{id}");
        assert_eq!(chain.n_observed() as u64, c["n_residues_observed"].as_u64().unwrap(), "{id}");
        let backbone = c["backbone_observed"].as_f64().unwrap();
        assert!(
            (chain.backbone_observed() - backbone).abs() < 6e-4,
            "{id}: {} of the backbone, stated {backbone}",
            chain.backbone_observed()
        );
        assert_eq!(s.resolution, c["resolution"].as_f64(), "{id}");
        assert_eq!(s.release_date.as_deref(), c["release_date"].as_str(), "{id}");
        assert_eq!(s.method, c["method"].as_str().unwrap().replace(';', ",").to_lowercase(), "{id}");
    }
    assert_eq!(chains.len(), 131);
    for c in set["extra_pdb_chains"].as_array().unwrap() {
        let id = c["id"].as_str().unwrap();
        let s = pdb::read(data.join(c["file"].as_str().unwrap())).unwrap();
        let chain = s.chain(None).unwrap();
        assert_eq!(chain.sequence, c["sequence_from_atoms"].as_str().unwrap(), "{id}");
        assert_eq!(chain.n_observed() as u64, c["length_observed"].as_u64().unwrap(), "{id}");
    }
}

/// The index was made with other programs.
#[test]
fn every_deposited_entry_comes_out_as_indexed() {
    let Some(data) = shared("data") else { return };
    let index = text::read_string(data.join("structures/INDEX.tsv")).unwrap();
    let mut entries = 0;
    for row in index.lines().skip(1) {
        let c: Vec<&str> = row.split('\t').collect();
        let (id, file, method, resolution, release, chains) = (c[0], c[1], c[2], c[3], c[4], c[7]);
        entries += 1;
        let s = match mmcif::read(data.join(file)) {
            Ok(s) => s,
            Err(e) => {
                assert!(chains.is_empty(), "{id}: {e}");
                assert!(e.to_string().contains("no protein chain"), "{id}: {e}");
                continue;
            }
        };
        assert_eq!(s.method, method.to_lowercase().replace(';', ","), "{id}");
        assert_eq!(s.resolution, resolution.parse().ok(), "{id}");
        assert_eq!(s.release_date.as_deref().unwrap_or(""), release, "{id}");
        let mut ours: Vec<_> = s.chains.iter().map(|c| (c.id.clone(), c.len(), c.backbone_observed())).collect();
        for stated in chains.split(' ') {
            let parts: Vec<&str> = stated.split(':').collect();
            let (length, backbone): (usize, f64) = (parts[1].parse().unwrap(), parts[2].parse().unwrap());
            let found = ours.iter().position(|(id, n, b)| id == parts[0] && *n == length && (b - backbone).abs() < 6e-4);
            let found = found.unwrap_or_else(|| panic!("{id}: {stated} is not among {ours:?}"));
            ours.remove(found);
        }
        assert!(ours.is_empty(), "{id}: {ours:?} are not in the index");
    }
    assert_eq!(entries, 152);
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() { files_below(&path, found) } else { found.push(path) }
    }
}

fn outcome(root: &Path, read: &Result<Structure>) -> String {
    match read {
        Ok(s) => {
            let chains = s.chains.iter().map(|c| format!("{}:{}/{}", c.id, c.n_observed(), c.len()));
            format!("read\t{}", chains.collect::<Vec<_>>().join(" "))
        }
        Err(e) => format!("refused\t{}", e.to_string().replace(&format!("{}/", root.display()), "")),
    }
}

/// The table `structure_outcomes.tsv` says of every file whether it is read (chain:observed/length) or refused, with the message.
#[test]
fn the_table_of_outcomes_holds() {
    let Some(data) = shared("data") else { return };
    let mut files = Vec::new();
    files_below(&data.join("structures"), &mut files);
    files_below(&data.join("predictions"), &mut files);
    let mut table = String::new();
    let mut n_refused = 0;
    for path in files.iter().filter(|p| p.extension().is_none_or(|e| e != "tsv")) {
        let read = structure::read(path);
        if let Err(e) = &read {
            n_refused += 1;
            let name = path.strip_prefix(&data).unwrap().display().to_string();
            let message = e.to_string();
            let after = message.split(&name).nth(1).unwrap_or_else(|| panic!("{message} does not name {name}"));
            let line = after.strip_prefix(':').and_then(|rest| rest.split(':').next()).and_then(|n| n.parse::<usize>().ok());
            assert!(line.is_some_and(|l| l > 0), "{message} names no line");
        }
        table += &format!("{}\t{}\n", path.strip_prefix(&data).unwrap().display(), outcome(&data, &read));
    }
    println!("{table}{} files, {n_refused} refused", files.len());
    let expected = include_str!("structure_outcomes.tsv");
    for (ours, stated) in table.lines().zip(expected.lines().filter(|l| !l.starts_with('#'))) {
        assert_eq!(ours, stated);
    }
    assert_eq!(table.lines().count(), expected.lines().filter(|l| !l.starts_with('#')).count());
}

/// Written and read again, a chain keeps its sequence, its numbers, its atoms, its coordinates (to the format's 0.001) and its confidences.
fn assert_same(ours: &Chain, back: &Chain, name: &str) {
    assert_eq!((&ours.sequence, &ours.id), (&back.sequence, &back.id), "{name}");
    assert_eq!(ours.mask, back.mask, "{name}");
    for (a, b) in ours.sites.iter().zip(&back.sites) {
        assert_eq!(a.number.map(|n| (n.value, n.insertion)), b.number.map(|n| (n.value, n.insertion)), "{name}");
    }
    let close = |a: &[f32], b: &[f32], t: f32| a.iter().zip(b).all(|(x, y)| (x - y).abs() <= t);
    assert!(close(ours.positions.as_flattened().as_flattened(), back.positions.as_flattened().as_flattened(), 0.00051), "{name}");
    assert!(close(ours.b_factors.as_flattened(), back.b_factors.as_flattened(), 0.0051), "{name}");
}

#[test]
fn predictions_survive_both_formats() {
    let Some(data) = shared("data") else { return };
    let mut files = Vec::new();
    files_below(&data.join("predictions"), &mut files);
    let mut done = 0;
    for path in files {
        let Ok(s) = structure::read(&path) else { continue };
        let name = path.display().to_string();
        let chains: Vec<&Chain> = s.chains.iter().collect();
        let written = pdb_write::to_pdb(&chains).unwrap();
        let back = pdb::parse_structure(written.as_bytes(), Path::new("written.pdb")).unwrap();
        assert_eq!(back.chains.len(), chains.len(), "{name}");
        chains.iter().zip(&back.chains).for_each(|(a, b)| assert_same(a, b, &name));
        let prediction = modelcif::Prediction { id: "t", title: "a 'title'", model_name: "model_1", chains: &chains, ptm: Some(0.5) };
        let written = modelcif::to_modelcif(&prediction);
        assert_eq!(written, modelcif::to_modelcif(&prediction));
        let back = mmcif::parse_structure(&written, Path::new("written.cif")).unwrap();
        assert_eq!(back.chains.len(), chains.len(), "{name}");
        chains.iter().zip(&back.chains).for_each(|(a, b)| assert_same(a, b, &name));
        done += 1;
    }
    assert!(done >= 15, "only {done} predictions were read");
}

/// Damaged copies of real files: every one is read or refused with its name, none panics or hangs.
#[test]
fn damaged_files_are_read_or_refused() {
    let Some(data) = shared("data") else { return };
    let names = [
        "structures/odd/multichain.pdbx",
        "structures/odd/sample.cif",
        "structures/odd/usage-example_KILLER.cif",
        "structures/odd/1EN2_err.cif",
        "structures/odd/4m4b-minimal-w-assembly.cif",
        "structures/odd/testing.cif.gz",
        "structures/pdb/dummy_insertions.pdb",
        "structures/pdb/disordered.pdb",
        "structures/pdb/pdb1gdr.ent",
        "structures/pdb/1tii.pdb.gz",
        "predictions/ranked_0.cif",
    ];
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below.max(1) as u64) as usize
    };
    let alphabet = b"\0\n\r\t '\"#;_.?-+0123456789ABCDEFatomHETATMloop_data_\xff\xc3\xa9";
    let (mut read, mut refused) = (0, 0);
    for name in names {
        let whole = text::read(data.join(name)).unwrap();
        for _ in 0..60 {
            let mut bytes = whole.clone();
            match next(4) {
                0 => bytes.truncate(next(whole.len())),
                1 => {
                    let (from, length) = (next(whole.len()), next(200));
                    bytes.drain(from..(from + length).min(whole.len()));
                }
                2 => {
                    let (from, to) = (next(whole.len()), next(whole.len()));
                    let part = whole[from..(from + 300).min(whole.len())].to_vec();
                    bytes.splice(to..to, part);
                }
                _ => {}
            }
            for _ in 0..next(4) {
                let at = next(bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = alphabet[next(alphabet.len())];
                }
            }
            let path = Path::new("damaged");
            let lossy = String::from_utf8_lossy(&bytes);
            for result in [pdb::parse_structure(&bytes, path), mmcif::parse_structure(&lossy, path)] {
                match result {
                    Ok(s) => {
                        read += 1;
                        let whole = |c: &Chain| c.sequence.len() == c.len() && c.mask.len() == c.len() && c.positions.len() == c.len();
                        assert!(s.chains.iter().all(whole));
                        assert!(s.chains.iter().all(|c| c.positions.as_flattened().as_flattened().iter().all(|x| x.is_finite())));
                    }
                    Err(e) => {
                        refused += 1;
                        assert!(e.to_string().starts_with("damaged:"), "{e}");
                    }
                }
            }
        }
    }
    println!("{read} read, {refused} refused");
    assert!(read > 100 && refused > 100, "{read} read, {refused} refused");
}

/// Three entries are there in both formats (the legacy 1ubq is another model): the readers must agree on everything that both can say.
#[test]
fn both_formats_of_an_entry_agree() {
    let Some(data) = shared("data") else { return };
    for (old, new) in
        [("pdb/1EN2.pdb.gz", "mmcif/1en2.cif.gz"), ("pdb/1SSU_err.pdb.gz", "mmcif/1ssu.cif.gz"), ("pdb/2d7t.pdb.gz", "mmcif/2d7t.cif.gz")]
    {
        let old = pdb::read(data.join("structures").join(old)).unwrap();
        let new = mmcif::read(data.join("structures").join(new)).unwrap();
        assert_eq!(old.chains.len(), new.chains.len(), "{}", new.id);
        for (a, b) in old.chains.iter().zip(&new.chains) {
            let name = format!("{} {} {}", new.id, a.id, b.id);
            // Legacy files may lack SEQRES; then only what was observed can be compared.
            let rows = |c: &Chain| (0..c.len()).filter(|&i| c.sites[i].number.is_some()).collect::<Vec<_>>();
            let (ra, rb) = (rows(a), rows(b));
            assert_eq!(ra.len(), rb.len(), "{name}");
            if a.has_full_sequence {
                assert_eq!((&a.sequence, &ra), (&b.sequence, &rb), "{name}");
            }
            for (&i, &j) in ra.iter().zip(&rb) {
                // The legacy 2d7t has Chothia's numbers, the deposit counts: names and atoms are compared, and numbers where they can be.
                assert_eq!((&a.sites[i].name, a.mask[i]), (&b.sites[j].name, b.mask[j]), "{name} residue {i}");
                assert!(a.sites[i].number == b.sites[j].number || new.id == "2D7T", "{name} residue {i}");
                assert_eq!((a.positions[i], a.b_factors[i]), (b.positions[j], b.b_factors[j]), "{name} residue {i}");
            }
        }
    }
}
