//! Parsers and feature transforms against AlphaFold's own results, replaying the draws it recorded.

use std::path::{Path, PathBuf};

use anyfold::tensor::Data;
use anyfold::verify::data::run;
use anyfold::verify::golden::Golden;
use anyfold::verify::host_structure::Outputs;
use serde_json::Value;

use crate::shared::shared;

fn check(case: &Golden) {
    let out = run(case).expect("a case of this group").unwrap_or_else(|e| panic!("{e}"));
    compare(case, &out);
}

/// Integers and strings exact, floats within 1e-6 of the largest reference; every output of the case must have been made, and no other.
pub fn compare(case: &Golden, out: &Outputs) {
    let strings = case.json("strings").unwrap();
    let strings = strings.as_object().cloned().unwrap_or_default();
    let names: Vec<&str> = case.with_prefix("out:").map(|(n, _)| n).collect();
    assert!(!names.is_empty(), "{}: nothing to compare", case.case);
    assert!(out.tensors.keys().eq(names.iter()), "{}: made {:?}, the case has {names:?}", case.case, out.tensors.keys());
    for (name, reference) in case.with_prefix("out:") {
        let ours = &out.tensors[name];
        let scalar = ours.shape.is_empty() && reference.shape == [1];
        assert!(scalar || ours.shape == reference.shape, "{}: {name} is {:?}, not {:?}", case.case, ours.shape, reference.shape);
        if let Data::I32(theirs) = &reference.data {
            assert!(ours.as_i32() == theirs, "{}: {name} differs", case.case);
            continue;
        }
        let largest = reference.to_f64().iter().fold(0.0_f64, |m, x| m.max(x.abs()));
        for (i, (a, b)) in ours.to_f64().iter().zip(reference.to_f64()).enumerate() {
            assert!((a - b).abs() <= 1e-6 * largest, "{}: {name}[{i}] = {a}, reference {b}", case.case);
        }
    }
    for (key, theirs) in strings {
        assert!(
            out.strings.get(&key) == Some(&theirs),
            "{}: string `{key}` is {:?}",
            case.case,
            out.strings.get(&key).map(Value::to_string)
        );
    }
}

/// Checks every case of a folder that is one of ours and gives their names.
fn check_all(folder: &Path) -> Vec<String> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let mut done = Vec::new();
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "safetensors")) {
        let case = Golden::read(file).unwrap();
        if run(&case).is_some() {
            check(&case);
            done.push(case.case);
        }
    }
    println!("{} cases: {}", done.len(), done.join(" "));
    done
}

#[test]
fn transforms_and_parsers_reproduce_the_goldens_in_the_repository() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/goldens/data");
    assert_eq!(check_all(&folder).len(), 13);
}

#[test]
fn transforms_and_parsers_reproduce_all_goldens() {
    let Some(folder) = shared("goldens/data") else { return };
    assert_eq!(check_all(&folder).len(), 28);
}

#[test]
fn a_changed_reference_is_noticed() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/goldens/data/make_masked_msa.safetensors");
    let mut case = Golden::read(&path).unwrap();
    let Data::I32(drawn) = &mut case.tensors.get_mut("in:draw2_categorical").unwrap().data else { panic!("draws are integers") };
    drawn.iter_mut().for_each(|t| *t = (*t + 1) % 22);
    assert!(std::panic::catch_unwind(|| check(&case)).is_err());
    let mut case = Golden::read(&path).unwrap();
    let Data::F32(logits) = &mut case.tensors.get_mut("in:draw1_categorical_logits").unwrap().data else { panic!("logits are floats") };
    logits.iter_mut().for_each(|l| *l += 0.01);
    assert!(run(&case).unwrap().unwrap_err().to_string().contains("probabilities of masked position"));
}
