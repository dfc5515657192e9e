//! `anyfold bench ops` as users call it.

use std::process::{Command, Output};

use serde_json::Value;

use crate::shared::complaints;

fn bench(more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_anyfold")).args(["bench", "ops"]).args(more).output().unwrap()
}

#[test]
fn both_directions_are_measured_against_the_adapter() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("bench.json");
    let out = bench(&["--filter", "*small", "--json", json.to_str().unwrap()]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert!(report["rates"]["copy"].as_f64().unwrap() > 1e7 && report["rates"]["fma"].as_f64().unwrap() > 1e8, "{}", report["rates"]);
    let rows = report["rows"].as_array().unwrap();
    assert!(rows.len() >= 10 && rows.len().is_multiple_of(2), "{} rows", rows.len());
    for pair in rows.chunks(2) {
        assert_eq!((pair[0]["direction"].as_str(), pair[1]["direction"].as_str()), (Some("forward"), Some("backward")));
        for row in pair {
            assert!(row["seconds"].as_f64().unwrap() > 0.0 && row["gflops"].as_f64().unwrap() > 0.0, "{row}");
        }
    }
    // A product of 64 x 64 matrices is 2 * 64^3 operations, and twice as many backwards.
    let gemm = |at: usize| rows[at]["gflops"].as_f64().unwrap() * rows[at]["seconds"].as_f64().unwrap() * 1e9;
    assert_eq!(rows[0]["name"], "gemm small");
    assert!((gemm(0) - 524_288.0).abs() < 1.0 && (gemm(1) - 1_048_576.0).abs() < 1.0, "{} {}", gemm(0), gemm(1));
}

#[test]
fn passes_of_a_prediction_are_measured_over_length() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("bench.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_anyfold"));
    command.args(["bench", "predict", "--preset", "tiny", "--lengths", "64,32", "--max-msa", "8:8", "--json", json.to_str().unwrap()]);
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let rows = report["curve"]["rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|r| r["length"].as_u64().unwrap()).collect::<Vec<_>>(), [32, 64]);
    for row in rows {
        assert!(row["seconds"].as_f64().unwrap() > 0.0 && row["first"].as_f64().unwrap() > 0.0, "{row}");
    }
    // More residues take more of everything; operations over pairs grow faster than the length.
    let of = |k: usize, name: &str| rows[k][name].as_f64().unwrap();
    assert!(of(1, "peak_bytes") > of(0, "peak_bytes") && of(1, "flops") > 2.0 * of(0, "flops"), "{rows:?}");
    let power = (of(1, "seconds") / of(0, "seconds")).log2();
    assert!((report["curve"]["seconds_exponent"].as_f64().unwrap() - power).abs() < 1e-6);
    assert!(report["curve"]["ended"].is_null());
    let wrong = Command::new(env!("CARGO_BIN_EXE_anyfold")).args(["bench", "predict", "--lengths", "0"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn a_whole_step_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("step.json");
    let shape = ["--crop", "16", "--msa", "4", "--extra", "4", "--templates", "1", "--set", "model.overrides.evoformer.blocks=1"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_anyfold"));
    command.args(["bench", "step", "--repeats", "2", "--json", json.to_str().unwrap()]).args(shape);
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    assert!(
        said.contains("a step of 2.5 passes: median") && said.contains("evoformer_iteration backward") && said.contains("roofline"),
        "{said}"
    );
    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let m = &report["measured"];
    let number = |v: &Value| v.as_f64().unwrap_or_else(|| panic!("{v} is no number"));
    assert_eq!((number(&report["shape"]["n_res"]), number(&report["shape"]["n_extra"])), (16.0, 4.0));
    // A step is its parts, as often as they occur in it.
    let least = |name: &str| number(&m["parts"][name]["range"][0]);
    let most = |name: &str| number(&m["parts"][name]["range"][1]);
    let sum = |of: &dyn Fn(&str) -> f64| 2.5 * of("upload") + 1.5 * of("pass") + of("example") + of("update");
    let step = number(&m["step"]["median"]);
    assert!(sum(&least) * 0.999 <= step && step <= sum(&most) * 1.001, "{step} and {} to {}", sum(&least), sum(&most));
    assert!(number(&m["step"]["range"][0]) <= step && step <= number(&m["step"]["range"][1]));
    // Both tables hold the whole step's work.
    for table in ["operations", "scopes"] {
        let rows = m[table].as_array().unwrap();
        let all: f64 = rows.iter().map(|r| number(&r["work"]["flops"])).sum();
        assert!((all / number(&m["work"]["flops"]) - 1.0).abs() < 1e-9 && rows.len() > 5, "{table}");
        assert!(rows.iter().all(|r| number(&r["seconds"]) > 0.0 || number(&r["work"]["flops"]) == 0.0), "{table}");
    }
    // What fits a cache may be faster than copies through memory.
    assert!(number(&m["roofline"]) > 0.0);
    assert!(number(&m["peak_bytes"]) >= number(&m["live_bytes"]) && !m["clock"].as_str().unwrap().is_empty());
}

#[test]
fn bad_options_are_one_clear_line_and_status_2() {
    for (options, said) in [(["--filter", "nothing"], "no operation fits"), (["--storage", "f8"], "f32 or bf16")] {
        let out = bench(&options);
        let error = complaints(&out);
        assert_eq!((out.status.code(), error.lines().count()), (Some(2), 1), "{error}");
        assert!(error.contains(said), "{error}");
    }
}
