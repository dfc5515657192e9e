//! `anyfold train` on real structures: what is resumed has the same bits as what was not interrupted, and what cannot be resumed is refused.

use std::path::Path;
use std::process::{Command, Output};

use anyfold::train::checkpoint;

fn anyfold(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_anyfold")).args(arguments).output().expect("the program starts")
}

/// A set of two real chains without alignments, from the repository.
pub fn set(folder: &Path) -> String {
    let structures = folder.join("structures");
    std::fs::create_dir_all(&structures).unwrap();
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/goldens/data/files");
    for name in ["2rbg.pdb.gz", "3zee.cif.gz"] {
        std::fs::copy(files.join(name), structures.join(name)).unwrap();
    }
    prepared(&structures, folder)
}

/// A set of what lies in a folder.
pub fn prepared(from: &Path, folder: &Path) -> String {
    let set = folder.join("set").display().to_string();
    let made = anyfold(&["data", "prepare", &from.display().to_string(), "--out", &set]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    set
}

/// The smallest shape that has every part: two passes, dropout, a template.
pub const SMALL: [&str; 8] = [
    "data.crop=16",
    "data.clusters=4",
    "data.extra_rows=4",
    "data.templates=1",
    "data.max_passes=2",
    "optimizer.batch=1",
    "run.validate_every=0",
    "model.overrides.evoformer.blocks=1",
];

/// The arguments of a run of `samples` steps with dropout and up to two passes, with a checkpoint after each.
pub fn arguments(folder: &Path, set: &str, samples: u64, more: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = ["train", "--preset", "tiny", "--out"].map(String::from).into();
    all.extend([folder.display().to_string(), "--data".into(), set.into()]);
    let sets = [&format!("run.samples={samples}"), "optimizer.warmup_samples=2", "run.checkpoint_every=1"];
    all.extend(SMALL.iter().chain(&sets).flat_map(|s| ["--set".to_owned(), (*s).to_owned()]));
    all.extend(more.iter().map(ToString::to_string));
    all
}

fn train(folder: &Path, set: &str, samples: u64, more: &[&str]) -> Output {
    let all = arguments(folder, set, samples, more);
    anyfold(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_resumed_run_has_the_bits_of_one_that_was_not_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let set = set(folder.path());
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let done = train(&whole, &set, 3, &[]);
    assert!(done.status.success(), "{}", text(&done));
    assert!(train(&parts, &set, 1, &[]).status.success());
    let resumed = train(&parts, &set, 3, &["--resume"]);
    assert!(resumed.status.success(), "{}", text(&resumed));
    let last = |run: &Path| checkpoint::read(&run.join("checkpoints/step-00000003.ckpt")).unwrap();
    let (a, b) = (last(&whole), last(&parts));
    assert_eq!(a.arenas.keys().collect::<Vec<_>>(), b.arenas.keys().collect::<Vec<_>>());
    assert!(a.arenas.iter().all(|(name, values)| values.iter().zip(&b.arenas[name]).all(|(x, y)| x.to_bits() == y.to_bits())));
    let moved = |name: &str| a.arenas[name].iter().any(|v| *v != 0.0);
    assert!(moved("adam_m") && moved("ema"), "three steps leave moments and averages");

    // A run that is there is not overwritten, and a checkpoint of another model is refused by name.
    let again = train(&whole, &set, 3, &[]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again).contains("--resume"), "{}", text(&again));
    let other = train(&whole, &set, 3, &["--resume", "--set", "model.overrides.c_m=48"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(text(&other).contains("step-00000003.ckpt: a checkpoint of the model `tiny`"), "{}", text(&other));
    // What decides no bit may change: less memory, which means that more is computed again.
    let longer = train(&whole, &set, 4, &["--resume", "--set", "device.memory_gib=4"]);
    assert!(longer.status.success() && !text(&longer).contains("warning"), "{}", text(&longer));

    // Other kernels are said, and no reason to stop.
    let path = whole.join("checkpoints/step-00000004.ckpt");
    let found = checkpoint::read(&path).unwrap();
    let mut state = found.state.clone();
    state.kernels.subgroup += 24;
    let arenas: Vec<(&str, &[f32])> = found.arenas.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
    checkpoint::write(&path, &state, &arenas).unwrap();
    let warned = train(&whole, &set, 5, &["--resume"]);
    assert!(warned.status.success(), "{}", text(&warned));
    assert!(text(&warned).contains("warning: the checkpoint was written with other kernels") && text(&warned).contains("`subgroup` was"));
    // An arena in another order cannot be gone on with.
    state.layout ^= 1;
    std::fs::remove_dir_all(whole.join("checkpoints")).unwrap();
    std::fs::create_dir(whole.join("checkpoints")).unwrap();
    checkpoint::write(&path, &state, &arenas).unwrap();
    let moved = train(&whole, &set, 5, &["--resume"]);
    assert_eq!(moved.status.code(), Some(2));
    assert!(text(&moved).contains("lie in another order"), "{}", text(&moved));
}
