//! Parameters: AlphaFold's names and shapes, its initialisers, its files.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use anyfold::model::network::Network;
use anyfold::model::parameters::{self, Differences, Tensors, shapes};
use anyfold::model::presets::{PRESETS, preset};
use anyfold::nn::init::Init;
use anyfold::nn::params::Params;
use anyfold::train::checkpoint;
use anyfold::train::config::Config;
use anyfold::train::sampler::SamplerState;
use anyfold::verify::golden::Golden;

use crate::shared::shared;

/// Released models whose parameters are listed, and how many values they have.
const RELEASED: [(&str, usize); 4] =
    [("model_1", 93_229_082), ("model_3", 92_899_674), ("model_1_ptm", 93_237_338), ("model_3_ptm", 92_907_930)];

fn params(name: &str) -> Params {
    Network::parameters(&preset(name).unwrap())
}

fn values(params: &Params) -> usize {
    params.official().values().map(|s| s.iter().product::<usize>()).sum()
}

fn initial(name: &str, seed: u64) -> Tensors {
    let params = params(name);
    params.unpack(&params.initial(seed))
}

#[test]
fn released_models_have_exactly_their_parameters() {
    for (name, count) in RELEASED {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("assets/goldens/shapes/{name}.json"));
        let listed: BTreeMap<String, Vec<usize>> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let params = params(name);
        assert_eq!(Differences::of(&params.official(), &listed), Differences::default(), "{name}");
        assert_eq!(values(&params), count, "{name}");
    }
}

#[test]
fn small_models_are_as_small_as_they_say() {
    let count = |name| values(&params(name));
    assert!(count("tiny") < 1_000_000, "tiny has {} parameters", count("tiny"));
    assert!((5_000_000..=10_000_000).contains(&count("small")), "small has {} parameters", count("small"));
    assert_eq!(PRESETS.len(), 12);
}

/// Where a golden run began from AlphaFold's own initialisers, ours are the same constants, and the same distributions elsewhere.
#[test]
fn models_begin_as_alphafolds_do() {
    let Some(path) = shared("goldens/model/train_trajectory_afinit.safetensors") else { return };
    let case = Golden::read(&path).unwrap();
    let config = anyfold::verify::alphafold_config::model(anyfold::verify::alphafold_config::Part::of(&case)).unwrap();
    let params = Network::parameters(&config);
    let ours = params.unpack(&params.initial(7));
    let mut random = 0;
    for (name, theirs) in case.with_prefix("param:") {
        let mine = &ours[name];
        assert_eq!(mine.shape, theirs.shape, "{name}");
        let entry = params.entries().iter().find(|e| e.name == name).unwrap();
        if let Init::Constant(_) = entry.init {
            let apart = mine.as_f32().iter().zip(theirs.as_f32()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-6, "{name} begins with {} and not {}", mine.as_f32()[0], theirs.as_f32()[0]);
            continue;
        }
        // The deviation of n values is known to about 1 / sqrt(2 n) of itself, that of two such to sqrt(2) of that; five times this may be.
        random += 1;
        let deviation = |t: &anyfold::tensor::HostTensor| (t.to_f64().iter().map(|x| x * x).sum::<f64>() / t.len() as f64).sqrt();
        let ratio = deviation(mine) / deviation(theirs);
        let bound = 5.0 / (mine.len() as f64).sqrt();
        assert!((ratio - 1.0).abs() < bound, "{name}: deviation {ratio} times AlphaFold's (within {bound})");
        let most = |t: &anyfold::tensor::HostTensor| t.to_f64().iter().fold(0.0f64, |m, x| m.max(x.abs())) / deviation(t);
        let cut = match entry.init {
            Init::Glorot => 3f64.sqrt(),
            Init::Linear | Init::Relu => 2.0 / 0.8796,
            _ => f64::INFINITY,
        };
        for t in [mine, theirs] {
            assert!(most(t) < cut * (1.0 + bound), "{name}: largest value {} deviations, cut off at {cut}", most(t));
        }
    }
    assert!(random > 50, "{random} parameters were random");
}

#[test]
fn beginnings_are_a_function_of_the_seed() {
    let (a, again, b) = (initial("tiny", 1), initial("tiny", 1), initial("tiny", 2));
    assert_eq!(a, again);
    let name = "alphafold/alphafold_iteration/evoformer/evoformer_iteration/msa_transition/transition1//weights";
    assert_ne!(a[name], b[name]);
    let [blocks, fan_in, _] = a[name].shape[..] else { panic!("a stack of matrices") };
    assert!(blocks > 1 && a[name].rows(0..1) != a[name].rows(1..2), "every block has its own");
    // He's rule, from the fan-in of one block.
    let deviation = (a[name].to_f64().iter().map(|x| x * x).sum::<f64>() / a[name].len() as f64).sqrt();
    assert!((deviation / (2.0 / fan_in as f64).sqrt() - 1.0).abs() < 0.02, "{deviation}");
}

#[test]
fn files_keep_every_bit() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let tensors = initial("tiny", 3);
    for name in ["p.npz", "p.safetensors"] {
        parameters::write(&at(name), &tensors).unwrap();
        assert_eq!(parameters::read(&at(name)).unwrap(), tensors, "{name}");
        let params = params("tiny");
        assert_eq!(parameters::load(&at(name), &params, "tiny").unwrap(), params.initial(3));
    }
    let raw = std::fs::read(at("p.npz")).unwrap();
    let entry = b"alphafold/alphafold_iteration/distogram_head/half_logits//bias.npy";
    assert!(raw.windows(entry.len()).any(|w| w == entry), "entries have AlphaFold's names");
}

fn refused(path: &Path, name: &str) -> String {
    parameters::load(path, &params(name), name).unwrap_err().to_string()
}

#[test]
fn wrong_files_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.npz");
    let tensors = initial("tiny", 3);
    let bias = "alphafold/alphafold_iteration/distogram_head/half_logits//bias";
    let with = |change: &dyn Fn(&mut Tensors)| {
        let mut all = tensors.clone();
        change(&mut all);
        parameters::write(&path, &all).unwrap();
        refused(&path, "tiny")
    };
    let said = with(&|all| drop(all.remove(bias)));
    assert!(said.contains(&format!("`{bias}` [64] is missing")) && said.contains("params show"), "{said}");
    let said = with(&|all| drop(all.insert("other//w".into(), all[bias].clone())));
    assert!(said.contains("`other//w` [64] is none of the model's"), "{said}");
    let said = with(&|all| drop(all.insert(bias.into(), all[bias].clone().reshape(&[8, 8]))));
    assert!(said.contains(&format!("`{bias}` is [8, 8], expected [64]")), "{said}");
    parameters::write(&path, &tensors).unwrap();
    let said = refused(&path, "small");
    assert!(said.contains("not the parameters of small") && said.ends_with("they fit tiny"), "{said}");
    let whole = std::fs::read(&path).unwrap();
    for part in [0, 10, whole.len() / 2, whole.len() - 10] {
        std::fs::write(&path, &whole[..part]).unwrap();
        let said = refused(&path, "tiny");
        assert!(said.contains("p.npz") && said.contains("archive"), "{said}");
    }
    assert!(refused(&folder.path().join("p.pkl"), "tiny").contains(".npz or .safetensors"));
    assert_eq!(shapes(&tensors), params("tiny").official());
}

/// A checkpoint of a model in full, whose raw and averaged parameters differ, in AlphaFold's form and back.
#[test]
fn checkpoints_are_exported_as_alphafold_releases_parameters() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let name = "model_1_ptm";
    let config = Config::resolve(Some("fine_tuning"), None, &["start.from=random".into()]).unwrap();
    assert_eq!(config.model.preset, name);
    let params = params(name);
    let (raw, ema) = (params.initial(1), params.initial(2));
    let state = checkpoint::State {
        step: 1,
        sampler: SamplerState { seed: 0, next_step: 1, sets: Vec::new() },
        config: config.to_toml(),
        layout: checkpoint::layout(&params),
        kernels: anyfold::gpu::device::common().traits,
        seconds: 0.0,
        score: None,
    };
    checkpoint::write(&at("a.ckpt"), &state, &[("parameters", &raw), ("ema", &ema)]).unwrap();
    let listed = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("assets/goldens/shapes/{name}.json"));
    let listed: BTreeMap<String, Vec<usize>> = serde_json::from_slice(&std::fs::read(listed).unwrap()).unwrap();
    let convert = |input: &str, options: &[&str], output: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_anyfold"));
        command.args(["params", "convert"]).args([at(input), at(output)]).args(options).output().unwrap()
    };
    for (options, output, arena) in [(&["--raw"][..], "r.npz", &raw), (&[], "e.safetensors", &ema)] {
        let done = convert("a.ckpt", options, output);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let written = parameters::read(&at(output)).unwrap();
        assert_eq!(shapes(&written), listed, "{output}");
        let back = parameters::load(&at(output), &params, name).unwrap();
        assert!(back.iter().zip(arena).all(|(a, b)| a.to_bits() == b.to_bits()), "{output}: a bit differs");
        if output == "r.npz" {
            npz_is_little_endian_floats_in_c_order(&at(output), &listed);
        }
        std::fs::remove_file(at(output)).unwrap();
    }
    // Only a checkpoint has two kinds of parameters.
    parameters::write(&at("p.npz"), &initial("tiny", 3)).unwrap();
    let refused = convert("p.npz", &["--raw"], "q.npz");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no .ckpt file") && !at("q.npz").exists());
}

/// What NumPy will say of every array: `float32`, not in Fortran order.
fn npz_is_little_endian_floats_in_c_order(path: &Path, listed: &BTreeMap<String, Vec<usize>>) {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
    assert_eq!(archive.len(), listed.len());
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).unwrap();
        let name = entry.name().strip_suffix(".npy").unwrap().to_owned();
        let mut start = [0; 80];
        entry.read_exact(&mut start).unwrap();
        let header = String::from_utf8_lossy(&start[10..]).into_owned();
        let shape: Vec<String> = listed[&name].iter().map(usize::to_string).collect();
        let written = header.split_once("'shape': (").and_then(|rest| rest.1.split_once(')')).map(|shape| shape.0);
        let written: Vec<&str> = written.unwrap_or_default().split(',').map(str::trim).filter(|n| !n.is_empty()).collect();
        let says = |key: &str, value: &str| header.replace(", }", "}").contains(&format!("'{key}': {value}"));
        assert!(start[..6] == *b"\x93NUMPY" && says("descr", "'<f4'") && says("fortran_order", "False"), "{name}: {header}");
        assert_eq!(written, shape, "{name}: {header}");
    }
}
