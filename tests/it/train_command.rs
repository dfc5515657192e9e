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
    let set = folder.join("set").display().to_string();
    let made = anyfold(&["data", "prepare", &structures.display().to_string(), "--out", &set]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    set
}

/// A run of `samples` steps with dropout and up to two passes.
fn train(folder: &Path, set: &str, samples: u64, more: &[&str]) -> Output {
    let (out, samples) = (folder.display().to_string(), format!("run.samples={samples}"));
    let fixed = [
        "train",
        "--out",
        &out,
        "--preset",
        "tiny",
        "--data",
        set,
        "--set",
        &samples,
        "--set",
        "data.crop=16",
        "--set",
        "data.clusters=4",
        "--set",
        "data.extra_rows=4",
        "--set",
        "data.templates=1",
        "--set",
        "data.max_passes=2",
        "--set",
        "optimizer.batch=1",
        "--set",
        "optimizer.warmup_samples=2",
        "--set",
        "run.validate_every=0",
        "--set",
        "run.checkpoint_every=1",
        "--set",
        "model.overrides.evoformer.blocks=1",
    ];
    anyfold(&[&fixed[..], more].concat())
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
    assert!(text(&other).contains("model"), "{}", text(&other));
}
