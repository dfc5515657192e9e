//! What training does in place: every update against its f64 reference, a small training against plain Rust, a step that is not finite,
//! and Adam against AlphaFold's own first step.

use anyfold::gpu::Gpu;
use anyfold::gpu::device::Choice;
use anyfold::gpu::program::Cache;
use anyfold::graph::run::Session;
use anyfold::graph::{Graph, Tensor};
use anyfold::op::{Array, Update};
use anyfold::ops;
use anyfold::ops::basic::sum::Sum;
use anyfold::ops::train::adam::Adam;
use anyfold::ops::train::clip_accumulate::ClipAccumulate;
use anyfold::ops::train::ema::Ema;
use anyfold::ops::train::norm::Norm;
use anyfold::ops::train::{Control, STATUS, Status};
use anyfold::tensor::{DType, HostTensor};
use anyfold::train::checkpoint::{self, State};
use anyfold::train::optimizer;
use anyfold::train::sampler::SamplerState;
use anyfold::verify::golden::Golden;

use crate::shared::shared;

fn open(max_binding: Option<u64>) -> (Gpu, Cache) {
    let choice = Choice { max_binding, checked: max_binding.is_some(), ..Choice::default() };
    (Gpu::open(&choice).expect("a Vulkan, Metal or DX12 adapter"), Cache::default())
}

const CONTROL: Control = Control { lr: 1e-2, eps: 1e-6, clip: 0.1, batch: 2, b1: 0.9, b2: 0.999, decay: 0.9 };

fn control() -> Vec<f32> {
    CONTROL.pack().to_vec()
}

/// Values in [-1, 1) by a linear congruential generator: they need only be fixed and of ordinary size.
fn values(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn positive(seed: u64, n: usize) -> Vec<f32> {
    values(seed, n).iter().map(|v| v.abs()).collect()
}

/// A factor with frozen elements.
fn factor(n: usize) -> Vec<f32> {
    (0..n).map(|i| [1.0, 0.0, 0.5][i % 3]).collect()
}

/// Runs an update on states with these contents and gives what they hold after.
fn run(gpu: &Gpu, cache: &Cache, op: impl Update + 'static, x: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let graph = ops::graph(DType::F32, 0);
    let states: Vec<Tensor<'_>> = x.iter().enumerate().map(|(i, v)| graph.state(&format!("x{i}"), &[v.len()])).collect();
    graph.update(op, &states);
    let session = Session::new(gpu, cache, &graph).expect("fits");
    x.iter().enumerate().for_each(|(i, v)| session.set(&format!("x{i}"), &HostTensor::f32(&[v.len()], v.clone())));
    session.replay().expect("runs");
    (0..x.len()).map(|i| session.get(&format!("x{i}")).expect("reads").as_f32().to_vec()).collect()
}

fn check(what: &str, op: impl Update + Copy + 'static, x: &[Vec<f32>]) {
    let mut want: Vec<Array> = x.iter().map(|v| Array::new(&[v.len()], v.iter().map(|&v| f64::from(v)).collect())).collect();
    op.reference(&mut want);
    let (wide, narrow) = (open(None), open(Some(64 << 10)));
    let got = run(&wide.0, &wide.1, op, x);
    assert_eq!(got, run(&narrow.0, &narrow.1, op, x), "{what}: windows change a bit");
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        // The small states are compared element by element, arenas relative to their largest value.
        let largest = want.data.iter().fold(1e-30f64, |m, v| m.max(v.abs()));
        let unit = |w: f64| if want.data.len() <= 12 { w.abs().max(1e-30) } else { largest };
        let worst = got.iter().zip(&want.data).map(|(g, w)| (f64::from(*g) - w).abs() / unit(*w)).fold(0.0, f64::max);
        assert!(worst <= 2e-6, "{what}: operand {i} of {} elements differs by {worst:.2e}", want.data.len());
        let moved = got.iter().zip(&x[i]).any(|(a, b)| a != b);
        assert!(op.writes() >> i & 1 == 1 || !moved, "{what}: operand {i} is written and not named in `writes`");
    }
}

/// `status` after some steps; the last example had a norm of 4, and the step is good or bad.
fn status(bad: bool) -> Vec<f32> {
    vec![3.0, 0.271, 0.002_997, 1.0, f32::from(u8::from(bad)), 1.0, 4.0, 0.025]
}

#[test]
fn updates_agree_with_their_references() {
    // One group, an odd number of groups, and more than one block of blocks' worth of workgroups.
    for n in [4, 4 * 33, 4 * (3 * 1024 + 17)] {
        let (g, p) = (values(1, n), values(2, n));
        check("norm", Norm { masked: false }, &[control(), status(false), vec![0.5], g.clone()]);
        check("norm masked", Norm { masked: true }, &[control(), status(false), vec![0.5], g.clone(), factor(n)]);
        let small: Vec<f32> = g.iter().map(|v| v * 1e-5).collect();
        check("norm below the clip", Norm { masked: false }, &[control(), status(false), vec![0.5], small]);
        check("accumulate", ClipAccumulate, &[status(false), g.clone(), p.clone()]);
        for bad in [false, true] {
            let x = [control(), status(bad), g.clone(), p.clone(), values(3, n), positive(4, n)];
            check("adam", Adam { scaled: false }, &x);
            check("adam by factor", Adam { scaled: true }, &[&x[..], &[factor(n)]].concat());
        }
        check("ema", Ema, &[control(), status(false), p.clone(), values(5, n)]);
        let skipped = vec![3.0, 0.271, 0.002_997, 2.0, 0.0, 0.0, 4.0, 0.025];
        check("ema of a skipped step", Ema, &[control(), skipped, p, values(5, n)]);
    }
}

#[test]
fn a_norm_of_many_blocks_is_summed_in_two_levels() {
    let n = 4 * (1024 * 1024 + 5);
    check("norm", Norm { masked: false }, &[control(), status(false), vec![0.5], values(9, n)]);
}

#[test]
fn what_is_not_finite_is_marked_and_left_out() {
    let (gpu, cache) = open(None);
    let n = 4 * 2000;
    for (what, at, loss) in
        [("a NaN", f32::NAN, 1.0), ("an infinity", f32::INFINITY, 1.0), ("a loss", 0.0, f32::NAN), ("a square", 1e30, 1.0)]
    {
        let mut g = values(1, n);
        g[n - 3] = at;
        let after = run(&gpu, &cache, Norm { masked: false }, &[control(), vec![0.0; STATUS], vec![loss], g.clone()]);
        let status = Status::unpack(&after[1]);
        assert!(status.bad && status.scale == 0.0, "{what}: {status:?}");
        let total = values(7, n);
        let after = run(&gpu, &cache, ClipAccumulate, &[after[1].clone(), g, total.clone()]);
        assert_eq!(after[2], total, "{what} changes the step's gradient");
    }
}

const SHAPE: [usize; 2] = [5, 7];
const LEN: usize = 64;

/// The example list of a small least-squares problem: loss = sum (w - x)^2, and what follows it.
fn example(graph: &Graph) {
    let w = graph.param("w", &SHAPE, 0);
    let x = graph.input("x", &SHAPE, DType::F32, false);
    let minus = graph.input("minus", &[1], DType::F32, false);
    let d = w + x * minus;
    let loss = graph.apply(Sum::over(&[0, 1]), &[d * d]);
    graph.output("loss", loss);
    graph.backward(&[(loss, None)]);
    optimizer::after_example(graph, loss, false);
}

/// The same in f64: the parameters and their mean after each step.
fn plain(w: &[f32], targets: &[Vec<f32>], steps: usize) -> Vec<(Vec<f64>, Vec<f64>)> {
    let (mut w, n): (Vec<f64>, usize) = (w.iter().map(|&v| f64::from(v)).collect(), w.len());
    let (mut m, mut v, mut ema) = (vec![0.0; n], vec![0.0; n], w.clone());
    let mut all = Vec::new();
    for step in 1..=steps {
        let mut total = vec![0.0; n];
        for x in targets {
            let g: Vec<f64> = w.iter().zip(x).map(|(w, x)| 2.0 * (w - f64::from(*x))).collect();
            let norm = g.iter().map(|g| g * g).sum::<f64>().sqrt();
            total.iter_mut().zip(&g).for_each(|(t, g)| *t += g * (0.1 / norm).min(1.0) / targets.len() as f64);
        }
        for i in 0..n {
            m[i] = 0.9 * m[i] + 0.1 * total[i];
            v[i] = 0.999 * v[i] + 0.001 * total[i] * total[i];
            let (mh, vh) = (m[i] / (1.0 - 0.9f64.powi(step as i32)), v[i] / (1.0 - 0.999f64.powi(step as i32)));
            w[i] -= 0.01 * mh / (vh.sqrt() + 1e-6);
            ema[i] = 0.9 * ema[i] + 0.1 * w[i];
        }
        all.push((w.clone(), ema.clone()));
    }
    all
}

/// The arena's elements of `w [5, 7]`, whose rows are padded to 8.
fn unpadded(arena: &[f32]) -> Vec<f32> {
    arena[..40].chunks(8).flat_map(|row| row[..7].to_vec()).collect()
}

fn padded(w: &[f32]) -> Vec<f32> {
    let mut arena: Vec<f32> = w.chunks(7).flat_map(|row| [row, &[0.0]].concat()).collect();
    arena.resize(LEN, 0.0);
    arena
}

fn open_session<'a>(gpu: &'a Gpu, cache: &Cache) -> Session<'a> {
    // The examples' graph learns its arena's length from its parameters; the update's is told.
    let (one, two) = (ops::graph(DType::F32, 0), ops::graph(DType::F32, LEN));
    example(&one);
    optimizer::update(&two, false);
    let session = Session::of(gpu, cache, &[("example", &one), ("update", &two)]).expect("fits");
    session.set("minus", &HostTensor::f32(&[1], vec![-1.0]));
    session
}

fn step(session: &Session<'_>, targets: &[Vec<f32>]) {
    optimizer::steer(session, &CONTROL);
    for x in targets {
        session.set("x", &HostTensor::f32(&SHAPE, x.clone()));
        session.replay_list("example").expect("runs");
    }
    session.replay_list("update").expect("runs");
}

#[test]
fn a_restored_run_goes_on_with_the_same_bits() {
    let (gpu, cache) = open(None);
    let targets = [values(12, 35), values(13, 35)];
    let whole = open_session(&gpu, &cache);
    optimizer::begin(&whole, &padded(&values(11, 35)));
    (0..3).for_each(|_| step(&whole, &targets));
    step(&whole, &[targets[0].clone(), vec![f32::NAN; 35]]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ckpt");
    let states = optimizer::states(&whole).expect("reads");
    let arenas: Vec<(&str, &[f32])> = states.iter().map(|(n, v)| (*n, v.as_slice())).collect();
    let state = State {
        step: 4,
        sampler: SamplerState { seed: 0, next_step: 4, sets: Vec::new() },
        config: String::new(),
        layout: 0,
        kernels: gpu.traits.clone(),
        seconds: 0.0,
        score: None,
    };
    checkpoint::write(&path, &state, &arenas).expect("writes");
    (0..4).for_each(|_| step(&whole, &targets));
    // A new device, as a new process would open it.
    let (gpu, cache) = open(None);
    let resumed = open_session(&gpu, &cache);
    let read = checkpoint::read(&path).expect("reads");
    assert_eq!(read.state, state);
    optimizer::restore(&resumed, &read, LEN).expect("fits");
    assert_eq!(optimizer::status(&resumed).expect("reads").skipped, 1);
    (0..4).for_each(|_| step(&resumed, &targets));
    assert_eq!(optimizer::states(&resumed).expect("reads"), optimizer::states(&whole).expect("reads"));
    assert!(optimizer::restore(&resumed, &read, LEN + 64).unwrap_err().to_string().contains("`parameters` has 64 elements"));
}

#[test]
fn lists_of_one_session_train() {
    let (gpu, cache) = open(None);
    let session = open_session(&gpu, &cache);
    let start = values(11, 35);
    let targets = [values(12, 35), values(13, 35)];
    optimizer::begin(&session, &padded(&start));
    let status = |session: &Session<'_>| optimizer::status(session).expect("reads");
    let plain = plain(&start, &targets, 8);
    for (k, (want, mean)) in plain.iter().enumerate() {
        step(&session, &targets);
        for (name, want) in [("parameters", want), ("ema", mean)] {
            let got = unpadded(session.get(name).expect("reads").as_f32());
            let worst = got.iter().zip(want).map(|(g, w)| (f64::from(*g) - w).abs()).fold(0.0, f64::max);
            assert!(worst < 2e-6, "{name} after step {}: {worst:.2e}", k + 1);
        }
        assert_eq!(status(&session).applied, k as u64 + 1);
        if k == 3 {
            // An example that is not finite in the middle of the run: the step changes nothing, is counted, and the run goes on as if it
            // had not been.
            let before = ["parameters", "adam_m", "adam_v", "ema"].map(|name| session.get(name).expect("reads"));
            step(&session, &[targets[0].clone(), vec![f32::NAN; 35]]);
            assert_eq!(["parameters", "adam_m", "adam_v", "ema"].map(|name| session.get(name).expect("reads")), before);
            let status = status(&session);
            assert!(!status.taken && status.skipped == 1 && !status.bad && status.applied == 4, "{status:?}");
            assert!(session.get("total").expect("reads").as_f32().iter().all(|v| *v == 0.0));
        }
    }
}

#[test]
fn adam_takes_alphafolds_first_step() {
    let (gpu, cache) = open(None);
    for (case, lr) in [("train_trajectory", 1e-3), ("train_trajectory_lr1e-4", 1e-4), ("train_trajectory_afinit", 1e-3)] {
        let Some(path) = shared(&format!("goldens/model/{case}.safetensors")) else { continue };
        let golden = Golden::read(&path).expect("a golden case");
        let control = Control { lr, eps: 1e-6, clip: 0.1, batch: 1, b1: 0.9, b2: 0.999, decay: 0.999 }.pack().to_vec();
        let all = |prefix: &str| -> Vec<f32> {
            let mut v: Vec<f32> = golden.with_prefix(prefix).flat_map(|(_, t)| t.to_f32()).collect();
            v.resize(v.len().next_multiple_of(4), 0.0);
            v
        };
        let (before, gradient, after) = (all("param:"), all("out:first_update_gradient/"), all("out:params_after_step1/"));
        let n = before.len();
        assert!(n > 100_000 && gradient.len() == n && after.len() == n, "{case}: {n} parameters");
        let zeros = vec![0.0; n];
        let got = run(&gpu, &cache, Adam { scaled: false }, &[control, vec![0.0; STATUS], gradient, before.clone(), zeros.clone(), zeros]);
        let mut moved = 0;
        for i in 0..n {
            // Parameters are stored in f32: half a unit in the last place of the result, and 2e-6 of a step.
            let floor = f64::from(after[i].abs()) * 6e-8 + 2e-6 * lr;
            let off = (f64::from(got[3][i]) - f64::from(after[i])).abs();
            assert!(off <= 2.0 * floor, "{case}: element {i} is {} and should be {}, off by {off:.1e}", got[3][i], after[i]);
            moved += usize::from(after[i] != before[i]);
        }
        // From AlphaFold's own initialisers three quarters of the first gradients are exactly zero.
        assert!(moved > n / 5, "{case}: only {moved} of {n} parameters move");
    }
}
