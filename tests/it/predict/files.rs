//! What a target's folder holds.

use std::path::{Path, PathBuf};

use anyfold::io::{mmcif, npz, pdb};
use anyfold::predict::batch::Options;
use anyfold::predict::confidence::RankBy;
use serde_json::Value;

use super::fake::{failure, model, options, predict, single};

const SEQUENCE: &str = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ";

fn json(path: PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap()
}

fn go(folder: &Path, change: impl Fn(Options<'static>) -> Options<'static>) -> PathBuf {
    let input = folder.join("q.fasta");
    std::fs::write(&input, format!(">T1 header\n{SEQUENCE}\n")).unwrap();
    let options = change(options(folder.join("out")));
    let (outcomes, _) = predict(&[input], &single(), &[model("model_1_ptm"), model("model_3_ptm")], &options).unwrap();
    assert!(outcomes[0].best.is_some(), "{outcomes:?}");
    folder.join("out/T1")
}

#[test]
fn names_and_fields_are_those_of_alphafold_its_database_and_colabfold() {
    let folder = tempfile::tempdir().unwrap();
    let out = go(folder.path(), |o| Options { seeds: vec![7, 9], plots: true, tensors: true, rank_by: RankBy::Ptm, ..o });
    let ranking = json(out.join("ranking_debug.json"));
    let order: Vec<&str> = ranking["order"].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["model_1_ptm_pred_0", "model_1_ptm_pred_1", "model_3_ptm_pred_0", "model_3_ptm_pred_1"]);
    let ptms: Vec<f64> = order.iter().map(|o| ranking["ptms"][o].as_f64().unwrap()).collect();
    assert!(ptms.is_sorted_by(|a, b| a >= b) && ranking["plddts"].as_object().unwrap().len() == 4 && ranking["ranked_by"] == "ptm");
    let n = SEQUENCE.len();
    for (rank, label) in order.iter().enumerate() {
        let scores = std::fs::read_dir(&out).unwrap().filter_map(|e| e.unwrap().file_name().into_string().ok());
        let scores: Vec<String> = scores.filter(|f| f.starts_with(&format!("T1_scores_rank_{:03}_", rank + 1))).collect();
        let (model, seed) = (label.split("_pred").next().unwrap(), if label.ends_with('0') { "007" } else { "009" });
        assert_eq!(scores, [format!("T1_scores_rank_{:03}_{model}_seed_{seed}.json", rank + 1)]);
        let scores = json(out.join(&scores[0]));
        assert_eq!((scores["plddt"].as_array().unwrap().len(), scores["pae"].as_array().unwrap().len()), (n, n));
        let largest = scores["pae"].as_array().unwrap().iter().flat_map(|r| r.as_array().unwrap()).map(|v| v.as_f64().unwrap());
        assert_eq!(scores["max_pae"].as_f64().unwrap(), largest.fold(0.0, f64::max));
        assert!((scores["ptm"].as_f64().unwrap() - ptms[rank]).abs() < 1e-4);
        assert!(scores["violations"]["residues"].is_u64() && scores["relaxed"] == false);
        let database = json(out.join(format!("confidence_{label}.json")));
        assert_eq!(
            (database["residueNumber"][n - 1].as_u64(), database["confidenceScore"][4].clone()),
            (Some(n as u64), scores["plddt"][4].clone())
        );
        assert!(["D", "L", "M", "H"].contains(&database["confidenceCategory"][0].as_str().unwrap()));
        let pae = json(out.join(format!("pae_{label}.json")));
        assert_eq!(
            (pae[0]["max_predicted_aligned_error"].as_f64(), pae[0]["predicted_aligned_error"][1].as_array().unwrap().len()),
            (Some(31.75), n)
        );
        let unrelaxed = std::fs::read(out.join(format!("unrelaxed_{label}.pdb"))).unwrap();
        assert_eq!(std::fs::read(out.join(format!("ranked_{rank}.pdb"))).unwrap(), unrelaxed);
        let tensors = npz::read(out.join(format!("result_{label}.npz"))).unwrap();
        assert_eq!(tensors["predicted_lddt.logits"].shape, [n, 50]);
        assert_eq!(
            (&tensors["distogram.bin_edges"].shape[..], &tensors["structure_module.final_atom_positions"].shape[..]),
            (&[63][..], &[n, 37, 3][..])
        );
    }
    let timings = json(out.join("timings.json"));
    assert!(timings["features"].is_f64() && timings["predict_and_compile_model_3_ptm_pred_1"].is_f64());
    for plot in ["plddt", "pae", "coverage"] {
        assert!(std::fs::read(out.join(format!("T1_{plot}.png"))).unwrap().starts_with(b"\x89PNG"));
    }
    let record = json(out.join("prediction.json"));
    assert_eq!((&record["finished"], &record["target"]["sequence"]), (&Value::Bool(true), &Value::String(SEQUENCE.into())));
    for file in record["files"].as_array().unwrap() {
        assert!(out.join(file.as_str().unwrap()).is_file(), "{file}");
    }
    // Nothing but what the record names, and the record.
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), record["files"].as_array().unwrap().len() + 1);
}

#[test]
fn coordinates_and_confidences_survive_both_formats() {
    let folder = tempfile::tempdir().unwrap();
    let out = go(folder.path(), |o| o);
    let scores = std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().path()).find(|p| p.to_string_lossy().contains("_scores_rank_001_"));
    let plddt: Vec<f64> = json(scores.unwrap())["plddt"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    let (legacy, modern) = (pdb::read(out.join("ranked_0.pdb")).unwrap(), mmcif::read(out.join("ranked_0.cif")).unwrap());
    for structure in [&legacy, &modern] {
        let chain = structure.chain(None).unwrap();
        assert_eq!((chain.id.as_str(), chain.sequence.as_str()), ("A", SEQUENCE));
        for (i, p) in plddt.iter().enumerate() {
            assert_eq!(chain.sites[i].number.unwrap().value, i as i32 + 1);
            assert!((f64::from(chain.b_factors[i][1]) - p).abs() < 0.0051);
            // The made-up helix: CA 2.28 Angstrom from the axis, 1.5 up a residue.
            let [x, y, z] = chain.positions[i][1];
            assert!((x.hypot(y) - 2.28).abs() < 1.1e-3 && (z - 1.5 * i as f32).abs() < 6e-4, "{x} {y} {z}");
        }
    }
    assert_eq!(legacy.chain(None).unwrap().positions, modern.chain(None).unwrap().positions);
}

#[test]
fn ranking_by_a_score_that_a_model_lacks_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("q.fasta");
    std::fs::write(&input, ">q\nMKTAYIAKQR\n").unwrap();
    let options = Options { rank_by: RankBy::Ptm, ..options(folder.path().join("out")) };
    let (outcomes, _) = predict(&[input], &single(), &[model("model_1")], &options).unwrap();
    assert!(failure(&outcomes[0]).contains("`model_1` predicts no TM-score to rank by"));
}
