//! Residue tables, rigid geometry, ground truth, metrics and structure files against AlphaFold's own numbers.

use std::path::Path;

use anyfold::tensor::Data;
use anyfold::verify::golden::Golden;
use anyfold::verify::host_structure::{Outputs, run};
use serde_json::Value;

use crate::shared::shared;

/// Integers and strings exact; floats of the data group within 1e-6, of the others within `max(1e-5, 10 ref_err)`, relative to the largest reference.
fn check(case: &Golden, out: &Outputs) {
    let ref_err = case.json("ref_err").unwrap();
    let mut compared = 0;
    for (name, reference) in case.with_prefix("out:") {
        let ours = out.tensors.get(name).unwrap_or_else(|| panic!("{}: no output {name}", case.case));
        assert_eq!(ours.shape, reference.shape, "{}: {name}", case.case);
        compared += 1;
        if let Data::I32(theirs) = &reference.data {
            assert_eq!(ours.as_i32(), theirs, "{}: {name}", case.case);
            continue;
        }
        let largest = reference.to_f64().iter().fold(0.0_f64, |m, x| m.max(x.abs()));
        let noise = ref_err[format!("out:{name}")].as_f64().or(ref_err[name].as_f64()).unwrap_or(0.0);
        let tolerance = if case.group == "data" { 1e-6 } else { f64::max(1e-5, 10.0 * noise) } * largest;
        let open = out.undefined.get(name);
        for (i, (a, b)) in ours.to_f64().iter().zip(reference.to_f64()).enumerate() {
            if open.is_some_and(|o| o[i]) {
                continue;
            }
            assert!((a - b).abs() <= tolerance, "{}: {name}[{i}] = {a}, reference {b}, tolerance {tolerance:.1e}", case.case);
        }
    }
    if let Value::Object(strings) = case.json("strings").unwrap() {
        for (key, theirs) in strings {
            assert_eq!(out.strings.get(&key), Some(&theirs), "{}: string {key}", case.case);
            compared += 1;
        }
    }
    assert!(compared > 0, "{}: nothing to compare", case.case);
}

/// Compares every case below `root` that the host computes; gives their names.
fn compare_all(root: &Path) -> Vec<String> {
    let mut done = Vec::new();
    for group in ["structure", "evoformer", "losses", "data"] {
        let mut files: Vec<_> = std::fs::read_dir(root.join(group)).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "safetensors")) {
            let case = Golden::read(file).unwrap();
            if let Some(out) = run(&case) {
                check(&case, &out.unwrap());
                done.push(case.case);
            }
        }
    }
    println!("{} cases: {}", done.len(), done.join(" "));
    done
}

#[test]
fn host_modules_reproduce_the_goldens_in_the_repository() {
    let done = compare_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/goldens"));
    assert!(done.len() >= 16, "only {} cases were compared: {done:?}", done.len());
}

#[test]
fn host_modules_reproduce_all_goldens() {
    let Some(root) = shared("goldens") else { return };
    let done = compare_all(&root);
    assert!(done.len() >= 22, "only {} cases were compared: {done:?}", done.len());
}

/// The comparison itself: one changed number must be noticed.
#[test]
#[should_panic(expected = "gt_features_small: chi_angles")]
fn a_changed_reference_is_noticed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/goldens/structure/gt_features_small.safetensors");
    let mut case = Golden::read(&path).unwrap();
    let out = run(&case).unwrap().unwrap();
    let Some(Data::F32(values)) = case.tensors.get_mut("out:chi_angles").map(|t| &mut t.data) else { panic!("no chi angles") };
    values[0] += 1e-3;
    check(&case, &out);
}
