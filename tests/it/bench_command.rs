//! `anyfold bench ops` as users call it.

use std::process::{Command, Output};

use serde_json::Value;

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
fn bad_options_are_one_clear_line_and_status_2() {
    for (options, said) in [(["--filter", "nothing"], "no operation fits"), (["--storage", "f8"], "f32 or bf16")] {
        let out = bench(&options);
        let error = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!((out.status.code(), error.lines().count()), (Some(2), 1), "{error}");
        assert!(error.contains(said), "{error}");
    }
}
