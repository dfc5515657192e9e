//! `anyfold inspect` as users call it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyfold::io::npz;
use serde_json::Value;

use crate::shared::complaints;

fn inspect(args: &[&str], more: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_anyfold")).arg("inspect").args(args).args(more).output().unwrap()
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/goldens/primitives").join(name)
}

#[test]
fn a_case_is_printed_drawn_timed_and_dumped() {
    let folder = tempfile::tempdir().unwrap();
    let [dot, json, dump] = ["case.dot", "case.json", "case.npz"].map(|n| folder.path().join(n));
    let case = golden("transition_small.safetensors");
    let more = [Path::new("--dot"), &dot, Path::new("--json"), &json, Path::new("--out"), &dump];
    let out = inspect(&["case", case.to_str().unwrap(), "--print", "--memory", "--times", "--finite", "--dump", "*linear"], &more);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    assert!(
        said.contains("basic/gemm")
            && said.contains("clock")
            && said.contains("fullest at")
            && said.contains("every value is finite")
            && said.contains("pass"),
        "{said}"
    );

    // Edges lead from commands that are there to commands that come later.
    let dot = std::fs::read_to_string(&dot).unwrap();
    let nodes: Vec<&str> =
        dot.lines().filter(|l| l.contains("[label=") && !l.contains("->")).map(|l| l.trim().split(' ').next().unwrap()).collect();
    let edges: Vec<(&str, &str)> =
        dot.lines().filter_map(|l| l.trim().split_once(" -> ")).map(|(a, b)| (a, b.split(' ').next().unwrap())).collect();
    assert!(edges.len() > 10 && edges.iter().all(|(a, b)| nodes.contains(a) && nodes.contains(b)), "{dot}");
    let at = |name: &str| name.strip_prefix('c').and_then(|n| n.parse::<usize>().ok());
    assert!(edges.iter().all(|(a, b)| at(a).is_none_or(|a| a < at(b).unwrap())), "{dot}");

    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let times = report["times"].as_array().unwrap();
    assert!(times.iter().any(|t| t["op"] == "linear backward") && times.iter().all(|t| t["seconds"].as_f64().unwrap() > 0.0), "{times:?}");
    assert!(times.windows(2).all(|w| w[0]["seconds"].as_f64() >= w[1]["seconds"].as_f64()));

    // The transition's second layer is its output; the first one has been through its ReLU.
    let found = npz::read(&dump).unwrap();
    let reference = anyfold::verify::golden::Golden::read(&case).unwrap();
    let want = reference.tensors.iter().find(|(n, _)| n.starts_with("out:")).unwrap().1;
    let near =
        |t: &anyfold::tensor::HostTensor| t.len() == want.len() && t.to_f64().iter().zip(want.to_f64()).all(|(a, b)| (a - b).abs() < 1e-4);
    assert!(found.values().any(near), "{:?}", found.keys());
    assert!(found.values().any(|t| t.len() > want.len() && t.to_f64().iter().all(|v| *v >= 0.0)), "{:?}", found.keys());
}

#[test]
fn bad_options_are_one_clear_line_and_status_2() {
    let folder = tempfile::tempdir().unwrap();
    let case = golden("linear_small.safetensors");
    let npz = folder.path().join("x.npz");
    let case = case.to_str().unwrap();
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/goldens/data/parse_fasta.safetensors");
    let refusals: [(&[&str], &str); 4] = [
        (&["case", "/nowhere/x.safetensors"], "/nowhere/x.safetensors"),
        (&["case", case, "--dump", "colour", "--out", npz.to_str().unwrap()], "no tensor's name fits"),
        (&["case", data.to_str().unwrap()], "not run by one session"),
        (&["step", "--preset", "colour"], "colour"),
    ];
    for (args, said) in refusals {
        let out = inspect(args, &[]);
        let error = complaints(&out);
        assert_eq!((out.status.code(), error.lines().count()), (Some(2), 1), "{error}");
        assert!(error.contains(said), "{error}");
    }
}
