//! The trainer on real structures, through its library: what factors on the learning rate do, what the device keeps between passes, that memory
//! changes no bit, and what becomes of values that are not finite.

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
use anyfold::train::ranks::Ranks;
use anyfold::train::run::{self, Start};
use anyfold::train::sampler::Sampler;
use anyfold::train::step::{Draw, Step};
use anyfold::train::validation::{AGAINST, Score, Validation};
use anyfold::train::{fit, log, optimizer, report, schedule};

use crate::shared::left_out;
use crate::train_command::{SMALL, prepared, set};

/// What the tests of the trainer set besides.
const SHORT: [&str; 3] = ["optimizer.warmup_samples=1", "run.samples=2", "model.overrides.extra.blocks=1"];

pub fn gpu() -> Gpu {
    Gpu::open(&Choice::default()).expect("a Vulkan, Metal or DX12 adapter")
}

/// The tiny preset at that shape, on a set, with more settings.
pub fn config(set: &str, more: &[&str]) -> Config {
    let data = format!("data.train.0.set={set}");
    let sets: Vec<String> = SMALL.iter().chain(&SHORT).chain(&[data.as_str()]).chain(more).map(ToString::to_string).collect();
    Config::resolve(Some("tiny"), None, &sets).expect("these settings are known")
}

/// A whole run; its last checkpoint.
fn trained(gpu: &Gpu, folder: &Path, config: &Config) -> Result<Checkpoint> {
    let stop = AtomicBool::new(false);
    let ended = run::run(gpu, &Start { config, folder, from: None, stop: &stop, ranks: &Ranks::alone() })?;
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

/// A step of two passes with dropout on a device with these limits: what it is planned for, every loss, and the parameters after it.
fn bits_under(choice: &Choice, config: &Config, features: &Features) -> (u64, usize, Vec<u64>, Vec<u32>) {
    let (gpu, cache) = (Gpu::open(choice).expect("an adapter"), Cache::default());
    let limit = fit::limit(&gpu, config.device.memory_gib, 1);
    let fitted = fit::fit(&gpu, run::recipe(config).unwrap(), limit, config.device.recompute).unwrap();
    let peak = fitted.planned.plan.peak_bytes;
    assert!(limit.is_none_or(|limit| peak <= limit));
    let step = Step::fitted(&gpu, &cache, fitted).unwrap();
    optimizer::begin(&step.session, &step.params.initial(1));
    let control = schedule::control(&config.optimizer, 0);
    optimizer::steer(&step.session, &control);
    let ran = step.example(features, Draw { seed: 5, step: 0, number: 3 }).unwrap();
    assert!(step.update().unwrap().taken);
    let losses = ran.losses.iter().map(|(_, x)| x.to_bits()).chain([u64::from(ran.status.norm.to_bits())]).collect();
    (peak, step.session.dispatches(), losses, bits(step.session.get("parameters").unwrap().as_f32()))
}

#[test]
fn neither_memory_nor_windows_change_a_bit() {
    let folder = tempfile::tempdir().unwrap();
    let set = set(folder.path());
    let base = ["model.overrides.evoformer.blocks=4"];
    let with = |more: &[&str]| config(&set, &[&base[..], more].concat());
    let features = (0..10).map(|n| example(&with(&[]), n)).find(|f| f.passes.len() == 2).expect("half of the steps have two passes");
    let wide = Choice::default();
    let keeps = bits_under(&wide, &with(&["device.recompute=false"]), &features);
    assert!(keeps.2.len() > 8 && keeps.2.iter().any(|b| *b != 0));
    // A budget that is too small for keeping everything, and one that is near the least.
    let gib = |bytes: u64| format!("device.memory_gib={}", bytes as f64 / (1u64 << 30) as f64);
    let some = bits_under(&wide, &with(&[&gib(keeps.0 - 1)]), &features);
    let least = bits_under(&wide, &with(&[&gib(some.0 - 1)]), &features);
    assert!(least.0 < some.0 && some.0 < keeps.0, "{} {} {}", keeps.0, some.0, least.0);
    assert!(keeps.1 < some.1 && some.1 < least.1, "less memory is more work");
    assert!((&some.2, &some.3) == (&keeps.2, &keeps.3), "the first budget changes a bit");
    assert!((&least.2, &least.3) == (&keeps.2, &keeps.3), "the second budget changes a bit");
    for max_binding in [256 << 10, 64 << 10] {
        let narrow = Choice { max_binding: Some(max_binding), ..Choice::default() };
        let cut = bits_under(&narrow, &with(&[&gib(some.0 + (1 << 20))]), &features);
        assert!((&cut.2, &cut.3) == (&keeps.2, &keeps.3), "windows of {max_binding} bytes change a bit");
        assert!(cut.1 > some.1, "windows of {max_binding} bytes cut nothing");
    }
    // What cannot fit is refused with the figures of what was tried.
    let gpu = gpu();
    let refused = |config: &Config| {
        let fitted = fit::fit(&gpu, run::recipe(config).unwrap(), fit::limit(&gpu, config.device.memory_gib, 1), config.device.recompute);
        fitted.expect_err("a kilobyte").to_string()
    };
    let what = refused(&with(&["device.memory_gib=1e-6"]));
    for part in ["at 16 residues", "when nothing is computed again", "groups of 4 blocks", "`data.crop`", "`device.memory_gib`"] {
        assert!(what.contains(part), "{part}: {what}");
    }
    assert!(refused(&with(&["device.memory_gib=1e-6", "device.recompute=false"])).contains("try `device.recompute` = true"));
}

const NORM: &str = "alphafold/alphafold_iteration/evoformer/evoformer_iteration/msa_row_attention_with_pair_bias/query_norm//scale";

#[test]
fn the_first_operation_that_is_not_finite_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&set(folder.path()), &[]);
    let (gpu, cache) = (gpu(), Cache::default());
    let step = Step::new(&gpu, &cache, run::recipe(&config).unwrap()).unwrap();
    let good = step.params.unpack(&step.params.initial(1));
    let (features, draw) = (example(&config, 0), Draw { seed: 0, step: 0, number: 0 });
    let run = |poison: Option<(&str, f32)>| {
        let mut all = good.clone();
        if let Some((name, value)) = poison {
            let anyfold::tensor::Data::F32(values) = &mut all.get_mut(name).expect(name).data else { panic!("floats") };
            values[1] = value;
        }
        optimizer::begin(&step.session, &step.params.pack(&all).unwrap());
        optimizer::steer(&step.session, &schedule::control(&config.optimizer, 0));
        let ran = step.example(&features, draw).unwrap();
        (ran.status, step.first_non_finite(&features, draw).unwrap())
    };
    // Nothing is found where nothing is wrong, however the masks and the softmaxes are made.
    let (status, found) = run(None);
    assert!(status.scale > 0.0 && !status.bad);
    assert_eq!(found, None);
    let (status, found) = run(Some((NORM, f32::NAN)));
    let found = found.expect("the scale is not a number");
    assert!(status.scale == 0.0 && status.bad);
    assert!(found.scope.contains("evoformer_iteration/msa_row_attention_with_pair_bias") && !found.op.contains("backward"), "{found}");
    let culprit: Vec<&str> = found.inputs.iter().filter(|s| s.bad > 0).map(|s| s.holds.as_str()).collect();
    assert!(culprit.len() == 1 && culprit[0].contains("query_norm") && culprit[0].ends_with("//scale"), "{culprit:?}: {found}");
    // Too large to be multiplied: every input is finite, and the product is not.
    let name = "alphafold/alphafold_iteration/evoformer/evoformer_iteration/msa_transition/transition1//weights";
    let (_, found) = run(Some((name, 3e38)));
    let found = found.expect("an overflow");
    assert!(found.scope.contains("msa_transition") && found.tensor.bad > 0 && found.inputs.iter().all(|s| s.bad == 0), "{found}");
    assert!(found.to_string().contains("not finite) from `"), "{found}");
}

#[test]
fn a_run_that_is_not_finite_stops_and_says_where_it_began() {
    let folder = tempfile::tempdir().unwrap();
    let set = set(folder.path());
    let params = Network::parameters(&config(&set, &[]).sizes().unwrap());
    let mut all = params.unpack(&params.initial(0));
    let anyfold::tensor::Data::F32(values) = &mut all.get_mut(NORM).unwrap().data else { panic!("floats") };
    values[1] = f32::NAN;
    let start = folder.path().join("poisoned.npz");
    anyfold::model::parameters::write(&start, &all).unwrap();
    let from = format!("start.from={}", start.display());
    let out = folder.path().join("run");
    let what = trained(&gpu(), &out, &config(&set, &[&from, "run.max_bad_steps=1", "run.samples=9"])).unwrap_err().to_string();
    for part in [
        "2 steps in a row",
        "the last one step 2",
        "step 1, chain ",
        "msa_row_attention_with_pair_bias",
        "/query_norm#0",
        "1 of 64 not finite",
        "`optimizer.lr`",
    ] {
        assert!(what.contains(part), "{part}: {what}");
    }
    let left = checkpoint::read(&out.join("checkpoints/step-00000002.ckpt")).unwrap();
    assert_eq!(bits(&left.arenas["parameters"]), bits(&params.pack(&all).unwrap()), "nothing was changed by steps that were left out");
    assert_eq!(left.arenas["status"][3], 2.0, "two steps are counted as left out");
}

#[test]
fn validation_keeps_structures_for_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let set = set(folder.path());
    let out = folder.path().join("run");
    let more = ["run.validate_every=2", "run.validate_training=true", "run.validation_passes=1", "data.crop=32"];
    trained(&gpu(), &out, &config(&set, &more)).unwrap();
    let files: Vec<String> =
        std::fs::read_dir(out.join("validation")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    let chains = files.iter().filter(|f| f.ends_with(".reference.pdb")).count();
    assert!(chains >= 2 && files.len() == 2 * chains, "{files:?}");
    let page = report::html(&out).unwrap();
    let records = log::read(&out.join(log::FILE)).unwrap();
    let scores: Vec<&log::Record> = records.iter().filter(|r| r.kind == log::Kind::Chain).collect();
    assert_eq!(scores.len(), chains);
    // What the page measures between the two files is what the run measured on the tensors.
    for record in &scores {
        let rmsd = record.values["rmsd_ca"].unwrap();
        let caption = format!("Cα RMSD {rmsd:.2} Å");
        assert!(page.contains(&caption), "{caption} of {:?}", record.chain);
    }
    // What the network is held against is logged for each chain and as means, and drawn. These chains have no relatives.
    let events: Vec<u8> = std::fs::read_dir(out.join("events")).unwrap().flat_map(|e| std::fs::read(e.unwrap().path()).unwrap()).collect();
    let means = records.iter().find(|r| r.kind == log::Kind::Validation).unwrap();
    for name in ["masked_msa", "masked_msa_profile", "distogram", "distogram_separation"] {
        let mean = scores.iter().map(|r| r.values[name].unwrap()).sum::<f64>() / chains as f64;
        assert!((means.values[name].unwrap() - mean).abs() < 1e-12 && mean > 0.0, "{name}");
        let tag = format!("validation/{name}");
        assert!(events.windows(tag.len()).any(|w| w == tag.as_bytes()), "{tag}");
    }
    assert!(!means.values.contains_key("masked_msa_relatives"), "{means:?}");
    assert!(page.contains("masked_msa, against the column profile") && page.contains("distogram, against separation alone"));
}

/// The demonstration's chains: ten to train on, and 1CRN and 1UBQ, which have many relatives.
#[test]
fn the_network_is_held_against_what_knows_next_to_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let set = prepared(&Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo"), folder.path());
    let parts = [format!("data.train=[{{set='{set}', split='train'}}]"), format!("data.validation=[{{set='{set}', split='validation'}}]")];
    let more = ["data.crop=48", "data.clusters=8", "optimizer.dropout=false", "run.validate_every=1", "run.validation_passes=2"];
    let config = config(&set, &[&more[..], &parts.each_ref().map(String::as_str)].concat());
    let sampler = Sampler::open(&config).unwrap();
    let validation = Validation::open(&config, &sampler.mix).unwrap().expect("a set validates");
    let (gpu, cache, place) = (gpu(), Cache::default(), Ranks::alone().place());
    let step = Step::new(&gpu, &cache, run::recipe(&config).unwrap()).unwrap();
    optimizer::steer(&step.session, &schedule::control(&config.optimizer, 0));
    let scored = |parameters: &[f32]| {
        optimizer::begin(&step.session, parameters);
        let mut features = Vec::new();
        let keep = |f: &Features, _: &[_]| {
            features.push(f.clone());
            Ok(())
        };
        let scores = validation.scores(&step, place, keep).unwrap();
        (features, scores.into_iter().map(|(_, score)| score).collect::<Vec<Score>>())
    };
    // The last layers of the heads begin as zeros: every class is as likely as any other. The baselines know more than that.
    let initial = step.params.initial(1);
    let (_, scores) = scored(&initial);
    assert_eq!(scores.iter().map(|s| s.chain.as_str()).collect::<Vec<_>>(), ["1crn_A", "1ubq_A"]);
    for score in &scores {
        for (a, classes) in AGAINST.iter().zip([23f64, 23.0, 64.0]) {
            let (network, baseline) = (score.get(a.name).unwrap(), score.get(a.baseline).unwrap());
            assert!((network - classes.ln()).abs() < 1e-6, "{}: {network}", a.name);
            assert!(baseline > 0.0 && baseline < 0.95 * network, "{}: {baseline}", a.baseline);
        }
    }
    // Heads that say something: what the host measures is the loss that the device computes for the same example.
    let mut all = step.params.unpack(&initial);
    for (name, value) in all.iter_mut().filter(|(name, _)| name.contains("masked_msa_head") || name.contains("distogram_head")) {
        let anyfold::tensor::Data::F32(values) = &mut value.data else { panic!("floats") };
        assert!(values.iter().all(|v| *v == 0.0), "{name}");
        values.iter_mut().enumerate().for_each(|(k, v)| *v = 0.3 * (1.7 * k as f32).sin());
    }
    let (features, scores) = scored(&step.params.pack(&all).unwrap());
    for (f, score) in features.iter().zip(&scores) {
        assert!(f.passes.len() == 2 && f.n_crop() <= 48);
        let ran = step.example(f, Draw { seed: 0, step: 0, number: 0 }).unwrap();
        for name in ["masked_msa", "distogram"] {
            let (host, device) = (score.get(name).unwrap(), ran.losses.iter().find(|(n, _)| *n == name).unwrap().1);
            assert!((host - device).abs() < 1e-4, "{name} of {}: {host} and {device}", f.id);
            assert!((host - if name == "distogram" { 64f64 } else { 23.0 }.ln()).abs() > 0.05, "{name} says nothing: {host}");
        }
        assert!((score.get("masked_msa").unwrap() - score.get("masked_msa_relatives").unwrap()).abs() > 1e-6);
    }
    let means = Score::mean(&scores);
    assert!(
        (means.get("distogram").unwrap() * 2.0 - scores[0].get("distogram").unwrap() - scores[1].get("distogram").unwrap()).abs() < 1e-9
    );
    let said = means.said(7);
    assert!(said.contains("after step 7: lDDT-Cα 0.") && said.contains("distogram ") && said.contains(", not below "), "{said}");
}

#[test]
fn checkpoints_say_which_kernels_ran() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ckpt");
    let gpu = gpu();
    let config = Config::resolve(Some("tiny"), None, &[]).unwrap();
    let state = checkpoint::State {
        step: 1,
        sampler: anyfold::train::sampler::SamplerState { seed: 0, next_step: 1, sets: Vec::new() },
        config: config.to_toml(),
        layout: 0,
        kernels: gpu.traits.clone(),
        seconds: 0.0,
        score: None,
    };
    checkpoint::write(&path, &state, &[]).unwrap();
    let found = checkpoint::read(&path).unwrap();
    assert_eq!(found.other_kernels(&gpu.traits), None);
    let smaller = anyfold::gpu::recorder::Traits { max_binding: 1 << 20, ..gpu.traits.clone() };
    assert_eq!(found.other_kernels(&smaller), None, "windows change no bit");
    let other = anyfold::gpu::recorder::Traits { cpu: !gpu.traits.cpu, ..gpu.traits.clone() };
    let what = found.other_kernels(&other).unwrap();
    assert!(what.contains("`cpu` was") && !what.contains("family"), "{what}");
}

#[test]
fn dispatches_are_stamped_where_there_is_a_clock() {
    let (gpu, cache) = (gpu(), Cache::default());
    let graph = ops::graph(DType::F32, 0);
    let (x, y) = (graph.input("x", &[256, 256], DType::F32, false), graph.input("y", &[256, 256], DType::F32, false));
    graph.output("z", x * y + x);
    let session = Session::new(&gpu, &cache, &graph).unwrap();
    session.set("x", &HostTensor::f32(&[256, 256], vec![2.0; 256 * 256]));
    session.set("y", &HostTensor::f32(&[256, 256], vec![3.0; 256 * 256]));
    let waited = session.waited(session.list("run")).unwrap();
    assert!(waited.len() >= 2 && waited.iter().all(|s| *s > 0.0), "{waited:?}");
    let Some(stamped) = session.stamped(session.list("run")).unwrap() else { return left_out("the adapter has no timestamps") };
    assert!(stamped.len() == waited.len() && stamped.iter().all(|s| (0.0..60.0).contains(s)), "{stamped:?}");
    assert!(session.get("z").unwrap().as_f32().iter().all(|z| *z == 8.0));
}
