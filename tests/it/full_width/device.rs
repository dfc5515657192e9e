//! A block as the network has it, forward and backward on the device, from values that are drawn here.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use anyfold::gpu::Gpu;
use anyfold::gpu::device::Choice;
use anyfold::gpu::program::Cache;
use anyfold::graph::run::Session;
use anyfold::graph::{Graph, Tensor};
use anyfold::model::evoformer::{Masks, evoformer_stack, template_pair_stack};
use anyfold::nn::params::{Entry, Params, Scope};
use anyfold::ops;
use anyfold::tensor::{DType, HostTensor};

use super::reference::Block;
use super::{Case, Kind, say};

/// What a block was given, and what it gave.
pub struct Ran {
    /// Parameters by AlphaFold's names below the stack's, as the device has them.
    pub params: BTreeMap<String, Vec<f32>>,
    /// The inputs `m` and `z`, of which the template stack has the second only.
    pub inputs: BTreeMap<&'static str, Vec<f32>>,
    /// The weights of the loss, by the output that they multiply.
    pub cotangents: BTreeMap<&'static str, Vec<f32>>,
    pub outputs: BTreeMap<&'static str, Vec<f32>>,
    /// The loss's gradients, of parameters and of inputs by the same names.
    pub gradients: BTreeMap<String, Vec<f32>>,
}

/// splitmix64, as values in [-1, 1).
pub fn draw(seed: u64, n: usize) -> Vec<f32> {
    let value = |i: u64| {
        let mut z = (seed << 32 | i).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n as u64).map(value).collect()
}

/// A parameter of which nothing is zero, as large as keeps activations of order one.
///
/// Of the tens of millions of units of a wide transition some would lie so near to zero that single precision puts them on the other side. Their
/// parts of a gradient come or go whole: seven units of 33,554,432 moved components by up to 2e-3, and single derivatives by 7e-4. There a
/// unit's bias is four deviations of its value to either side, so that one in some ten thousand changes sides with its input, and none is that near.
fn parameter(case: &Case, seed: u64, entry: &Entry) -> Vec<f32> {
    let raw = draw(seed, entry.shape.iter().product());
    if case.long && entry.name.ends_with("transition1//bias") {
        return raw.into_iter().map(|v| v * 0.3 + 4.0_f32.copysign(v)).collect();
    }
    let last = entry.name.rsplit("//").next().expect("a name");
    let (middle, width) = match last {
        "scale" => (1.0, 0.3),
        // A pair without any sequence gets a thousand times this: too much where padding counts.
        "output_b" if case.padding && entry.name.contains("outer_product_mean") => (0.0, 1e-3),
        "offset" | "bias" | "gating_b" | "output_b" => (0.0, 0.3),
        // What they multiply are averages, and so small.
        "output_w" => (0.0, 4.0 * (3.0 / entry.fan_in as f32).sqrt()),
        _ => (0.0, (3.0 / entry.fan_in as f32).sqrt()),
    };
    raw.into_iter().map(|v| middle + width * v).collect()
}

/// A representation `[a, b, c]` of variance about one whose rows have a part in common, so that averages over them are not only noise.
fn representation(seed: u64, [a, b, c]: [usize; 3]) -> Vec<f32> {
    let (own, common) = (draw(seed, a * b * c), draw(seed + 1, b * c));
    own.iter().zip(common.iter().cycle()).map(|(own, common)| 1.5 * own + 0.9 * common).collect()
}

/// Records a case's block with its loss `sum(w out)`, as the network's own stack of one block.
fn record<'g>(case: &Case, block: &Block, scope: &Scope<'g>) {
    let (graph, n, shape_m) = (scope.graph, block.n_res, case.shape("m"));
    let input = |name: &str, shape: &[usize], grad| graph.input(name, shape, DType::F32, grad);
    let z = input("z", &case.shape("z"), true);
    let pair = input("pair_mask", &[n, n], false);
    let outputs: Vec<(&str, Tensor)> = match case.kind {
        Kind::Template => vec![("z", template_pair_stack(&scope.child("template_pair_stack"), z, pair, &case.config, None))],
        _ => {
            let m = input("m", &shape_m, true);
            let masks = Masks { msa: input("msa_mask", &[case.n_seq, n], false), pair };
            let extra = case.kind == Kind::Extra;
            let (m, z) = evoformer_stack(&scope.child(case.prefix()), (m, z), masks, &case.config, extra, None);
            vec![("m", m), ("z", z)]
        }
    };
    let seeds = outputs.iter().map(|(name, y)| (*y, Some(input(&format!("w_{name}"), &y.shape(), false))));
    let seeds: Vec<_> = seeds.collect();
    outputs.iter().for_each(|(name, y)| graph.output(&format!("{name}_out"), *y));
    graph.backward(&seeds);
}

/// Runs a case forward and backward.
pub fn run(case: &Case, block: &Block) -> Ran {
    let gpu = Gpu::open(&Choice::default()).expect("a Vulkan, Metal or DX12 adapter");
    let graph: Graph = ops::graph(DType::F32, 0);
    let params = Rc::new(RefCell::new(Params::default()));
    record(case, block, &Scope::new(&graph, params.clone()));
    let session = Session::new(&gpu, &Cache::default(), &graph).expect("fits");
    let info = &gpu.info;
    let size = (session.memory() as f64 / 1e9, session.dispatches());
    say(case, &format!("{} {}: {:.2} GB, {} dispatches", info.name, info.driver_info, size.0, size.1));

    let params = params.borrow();
    let mut all = BTreeMap::new();
    for (i, entry) in params.entries().iter().enumerate() {
        let shape: Vec<usize> = [1].into_iter().chain(entry.shape.iter().copied()).collect();
        all.insert(entry.name.clone(), HostTensor::f32(&shape, parameter(case, 1000 + i as u64, entry)));
    }
    session.set_params(&params.pack(&all).expect("all are there"));
    let (mut inputs, mut cotangents) = (BTreeMap::new(), BTreeMap::new());
    for (i, name) in case.representations().into_iter().enumerate() {
        let shape = case.shape(name);
        let (x, w) = (representation(10 + 2 * i as u64, shape), draw(20 + i as u64, shape.iter().product()));
        let w: Vec<f32> = w.iter().enumerate().map(|(at, v)| if case.counts(name, at) { *v } else { 0.0 }).collect();
        session.set(name, &HostTensor::f32(&shape, x.clone()));
        session.set(&format!("w_{name}"), &HostTensor::f32(&shape, w.clone()));
        inputs.insert(name, x);
        cotangents.insert(name, w);
    }
    let single = |x: &[f64]| x.iter().map(|v| *v as f32).collect::<Vec<f32>>();
    session.set("pair_mask", &HostTensor::f32(&[case.n_res, case.n_res], single(&block.pair_mask)));
    if case.kind != Kind::Template {
        session.set("msa_mask", &HostTensor::f32(&[case.n_seq, case.n_res], single(&block.msa_mask)));
    }
    let start = std::time::Instant::now();
    session.replay().expect("runs");
    let read = |name: String| session.get(&name).expect("reads").to_f32();
    let outputs = case.representations().into_iter().map(|name| (name, read(format!("{name}_out")))).collect();
    let below = |name: &str| name[case.prefix().len() + 1..].to_owned();
    let of_params = params.unpack(&session.get_grads().expect("reads")).into_iter().map(|(name, g)| (below(&name), g.to_f32()));
    let of_inputs = case.representations().into_iter().map(|name| (name.to_owned(), read(format!("d/{name}"))));
    let gradients = of_params.chain(of_inputs).collect();
    say(case, &format!("forward and backward in {:.1} s", start.elapsed().as_secs_f64()));
    let params = all.into_iter().map(|(name, x)| (below(&name), x.to_f32())).collect();
    Ran { params, inputs, cotangents, outputs, gradients }
}
