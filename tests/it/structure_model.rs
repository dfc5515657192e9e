//! The structure module on the device: AlphaFold's numbers, what no motion of the whole changes, and where gradients stop.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use anyfold::gpu::Gpu;
use anyfold::gpu::device::Choice;
use anyfold::gpu::program::Cache;
use anyfold::graph::Graph;
use anyfold::graph::run::Session;
use anyfold::model::structure::{Residues, StructureConfig, invariant_point_attention, structure_module};
use anyfold::nn::dropout::{SEED, seed_input, seed_words};
use anyfold::nn::params::{Params, Scope};
use anyfold::ops;
use anyfold::ops::structure::stop_rotation::StopRotation;
use anyfold::protein::rigid::{Rigid, quat_multiply, quat_to_rot};
use anyfold::tensor::{DType, HostTensor};
use anyfold::verify::report::Outcome;
use anyfold::verify::{Context, run_file};
use glam::DVec3;

const N: usize = 19;

fn config() -> StructureConfig {
    StructureConfig { layers: 3, heads: 3, scalar_qk: 8, scalar_v: 6, channels: 24, sidechain_channels: 16, ..StructureConfig::default() }
}

/// Values in [-1, 1), fixed by a seed.
fn draw(seed: u64, n: usize) -> Vec<f32> {
    let value = |i: u64| {
        let mut z = (seed << 32 | i).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n as u64).map(value).collect()
}

fn tensor(seed: u64, shape: &[usize]) -> HostTensor {
    HostTensor::f32(shape, draw(seed, shape.iter().product()))
}

/// Affines of unit quaternions, and the same moved as a whole by a rotation and a translation.
fn affines() -> [HostTensor; 2] {
    let raw = draw(7, N * 7);
    let turn = [0.5, -0.5, 0.1, 0.7];
    let unit = |q: [f64; 4]| q.map(|v| v / q.iter().map(|v| v * v).sum::<f64>().sqrt());
    let motion = Rigid { rot: quat_to_rot(unit(turn)), trans: DVec3::new(3.0, -2.0, 1.0) };
    let [mut at, mut moved] = [Vec::new(), Vec::new()];
    for a in raw.chunks(7).map(|a| a.iter().map(|&v| f64::from(v)).collect::<Vec<_>>()) {
        let (q, t) = (unit([a[0], a[1], a[2], a[3]]), DVec3::new(a[4], a[5], a[6]));
        let row = |q: [f64; 4], t: DVec3| q.into_iter().chain(t.to_array()).map(|v| v as f32).collect::<Vec<_>>();
        at.extend(row(q, t));
        moved.extend(row(quat_multiply(unit(turn), q), motion.apply(t)));
    }
    [at, moved].map(|v| HostTensor::f32(&[N, 7], v))
}

fn scope(graph: &Graph) -> (Scope<'_>, Rc<RefCell<Params>>) {
    let params = Rc::new(RefCell::new(Params::default()));
    (Scope::new(graph, params.clone()), params)
}

/// Small weights everywhere: also where AlphaFold starts from zero.
fn fill(session: &Session, params: &Params) {
    let official = params.official().into_iter().enumerate();
    let official = official.map(|(i, (name, shape))| {
        let values = draw(100 + i as u64, shape.iter().product()).iter().map(|v| v * 0.4).collect();
        (name, HostTensor::f32(&shape, values))
    });
    session.set_params(&params.pack(&official.collect()).expect("all are there"));
}

#[test]
fn a_whole_structure_module_agrees_with_alphafold() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/goldens/structure/structure_module_small.safetensors");
    let report = run_file(&Context::default(), &path);
    assert_eq!(report.outcome, Outcome::Pass, "{}", report.row());
    assert_eq!(report.compared.len(), 58, "outputs, and gradients of two inputs and all parameters");
}

#[test]
fn a_motion_of_the_whole_changes_no_point_attention() {
    let gpu = Gpu::open(&Choice::default()).expect("a Vulkan, Metal or DX12 adapter");
    let graph = ops::graph(DType::F32, 0);
    let (scope, params) = scope(&graph);
    let input = |name: &str, shape: &[usize]| graph.input(name, shape, DType::F32, false);
    let (s, z, mask) = (input("s", &[N, 24]), input("z", &[N, N, 8]), input("mask", &[N]));
    let names = ["at", "moved"];
    for name in names {
        graph.output(&format!("y {name}"), invariant_point_attention(&scope, s, z, input(name, &[N, 7]), mask, &config()));
    }
    let session = Session::new(&gpu, &Cache::default(), &graph).expect("fits");
    session.set("s", &tensor(1, &[N, 24]));
    session.set("z", &tensor(2, &[N, N, 8]));
    session.set("mask", &HostTensor::f32(&[N], (0..N).map(|i| f32::from(i < 15)).collect()));
    names.iter().zip(&affines()).for_each(|(name, value)| session.set(name, value));
    fill(&session, &params.borrow());
    session.replay().expect("runs");
    let [a, b] = names.map(|name| session.get(&format!("y {name}")).expect("reads").to_f64());
    let largest = a.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(largest > 0.1 && worst < 1e-5 * largest, "{worst:e} of {largest:e}");
}

#[test]
fn the_next_layer_has_no_gradient_of_rotations() {
    let gpu = Gpu::open(&Choice::default()).expect("a Vulkan, Metal or DX12 adapter");
    let graph = ops::graph(DType::F32, 0);
    let x = graph.input("x", &[N, 7], DType::F32, true);
    let seed = graph.input("seed", &[N, 7], DType::F32, false);
    let y = graph.apply(StopRotation, &[x]);
    graph.output("y", y);
    graph.backward(&[(y, Some(seed))]);
    let session = Session::new(&gpu, &Cache::default(), &graph).expect("fits");
    let (value, cotangent) = (tensor(1, &[N, 7]), tensor(2, &[N, 7]));
    session.set("x", &value);
    session.set("seed", &cotangent);
    session.replay().expect("runs");
    assert_eq!(session.get("y").expect("reads"), value);
    let want = cotangent.as_f32().iter().enumerate().map(|(i, v)| if i % 7 < 4 { 0.0 } else { *v }).collect();
    assert_eq!(session.get("d/x").expect("reads"), HostTensor::f32(&[N, 7], want));
}

/// The module with dropout in a graph of this storage: its trajectory, the gradient of a weight that all layers share, and dispatches.
fn with_dropout(gpu: &Gpu, storage: DType, recompute: bool) -> (DType, Vec<HostTensor>, usize) {
    let graph = ops::graph(storage, 0);
    let (scope, params) = scope(&graph);
    let (s, z) = (graph.input("s", &[N, 24], storage, true), graph.input("z", &[N, N, 8], storage, true));
    let table = |name: &str, shape: &[usize], dtype| graph.input(name, shape, dtype, false);
    let residues = Residues {
        aatype: table("aatype", &[N], DType::I32),
        seq_mask: table("mask", &[N], DType::F32),
        residx_atom37_to_atom14: table("index", &[N, 37], DType::I32),
        atom37_atom_exists: table("exists", &[N, 37], DType::F32),
    };
    let seed = seed_input(&scope);
    let module = || structure_module(&scope, s, z, &residues, &config(), Some(seed));
    let y = if recompute { graph.recompute(module) } else { module() };
    graph.output("traj", y.traj);
    graph.output("atoms", y.atom37_positions);
    graph.backward(&[(y.traj, Some(table("d traj", &y.traj.shape(), DType::F32))), (y.atom37_positions, None)]);
    let session = Session::new(gpu, &Cache::default(), &graph).expect("fits");
    session.set("s", &tensor(1, &[N, 24]));
    session.set("z", &tensor(2, &[N, N, 8]));
    session.set("d traj", &tensor(3, &y.traj.shape()));
    session.set("aatype", &HostTensor::i32(&[N], (0..N as i32).collect()));
    session.set("mask", &HostTensor::f32(&[N], vec![1.0; N]));
    session.set("index", &HostTensor::i32(&[N, 37], (0..37 * N as i32).map(|i| i % 5).collect()));
    session.set("exists", &HostTensor::f32(&[N, 37], vec![1.0; N * 37]));
    session.set(SEED, &seed_words(5, 1, 0, 0));
    fill(&session, &params.borrow());
    session.replay().expect("runs");
    let mut all: Vec<HostTensor> = ["traj", "atoms", "d/s", "d/z"].iter().map(|name| session.get(name).expect("reads")).collect();
    let gradients = session.get_grads().expect("reads");
    all.push(HostTensor::f32(&[gradients.len()], gradients));
    (y.traj.dtype(), all, session.dispatches())
}

#[test]
fn recompute_and_storage_change_nothing_inside() {
    let gpu = Gpu::open(&Choice::default()).expect("a Vulkan, Metal or DX12 adapter");
    let (_, plain, dispatches) = with_dropout(&gpu, DType::F32, false);
    let (_, again, more) = with_dropout(&gpu, DType::F32, true);
    assert!(more > dispatches, "recompute computes nothing again: {dispatches}, {more}");
    assert_eq!(plain, again, "recompute changes a bit");
    assert!(plain.iter().all(|t| t.as_f32().iter().any(|v| *v != 0.0)), "something is all zero");
    let (dtype, half, _) = with_dropout(&gpu, DType::Bf16, false);
    assert_eq!(dtype, DType::F32, "geometry is in single precision in a graph that stores bf16");
    // Only the inputs are rounded, to eight bits.
    let worst = plain[0].as_f32().iter().zip(half[0].as_f32()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 0.5, "trajectories differ by {worst} Angstrom");
    println!("three layers, forward and backward: {dispatches} dispatches");
}
