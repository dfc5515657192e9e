//! The rules of `anyfold verify`, and the command as users call it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyfold::tensor::{Data, HostTensor};
use anyfold::verify::golden::Golden;
use anyfold::verify::host_structure::Outputs;
use anyfold::verify::report::{CaseReport, Outcome};
use anyfold::verify::rules::{Compared, Verdict, compare};
use anyfold::verify::{Context, fits, run_case};

use crate::shared::shared;

fn asset(inside: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/goldens").join(inside)
}

fn read(inside: &str) -> Golden {
    Golden::read(&asset(inside)).unwrap()
}

fn outcome(case: &Golden) -> Outcome {
    run_case(&Context::default(), case).unwrap().outcome
}

/// Changes one float of a reference.
fn change(case: &mut Golden, name: &str, f: impl Fn(f32) -> f32) {
    let Data::F32(values) = &mut case.tensors.get_mut(name).unwrap().data else { panic!("{name} is not f32") };
    values[0] = f(values[0]);
}

#[test]
fn a_case_passes_until_a_value_type_shape_or_text_is_changed() {
    let whole = read("data/make_msa_feat.safetensors");
    assert_eq!(outcome(&whole), Outcome::Pass);
    for wrong in [1e-3, f32::NAN, f32::INFINITY] {
        let mut case = whole.clone();
        change(&mut case, "out:msa_feat", |x| x + wrong);
        assert_eq!(outcome(&case), Outcome::Fail, "{wrong}");
    }
    let mut case = whole.clone();
    let features = case.tensors.get_mut("out:target_feat").unwrap();
    features.shape.reverse();
    let report = run_case(&Context::default(), &case).unwrap();
    assert_eq!((report.outcome, report.worst().unwrap().name.as_str()), (Outcome::Fail, "out:target_feat"));
    assert!(report.row().contains("has shape"), "{}", report.row());
    let mut case = whole.clone();
    case.tensors.insert("gin:msa".into(), HostTensor::zeros(&[1]));
    assert!(run_case(&Context::default(), &case).unwrap().row().contains("FAIL: gin:msa was not made"));
    let mut case = whole.clone();
    case.module = "colour".into();
    assert_eq!(outcome(&case), Outcome::Unknown);
    let mut case = whole;
    case.tensors.retain(|n, _| n.starts_with("in:"));
    let report = run_case(&Context::default(), &case).unwrap();
    assert!(report.outcome == Outcome::Fail && report.row().contains("nothing was compared"), "{}", report.row());
    let mut case = read("data/parse_fasta.safetensors");
    assert_eq!(outcome(&case), Outcome::Pass);
    let strings = case.meta["strings"].replacen('M', "W", 1);
    case.meta.insert("strings".into(), strings);
    assert_eq!(outcome(&case), Outcome::Fail);
}

/// A made-up case of one output (largest 2) and three gradients (largest 4), and what a perfect module makes of it.
fn made_up(group: &str, ref_err: &str) -> (Golden, Outputs) {
    let mut case = read("data/parse_fasta.safetensors");
    case.group = group.into();
    case.meta = [("ref_err", ref_err), ("analytic_zero", r#"["gin:zero"]"#)].map(|(k, v)| (k.into(), v.into())).into();
    let tensor = |values: [f32; 2]| HostTensor::f32(&[2], values.to_vec());
    let all = [("out:y", [2.0, -1.0]), ("gin:x", [4.0, 0.0]), ("gin:zero", [1e-9, 0.0]), ("gparam:linear//w", [1.0, 1.0])];
    case.tensors = all.map(|(n, t)| (n.to_owned(), tensor(t))).into();
    let mut out = Outputs::default();
    for (name, tensor) in &case.tensors {
        match name.strip_prefix("out:") {
            Some(plain) => out.tensors.insert(plain.to_owned(), tensor.clone()),
            None => out.gradients.insert(name.clone(), tensor.clone()),
        };
    }
    (case, out)
}

fn judged(case: &Golden, out: &Outputs, name: &str) -> Compared {
    compare(case, out).unwrap().into_iter().find(|c| c.name == name).unwrap()
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * b
}

#[test]
fn tolerances_follow_group_floor_and_class() {
    let measured = r#"{"out:y": 1e-7, "gin:x": 1e-5, "gin:zero": null, "gparam:linear//w": null}"#;
    for (group, y, x) in [("data", 1e-6, 1e-6), ("structure", 3e-5, 2e-4), ("model", 1e-4, 2e-4)] {
        let (case, out) = made_up(group, measured);
        assert!(compare(&case, &out).unwrap().iter().all(|c| c.verdict == Verdict::Pass && c.error == Some(0.0)));
        assert!(near(judged(&case, &out, "out:y").tolerance, y) && near(judged(&case, &out, "gin:x").tolerance, x), "{group}");
        // Absolutely, by the largest gradient.
        assert!(near(judged(&case, &out, "gin:zero").tolerance, 4e-5));
    }
    let (case, out) = made_up("structure", r#"{"gparam:linear//w": null, "gparam:linear//b": 5e-6, "gin:x": 1e-4}"#);
    assert!(near(judged(&case, &out, "gparam:linear//w").tolerance, 1e-4));
    let (case, mut out) = made_up("structure", measured);
    for (wrong, verdict) in [(3.9e-5, Verdict::Pass), (4.2e-5, Verdict::Fail)] {
        out.gradients.insert("gin:zero".into(), HostTensor::f32(&[2], vec![wrong, 0.0]));
        assert_eq!(judged(&case, &out, "gin:zero").verdict, verdict);
    }
    // Errors are shares of the largest reference, wherever they are.
    for (wrong, verdict) in [(5e-5, Verdict::Pass), (7e-5, Verdict::Fail)] {
        out.tensors.insert("y".into(), HostTensor::f32(&[2], vec![2.0, -1.0 + wrong]));
        assert_eq!(judged(&case, &out, "out:y").verdict, verdict);
    }
    out.undefined.insert("y".into(), vec![false, true]);
    assert_eq!(judged(&case, &out, "out:y").verdict, Verdict::Pass);
}

#[test]
fn what_cannot_be_judged_is_never_counted_as_passed() {
    let (mut case, out) = made_up("structure", r#"{"out:y": 6e-4}"#);
    assert_eq!(judged(&case, &out, "out:y").verdict, Verdict::NotCompared);
    case.tensors.retain(|n, _| n == "out:y");
    let report = CaseReport::judged("c".into(), "m".into(), compare(&case, &out).unwrap());
    assert_eq!(report.outcome, Outcome::Fail);
    assert!(report.row().contains("nothing was compared") && report.row().contains("not compared: out:y"), "{}", report.row());
    // Where the reference is zero, so must we be.
    let (mut case, mut out) = made_up("structure", "{}");
    case.tensors.insert("out:y".into(), HostTensor::zeros(&[2]));
    assert_eq!(judged(&case, &out, "out:y").verdict, Verdict::Fail);
    out.tensors.insert("y".into(), HostTensor::zeros(&[2]));
    assert_eq!(judged(&case, &out, "out:y").verdict, Verdict::Pass);
    out.tensors.insert("y".into(), HostTensor::f32(&[2], vec![f32::NAN, 0.0]));
    assert_eq!(judged(&case, &out, "out:y").verdict, Verdict::Fail);
}

#[test]
fn globs_fit_as_in_a_shell() {
    for (glob, text, fit) in
        [("*", "", true), ("a*c", "abbc", true), ("a*c", "abcd", false), ("?b", "ab", true), ("?", "", false), ("*_small", "x_small", true)]
    {
        assert_eq!(fits(glob, text), fit, "{glob} {text}");
    }
}

fn verify(paths: &[&Path], more: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_anyfold")).arg("verify").args(paths).args(more).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn the_repositorys_data_cases_pass() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("v.json");
    let (status, said, _) = verify(&[&asset("data")], &["--json", json.to_str().unwrap()]);
    assert!(status == 0 && said.ends_with("\n16 passed, 0 failed\n"), "{said}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!((report["passed"].as_u64(), report["cases"].as_array().unwrap().len()), (Some(16), 16));
    let (status, said, _) = verify(&[&asset("data")], &["--filter", "data/make_*"]);
    assert!(status == 0 && said.ends_with("\n6 passed, 0 failed\n"), "{said}");
    let (status, said, _) = verify(&[], &["--explain"]);
    assert!(status == 0 && said.contains("max(3e-5, 20 ref_err)"), "{said}");
}

#[test]
fn all_data_cases_pass() {
    let Some(folder) = shared("goldens/data") else { return };
    let (status, said, _) = verify(&[&folder], &[]);
    assert!(status == 0 && said.ends_with("\n38 passed, 0 failed\n"), "{said}");
}

/// The bytes with the first `from` replaced by `to`, which is as long.
fn put(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let start = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
    [&bytes[..start], to.as_bytes(), &bytes[start + from.len()..]].concat()
}

#[test]
fn what_is_wrong_with_a_file_is_one_line_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let whole = std::fs::read(asset("data/make_atom14_masks.safetensors")).unwrap();
    std::fs::write(at("a_good.safetensors"), &whole).unwrap();
    let (status, said, error) = verify(&[folder.path()], &[]);
    assert!(status == 0 && error.is_empty(), "{said}{error}");
    let text = |from: &str, to: &str| put(&whole, from, to);
    let masked = std::fs::read(asset("data/make_masked_msa.safetensors")).unwrap();
    let wrong = [
        (whole[..whole.len() - 7].to_vec(), "not a whole safetensors file"),
        (text("\"dtype\":\"I32\"", "\"dtype\":\"U32\""), "goldens hold F32 and I32 only"),
        (text("\"in:aatype\"", "\"in:aatypo\""), "tensor `in:aatype` is missing"),
        (text("\"module\":\"make_atom14_masks\"", "\"module\":\"make_atom14_tasks\""), "does not know: make_atom14_tasks"),
        (Vec::new(), "b_bad.safetensors"),
        (
            put(&masked, r#""in:msa":{"dtype":"I32","shape":[12,73]"#, r#""in:msa":{"dtype":"I32","shape":[876  ]"#),
            "do not fit module `make_masked_msa`",
        ),
    ];
    for (bytes, message) in wrong {
        std::fs::write(at("b_bad.safetensors"), bytes).unwrap();
        let (status, said, error) = verify(&[folder.path()], &[]);
        assert!(status == 2 && said.ends_with("\n1 passed, 1 failed\n"), "{said}{error}");
        assert!(error.contains(message) && error.lines().count() == 1, "{error}");
    }
    for (path, more, message) in [
        (at("none"), &[][..], "none: No such file"),
        (asset("data/files"), &[], "no golden case"),
        (asset("data"), &["--filter", "zebra"], "--filter zebra: no case fits"),
    ] {
        let (status, said, error) = verify(&[&path], more);
        assert!(status == 2 && error.contains(message) && error.lines().count() == 1, "{said}{error}");
    }
}
