//! The trainer on real structures, through its library: what factors on the learning rate do, and what the device keeps between passes.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyfold::data::features::Features;
use anyfold::data::template_angles::template_angles;
use anyfold::error::Result;
use anyfold::gpu::Gpu;
use anyfold::gpu::device::Choice;
use anyfold::gpu::program::Cache;
use anyfold::graph::run::Session;
use anyfold::model::network::Network;
use anyfold::nn::params::Params;
use anyfold::ops;
use anyfold::tensor::{DType, HostTensor};
use anyfold::train::checkpoint::{self, Checkpoint};
use anyfold::train::config::Config;
use anyfold::train::run::{self, Start};
use anyfold::train::sampler::Sampler;
use anyfold::train::step::{Draw, Step};
use anyfold::train::{optimizer, schedule};

use crate::train_command::set;

/// The smallest shape that has every part: two passes, dropout, a template.
const SMALL: [&str; 11] = [
    "data.crop=16",
    "data.clusters=4",
    "data.extra_rows=4",
    "data.templates=1",
    "data.max_passes=2",
    "optimizer.batch=1",
    "optimizer.warmup_samples=1",
    "run.validate_every=0",
    "run.samples=2",
    "model.overrides.evoformer.blocks=1",
    "model.overrides.extra.blocks=1",
];

pub fn gpu() -> Gpu {
    Gpu::open(&Choice::default()).expect("a Vulkan, Metal or DX12 adapter")
}

/// The tiny preset at that shape, on a set, with more settings.
pub fn config(set: &str, more: &[&str]) -> Config {
    let data = format!("data.train.0.set={set}");
    let sets: Vec<String> = SMALL.iter().chain(&[data.as_str()]).chain(more).map(ToString::to_string).collect();
    Config::resolve(Some("tiny"), None, &sets).expect("these settings are known")
}

/// A whole run; its last checkpoint.
fn trained(gpu: &Gpu, folder: &Path, config: &Config) -> Result<Checkpoint> {
    let stop = AtomicBool::new(false);
    let ended = run::run(gpu, &Start { config, folder, from: None, stop: &stop })?;
    checkpoint::read(&ended.checkpoint)
}

/// A number of the run's first example.
pub fn example(config: &Config, number: usize) -> Features {
    let mut loader = Sampler::open(config).expect("a set").loader(0, 0, 1).expect("workers");
    (0..number).for_each(|_| drop(loader.next().expect("an example")));
    loader.next().expect("an example").features
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn states_are_cleared_and_read_together() {
    let (gpu, cache) = (gpu(), Cache::default());
    let graph = ops::graph(DType::F32, 0);
    let shapes: [(&str, Vec<usize>); 3] = [("a", vec![3, 5]), ("b", vec![7]), ("c", vec![2, 2, 2])];
    for (name, shape) in &shapes {
        graph.state(name, shape);
    }
    let session = Session::new(&gpu, &cache, &graph).unwrap();
    let value = |shape: &[usize], from: f32| HostTensor::f32(shape, (0..shape.iter().product()).map(|i: usize| from + i as f32).collect());
    let put: Vec<HostTensor> = shapes.iter().zip([1.0, 100.0, 200.0]).map(|((_, shape), from)| value(shape, from)).collect();
    shapes.iter().zip(&put).for_each(|((name, _), v)| session.set(name, v));
    assert_eq!(session.get_all(&["a", "b", "c"]).unwrap(), put);
    assert_eq!(session.get_all(&["c", "a"]).unwrap(), [put[2].clone(), put[0].clone()]);
    assert!(session.get_all(&[]).unwrap().is_empty());
    session.clear("b");
    assert_eq!(session.get_all(&["a", "b", "c"]).unwrap(), [put[0].clone(), HostTensor::zeros(&[7]), put[2].clone()]);
}

#[test]
fn factors_freeze_what_they_name_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (set, gpu) = (set(folder.path()), gpu());
    let run = |name: &str, more: &[&str]| trained(&gpu, &folder.path().join(name), &config(&set, more)).unwrap();
    let plain = run("plain", &[]);
    // A factor of one is no factor: not a bit of the run may change.
    let ones = run("ones", &["optimizer.rates=[{pattern='evoformer', factor=1}]"]);
    assert_eq!(bits(&ones.arenas["parameters"]), bits(&plain.arenas["parameters"]));
    let frozen = run("frozen", &["optimizer.rates=[{pattern='evoformer/*', factor=0}]"]);
    let params = Network::parameters(&config(&set, &[]).sizes().unwrap());
    let before = params.unpack(&params.initial(0));
    let after = params.unpack(&frozen.arenas["parameters"]);
    assert_eq!(frozen.state.layout, checkpoint::layout(&params), "the test reads the arena as the run wrote it");
    let moved = |name: &String| after[name] != before[name];
    let (inside, outside): (Vec<&String>, Vec<&String>) = before.keys().partition(|name| name.contains("evoformer/"));
    assert!(inside.len() > 100 && outside.len() > 40, "{} and {}", inside.len(), outside.len());
    assert_eq!(inside.iter().find(|name| moved(name)), None);
    // Weights behind a layer that begins as zeros get no gradient in the first step; the others move.
    let share = outside.iter().filter(|name| moved(name)).count() as f64 / outside.len() as f64;
    assert!(share > 0.6, "{share} of what is free has moved");
}

#[test]
fn a_pattern_that_decides_nothing_is_refused() {
    let config = |rates: &str| Config::resolve(Some("tiny"), None, &[format!("optimizer.rates={rates}")]).unwrap();
    let params: Params = Network::parameters(&config("[]").sizes().unwrap());
    let refused = |rates: &str| schedule::factors(&config(rates).optimizer, &params).expect_err(rates).to_string();
    let what = refused("[{pattern='structure_module', factor=0}, {pattern='evofromer', factor=0}]");
    for part in
        ["`optimizer.rates.1.pattern` is `evofromer`", "part of no parameter's name", "near are `alphafold/alphafold_iteration/evoformer/"]
    {
        assert!(what.contains(part), "{part}: {what}");
    }
    let what = refused("[{pattern='*', factor=1}, {pattern='evoformer', factor=0}]");
    assert!(what.contains("`optimizer.rates.1.pattern`") && what.contains("decided by patterns before it, such as `*`"), "{what}");
    assert_eq!(schedule::factors(&config("[]").optimizer, &params).unwrap(), None);
    let ones = schedule::factors(&config("[{pattern='evoformer', factor=1}]").optimizer, &params).unwrap().unwrap();
    assert!(ones.len() == params.len() && ones.iter().all(|f| *f == 1.0));
}

/// Later passes read the torsions of templates that the first one set.
#[test]
fn templates_stay_from_pass_to_pass() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&set(folder.path()), &[]);
    let (gpu, cache) = (gpu(), Cache::default());
    let step = Step::new(&gpu, &cache, run::recipe(&config).unwrap()).unwrap();
    optimizer::begin(&step.session, &step.params.initial(1));
    optimizer::steer(&step.session, &schedule::control(&config.optimizer, 0));
    let features = (0..10).map(|n| example(&config, n)).find(|f| f.passes.len() == 2).expect("half of the steps have two passes");
    let draw = Draw { seed: 0, step: 0, number: 0 };
    let labels = anyfold::data::ship::labels(&features, 16).unwrap();
    let mut passes = step.passes(&features).unwrap();
    let short = step.arrays(passes.clone(), labels.clone(), draw).unwrap();
    let made = template_angles(&passes[0]);
    assert!(!made.is_empty() && made.keys().all(|name| step.session.takes(name)));
    passes.iter_mut().for_each(|values| values.extend(made.clone()));
    let full = step.arrays(passes, labels, draw).unwrap();
    assert_eq!(short.losses, full.losses);
    assert_eq!(short.status.norm.to_bits(), full.status.norm.to_bits());
    assert!(short.losses[0].1.is_finite() && short.status.norm > 0.0);
}
