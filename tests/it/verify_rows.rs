//! Every module of the repository's golden cases under what other machines are like: narrow bindings, little memory, each family of kernels,
//! checked shaders.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyfold::gpu::device::Choice;
use anyfold::gpu::recorder::Family;
use anyfold::graph::Saving;
use anyfold::verify::golden::Golden;
use anyfold::verify::host_structure::Outputs;
use anyfold::verify::report::Outcome;
use anyfold::verify::{self, Context, RUNNERS};

/// One case of each module of the network and its losses; a training run is its own test.
fn cases() -> Vec<Golden> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/goldens");
    let folders = ["primitives", "evoformer", "structure", "losses", "model"].map(|group| root.join(group));
    let mut seen = BTreeSet::new();
    let all = verify::find(&folders).unwrap().into_iter().map(|path| Golden::read(&path).unwrap());
    all.filter(|case| case.module != "train_trajectory" && seen.insert(case.module.clone())).collect()
}

/// Judges every module with one device.
fn row(choice: Choice, saving: Saving) {
    let (context, cases) = (Context::new(choice, saving), cases());
    assert!(cases.len() >= 45, "{} modules", cases.len());
    let judged = cases.iter().map(|case| verify::run_case(&context, case).unwrap_or_else(|e| panic!("{}: {e}", case.case)));
    let failed: Vec<String> = judged.filter(|c| c.outcome != Outcome::Pass).map(|c| c.row()).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn narrow_bindings_and_small_buffers() {
    row(Choice { max_binding: Some(64 << 10), max_buffer: Some(1 << 20), ..Choice::default() }, Saving::default());
}

#[test]
fn the_smallest_memory_budget() {
    row(Choice::default(), Saving::SMALLEST);
}

#[test]
fn the_subgroup_family() {
    row(Choice { family: Some(Family::Subgroup), ..Choice::default() }, Saving::default());
}

#[test]
fn the_tiled_family() {
    row(Choice { family: Some(Family::Tiled), ..Choice::default() }, Saving::default());
}

/// Checks in shaders find nothing, and change no bit.
#[test]
fn checked_shaders() {
    let contexts = [false, true].map(|checked| Context::new(Choice { checked, ..Choice::default() }, Saving::default()));
    for case in cases() {
        let made = contexts.each_ref().map(|context| -> Outputs {
            let run = RUNNERS.iter().find_map(|run| run(context, &case)).expect("the module is known");
            run.unwrap_or_else(|e| panic!("{}: {e}", case.case))
        });
        let report = verify::rules::compare(&case, &made[1]).unwrap();
        assert!(report.iter().all(|c| c.verdict != verify::rules::Verdict::Fail), "{}", case.case);
        assert!(made[0].tensors == made[1].tensors && made[0].gradients == made[1].gradients, "{}: checks change bits", case.case);
    }
}
