//! What plans promise about memory: the predicted peak is what the allocator and the process take, nearly all of it tensors that live then;
//! and replays take nothing more, and give the same bits from the same seed.

use std::process::Command;

use anyfold::gpu::Gpu;
use anyfold::gpu::device::Choice;
use anyfold::gpu::program::Cache;
use anyfold::graph::run::Session;
use anyfold::nn::dropout::seed_words;
use anyfold::ops;
use anyfold::ops::basic::dropout::{Dropout, Share};
use anyfold::ops::basic::layer_norm::LayerNorm;
use anyfold::ops::basic::linear::{Act, Linear};
use anyfold::ops::basic::sum::Sum;
use anyfold::ops::train::Control;
use anyfold::tensor::{DType, HostTensor};
use anyfold::train::optimizer;
use serde_json::Value;

/// What a session takes besides its tensors: uniform blocks, bind groups, staging of uploads and of what is read back, and what the driver
/// and the C library keep for themselves.
const CONSTANT: f64 = 24.0 * 1024.0 * 1024.0;

/// `anyfold inspect step --memory` of the model `tiny`, in a process of its own.
fn step(crop: usize, msa: usize, extra: usize) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("step.json");
    let numbers = [crop, msa, extra].map(|n| n.to_string());
    let args = ["inspect", "step", "--crop", &numbers[0], "--msa", &numbers[1], "--extra", &numbers[2], "--memory", "--json"];
    let out = Command::new(env!("CARGO_BIN_EXE_anyfold")).args(args).arg(&json).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap()
}

fn agrees(shapes: &[(usize, usize, usize)]) {
    for &(crop, msa, extra) in shapes {
        let report = step(crop, msa, extra);
        let [planned, live] = ["planned", "live"].map(|k| report[k].as_f64().unwrap());
        println!("{crop} {msa} {extra}: planned {planned} live {live} allocated {} resident {}", report["allocated"], report["resident"]);
        assert!(live >= 0.85 * planned, "{live} of {planned} bytes live at the peak");
        let tensors: f64 = report["tensors"].as_array().unwrap().iter().map(|t| t["bytes"].as_f64().unwrap()).sum();
        assert_eq!(tensors, live, "the tensors at the fullest moment are those that live then");
        for taken in ["allocated", "resident"] {
            // A hardware adapter's tensors are not in the process, and not every backend has an allocator that tells.
            let Some(taken) = report[taken].as_f64() else { continue };
            let off = taken - planned;
            assert!(off >= -0.05 * planned && off <= 0.05 * planned + CONSTANT, "planned {planned} bytes, taken {taken}");
        }
    }
}

#[test]
fn a_step_takes_the_memory_that_was_planned() {
    agrees(&[(24, 8, 16), (48, 16, 32), (64, 32, 64)]);
}

#[test]
#[ignore = "a minute and a gigabyte; `cargo test -- --ignored memory`"]
fn a_larger_step_takes_the_memory_that_was_planned() {
    agrees(&[(128, 64, 128), (192, 64, 256), (256, 128, 256)]);
}

/// A training of a small network with dropout, step by step: its lists replayed `steps` times, and the losses' bits.
fn train(gpu: &Gpu, cache: &Cache, steps: u32, mut after: impl FnMut(u32)) -> Vec<u32> {
    const ROWS: usize = 64;
    let (example, update) = (ops::graph(DType::F32, 4096), ops::graph(DType::F32, 4096));
    let x = example.input("x", &[ROWS, 20], DType::F32, false);
    let seed = example.input("seed", &[5], DType::I32, false);
    let param = |name: &str, shape: &[usize], at| example.param(name, shape, at);
    let h = example.apply(LayerNorm { eps: 1e-5 }, &[x, param("scale", &[20], 0), param("offset", &[20], 64)]);
    let h = example.apply(Linear::biased(Act::Relu), &[h, param("w1", &[20, 36], 128), param("b1", &[36], 1024)]);
    let h = example.apply(Linear::plain(Act::None), &[h, param("w2", &[36, 20], 1088)]);
    let y = example.apply(Dropout { rate: 0.25, share: Share::Nothing, key: 7, residual: true }, &[x, h, seed]);
    let loss = example.apply(Sum::mean(&[0, 1]), &[y * y]).reshape(&[1]);
    example.output("loss", loss);
    example.backward(&[(loss, None)]);
    optimizer::after_example(&example, loss, false);
    optimizer::update(&update, false);
    let session = Session::of(gpu, cache, &[("example", &example), ("update", &update)]).expect("fits");
    let draw = |seed: u32, n: usize| -> Vec<f32> {
        (0..n as u32).map(|i| ((i * 7919 + seed * 104_729).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
    };
    let mut arena = draw(1, 4096);
    arena[..20].fill(1.0);
    optimizer::begin(&session, &arena);
    optimizer::steer(&session, &Control { lr: 1e-3, eps: 1e-6, clip: 0.1, batch: 1, b1: 0.9, b2: 0.999, decay: 0.99 });
    session.set("x", &HostTensor::f32(&[ROWS, 20], draw(2, ROWS * 20)));
    let mut losses = Vec::new();
    for step in 0..steps {
        session.set("seed", &seed_words(3, step, 0, 0));
        session.replay_list("example").expect("runs");
        session.replay_list("update").expect("runs");
        losses.push(session.get("loss").expect("reads").as_f32()[0].to_bits());
        after(step);
    }
    losses
}

fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// Says to a process of this test binary that it runs one test alone, whose memory nothing else changes.
const ALONE: &str = "ANYFOLD_TEST_ALONE";

#[test]
fn a_thousand_replays_take_no_memory_and_give_the_same_bits_twice() {
    if std::env::var_os(ALONE).is_none() {
        let name = "memory::a_thousand_replays_take_no_memory_and_give_the_same_bits_twice";
        let this = std::env::current_exe().unwrap();
        let out = Command::new(this).args([name, "--exact", "--nocapture"]).env(ALONE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let gpu = Gpu::open(&Choice::default()).expect("a Vulkan, Metal or DX12 adapter");
    let cache = Cache::default();
    let taken = || (gpu.device.generate_allocator_report().map(|r| (r.total_allocated_bytes, r.allocations.len())), resident());
    let mut seen = Vec::new();
    let first = train(&gpu, &cache, 1000, |step| {
        if step == 99 || step == 999 {
            seen.push(taken());
        }
    });
    let second = train(&gpu, &cache, 1000, |_| {});
    assert_eq!(first, second, "the same seed gives other bits");
    let loss = |at: usize| f32::from_bits(first[at]);
    assert!(loss(999) < 0.9 * loss(0) && first.windows(2).filter(|w| w[0] != w[1]).count() > 900, "{} to {}", loss(0), loss(999));
    let [early, late] = seen[..] else { panic!("two looks") };
    println!("after 100 replays {early:?}, after 1000 {late:?}");
    assert_eq!(early.0, late.0, "the allocator holds more after 1000 replays than after 100");
    if let (Some(early), Some(late)) = (early.1, late.1) {
        // Pages of kilobytes; the C library's heap may still settle.
        assert!(late <= early + 2048, "{early} kB in memory after 100 replays, {late} kB after 1000");
    }
}
