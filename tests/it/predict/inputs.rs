//! Everything that can be predicted, and what is refused.

use std::path::{Path, PathBuf};

use anyfold::data::draws::Keyed;
use anyfold::data::features::FeatureConfig;
use anyfold::error::Result;
use anyfold::predict::Inputs;
use anyfold::predict::batch::Options;
use anyfold::predict::input::{Files, Given, Refused, Source, Target, require_alignments, targets};

use super::fake::{failure, model, options, predict, single};
use crate::shared::shared;

fn put(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

fn good(found: Result<Vec<Result<Target, Refused>>>) -> Vec<Target> {
    found.unwrap().into_iter().map(|t| t.unwrap()).collect()
}

fn rows(target: &Target) -> usize {
    match target.load(&|_, _| Ok(Vec::new())).unwrap() {
        Given::Example(example) => example.alignment.n_seq(),
        Given::Arrays(_) => panic!("an example was expected"),
    }
}

fn summary(found: &[Target]) -> Vec<(String, usize, usize)> {
    found.iter().map(|t| (t.name.clone(), t.n_res, rows(t))).collect()
}

#[test]
fn alignments_are_stacked_without_repeated_rows() {
    let folder = tempfile::tempdir().unwrap();
    let fasta = put(folder.path(), "q.fasta", ">q\nacdef\n");
    let a3m = put(folder.path(), "one.a3m", ">q\nACDEF\n>r\nAC-EF\n>s\nACDgEW\n");
    let sto = put(folder.path(), "two.sto", "# STOCKHOLM 1.0\nq ACDEF\nr AC-EF\nt WWDEF\n//\n");
    let files = Files { msa: vec![a3m.clone(), sto.clone()], ..Files::default() };
    let found = good(targets(&[fasta], &files));
    assert_eq!(summary(&found), [("q".into(), 5, 4)]);
    // Without a FASTA file the first alignment names the sequence; alone it is a target as well.
    assert_eq!(summary(&good(targets(&[], &files))), [("one".into(), 5, 4)]);
    assert_eq!(summary(&good(targets(&[sto], &Files::default()))), [("two".into(), 5, 3)]);
    // A single sequence is what was asked for.
    assert_eq!(summary(&good(targets(&[a3m], &Files { single_sequence: true, ..Files::default() }))), [("one".into(), 5, 1)]);
}

#[test]
fn folders_of_every_layout_are_targets() {
    let folder = tempfile::tempdir().unwrap();
    let (q, r) = (">q\nACDEF\n>x\nAC-EF\n", ">r\nWWDE\n>y\nW-DE\n");
    put(folder.path(), "alphafold/T1/msas/uniref90_hits.sto", "# STOCKHOLM 1.0\nT1 ACDEF\nz ACD-F\n//\n");
    put(folder.path(), "alphafold/T1/msas/bfd_uniref_hits.a3m", q);
    put(folder.path(), "openfold/2abc_B/mgnify_hits.a3m", r);
    put(folder.path(), "colabfold/a.a3m", q);
    put(folder.path(), "colabfold/b.a3m", r);
    put(folder.path(), "colabfold/a.fasta", ">a\nACDEF\n");
    put(folder.path(), "colabfold/c.fasta", ">c1\nACDEF\n>c2\nMKT\n");
    put(folder.path(), "colabfold/a_env/uniref.a3m", q);
    let at = |p: &str| folder.path().join(p);
    let none = Files::default();
    assert_eq!(summary(&good(targets(&[at("alphafold/T1")], &none))), [("T1".into(), 5, 3)]);
    assert_eq!(summary(&good(targets(&[at("alphafold/T1/msas")], &none))), [("T1".into(), 5, 3)]);
    assert_eq!(summary(&good(targets(&[at("alphafold"), at("openfold")], &none))), [("T1".into(), 5, 3), ("2abc_B".into(), 4, 2)]);
    let names: Vec<_> = good(targets(&[at("colabfold")], &single())).into_iter().map(|t| t.name).collect();
    assert_eq!(names, ["c1", "c2", "a", "b"]);
    assert_eq!(summary(&good(targets(&[at("colabfold/a_env")], &none))), [("a_env".into(), 5, 2)]);
    // FASTA records find their alignments by name.
    let fasta = put(folder.path(), "in.fasta", ">T1 header\nACDEF\n>2abc_B\nWWDE\n");
    let files = Files { alignments: vec![at("alphafold"), at("openfold")], ..Files::default() };
    assert_eq!(summary(&good(targets(&[fasta], &files))), [("T1".into(), 5, 3), ("2abc_B".into(), 4, 2)]);
    // A folder of one target's searches serves the only sequence whatever its name.
    let other = put(folder.path(), "other.fasta", ">other\nACDEF\n");
    let files = Files { alignments: vec![at("alphafold/T1")], ..Files::default() };
    assert_eq!(summary(&good(targets(&[other], &files))), [("other".into(), 5, 3)]);
}

#[test]
fn what_cannot_be_predicted_says_why_and_where() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |name: &str, text: &str| {
        let path = put(folder.path(), name, text);
        targets(&[path], &single()).unwrap_err().to_string()
    };
    assert!(fails("empty.fasta", "").contains("empty.fasta: no FASTA record"));
    assert!(fails("dna.fasta", ">d\nACGTACGTACGTACGTTTGGCA\n").contains("looks like DNA or RNA"));
    assert!(fails("gap.fasta", ">g\nAC-DE\n").contains("gap.fasta:1: `g`: `-` at residue 3 is no amino acid"));
    assert!(fails("digit.fasta", ">g\nAC\nD1\n").contains("digit.fasta:3: `1` cannot be part of a sequence (after residue 3)"));
    assert!(fails("x.fasta", ">g\nXXXX\n").contains("none of its letters is a known amino acid"));
    assert!(fails("none.fasta", ">g\n\n").contains("record `g` has no sequence"));
    assert!(fails("cut.npz", "PK").contains("cut.npz: no npz archive"));
    let missing = targets(&[folder.path().join("absent.fasta")], &single()).unwrap_err().to_string();
    assert!(missing.contains("absent.fasta"), "{missing}");
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert!(targets(&[empty], &single()).unwrap_err().to_string().contains("no FASTA file, alignment"));
    // An alignment of another protein is the target's failure, found when its turn comes.
    let fasta = put(folder.path(), "q.fasta", ">q\nACDEF\n");
    let other = put(folder.path(), "other.a3m", ">o\nACDEW\n");
    let found = good(targets(std::slice::from_ref(&fasta), &Files { msa: vec![other], ..Files::default() }));
    let error = found[0].load(&|_, _| Ok(Vec::new())).unwrap_err().to_string();
    assert!(error.contains("other.a3m: the alignment is of another query") && error.contains("residue 5"), "{error}");
    // One bad file among good ones is refused alone.
    let both = targets(&[fasta, folder.path().join("absent.fasta")], &single()).unwrap();
    assert!(both[0].is_ok() && both[1].is_err());
}

#[test]
fn processed_features_are_taken_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let (fasta, file) = (put(folder.path(), "q.fasta", ">q\nMKTAYIAKQRQISFVK\n"), folder.path().join("f.npz"));
    let a3m = put(folder.path(), "q.a3m", ">q\nMKTAYIAKQRQISFVK\n>r\nMKTAYI--QRQISFVW\n>s\nWKTAYIAggKQRQI-FVK\n");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_anyfold"));
    command.args(["data", "features", "--passes", "4", "--clusters", "2", "--extra", "3", "--templates", "0", "--seed", "11"]);
    let wrote = command.arg("--fasta").arg(&fasta).arg("--msa").arg(&a3m).arg("--out").arg(&file).output().unwrap();
    assert!(wrote.status.success(), "{}", String::from_utf8_lossy(&wrote.stderr));
    let found = good(targets(std::slice::from_ref(&file), &Files::default()));
    assert_eq!((found[0].name.as_str(), found[0].n_res), ("f", 16));
    let Given::Arrays(arrays) = found[0].load(&|_, _| Ok(Vec::new())).unwrap() else { panic!("arrays were expected") };

    // What a network sees of a file is what it sees of the same features made here.
    let Given::Example(example) =
        good(targets(&[fasta], &Files { msa: vec![a3m], ..Files::default() }))[0].load(&|_, _| Ok(Vec::new())).unwrap()
    else {
        panic!("an example was expected")
    };
    let made = anyfold::data::features::make(&example, &FeatureConfig::prediction(2, 3, 0), 4, &Keyed::new(11, 0));
    for r in 0..4 {
        let (ours, theirs) = (Inputs::Features(&made).pass(r), Inputs::Arrays(&arrays).pass(r));
        assert!(ours.len() > 15);
        for (name, tensor) in ours {
            assert_eq!(tensor, theirs[&name], "{name} of pass {r}");
        }
    }

    let go = |n_recycle, n_ensemble| {
        let options = Options { n_recycle, n_ensemble, overwrite: true, ..options(folder.path().join("out")) };
        predict(std::slice::from_ref(&file), &Files::default(), &[model("model_1_ptm")], &options).unwrap().0.remove(0)
    };
    assert!(go(None, 1).best.is_some() && go(Some(1), 2).best.is_some());
    assert!(failure(&go(Some(4), 1)).contains("the features file holds 4 passes, and 4 recycles of 1 ensemble members need 5"));
    let page = std::fs::read_to_string(folder.path().join("out/f/prediction.json")).unwrap();
    assert!(page.contains("\"finished\": true"), "a refusal took away the earlier result");
}

#[test]
fn a_sequence_without_an_alignment_must_be_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let fasta = put(folder.path(), "q.fasta", ">q\nACDEF\n>r\nACDEFG\n");
    put(folder.path(), "all/r.a3m", ">r\nACDEFG\n");
    let files = Files { alignments: vec![folder.path().join("all")], ..Files::default() };
    let mut found = targets(&[fasta], &files).unwrap();
    require_alignments(&mut found);
    assert!(found[0].as_ref().unwrap_err().error.to_string().contains("`q` has no alignment: give --msa"));
    assert!(found[1].is_ok());
}

#[test]
fn real_searches_and_features_are_read() {
    let Some(data) = shared("data") else { return };
    let found =
        good(targets(&[data.join("msas/1crn_A"), data.join("msas/P61626"), data.join("msas/1k1a_A/colabfold.a3m.gz")], &Files::default()));
    let summary = summary(&found);
    assert_eq!((summary[0].0.as_str(), summary[0].1), ("1crn_A", 46));
    assert!(summary.iter().all(|s| s.2 > 1), "{summary:?}");
    let Source::Sequence { sequence, .. } = &found[0].source else { panic!("a sequence was expected") };
    assert_eq!(sequence, "TTCCPSIVARSNFNVCRLPGTPEAICATYTGCIIIPGATCPGDYAN");
    let features = good(targets(&[data.join("features/T1026.npz"), data.join("features/8d27_A.npz")], &Files::default()));
    for target in features {
        let given = target.load(&|_, _| Ok(Vec::new())).unwrap();
        assert_eq!(given.residues(target.n_res).0.len(), target.n_res);
    }
}
