//! `anyfold evaluate` as users call it.

use std::path::Path;
use std::process::{Command, Output};

use anyfold::io::text;
use serde_json::Value;

use crate::shared::shared;

fn evaluate(arguments: &[&Path], more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_anyfold")).arg("evaluate").args(arguments).args(more).output().unwrap()
}

/// The xylanase 6KWC was predicted; 1ENX is its near twin, numbered one lower, so that sequences must be aligned.
#[test]
fn other_numbering_is_aligned_and_everything_is_in_the_json() {
    let Some(data) = shared("data") else { return };
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("scores.json");
    let predicted = data.join("predictions/6KWC_1_model_1_ptm_relaxed.pdb.gz");
    let reference = data.join("structures/mmcif/1enx.cif.gz");
    let out = evaluate(&[&predicted, &reference], &["--chain", "A", "--json", json.to_str().unwrap()]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let scores: Value = serde_json::from_slice(&text::read(&json).unwrap()).unwrap();
    assert_eq!((scores["paired_by"].as_str(), scores["n_paired"].as_u64()), (Some("sequence"), Some(190)));
    // The data's README states 98.4 % identity over 190 residues.
    assert!((scores["identity"].as_f64().unwrap() - 0.984).abs() < 5e-4);
    assert_eq!(scores["residues"].as_array().unwrap().len(), 190);
    let shown = String::from_utf8(out.stdout).unwrap();
    for (label, key) in [("lDDT-CA", "lddt_ca"), ("TM-score", "tm_score"), ("GDT-HA", "gdt_ha")] {
        let line = shown.lines().find(|l| l.starts_with(label)).unwrap();
        let value: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!((value - scores[key].as_f64().unwrap()).abs() < 1e-4, "{line}");
    }
}

#[test]
fn bad_input_is_one_clear_line_and_status_2() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let good = write(
        "good.pdb",
        b"ATOM      1  N   ALA A   1       0.000   0.000   0.000  1.00 10.00           N\n\
          ATOM      2  CA  ALA A   1       1.458   0.000   0.000  1.00 10.00           C\n",
    );
    let cases = [
        (write("empty.pdb", b""), "empty.pdb:1: the file ends without an ATOM record"),
        (write("nul.cif", b"data_x\n_a.b \0\n"), "nul.cif:2: a NUL byte"),
        (write("cut.pdb", b"ATOM      1  N   ALA A   1       0.000"), "cut.pdb:1: an atom record of 38 characters"),
        (
            write("cut.cif", b"data_x\nloop_\n_atom_site.id\n_atom_site.Cartn_x\n1 2\n3\n"),
            "cut.cif:6: the loop of `_atom_site` has 2 columns",
        ),
        (write("cut.gz", &[0x1f, 0x8b, 8, 0, 0, 0]), "cut.gz: the gzip data is damaged or cut off"),
        (folder.path().join("absent.pdb"), "absent.pdb: No such file"),
    ];
    for (path, message) in cases {
        let out = evaluate(&[&path, &good], &[]);
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{said}");
        assert!(said.contains(message) && said.trim_end().lines().count() == 1, "{said}");
    }
    let out = evaluate(&[&good, &good], &["--chain", "Q"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("has no protein chain `Q`; it has `A`"));
}
