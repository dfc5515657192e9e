//! The real network behind the command: against AlphaFold's own code, against itself, and from a sequence to files.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyfold::cli::predict::{Predict, on_device};
use anyfold::error::Result;
use anyfold::gpu::Gpu;
use anyfold::gpu::device::Choice;
use anyfold::gpu::program::Cache;
use anyfold::gpu::recorder::{Family, Traits};
use anyfold::io::npz;
use anyfold::model::config::Config as Sizes;
use anyfold::model::network::Network;
use anyfold::model::presets::preset;
use anyfold::predict::batch::{self, Event, run};
use anyfold::predict::input::{Files, targets};
use anyfold::predict::network;
use anyfold::predict::weights::Weights;
use anyfold::tensor::{DType, HostTensor};
use anyfold::train::checkpoint::{State, layout, write};
use anyfold::train::config::Config;
use anyfold::train::sampler::SamplerState;
use anyfold::verify::alphafold_config::{self, Part};
use anyfold::verify::golden::Golden;
use clap::Parser;
use serde_json::Value;

use super::fake;
use crate::shared::shared;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    predict: Predict,
}

/// Runs a command line whose words are separated by blanks.
fn command(line: &str) -> Result<u8> {
    on_device(&Line::try_parse_from(["predict"].into_iter().chain(line.split_whitespace())).unwrap_or_else(|e| panic!("{e}")).predict)
}

/// Writes parameters as the released files have them: entries under the official names, with their slashes.
fn released(path: &Path, tensors: &BTreeMap<String, HostTensor>) {
    let mut archive = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    for (name, tensor) in tensors {
        archive.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::DEFAULT).unwrap();
        let shape: String = tensor.shape.iter().map(|d| format!("{d}, ")).collect();
        let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
        while (header.len() + 11) % 64 != 0 {
            header.push(' ');
        }
        header.push('\n');
        archive.write_all(b"\x93NUMPY\x01\x00").unwrap();
        archive.write_all(&(header.len() as u16).to_le_bytes()).unwrap();
        archive.write_all(header.as_bytes()).unwrap();
        archive.write_all(bytemuck::cast_slice(tensor.as_f32())).unwrap();
    }
    archive.finish().unwrap();
}

/// Random parameters of a preset: weights that keep the size of what passes through them, scales around one.
fn random(name: &str) -> BTreeMap<String, HostTensor> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut chance = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let mut one = |name: &str, shape: &[usize]| {
        let fan = shape.iter().rev().nth(1).copied().unwrap_or(100) as f32;
        let middle = if name.ends_with("scale") { 1.0 } else { 0.0 };
        HostTensor::f32(shape, (0..shape.iter().product()).map(|_| middle + chance() / fan.sqrt()).collect())
    };
    Network::parameters(&preset(name).unwrap()).official().iter().map(|(n, s)| (n.clone(), one(n, s))).collect()
}

/// The largest difference over the largest value.
fn error(found: &HostTensor, reference: &HostTensor) -> f64 {
    assert_eq!(found.shape, reference.shape);
    let largest = reference.as_f32().iter().fold(0.0_f64, |m, x| m.max(f64::from(x.abs())));
    let pairs = found.as_f32().iter().zip(reference.as_f32());
    pairs.fold(0.0_f64, |m, (a, b)| m.max(f64::from((a - b).abs()))) / largest
}

/// The corner of the first `n` residues on every axis that has `padded`.
fn valid(t: &HostTensor, padded: usize, n: usize) -> HostTensor {
    let to: Vec<usize> = t.shape.iter().map(|&d| if d == padded { n } else { d }).collect();
    anyfold::predict::feed::cropped(t, &to)
}

/// The tensor with zeros where the mask of its first two axes is zero.
fn masked(t: &HostTensor, mask: &HostTensor) -> HostTensor {
    let width = t.len() / mask.len();
    let values = t.as_f32().iter().enumerate().map(|(i, x)| x * mask.as_f32()[i / width]);
    HostTensor::f32(&t.shape, values.collect())
}

/// Predicts a golden case's features from a file with its parameters, read from an npz in the released format.
fn golden(case: &str, params: impl Fn(&Golden, &Sizes) -> BTreeMap<String, HostTensor>, tolerance: f64) {
    let Some(path) = shared(&format!("goldens/model/{case}.safetensors")) else { return };
    let golden = Golden::read(&path).unwrap();
    let part = Part::of(&golden);
    let config = alphafold_config::model(part).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    released(&at("params.npz"), &params(&golden, &config));
    let weights = Weights::new(config, npz::read(at("params.npz")).unwrap()).unwrap();
    let features: BTreeMap<String, HostTensor> = golden.with_prefix("in:").map(|(n, t)| (n.to_owned(), t.clone())).collect();
    npz::write(at("features.npz"), &features, &BTreeMap::new()).unwrap();

    let n_recycle = part.size("num_recycle").unwrap();
    let n_ensemble = features["aatype"].shape[0] / (n_recycle + 1);
    let model = fake::model("golden");
    let options = batch::Options { n_recycle: Some(n_recycle), n_ensemble, tensors: true, ..fake::options(at("out")) };
    let (gpu, cache) = (Gpu::open(&Choice::default()).unwrap(), Cache::default());
    let mut network = network::open(&gpu, &cache, DType::F32, BTreeMap::from([("golden".into(), weights)]));
    let found = targets(&[at("features.npz")], &Files::default()).unwrap();
    let notes = RefCell::new(Vec::new());
    let watch = |event: Event| {
        if let Event::Note(said) = event {
            notes.borrow_mut().push(said.to_owned());
        }
    };
    let outcomes = run(found, &[model], &options, &mut *network, &watch).unwrap();
    assert_eq!(outcomes[0].state, batch::State::Done);
    let [estimate] = &notes.take()[..] else { panic!("one plan is estimated once") };
    assert!(estimate.contains("GiB of device memory") && estimate.contains("about"), "{estimate}");

    let made = npz::read(at("out/features/result_golden_pred_0.npz")).unwrap();
    let (padded, n) = (features["aatype"].shape[1], outcomes[0].n_res);
    let last = n_recycle * n_ensemble;
    let mask = &features["msa_mask"];
    let rows = valid(&mask.rows(last..last + 1).reshape(&mask.shape[1..]), padded, n);
    let mut compared = 0;
    for (name, reference) in golden.with_prefix("out:") {
        let Some(found) = made.get(&name.replace('/', ".")) else { continue };
        let mut reference = valid(reference, padded, n);
        let mut found = found.clone();
        if reference.shape.starts_with(&rows.shape) {
            // Rows that are masked attend to all columns alike, padding too: AlphaFold's own values there depend on its padding.
            (found, reference) = (masked(&found, &rows), masked(&reference, &rows));
        }
        let wrong = error(&found, &reference);
        println!("{case}: {name} is off by {wrong:.1e} of its largest value, {tolerance:.0e} allowed");
        assert!(wrong < tolerance, "{case}: {name} is off by {wrong:.1e} of its largest value");
        compared += 1;
    }
    assert!(compared >= 12, "{compared} tensors compared");
    let record: Value = serde_json::from_slice(&std::fs::read(at("out/features/prediction.json")).unwrap()).unwrap();
    assert_eq!(record["ranking"][0]["passes"].as_array().unwrap().len(), n_recycle + 1);
}

fn stored(golden: &Golden, _: &Sizes) -> BTreeMap<String, HostTensor> {
    golden.with_prefix("param:").map(|(n, t)| (n.to_owned(), t.clone())).collect()
}

#[test]
fn features_with_recycling_give_the_golden_outputs() {
    golden("alphafold_recycle2", stored, 2e-4);
}

#[test]
fn features_of_an_ensemble_and_without_templates_give_the_golden_outputs() {
    golden("alphafold_ensemble2", stored, 2e-4);
    golden("alphafold_notemplate", stored, 2e-4);
}

#[test]
#[ignore = "93 million parameters take minutes on a software adapter"]
fn full_size_parameters_give_the_golden_outputs() {
    let hashed = |_: &Golden, config: &Sizes| {
        let all = Network::parameters(config).official();
        all.iter().map(|(name, shape)| (name.clone(), anyfold::verify::hashed::tensor(name, shape))).collect()
    };
    golden("full_size_model_1_ptm", hashed, 1e-4);
    golden("full_size_model_3_ptm", hashed, 1e-4);
}

/// A folder with parameters of the tiny model, a sequence and an alignment of it.
fn bench() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    released(&at("params_tiny.npz"), &random("tiny"));
    std::fs::write(at("q.fasta"), ">q a protein\nMKTAYIAKQRQISFVKSHFSRQ\n").unwrap();
    let rows = ">q\nMKTAYIAKQRQISFVKSHFSRQ\n>a\nMKTAYLAKQRaQISFVRSHFSRQ\n>b\nMRTAYIAK--QISWVKSHFSKQ\n>c\nMKSAYIAEQRQISFVKAHF--Q\n";
    std::fs::write(at("q.a3m"), rows).unwrap();
    let root = folder.path().display().to_string();
    (folder, root)
}

/// Files of a prediction without those that hold times.
fn files(folder: PathBuf) -> BTreeMap<String, Vec<u8>> {
    let all = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file());
    let named = all.map(|p| (p.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(p).unwrap()));
    named.filter(|(name, _)| name != "timings.json" && name != "report.html").collect()
}

#[test]
fn a_sequence_and_its_alignment_become_files_and_the_same_ones_twice() {
    let (_folder, root) = bench();
    let base = format!("--params {root}/params_tiny.npz --recycles 1 --max-msa 12:8 --no-plots --tensors");
    assert_eq!(command(&format!("{root}/q.fasta --single-sequence --out {root}/single {base}")).unwrap(), 0);
    for out in ["first", "second"] {
        assert_eq!(command(&format!("{root}/q.fasta --msa {root}/q.a3m --out {root}/{out} {base} --seeds 2")).unwrap(), 0);
    }
    let at = |out: &str| Path::new(&root).join(out).join("q");
    let (single, first, second) = (files(at("single")), files(at("first")), files(at("second")));
    assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>());
    for (name, bytes) in &first {
        assert!(*bytes == second[name], "{name} differs between two runs");
    }
    assert!(single["ranked_0.pdb"] != first["ranked_0.pdb"], "the alignment is looked at");
    assert!(first["ranked_0.pdb"] != first["ranked_1.pdb"], "the seed is looked at");
    let chains = anyfold::io::structure::read(at("first").join("ranked_0.pdb")).unwrap();
    assert_eq!(chains.chains[0].sites.len(), 22);
    let record: Value = serde_json::from_slice(&first["prediction.json"]).unwrap();
    let passes = record["ranking"][0]["passes"].as_array().unwrap();
    assert_eq!(passes.len(), 2);
    assert!(passes[1]["ca_change"].as_f64().unwrap() > 0.0 && passes[1]["ptm"].is_number());
    assert_eq!(npz::read(at("first").join("result_tiny_pred_0.npz")).unwrap()["distogram.logits"].shape, [22, 22, 64]);
}

#[test]
fn recycling_stops_when_the_structure_has_settled() {
    let (_folder, root) = bench();
    let line = format!(
        "{root}/q.a3m --out {root}/out --params {root}/params_tiny.npz --recycles 5 --tolerance 1000 --max-msa 8:8 --no-plots --storage bf16"
    );
    assert_eq!(command(&line).unwrap(), 0);
    let record: Value = serde_json::from_slice(&std::fs::read(format!("{root}/out/q/prediction.json")).unwrap()).unwrap();
    assert_eq!(record["ranking"][0]["passes"].as_array().unwrap().len(), 2);
    assert!(record["settings"]["models"][0]["identity"].as_str().unwrap().ends_with(", bf16"));
}

#[test]
fn a_checkpoint_predicts_with_its_averaged_parameters() {
    let (_folder, root) = bench();
    let params = Network::parameters(&preset("tiny").unwrap());
    let average = params.pack(&random("tiny")).unwrap();
    let config = Config::resolve(Some("tiny"), None, &["data.templates=4".into()]).unwrap();
    let state = State {
        step: 7,
        sampler: SamplerState { seed: 3, next_step: 7, sets: Vec::new() },
        config: config.to_toml(),
        layout: layout(&params),
        kernels: Traits { cpu: true, subgroup: 8, family: Family::Subgroup, cooperative: 0, max_binding: 1, max_buffer: 2, workspace: 3 },
        seconds: 1.0,
        score: None,
    };
    let path = Path::new(&root).join("step-00000007.ckpt");
    write(&path, &state, &[("parameters", &vec![0.0; average.len()]), ("ema", &average)]).unwrap();
    for params in ["params_tiny.npz", "step-00000007.ckpt"] {
        let line = format!("{root}/q.a3m --out {root}/{params}.out --params {root}/{params} --recycles 0 --max-msa 12:8 --no-plots");
        assert_eq!(command(&line).unwrap(), 0);
    }
    let atoms = |params: &str| {
        let text = std::fs::read_to_string(format!("{root}/{params}.out/q/ranked_0.pdb")).unwrap();
        text.lines().filter(|l| l.starts_with("ATOM")).map(str::to_owned).collect::<Vec<_>>()
    };
    let (first, second) = (atoms("params_tiny.npz"), atoms("step-00000007.ckpt"));
    assert!(first.len() > 100 && first == second);
    // Of a run's folder the best checkpoint counts, not the newest; a folder of models is all of them.
    let folder = Path::new(&root).join("run/checkpoints");
    std::fs::create_dir_all(&folder).unwrap();
    for (step, score) in [(7, 0.5), (9, 0.2)] {
        let state = State { step, score: Some(score), ..state.clone() };
        write(&folder.join(format!("step-{step:08}.ckpt")), &state, &[("ema", &average)]).unwrap();
    }
    for (params, labels) in [
        ("run", &["step-00000007_pred_0"][..]),
        ("run/checkpoints", &["step-00000007_pred_0"]),
        ("", &["step-00000007_pred_0", "tiny_pred_0"]),
    ] {
        let out = format!("{root}/of-{}", params.replace('/', "-"));
        let line = format!("{root}/q.a3m --out {out} --params {root}/{params} --recycles 0 --max-msa 12:8 --no-plots");
        assert_eq!(command(&line).unwrap(), 0);
        let ranking: Value = serde_json::from_slice(&std::fs::read(format!("{out}/q/ranking_debug.json")).unwrap()).unwrap();
        let mut order: Vec<&str> = ranking["order"].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
        order.sort_unstable();
        assert_eq!(order, labels);
    }
    write(&path, &State { layout: 1, ..state }, &[("ema", &average)]).unwrap();
    let wrong = command(&format!("{root}/q.a3m --out {root}/o --params {}", path.display())).unwrap_err().to_string();
    assert!(wrong.contains("another version of this program"), "{wrong}");
}

#[test]
fn a_sequence_that_does_not_fit_is_refused_with_the_length_that_would() {
    let (_folder, root) = bench();
    std::fs::write(format!("{root}/long.fasta"), format!(">short\nMKTAYIAKQR\n>long\n{}\n", "ACDEFGHIKLMNPQRSTVWY".repeat(2000))).unwrap();
    let line = format!(
        "{root}/long.fasta --single-sequence --out {root}/out --params {root}/params_tiny.npz --recycles 0 --max-msa 4:4 --no-plots --json {root}/o.json"
    );
    assert_eq!(command(&line).unwrap(), 1);
    let outcomes: Value = serde_json::from_slice(&std::fs::read(format!("{root}/o.json")).unwrap()).unwrap();
    let state = |k: usize| &outcomes["targets"][k]["state"];
    assert_eq!((state(0), &outcomes["targets"][1]["name"]), (&Value::from("done"), &Value::from("long")));
    let why = state(1)["failed"].as_str().unwrap();
    assert!(why.contains("40000 residues") && why.contains("residues would fit") && why.contains("--max-msa"), "{why}");
    let length: usize = why.split(" residues would fit").next().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!((32..40_000).contains(&length), "{why}");
    assert!(!Path::new(&root).join("out/long/ranked_0.pdb").exists());
}

#[test]
fn parameters_of_another_model_are_refused_by_name() {
    let (_folder, root) = bench();
    let fails = |params: &str, more: &str| {
        command(&format!("{root}/q.fasta --single-sequence --out {root}/out --params {root}/{params} {more}")).unwrap_err().to_string()
    };
    let wrong = fails("params_tiny.npz", "--adapter none-such");
    assert!(wrong.contains("no adapter `none-such`"), "{wrong}");
    let mut all = random("tiny");
    let (name, _) = all.pop_last().unwrap();
    released(&Path::new(&root).join("less.npz"), &all);
    let wrong = fails("less.npz", "--preset tiny");
    assert!(wrong.contains("less.npz") && wrong.contains(&name) && wrong.contains("is missing"), "{wrong}");
    std::fs::copy(format!("{root}/params_tiny.npz"), format!("{root}/params_small.npz")).unwrap();
    let wrong = fails("params_small.npz", "");
    assert!(wrong.contains("not the parameters of `small`") && wrong.contains("they fit tiny"), "{wrong}");
    assert!(!Path::new(&root).join("out").exists());
}
