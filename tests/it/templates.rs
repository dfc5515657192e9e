//! Templates side by side: each is embedded as if it were alone, however many are held together, but drops out what it draws itself.

use std::cell::RefCell;
use std::rc::Rc;

use anyfold::gpu::Gpu;
use anyfold::gpu::device::Choice;
use anyfold::gpu::program::Cache;
use anyfold::gpu::recorder::Family;
use anyfold::graph::Graph;
use anyfold::graph::run::Session;
use anyfold::model::config::{BlockConfig, TemplateConfig};
use anyfold::model::evoformer::template_pair_stack;
use anyfold::model::features::Templates;
use anyfold::model::template::template_embedding;
use anyfold::nn::dropout::{SEED, seed_input, seed_words};
use anyfold::nn::params::{Params, Scope};
use anyfold::ops;
use anyfold::tensor::{DType, HostTensor};

use crate::budgets::draw;

/// Channels of a template's pairs.
const C: usize = 12;
/// Templates.
const T: usize = 3;

fn blocks() -> BlockConfig {
    BlockConfig { blocks: 2, pair_heads: 2, triangle: 8, pair_factor: 2, pair_dropout: 0.25, ..BlockConfig::default() }
}

/// Parameters of a session by name, the same in every recording that has them.
fn set_params(session: &Session, params: &Params) {
    let values = params.official().iter().enumerate().map(|(i, (name, shape))| (name.clone(), draw(10 + i as u64, shape))).collect();
    session.set_params(&params.pack(&values).unwrap());
}

/// The pair stack of templates side by side, `[n, t n, C]`, and the gradients of its input and of the parameters.
fn stacked(gpu: &Gpu, cache: &Cache, x: &HostTensor, dropout: bool) -> (HostTensor, HostTensor, Vec<f32>) {
    let n = x.shape[0];
    let graph: Graph = ops::graph(DType::F32, 0);
    let params: Rc<RefCell<Params>> = Rc::default();
    let scope = Scope::new(&graph, params.clone());
    let t = graph.input("t", &x.shape, DType::F32, true);
    let mask = graph.input("mask", &[n, n], DType::F32, false);
    let seed = dropout.then(|| seed_input(&scope));
    let y = template_pair_stack(&scope, t, mask, &blocks(), seed);
    graph.output("y", y);
    graph.backward(&[(y, None)]);
    let session = Session::new(gpu, cache, &graph).expect("fits");
    session.set("t", x);
    // The last residue is not there.
    let there = |at: usize| f32::from(u8::from(at / n + 1 < n && at % n + 1 < n));
    session.set("mask", &HostTensor::f32(&[n, n], (0..n * n).map(there).collect()));
    if dropout {
        session.set(SEED, &seed_words(5, 1, 0, 0));
    }
    set_params(&session, &params.borrow());
    session.replay().expect("runs");
    let get = |name| session.get(name).expect("reads");
    (get("y"), get("d/t"), session.get_grads().expect("reads"))
}

/// Square `t` of several side by side.
fn square(all: &HostTensor, t: usize) -> HostTensor {
    let n = all.shape[0];
    let row = n * C;
    let values = all.as_f32().chunks(all.shape[1] * C).flat_map(|r| r[t * row..(t + 1) * row].to_vec()).collect();
    HostTensor::f32(&[n, n, C], values)
}

#[test]
fn templates_side_by_side_know_nothing_of_each_other() {
    // With rows that are whole groups of four, and with others; in windows so small that rows and templates are taken in parts.
    let narrow = Choice { max_binding: Some(64 << 10), ..Choice::default() };
    for (choice, n) in [(Choice::default(), 12), (Choice::default(), 13), (narrow, 13)] {
        for family in [None, Some(Family::Tiled)] {
            let gpu = Gpu::open(&Choice { family, ..choice.clone() }).expect("a Vulkan, Metal or DX12 adapter");
            let cache = Cache::default();
            let x = draw(1, &[n, T * n, C]);
            let (y, dx, grads) = stacked(&gpu, &cache, &x, false);
            let mut sums = vec![0.0; grads.len()];
            for t in 0..T {
                let (alone, dalone, some) = stacked(&gpu, &cache, &square(&x, t), false);
                assert!(square(&y, t) == alone, "template {t} of {n} residues, {family:?}, {choice:?}");
                assert!(square(&dx, t) == dalone, "the gradient of template {t} of {n} residues, {family:?}, {choice:?}");
                assert!(alone.as_f32().iter().all(|v| v.is_finite()) && dalone.as_f32().iter().all(|v| *v != 0.0));
                sums.iter_mut().zip(&some).for_each(|(sum, g)| *sum += f64::from(*g));
            }
            let norm = sums.iter().map(|g| g * g).sum::<f64>().sqrt();
            let off = sums.iter().zip(&grads).map(|(sum, g)| (sum - f64::from(*g)).powi(2)).sum::<f64>().sqrt();
            assert!(norm > 0.0 && off < 1e-5 * norm, "gradients of parameters are off by {off} of {norm}, {n} residues, {family:?}");
        }
    }
}

#[test]
fn every_template_has_its_own_dropout() {
    let gpu = Gpu::open(&Choice::default()).expect("a Vulkan, Metal or DX12 adapter");
    let cache = Cache::default();
    let one = draw(1, &[12, 12, C]);
    let alike = one.as_f32().chunks(12 * C).flat_map(|row| row.repeat(T)).collect();
    let alike = HostTensor::f32(&[12, T * 12, C], alike);
    let [(plain, ..), (dropped, ..)] = [false, true].map(|dropout| stacked(&gpu, &cache, &alike, dropout));
    assert!((1..T).all(|t| square(&plain, t) == square(&plain, 0)), "templates that are alike have different pairs");
    assert!((0..T).all(|t| (0..t).all(|u| square(&dropped, t) != square(&dropped, u))), "two templates drop out the same");
}

/// The update of `z` by templates, in a recording that is bound to so many bytes, and its dispatches.
fn embedded(gpu: &Gpu, cache: &Cache, room: Option<u64>) -> (HostTensor, usize) {
    const N: usize = 13;
    let graph: Graph = ops::graph(DType::F32, 0);
    room.into_iter().for_each(|bytes| graph.bound(bytes));
    let params: Rc<RefCell<Params>> = Rc::default();
    let scope = Scope::new(&graph, params.clone());
    let config = TemplateConfig { c_t: C, heads: 2, attention: 8, unit_vector: true, angles: false, stack: blocks() };
    let z = graph.input("z", &[N, N, 8], DType::F32, false);
    let mask = graph.input("mask", &[N, N], DType::F32, false);
    let templates = Templates::inputs(&graph, N, T, 0);
    graph.output("y", template_embedding(&scope, z, &templates, mask, &config, None));
    let session = Session::new(gpu, cache, &graph).expect("fits");
    let ones = |shape: &[usize]| HostTensor::f32(shape, vec![1.0; shape.iter().product()]);
    session.set("z", &draw(1, &[N, N, 8]));
    session.set("mask", &ones(&[N, N]));
    session.set("template_aatype", &HostTensor::i32(&[T, N], (0..T * N).map(|i| (i * 7 % 20) as i32).collect()));
    let wide = |seed: u64, shape: &[usize]| HostTensor::f32(shape, draw(seed, shape).as_f32().iter().map(|v| 20.0 * v).collect());
    session.set("template_pseudo_beta", &wide(2, &[T, N, 3]));
    session.set("template_pseudo_beta_mask", &ones(&[T, N]));
    session.set("template_all_atom_positions", &wide(3, &[T, N, 37, 3]));
    session.set("template_all_atom_masks", &ones(&[T, N, 37]));
    session.set("template_mask", &ones(&[T]));
    session.set("template_any", &ones(&[1, 1, 1]));
    set_params(&session, &params.borrow());
    session.replay().expect("runs");
    (session.get("y").expect("reads"), session.dispatches())
}

#[test]
fn templates_held_together_change_no_bit() {
    for family in [None, Some(Family::Tiled)] {
        let gpu = Gpu::open(&Choice { family, ..Choice::default() }).expect("a Vulkan, Metal or DX12 adapter");
        let cache = Cache::default();
        let (all, mut before) = embedded(&gpu, &cache, None);
        assert!(all.as_f32().iter().all(|v| v.is_finite() && *v != 0.0));
        // Two templates at a time, and one at a time in parts of rows.
        for room in [4 * 2 * 13 * 13 * 12 * 4 + 1, 1] {
            let (some, dispatches) = embedded(&gpu, &cache, Some(room));
            assert!(some == all, "{room} bytes change a bit, {family:?}");
            assert!(dispatches > before, "{room} bytes make no part, {family:?}");
            before = dispatches;
        }
    }
}
