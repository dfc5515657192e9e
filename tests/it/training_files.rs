//! What a training run keeps in files: configuration, checkpoints, log; and what becomes of them when they are damaged or the program is
//! killed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyfold::gpu::recorder::{Family, Traits};
use anyfold::train::checkpoint::{self, Checkpoint, Folder, State};
use anyfold::train::config::Config;
use anyfold::train::log::{self, Kind, Log, Record};
use anyfold::train::presets::{PRESETS, preset};
use anyfold::train::sampler::SamplerState;
use proptest::prelude::*;

fn resolve(sets: &[&str]) -> Result<Config, String> {
    let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
    Config::resolve(Some("tiny"), None, &sets).map_err(|e| e.to_string())
}

fn refused(sets: &[&str]) -> String {
    resolve(sets).expect_err(&format!("{sets:?}"))
}

#[test]
fn presets_hold_the_published_numbers() {
    let c = preset("initial_training").unwrap();
    assert_eq!((c.data.crop, c.data.clusters, c.data.extra_rows, c.data.templates, c.data.max_passes), (256, 128, 1024, 4, 4));
    let o = &c.optimizer;
    assert_eq!((o.lr, o.b1, o.b2, o.eps, o.clip, o.batch, o.ema_decay), (1e-3, 0.9, 0.999, 1e-6, 0.1, 128, 0.999));
    assert_eq!((o.warmup_samples, o.decay_after_samples, o.decay_factor), (128_000, 6_400_000, 0.95));
    let l = &c.loss;
    assert_eq!((l.fape, l.distogram, l.masked_msa, l.plddt, l.violations, l.experimentally_resolved), (0.5, 0.3, 2.0, 0.01, 0.0, 0.0));
    let f = preset("fine_tuning").unwrap();
    assert_eq!((f.data.crop, f.data.clusters, f.data.extra_rows), (384, 512, 5120));
    assert_eq!((f.optimizer.lr, f.optimizer.warmup_samples, f.loss.violations, f.loss.experimentally_resolved), (5e-4, 0, 1.0, 0.01));
    let m = c.features();
    assert_eq!(m, anyfold::data::features::FeatureConfig::training(256, 128, 1024), "the data side's own published numbers");
    for (name, _) in PRESETS {
        let config = Config::resolve(Some(name), None, &[]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        config.write(&path).unwrap();
        assert_eq!(Config::read(&path).unwrap(), config, "{name} does not survive its file");
    }
}

#[test]
fn settings_have_types_and_places() {
    let c = resolve(&[
        "optimizer.lr=2e-4",
        "optimizer.clip=1",
        "model.preset=model_3",
        "data.templates=0",
        "model.overrides.evoformer.blocks=4",
        "data.train.0.set=sets/pdb",
        "data.train.0.max_date=2018-04-30",
        "data.train.1={set='sets/distilled', share=3}",
        "optimizer.rates=[{pattern='template*', factor=0}, {pattern='structure_module', factor=0.5}]",
        "device.storage=bf16",
        "optimizer.dropout=false",
    ])
    .unwrap();
    assert_eq!((c.optimizer.lr, c.optimizer.clip, c.model.preset.as_str(), c.optimizer.dropout), (2e-4, 1.0, "model_3", false));
    let sizes = c.sizes().unwrap();
    assert_eq!((sizes.evoformer.blocks, sizes.extra.blocks, sizes.c_m, sizes.template), (4, 4, 256, None));
    let edges = resolve(&["model.overrides.heads.distogram_edges=[3.0, 20]"]).unwrap();
    assert_eq!(edges.sizes().unwrap().heads.distogram_edges, [3.0, 20.0]);
    assert_eq!((c.data.train.len(), c.data.train[1].share, c.data.train[0].share), (2, 3.0, 1.0));
    assert_eq!(c.data.train[0].part().filter.max_date.as_deref(), Some("2018-04-30"));
    assert_eq!(c.data.train[1].part().filter.max_date, None);
    assert_eq!((c.optimizer.rates[0].factor, c.optimizer.rates[1].factor), (0.0, 0.5));
    assert_eq!(c.device.storage, anyfold::tensor::DType::Bf16);
    assert_eq!(Config::resolve(Some("initial_training"), None, &["run.samples=1000".into()]).unwrap().steps(), 8);
}

#[test]
fn wrong_settings_are_refused_by_name() {
    for (set, parts) in [
        ("optimiser.lr=1", vec!["no key `optimiser`", "`optimizer`"]),
        ("optimizer.larning_rate=1", vec!["no key `optimizer.larning_rate`", "the nearest is"]),
        ("optimizer.warmup_sample=1", vec!["`optimizer.warmup_samples`"]),
        ("lr=1", vec!["no key `lr`", "`optimizer.lr`"]),
        ("loss.masked_mas=1", vec!["`loss.masked_msa`"]),
        ("data.crop=large", vec!["`data.crop` is a string, expected an integer"]),
        ("data.crop=1.5", vec!["`data.crop` is a number, expected an integer"]),
        ("data.crop=-5", vec!["`data.crop` is -5"]),
        ("data.crop=8", vec!["`data.crop` is 8", "between 16 and"]),
        ("optimizer.lr=nan", vec!["`optimizer.lr` is NaN", "finite"]),
        ("optimizer.lr=0", vec!["`optimizer.lr` is 0", "above 0"]),
        ("optimizer.b2=1", vec!["`optimizer.b2` is 1", "below 1"]),
        ("data.unclamped_fraction=1.5", vec!["`data.unclamped_fraction` is 1.5", "between 0 and 1"]),
        ("data.train.2.set=x", vec!["`data.train` has 0 elements"]),
        ("data.train.first.set=x", vec!["no key `data.train.first`", "`data.train"]),
        ("data.train=[{sett='x'}]", vec!["no key `data.train.0.sett`", "`data.train.0.set`"]),
        ("data.train=[{share=1}]", vec!["`data.train.0.set` is empty"]),
        ("data.masking.profile=0.95", vec!["`data.masking`", "above 1"]),
        ("optimizer.decay_after_samples=10", vec!["`optimizer.decay_after_samples` is 10", "`optimizer.warmup_samples` = 400"]),
        ("device.storage=f64", vec!["f64"]),
        ("device.storage=f16", vec!["`device.storage` is f16"]),
        ("optimizer.rates.0.factor=-1", vec!["`optimizer.rates.0"]),
        ("model.preset=model_6", vec!["`model.preset`", "no model `model_6`"]),
        ("model.preset=model_3", vec!["`data.templates` is 2", "`model_3`"]),
        ("model.overrides.evoformer.block=2", vec!["`model.overrides`: there is no key `evoformer.block`", "`evoformer.blocks`"]),
        ("model.overrides.c_m='wide'", vec!["`c_m` is a string, expected an integer"]),
        ("model.overrides.heads.distogram_edges=[1]", vec!["`heads.distogram_edges` has 2 elements, not 1"]),
        ("preset=small", vec!["--preset"]),
        ("data.crop", vec!["key=value"]),
    ] {
        let what = refused(&[set]);
        assert!(parts.iter().all(|p| what.contains(p)), "{set}: {what}");
        assert!(!what.contains('\n'), "{set}: {what}");
    }
    // `tiny` predicts the aligned error, `model_1` does not.
    resolve(&["loss.predicted_aligned_error=0.1"]).unwrap();
    let what = refused(&["loss.predicted_aligned_error=0.1", "model.preset=model_1"]);
    assert!(what.contains("`loss.predicted_aligned_error` is 0.1") && what.contains("`model_1`"), "{what}");
    assert!(Config::resolve(Some("huge"), None, &[]).unwrap_err().to_string().contains("`initial_training`"));
    let run = |sets: &[&str]| resolve(sets).unwrap().check_run().unwrap_err().to_string();
    assert!(run(&[]).contains("`data.train` is empty"));
    assert!(run(&["data.train.0.set=x"]).contains("`data.validation` is empty and `run.validate_every` is 100"));
    assert!(run(&["start.from="]).contains("`start.from` is empty"));
}

#[test]
fn files_change_presets_and_options_change_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    let with = |text: &str, sets: &[String]| {
        std::fs::write(&path, text).unwrap();
        Config::resolve(None, Some(&path), sets)
    };
    let c = with("preset = 'small'\nseed = 7\n[optimizer]\nlr = 1e-4\nbatch = 2\n", &["optimizer.batch=3".into()]).unwrap();
    assert_eq!((c.preset.as_str(), c.seed, c.optimizer.lr, c.optimizer.batch, c.data.crop), ("small", 7, 1e-4, 3, 128));
    assert_eq!(with("", &[]).unwrap().preset, "initial_training");
    for (text, part) in [
        ("preset = 'smal'", "no preset `smal`"),
        ("[optimizer]\nlr = 'fast'", "`optimizer.lr` is a string, expected a number"),
        ("[optimiser]\nlr = 1", "no key `optimiser`"),
        ("seed = 1\n[optimizer\n", "run.toml:2:"),
    ] {
        let what = with(text, &[]).unwrap_err().to_string();
        assert!(what.contains(part) && what.contains("run.toml"), "{text:?}: {what}");
    }
}

#[test]
fn a_resumed_run_keeps_what_decides_its_bits() {
    let before = resolve(&["model.overrides.c_m=32"]).unwrap();
    let now = |sets: &[&str]| resolve(&[&["model.overrides.c_m=32"], sets].concat()).unwrap().check_resumes(&before);
    now(&["run.samples=99", "run.threads=3", "run.checkpoint_every=2"]).unwrap();
    for (set, field) in [
        ("optimizer.lr=0.5", "`optimizer.lr` is 0.5 and was 0.001"),
        ("seed=1", "`seed` is 1 and was 0"),
        ("model.overrides.c_m=64", "`model.overrides.c_m` is 64 and was 32"),
        ("model.overrides.c_z=64", "`model.overrides.c_z` is 64 and was not set"),
        ("data.train.0.set=x", "`data.train`"),
    ] {
        let what = now(&[set]).unwrap_err().to_string();
        assert!(what.contains(field) && what.contains("start.from"), "{set}: {what}");
    }
}

fn state(step: u64, score: Option<f64>) -> State {
    State {
        step,
        sampler: SamplerState { seed: 3, next_step: step, sets: Vec::new() },
        config: preset("tiny").unwrap().to_toml(),
        layout: 17,
        kernels: Traits { cpu: true, subgroup: 8, family: Family::Subgroup, cooperative: 0, max_binding: 1, max_buffer: 2, workspace: 3 },
        seconds: 1.5,
        score,
    }
}

fn arena(seed: u64, n: usize) -> Vec<f32> {
    (0..n as u64).map(|i| f32::from_bits((seed.wrapping_mul(i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 34) as u32)).collect()
}

fn save(path: &Path) -> (Checkpoint, Vec<u8>) {
    let (p, m) = (arena(1, 37), arena(2, 37));
    checkpoint::write(path, &state(5, Some(0.25)), &[("parameters", &p), ("adam_m", &m), ("status", &[])]).unwrap();
    (checkpoint::read(path).unwrap(), std::fs::read(path).unwrap())
}

#[test]
fn checkpoints_give_back_every_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ckpt");
    let (read, _) = save(&path);
    assert_eq!(read.state, state(5, Some(0.25)));
    assert_eq!(checkpoint::read_state(&path).unwrap(), read.state);
    let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(read.arena("parameters", 37).unwrap()), bits(&arena(1, 37)));
    assert_eq!(bits(read.arena("adam_m", 37).unwrap()), bits(&arena(2, 37)));
    assert!(read.arena("ema", 37).unwrap_err().to_string().contains("no `ema`"));
    assert!(read.arena("adam_m", 64).unwrap_err().to_string().contains("37 elements and the model 64"));
    assert_eq!(read.config().unwrap(), preset("tiny").unwrap());
    let same = preset("tiny").unwrap();
    read.check(&path, &same, 17).unwrap();
    assert!(read.check(&path, &same, 18).unwrap_err().to_string().contains("another order"));
    let other = read.check(&path, &preset("small").unwrap(), 17).unwrap_err().to_string();
    assert!(other.contains("a.ckpt") && other.contains("`tiny`") && other.contains("`small`"), "{other}");
}

#[test]
fn cut_checkpoints_are_refused_wherever_they_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ckpt");
    let (_, bytes) = save(&path);
    // Every length: within the magic, the length, the checksum, the header and each arena, and at each of their ends.
    for n in 0..bytes.len() {
        std::fs::write(&path, &bytes[..n]).unwrap();
        let what = checkpoint::read(&path).expect_err(&format!("{n} of {} bytes", bytes.len())).to_string();
        assert!(what.contains("a.ckpt") && what.contains("cut off"), "{n}: {what}");
    }
    std::fs::write(&path, [&bytes[..], &[0]].concat()).unwrap();
    assert!(checkpoint::read(&path).unwrap_err().to_string().contains("after the last arena"));
}

proptest! {
    #[test]
    fn a_flipped_bit_is_always_noticed(at in 0usize..100_000, bit in 0u8..8) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ckpt");
        let (_, mut bytes) = save(&path);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        std::fs::write(&path, &bytes).unwrap();
        let what = checkpoint::read(&path).expect_err("damaged").to_string();
        prop_assert!(what.contains("a.ckpt"), "{}", what);
    }

    #[test]
    fn any_bytes_are_an_error_and_no_panic(head in any::<bool>(), mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ckpt");
        if head {
            bytes = [&b"anyfold\n"[..], &bytes].concat();
        }
        std::fs::write(&path, &bytes).unwrap();
        prop_assert!(checkpoint::read(&path).is_err());
    }
}

#[test]
fn the_newest_and_the_best_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let run = Folder::open(folder.path(), 2).unwrap();
    assert!(run.latest().unwrap().is_none());
    for (step, score) in [(1, Some(0.2)), (2, Some(0.9)), (3, None), (4, Some(0.5)), (5, None)] {
        run.save(&state(step, score), &[("parameters", &[step as f32])]).unwrap();
    }
    let steps = |run: &Folder| run.list().unwrap().into_iter().map(|(s, _)| s).collect::<Vec<_>>();
    assert_eq!(steps(&run), [2, 4, 5]);
    assert_eq!(run.best().unwrap().map(|b| b.1), Some(0.9));
    let (path, newest) = run.latest().unwrap().unwrap();
    assert_eq!((newest.state.step, newest.arenas["parameters"][0]), (5, 5.0));
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let what = run.latest().unwrap_err().to_string();
    assert!(what.contains("step-00000005.ckpt") && what.contains("go on from") && what.contains("step-00000004.ckpt"), "{what}");
    assert_eq!(steps(&run), [2, 4, 5], "nothing is removed because it is damaged");
}

#[test]
fn a_checkpoint_that_cannot_be_written_leaves_the_older_ones() {
    let folder = tempfile::tempdir().unwrap();
    let run = Folder::open(folder.path(), 1).unwrap();
    run.save(&state(1, None), &[("parameters", &[1.0])]).unwrap();
    // The name is taken by a folder that is not empty: renaming onto it fails.
    std::fs::create_dir_all(folder.path().join("step-00000002.ckpt/x")).unwrap();
    let what = run.save(&state(2, None), &[("parameters", &[2.0])]).unwrap_err().to_string();
    assert!(what.contains("step-00000002.ckpt"), "{what}");
    assert!(checkpoint::read(&folder.path().join("step-00000001.ckpt")).is_ok());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "the temporary file is gone");
}

const CHILD: &str = "ANYFOLD_TEST_WRITE_CHECKPOINTS";

/// What the test below starts, to be killed: writes checkpoints without end. Does nothing when run as an ordinary test.
#[test]
fn child_that_writes_checkpoints() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let run = Folder::open(Path::new(&folder), 2).unwrap();
    let first = run.latest().unwrap().map_or(1, |(_, c)| c.state.step + 1);
    for step in first.. {
        let all = vec![step as f32; 1 << 18];
        run.save(&state(step, None), &[("parameters", &all), ("ema", &all)]).unwrap();
    }
}

#[test]
fn a_killed_writer_loses_no_finished_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let mut before = 0;
    for round in 0..10u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "training_files::child_that_writes_checkpoints"])
            .env(CHILD, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(150 + (round * 7919) % 211));
        assert!(child.try_wait().unwrap().is_none(), "round {round}: the writer ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
        let run = Folder::open(folder.path(), 2).unwrap();
        let all = run.list().unwrap();
        for (step, path) in &all {
            let c = checkpoint::read(path).unwrap();
            assert!(c.state.step == *step && c.arenas.values().all(|a| a.len() == 1 << 18 && a.iter().all(|v| *v == *step as f32)));
        }
        let newest = all.last().map_or(0, |l| l.0);
        assert!(newest >= before, "round {round}: step {newest} after {before}");
        before = newest;
    }
    assert!(before > 1, "the writer never finished a checkpoint");
}

fn record(step: u64) -> Record {
    Record::new(Kind::Train, step, step * 4, step as f64, &[("loss/total", 1.0 / step as f64), ("grad_norm", f64::NAN)])
}

#[test]
fn logs_go_on_where_the_checkpoint_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(log::FILE);
    let mut first = Log::open(folder.path(), 0).unwrap();
    (1..=5).for_each(|s| first.write(&record(s)).unwrap());
    let validation = Record::new(Kind::Validation, 5, 20, 5.0, &[("lddt_ca", 0.4)]);
    first.write(&validation.clone().of_chain("1abc_A")).unwrap();
    first.write(&validation).unwrap();
    drop(first);
    let all = log::read(&path).unwrap();
    assert_eq!(all.len(), 7);
    assert_eq!(all[1], record(2));
    assert_eq!((all[5].kind, all[5].chain.as_deref()), (Kind::Chain, Some("1abc_A")));
    assert_eq!(all[0].values["grad_norm"], None, "what is not finite is null");
    // Killed in the middle of a line, after a checkpoint at step 3.
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - 10);
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(log::read(&path).unwrap().len(), 6);
    let mut second = Log::open(folder.path(), 3).unwrap();
    second.write(&record(4)).unwrap();
    assert_eq!(log::read(&path).unwrap().iter().map(|r| r.step).collect::<Vec<_>>(), [1, 2, 3, 4]);
    // A line that is wrong in the middle was not made by an interruption.
    std::fs::write(&path, "{}\n").unwrap();
    assert!(log::read(&path).unwrap_err().to_string().contains("metrics.jsonl:1:"));
}

/// TensorBoard's files in a folder.
fn event_files(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder.join("events")).unwrap().map(|e| e.unwrap().path()).collect();
    all.sort();
    all
}

#[test]
fn event_files_are_records_of_their_length() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::open(folder.path(), 0).unwrap();
    (1..=3).for_each(|s| log.write(&record(s)).unwrap());
    let files = event_files(folder.path());
    assert_eq!(files.len(), 1);
    assert!(files[0].file_name().unwrap().to_string_lossy().starts_with("events.out.tfevents."));
    let bytes = std::fs::read(&files[0]).unwrap();
    let (mut at, mut records) = (0, Vec::new());
    while at < bytes.len() {
        let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        records.push(&bytes[at + 12..at + 12 + length]);
        at += length + 16;
    }
    assert_eq!((at, records.len()), (bytes.len(), 4));
    assert!(records[0].ends_with(b"\x1a\x0dbrain.Event:2"));
    let tag = b"train/loss/total";
    let place = records[2].windows(tag.len()).position(|w| w == tag).unwrap();
    // After the tag: field 2, wire type 5, and the value of step 2.
    assert_eq!(records[2][place + tag.len()..], [&[0x15][..], &0.5f32.to_le_bytes()].concat());
    assert_eq!(records[2][9..11], [0x10, 2], "field 2 is the step");
    assert!(!records.iter().any(|r| r.windows(9).any(|w| w == b"grad_norm")), "what is not finite is left out");
}
