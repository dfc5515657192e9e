//! Plans: what a step takes is told without a device, and what is computed again changes no bit.

use std::cell::RefCell;
use std::rc::Rc;

use anyfold::gpu::Gpu;
use anyfold::gpu::device::{Choice, common};
use anyfold::gpu::program::Cache;
use anyfold::gpu::recorder::Family;
use anyfold::graph::budget::{Budget, budget};
use anyfold::graph::lists::Lists;
use anyfold::graph::run::Session;
use anyfold::graph::{Graph, Saving};
use anyfold::loss::total::Weights;
use anyfold::model::config::BlockConfig;
use anyfold::model::evoformer::{Masks, evoformer_stack};
use anyfold::model::features::Extents;
use anyfold::model::presets::preset;
use anyfold::nn::attention::{Bias, Config, attention};
use anyfold::nn::dropout::{SEED, seed_input, seed_words};
use anyfold::nn::params::{Params, Scope};
use anyfold::ops;
use anyfold::ops::basic::layer_norm::LayerNorm;
use anyfold::ops::basic::linear::{Act, Linear};
use anyfold::tensor::{DType, HostTensor};
use anyfold::train::lists::{self, Recipe};

fn planned(lists: &lists::Lists) -> Budget {
    let target = common();
    budget(&Lists::of(&target.traits, &lists.graphs()), &target.traits, target.align).expect("no tensor is larger than a buffer")
}

fn training(model: &str, (n_res, n_clust, n_extra): (usize, usize, usize), saving: Saving) -> Budget {
    planned(&lists::training(&Recipe {
        model: preset(model).unwrap(),
        extents: Extents { n_res, n_clust, n_extra, n_templ: 4 },
        storage: DType::F32,
        weights: Weights::fine_tuning(),
        dropout: true,
        scaled: false,
        saving,
    }))
}

#[test]
fn a_plan_adds_up() {
    let b = training("tiny", (64, 16, 32), Saving::default());
    assert_eq!(b.kinds.values().sum::<u64>(), b.peak_bytes, "{:?}", b.kinds);
    assert!(b.live_bytes <= b.peak_bytes && b.peak_bytes == b.buffers.iter().sum::<u64>());
    for (name, list) in &b.lists {
        let sum: f64 = b.scopes[name].values().map(|w| w.dispatches).sum();
        assert_eq!(sum, list.dispatches, "{name}");
    }
    assert!(b.lists["example"].flops > 3.0 * b.lists["pass"].flops);
    let modules = training("tiny", (64, 16, 32), Saving { group: 2, modules: true });
    assert!(modules.live_bytes < b.live_bytes && modules.lists["example"].flops > b.lists["example"].flops);
}

/// The shapes of the paper's two stages, and of long chains, fit the memory that they should; a step of the first is few enough dispatches.
#[test]
fn published_shapes_fit() {
    let initial = training("model_1_ptm", (256, 128, 1024), Saving::default());
    assert!(initial.peak_bytes <= 7_000_000_000, "{}", initial.peak_bytes);
    let flops = initial.lists["example"].flops + 1.5 * initial.lists["pass"].flops;
    assert!(flops <= 85e12, "{flops:e}");
    // Everything from the inputs to the averaged parameters, at 2.5 passes and at 4.
    let of = |list: &str| initial.lists[list].dispatches;
    for (passes, most) in [(2.5, 12_000.0), (4.0, 15_000.0)] {
        let dispatches = (passes - 1.0) * of("pass") + of("example") + of("update");
        assert!(dispatches <= most, "{dispatches} dispatches in {passes} passes");
    }
    let fine = training("model_1_ptm", (384, 512, 5120), Saving::default());
    assert!(fine.peak_bytes <= 22_000_000_000, "{}", fine.peak_bytes);
    let extents = Extents { n_res: 1000, n_clust: 512, n_extra: 1024, n_templ: 4 };
    let long = planned(&lists::prediction(&preset("model_1_ptm").unwrap(), extents, DType::F32));
    assert!(long.peak_bytes <= 8_000_000_000, "{}", long.peak_bytes);
    let longest = planned(&lists::prediction(&preset("model_1_ptm").unwrap(), Extents { n_res: 2500, ..extents }, DType::F32));
    assert!(longest.peak_bytes <= 24_000_000_000, "{}", longest.peak_bytes);
}

const N: usize = 13;
const ROWS: usize = 6;

pub fn draw(seed: u64, shape: &[usize]) -> HostTensor {
    let n: usize = shape.iter().product();
    let value = |i: u64| {
        let z = (seed << 32 | (i + 1)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (((z ^ (z >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    HostTensor::f32(shape, (0..n as u64).map(value).collect())
}

/// Blocks as narrow as they can be.
fn small(blocks: usize) -> BlockConfig {
    BlockConfig { blocks, msa_heads: 2, pair_heads: 2, triangle: 8, outer: 4, msa_factor: 2, pair_factor: 2, ..BlockConfig::default() }
}

/// A stack of four blocks with dropout: what it gives and all gradients, and the dispatches of it.
fn stack(gpu: &Gpu, cache: &Cache, saving: Saving) -> (Vec<HostTensor>, Vec<f32>, usize) {
    let graph: Graph = ops::graph(DType::F32, 0);
    let params: Rc<RefCell<Params>> = Rc::default();
    let scope = Scope::new(&graph, params.clone());
    let config = small(4);
    let (m, z) = (graph.input("m", &[ROWS, N, 16], DType::F32, true), graph.input("z", &[N, N, 8], DType::F32, true));
    let masks =
        Masks { msa: graph.input("msa_mask", &[ROWS, N], DType::F32, false), pair: graph.input("pair_mask", &[N, N], DType::F32, false) };
    let seed = Some(seed_input(&scope));
    graph.save(saving);
    let (m, z) = evoformer_stack(&scope, (m, z), masks, &config, false, seed);
    graph.output("m out", m);
    graph.output("z out", z);
    graph.backward(&[(m, None), (z, None)]);
    let session = Session::new(gpu, cache, &graph).expect("fits");
    session.set("m", &draw(1, &[ROWS, N, 16]));
    session.set("z", &draw(2, &[N, N, 8]));
    session.set("msa_mask", &HostTensor::f32(&[ROWS, N], vec![1.0; ROWS * N]));
    session.set("pair_mask", &HostTensor::f32(&[N, N], vec![1.0; N * N]));
    session.set(SEED, &seed_words(5, 1, 0, 0));
    let params = params.borrow();
    let values = params.official().iter().enumerate().map(|(i, (name, shape))| (name.clone(), draw(10 + i as u64, shape))).collect();
    session.set_params(&params.pack(&values).unwrap());
    session.replay().expect("runs");
    let read = ["m out", "z out", "d/m", "d/z"].map(|name| session.get(name).expect("reads")).to_vec();
    (read, session.get_grads().expect("reads"), session.dispatches())
}

#[test]
fn what_is_computed_again_changes_no_bit() {
    let gpu = Gpu::open(&Choice::default()).expect("a Vulkan, Metal or DX12 adapter");
    let cache = Cache::default();
    let (read, gradients, dispatches) = stack(&gpu, &cache, Saving { group: 1, modules: false });
    assert!(read.iter().all(|t| t.as_f32().iter().all(|v| v.is_finite()) && t.as_f32().iter().any(|v| *v != 0.0)));
    assert!(gradients.iter().filter(|g| **g != 0.0).count() > 1000);
    let mut before = dispatches;
    for saving in [Saving { group: 3, modules: false }, Saving { group: 2, modules: true }] {
        let (again, again_gradients, dispatches) = stack(&gpu, &cache, saving);
        assert!(again == read && again_gradients == gradients, "{saving:?} changes a bit");
        assert!(dispatches > before, "{saving:?} computes nothing again");
        before = dispatches;
    }
}

/// A stack without a backward pass, and an attention of single queries to a few keys as templates have it, bound to so many bytes: what they
/// give, and the dispatches.
fn forward(gpu: &Gpu, cache: &Cache, extra: bool, room: Option<u64>) -> (Vec<HostTensor>, usize) {
    let graph: Graph = ops::graph(DType::F32, 0);
    room.into_iter().for_each(|bytes| graph.bound(bytes));
    let params: Rc<RefCell<Params>> = Rc::default();
    let scope = Scope::new(&graph, params.clone());
    let config = small(2);
    let inputs: [(&str, &[usize]); 6] = [
        ("m", &[ROWS, N, 16]),
        ("z", &[N, N, 8]),
        ("msa_mask", &[ROWS, N]),
        ("pair_mask", &[N, N]),
        ("keys", &[N * N, 3, 12]),
        ("key_mask", &[3]),
    ];
    let [m, z, msa, pair, keys, key_mask] = inputs.map(|(name, shape)| graph.input(name, shape, DType::F32, false));
    let (m, z) = evoformer_stack(&scope, (m, z), Masks { msa, pair }, &config, extra, None);
    let heads = Config { heads: 2, d_k: 4, d_v: 4, gated: false, out: 8 };
    let mask = key_mask.repeat(N * N); // [N N, 3]
    let t = attention(&scope.child("pointwise"), z.reshape(&[N * N, 1, 8]), Some(keys), Some(mask), Bias::None, heads);
    [("m out", m), ("z out", z), ("t out", t)].into_iter().for_each(|(name, x)| graph.output(name, x));
    let session = Session::new(gpu, cache, &graph).expect("fits");
    for (i, (name, shape)) in inputs.into_iter().enumerate() {
        let ones = HostTensor::f32(shape, vec![1.0; shape.iter().product()]);
        session.set(name, &if name.ends_with("mask") { ones } else { draw(i as u64, shape) });
    }
    let params = params.borrow();
    let values = params.official().iter().enumerate().map(|(i, (name, shape))| (name.clone(), draw(10 + i as u64, shape))).collect();
    session.set_params(&params.pack(&values).unwrap());
    session.replay().expect("runs");
    (["m out", "z out", "t out"].map(|name| session.get(name).expect("reads")).to_vec(), session.dispatches())
}

#[test]
fn layers_in_parts_of_rows_change_no_bit() {
    for (family, extra) in [None, Some(Family::Tiled)].into_iter().flat_map(|family| [(family, false), (family, true)]) {
        let gpu = Gpu::open(&Choice { family, ..Choice::default() }).expect("a Vulkan, Metal or DX12 adapter");
        let cache = Cache::default();
        let (whole, mut before) = forward(&gpu, &cache, extra, None);
        assert!(whole.iter().all(|t| t.as_f32().iter().all(|v| v.is_finite()) && t.as_f32().iter().any(|v| *v != 0.0)));
        // Some rows at a time, and one row at a time.
        for room in [10_000, 1] {
            let (parts, dispatches) = forward(&gpu, &cache, extra, Some(room));
            assert!(parts == whole, "{room} bytes change a bit, {family:?}, extra {extra}");
            assert!(dispatches > before, "{room} bytes make no part, {family:?}, extra {extra}");
            before = dispatches;
        }
    }
}

/// Statistics of rows are the same bits whether a layer norm makes them or the product that takes its place.
#[test]
fn statistics_are_the_same_wherever_they_are_made() {
    for family in [None, Some(Family::Tiled)] {
        let gpu = Gpu::open(&Choice { family, ..Choice::default() }).expect("a Vulkan, Metal or DX12 adapter");
        let cache = Cache::default();
        for c in [8, 16, 30, 64, 128, 200, 256] {
            let graph: Graph = ops::graph(DType::F32, 0);
            let [x, scale, offset, w] = [("x", vec![100, c]), ("scale", vec![c]), ("offset", vec![c]), ("w", vec![c, 8])]
                .map(|(name, shape)| graph.input(name, &shape, DType::F32, false));
            let alone = graph.apply_all(Rc::new(LayerNorm { eps: 1e-5 }), &[x, scale, offset]);
            let joined = Linear { norm: Some(1e-5), ..Linear::plain(Act::None) };
            let joined = graph.apply_all(Rc::new(joined), &[x, scale, offset, w]);
            let plain = graph.apply(Linear::plain(Act::None), &[alone[0], w]);
            for (name, t) in [("alone", alone[1]), ("joined", joined[1]), ("after", plain), ("in one", joined[0]), ("norm", alone[0])] {
                graph.output(name, t);
            }
            let session = Session::new(&gpu, &cache, &graph).expect("fits");
            for (i, (name, shape)) in
                [("x", vec![100, c]), ("scale", vec![c]), ("offset", vec![c]), ("w", vec![c, 8])].into_iter().enumerate()
            {
                session.set(name, &draw(i as u64, &shape));
            }
            session.replay().expect("runs");
            let get = |name| session.get(name).expect("reads");
            assert!(get("alone") == get("joined"), "statistics of {c} channels, {family:?}");
            assert!(get("after") == get("in one"), "a product of {c} channels, {family:?}");
        }
    }
}
