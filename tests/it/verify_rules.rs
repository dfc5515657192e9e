//! The rules of `anyfold verify`, and the command as users call it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyfold::tensor::{Data, HostTensor};
use anyfold::verify::golden::Golden;
use anyfold::verify::host_structure::Outputs;
use anyfold::verify::report::{CaseReport, Outcome};
use anyfold::verify::rules::{Compared, Verdict, compare};
use anyfold::verify::{Context, diagonal, fits, hashed, run_case};

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

/// Pairs of four residues of which three exist: padded values are a thousand times larger (QUIRKS 8), so that a wrong valid one is lost
/// in the joint largest.
#[test]
fn padded_pairs_are_compared_by_themselves() {
    let masks = [
        ("in:pair_mask", HostTensor::f32(&[4, 4], (0..16).map(|at| f32::from(u8::from(at / 4 < 3 && at % 4 < 3))).collect())),
        ("in:seq_mask", HostTensor::f32(&[1, 4], vec![1.0, 1.0, 1.0, 0.0])),
        ("in:mask", HostTensor::f32(&[2, 4], vec![1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0])),
    ];
    for (name, mask) in masks {
        let (mut case, mut out) = made_up("structure", "{}");
        case.tensors.insert(name.into(), mask);
        let with = |value: f32| {
            let of = |at: usize| if at / 8 < 3 && at / 2 % 4 < 3 { 1.0 } else { 1000.0 };
            let mut data: Vec<f32> = (0..32).map(of).collect();
            data[2] = value;
            HostTensor::f32(&[4, 4, 2], data)
        };
        case.tensors.insert("out:y".into(), with(1.0));
        for (value, verdict) in [(1.0, Verdict::Pass), (1.001, Verdict::Fail)] {
            out.tensors.insert("y".into(), with(value));
            assert_eq!(judged(&case, &out, "out:y").verdict, verdict, "{name}");
            assert_eq!(judged(&case, &out, "out:y in padding").verdict, Verdict::Pass, "{name}");
        }
        // In the padding too.
        let mut wrong = with(1.0);
        let Data::F32(values) = &mut wrong.data else { panic!("not f32") };
        values[31] += 1.0;
        out.tensors.insert("y".into(), wrong);
        assert_eq!(judged(&case, &out, "out:y").verdict, Verdict::Pass, "{name}");
        assert_eq!(judged(&case, &out, "out:y in padding").verdict, Verdict::Fail, "{name}");
    }
}

#[test]
fn measures_are_relative_unless_the_gradient_is_rounding() {
    let (mut case, mut out) = made_up("model", "{}");
    case.tensors.clear();
    let mut put = |key: &str, value: &str| case.meta.insert(key.into(), value.into());
    put("gparam_norms", r#"{"large": 100.0, "small": 5e-10, "noise": 5e-11, "zero": 0.0}"#);
    put("gparam_dot_param", r#"{"large": 0.001, "small": 5e-10, "noise": 1e-12, "zero": 0.0}"#);
    put("gparam_norm_rel_err", r#"{"large": 1e-6, "small": 1e-5, "noise": 5e8, "zero": 0.0}"#);
    put("gparam_dot_rel_err", r#"{"large": 1e-3, "small": 1e-4, "noise": 1e8, "zero": 0.0}"#);
    out.measures =
        [("large", [100.0, 0.001]), ("small", [5e-10; 2]), ("noise", [9e-4, -9e-4]), ("zero", [0.0; 2])].map(|(n, m)| (n.into(), m)).into();
    assert!(compare(&case, &out).unwrap().iter().all(|c| c.name.contains("large") && c.tolerance > 1e-2 || c.verdict == Verdict::Pass));
    // A product that cancels has its own size to be held against, however large its parts.
    assert_eq!(judged(&case, &out, "gparam_dot_param:large").verdict, Verdict::NotCompared);
    for (name, wrong, key) in [
        ("large", [100.02, 0.001], "gparam_norms:large"),
        ("small", [5.002e-10, 5e-10], "gparam_norms:small"),
        ("small", [5e-10, 5.02e-10], "gparam_dot_param:small"),
        ("noise", [1.1e-3, 0.0], "gparam_norms:noise"),
        ("noise", [0.0, -1.1e-3], "gparam_dot_param:noise"),
        ("zero", [1e-30, 0.0], "gparam_norms:zero"),
    ] {
        let right = out.measures.insert(name.into(), wrong).unwrap();
        assert_eq!(judged(&case, &out, key).verdict, Verdict::Fail, "{key}");
        out.measures.insert(name.into(), right);
    }
}

/// What the golden cases of full size say of the diagonal's labels: see `verify::diagonal`. Everything here is computed from the files.
#[test]
fn the_diagonal_of_full_size_cases_is_rounding() {
    let Some(folder) = shared("goldens/model") else { return };
    for case in ["full_size_model_1_ptm", "full_size_model_3_ptm"] {
        let case = Golden::read(&folder.join(format!("{case}.safetensors"))).unwrap();
        let exact = diagonal::exact(&case.case).unwrap();
        let off = |in_class_0: &dyn Fn(usize) -> bool| aligned_error_off(&case, in_class_0);
        let [loss, head @ ..] = off(&|i| exact.contains(&i));
        assert!(loss < 1e-7 && head.iter().all(|&e| e < 5e-9), "{loss:e} {head:?}");
        // The definition's labels do not make this reference, nor does the diagonal in class 1 as a whole.
        for wrong in [off(&|_| true), off(&|_| false)] {
            assert!(wrong[0] > 2e-4 && wrong[1..].iter().all(|&e| e > 5e-6), "{wrong:?}");
        }
        // Nor is it a distance near an edge: none off the diagonal lies within 1e-4 Angstrom of one.
        let (bins, nearest) = labels(&case);
        assert!(nearest > 1e-4 && bins.len() == 48 * 48, "{nearest}");
    }
}

/// The label of every pair by the definition, from the reference's frames in double precision, and the least distance of an error between
/// residues that exist from an edge of the bins.
fn labels(case: &Golden) -> (Vec<usize>, f64) {
    let frames = |name: &str| -> Vec<(glam::DQuat, glam::DVec3)> {
        let rows = case.get(name).unwrap().to_f64();
        let one = |r: &[f64]| (glam::DQuat::from_xyzw(r[1], r[2], r[3], r[0]), glam::DVec3::new(r[4], r[5], r[6]));
        rows.chunks(7).map(one).collect()
    };
    let (predicted, truth) = (frames("out:structure_module/final_affines"), frames("in:backbone_affine_tensor"));
    let mask = case.input("backbone_affine_mask").unwrap().to_f64();
    let n = mask.len();
    let mut nearest = f64::INFINITY;
    let mut label = |at: usize| {
        let (i, j) = (at / n, at % n);
        if i == j {
            return 0;
        }
        let seen = |f: &[(glam::DQuat, glam::DVec3)]| f[i].0.conjugate() * (f[j].1 - f[i].1);
        let error = (seen(&predicted) - seen(&truth)).length();
        let edge = |k: usize| 0.5 * k as f64;
        if mask[i] * mask[j] > 0.0 {
            nearest = (0..63).map(|k| (error - edge(k)).abs()).fold(nearest, f64::min);
        }
        (0..63).filter(|&k| error > edge(k)).count()
    };
    ((0..n * n).map(&mut label).collect(), nearest)
}

/// How far the loss of the predicted aligned error, and the norms and products of its head's gradients, are from the reference's with some
/// of the diagonal in class 0 and the rest in class 1.
fn aligned_error_off(case: &Golden, in_class_0: &dyn Fn(usize) -> bool) -> [f64; 5] {
    let logits = case.get("out:predicted_aligned_error/logits").unwrap().to_f64();
    let pair = case.get("out:representations/pair").unwrap().to_f64();
    let mask = case.input("backbone_affine_mask").unwrap().to_f64();
    let (n, bins, c) = (mask.len(), 64, 128);
    let total = mask.iter().sum::<f64>().powi(2) + 1e-8;
    let (labels, _) = labels(case);
    let (mut loss, mut bias, mut weights) = (0.0, vec![0.0; bins], vec![0.0; c * bins]);
    for at in (0..n * n).filter(|at| mask[at / n] * mask[at % n] > 0.0) {
        let row = &logits[at * bins..(at + 1) * bins];
        let label = if at / n == at % n { usize::from(!in_class_0(at / n)) } else { labels[at] };
        let top = row.iter().fold(f64::MIN, |m, &x| m.max(x));
        let sum: f64 = row.iter().map(|x| (x - top).exp()).sum();
        loss += (top + sum.ln() - row[label]) / total;
        for k in 0..bins {
            // The head's weight is 0.1.
            let d = 0.1 * ((row[k] - top).exp() / sum - f64::from(u8::from(k == label))) / total;
            bias[k] += d;
            (0..c).for_each(|e| weights[e * bins + k] += d * pair[at * c + e]);
        }
    }
    let relative = |ours: f64, reference: f64| (ours / reference - 1.0).abs();
    let reference = |key: &str, name: &str| case.json(key).unwrap()[name].as_f64().unwrap();
    let mut off = vec![relative(loss, case.get("out:predicted_aligned_error/loss").unwrap().to_f64()[0])];
    for (name, shape, gradient) in [("bias", &[bins][..], bias), ("weights", &[c, bins], weights)] {
        let name = format!("alphafold/alphafold_iteration/predicted_aligned_error_head/logits//{name}");
        let parameter = hashed::tensor(&name, shape).to_f64();
        let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        let product = gradient.iter().zip(&parameter).map(|(g, p)| g * p).sum::<f64>();
        off.push(relative(norm, reference("gparam_norms", &name)));
        off.push(relative(product, reference("gparam_dot_param", &name)));
    }
    off.try_into().expect("five")
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
