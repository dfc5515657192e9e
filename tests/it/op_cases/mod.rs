//! Every operation: forward against its f64 reference, every gradient against central differences of the reference, padding zero, and
//! identical bits twice, in f32 and in bf16 storage. A case is data: an operation, shapes and how inputs are drawn.

use std::rc::Rc;

use anyfold::gpu::Gpu;
use anyfold::gpu::device::Choice;
use anyfold::gpu::program::Cache;
use anyfold::gpu::recorder::Family;
use anyfold::graph::Tensor;
use anyfold::graph::run::Session;
use anyfold::op::{Array, Op};
use anyfold::ops;
use anyfold::ops::basic::dropout::{Dropout, Share};
use anyfold::ops::basic::layer_norm::LayerNorm;
use anyfold::ops::basic::linear::{Act, Linear};
use anyfold::tensor::{DType, HostTensor};

mod agreed;
mod attention;
mod basic;
mod features;
mod gemm;
mod heads;
mod loss;
mod structure;
mod triangle;

struct Case {
    name: &'static str,
    op: Rc<dyn Op>,
    shapes: &'static [&'static [usize]],
    /// How each input is drawn; inputs beyond the list are [`Draw::Signed`].
    draws: &'static [Draw],
    /// How many of the outputs, from the first on, carry gradients and are compared.
    outputs: usize,
    /// The first input is given with its first two axes the other way round, and the operation gets a strided view of it.
    turned: bool,
}

fn case(name: &'static str, op: impl Op + 'static, shapes: &'static [&'static [usize]]) -> Case {
    Case { name, op: Rc::new(op), shapes, draws: &[], outputs: 1, turned: false }
}

impl Case {
    fn drawn(self, draws: &'static [Draw]) -> Self {
        Self { draws, ..self }
    }

    fn outputs(self, outputs: usize) -> Self {
        Self { outputs, ..self }
    }

    fn turned(self) -> Self {
        Self { turned: true, ..self }
    }

    /// The shape in which input `i` is given.
    fn given(&self, i: usize) -> Vec<usize> {
        let mut shape = self.shapes[i].to_vec();
        if self.turned && i == 0 {
            shape.swap(0, 1);
        }
        shape
    }

    /// Input `i` as values; integers are values too, and stored as I32.
    fn input(&self, i: usize) -> (Vec<f32>, bool) {
        let raw = draw(i as u64 + 1, self.shapes[i].iter().product());
        match self.draws.get(i).unwrap_or(&Draw::Signed) {
            Draw::Signed => (raw, false),
            Draw::Positive => (raw.iter().map(|v| 1.0 + v * 0.5).collect(), false),
            Draw::Wide => (raw.iter().map(|v| v * 20.0).collect(), false),
            Draw::Mask => (raw.iter().enumerate().map(|(i, v)| if i == 0 || *v > -0.5 { 1.0 } else { 0.0 }).collect(), false),
            Draw::MaskWithout(n) => {
                let end = raw.len() - n;
                (raw.iter().enumerate().map(|(i, v)| if i < end && (i == 0 || *v > -0.5) { 1.0 } else { 0.0 }).collect(), false)
            }
            Draw::HeadsOf(of) => {
                let (given, heads) = (self.input(*of).0, self.shapes[i][0]);
                ((0..heads).flat_map(|h| given.iter().skip(h).step_by(heads).copied()).collect(), false)
            }
            Draw::Chain => ((0..raw.len()).map(|i| (i + 2 * (i / 5)) as f32).collect(), true),
            Draw::Below(n) => (raw.iter().map(|v| ((v * 0.5 + 0.5) * *n as f32).floor().min((*n - 1) as f32)).collect(), true),
        }
    }
}

/// How an input is drawn. All are away from kinks and clamps, and as large as the network's own values.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Draw {
    /// Uniform in [-1, 1).
    Signed,
    /// Uniform in [0.5, 1.5).
    Positive,
    /// Uniform in [-20, 20): positions in Angstrom.
    Wide,
    /// 0 or 1, about a quarter zeros, the first always 1.
    Mask,
    /// The same, the last `n` all zero: a row without any key.
    MaskWithout(usize),
    /// Input `i`, `[.., heads]`, as `[heads, ..]`.
    HeadsOf(usize),
    /// Residue numbers of a chain: 0, 1, .. with two missing after every five.
    Chain,
    /// Integers in 0..n.
    Below(i32),
}

#[rustfmt::skip]
fn cases() -> Vec<Case> {
    let groups: &[fn() -> Vec<Case>] = &[
        attention::cases,
        basic::cases,
        features::cases,
        gemm::cases,
        heads::cases,
        loss::cases,
        structure::cases,
        triangle::cases,
    ];
    groups.iter().flat_map(|group| group()).collect()
}

/// splitmix64, as values in [-1, 1): inputs need only be fixed and of ordinary size.
fn draw(seed: u64, n: usize) -> Vec<f32> {
    let value = |i: u64| {
        let mut z = (seed << 32 | i).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n as u64).map(value).collect()
}

/// A value as bf16 storage holds it.
fn stored(v: Vec<f32>, dtype: DType) -> Vec<f32> {
    if dtype == DType::Bf16 { v.into_iter().map(|x| half::bf16::from_f32(x).to_f32()).collect() } else { v }
}

/// `[a, b, ..]` as `[b, a, ..]`.
fn turn(v: &[f32], shape: &[usize]) -> Vec<f32> {
    let (a, b, rest) = (shape[0], shape[1], shape[2..].iter().product::<usize>());
    (0..v.len()).map(|at| v[((at / rest % a) * b + at / rest / a) * rest + at % rest]).collect()
}

fn close(case: &str, what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    let scale = want.iter().fold(1e-6f64, |m, v| m.max(v.abs()));
    let worst = got.iter().zip(want).map(|(g, w)| (g - w).abs()).fold(0.0, f64::max) / scale;
    assert!(got.iter().all(|v| v.is_finite()), "{case}: {what} has a value that is not finite");
    assert!(worst <= tolerance, "{case}: {what} differs by {worst:.2e} of its largest value, allowed {tolerance:.1e}");
}

/// With `added` the inputs that allow it have a gradient already when the operation's own comes.
fn check(gpu: &Gpu, cache: &Cache, case: &Case, dtype: DType, added: bool) {
    let label = format!("{} {dtype}{}", case.name, if added { ", added" } else { "" });
    let drawn: Vec<(Vec<f32>, bool)> = (0..case.shapes.len()).map(|i| case.input(i)).collect();
    let inputs: Vec<Vec<f32>> = drawn.iter().map(|(v, int)| if *int { v.clone() } else { stored(v.clone(), dtype) }).collect();
    let arrays: Vec<Array> =
        inputs.iter().zip(case.shapes).map(|(v, s)| Array::new(s, v.iter().map(|&x| f64::from(x)).collect())).collect();
    let want = case.op.reference(&arrays);
    let graph = ops::graph(dtype, 1);
    let kind = |i: usize| if drawn[i].1 { DType::I32 } else { dtype };
    let wanted = |i: usize| !drawn[i].1 && case.op.differentiable(i);
    let mut x: Vec<_> = (0..inputs.len()).map(|i| graph.input(&format!("x{i}"), &case.given(i), kind(i), wanted(i))).collect();
    if case.turned {
        let order: Vec<usize> = [1, 0].into_iter().chain(2..case.shapes[0].len()).collect();
        x[0] = x[0].permute(&order);
    }
    let y = &graph.apply_all(case.op.clone(), &x)[..case.outputs];
    // Integers have no gradient, and are compared exactly.
    let float: Vec<bool> = y.iter().map(|y| y.dtype() != DType::I32).collect();
    let seed = |(k, y): (usize, &Tensor<'_>)| graph.input(&format!("seed{k}"), &y.shape(), y.dtype(), false);
    let seeds: Vec<_> = y.iter().enumerate().map(|(k, y)| float[k].then(|| (*y, Some(seed((k, y)))))).collect();
    y.iter().enumerate().for_each(|(k, y)| graph.output(&format!("y{k}"), *y));
    let beside: Vec<usize> = (0..x.len()).filter(|&i| added && wanted(i) && case.op.adds(i)).collect();
    let more = beside.iter().map(|&i| Some((x[i], Some(graph.input(&format!("more{i}"), &x[i].shape(), kind(i), false)))));
    graph.backward(&seeds.into_iter().chain(more).flatten().collect::<Vec<_>>());
    let session = Session::new(gpu, cache, &graph).expect(&label);
    let extra: Vec<Vec<f32>> = beside.iter().map(|&i| stored(draw(77 + i as u64, inputs[i].len()), dtype)).collect();
    for (&i, extra) in beside.iter().zip(&extra) {
        session.set(&format!("more{i}"), &HostTensor::f32(case.shapes[i], extra.clone()));
    }
    for (i, v) in inputs.iter().enumerate() {
        let value = match kind(i) {
            DType::I32 => HostTensor::i32(case.shapes[i], v.iter().map(|x| *x as i32).collect()),
            _ if case.turned && i == 0 => HostTensor::f32(&case.given(0), turn(v, case.shapes[0])),
            _ => HostTensor::f32(case.shapes[i], v.clone()),
        };
        session.set(&format!("x{i}"), &value);
    }
    let cots: Vec<Vec<f32>> = (0..case.outputs).map(|k| stored(draw(99 + k as u64, want[k].data.len()), dtype)).collect();
    for (k, cot) in cots.iter().enumerate().filter(|(k, _)| float[*k]) {
        session.set(&format!("seed{k}"), &HostTensor::f32(&want[k].shape, cot.clone()));
    }
    session.replay().expect(&label);
    // bf16 keeps eight bits of a value; sums of such values stay within a few of its steps.
    let (forward, backward) = if dtype == DType::F32 { (2e-6, 1e-5) } else { (8e-3, 2e-2) };
    let mut again = Vec::new();
    for (k, want) in want.iter().enumerate().take(case.outputs) {
        let name = format!("y{k}");
        let first = session.get(&name).expect(&label);
        close(&label, &name, &first.to_f64(), &want.data, if float[k] { forward } else { 0.0 });
        assert!(session.padding_is_zero(&name).expect(&label), "{label}: padding of {name} is not zero");
        again.push((name, first));
    }
    let dot = |y: &Array, cot: &Vec<f32>| y.data.iter().zip(cot).map(|(y, c)| y * f64::from(*c)).sum::<f64>();
    let loss = |arrays: &[Array]| case.op.reference(arrays).iter().zip(&cots).map(|(y, cot)| dot(y, cot)).sum::<f64>();
    for i in (0..inputs.len()).filter(|i| wanted(*i)) {
        let name = format!("d/x{i}");
        let got = session.get(&name).expect(&label);
        assert!(session.padding_is_zero(&name).expect(&label), "{label}: padding of {name} is not zero");
        let n = inputs[i].len();
        let picked: Vec<usize> = (0..n).step_by(n.div_ceil(24) | 1).collect();
        let difference = |at: usize| {
            let mut moved = arrays.clone();
            let h = 1e-5;
            moved[i].data[at] += h;
            let up = loss(&moved);
            moved[i].data[at] -= 2.0 * h;
            (up - loss(&moved)) / (2.0 * h)
        };
        let before = |at: usize| beside.iter().position(|&b| b == i).map_or(0.0, |k| f64::from(extra[k][at]));
        let want: Vec<f64> = picked.iter().map(|&at| difference(at) + before(at)).collect();
        let values = match case.turned && i == 0 {
            true => turn(got.as_f32(), &case.given(0)).into_iter().map(f64::from).collect(),
            false => got.to_f64(),
        };
        close(&label, &name, &picked.iter().map(|&at| values[at]).collect::<Vec<_>>(), &want, backward);
        again.push((name, got));
    }
    session.replay().expect(&label);
    for (name, got) in again {
        assert_eq!(session.get(&name).expect(&label), got, "{label}: a second replay gives other bits for {name}");
    }
}

#[test]
fn every_operation_agrees_with_its_reference() {
    for family in [None, Some(Family::Tiled)] {
        let gpu = Gpu::open(&Choice { family, ..Choice::default() }).expect("a Vulkan, Metal or DX12 adapter");
        let cache = Cache::default();
        for case in cases() {
            check(&gpu, &cache, &case, DType::F32, false);
            check(&gpu, &cache, &case, DType::Bf16, false);
            if (0..case.shapes.len()).any(|i| case.op.adds(i)) {
                check(&gpu, &cache, &case, DType::F32, true);
                check(&gpu, &cache, &case, DType::Bf16, true);
            }
        }
    }
}

#[test]
fn windows_and_checks_change_no_bit() {
    // 64 KiB is the smallest binding that the project promises to work with.
    let choice = Choice { max_binding: Some(64 << 10), checked: true, ..Choice::default() };
    let gpu = Gpu::open(&choice).expect("a Vulkan, Metal or DX12 adapter");
    let cache = Cache::default();
    for case in cases() {
        check(&gpu, &cache, &case, DType::F32, false);
        check(&gpu, &cache, &case, DType::F32, true);
    }
    // The tiled kernels of a sum over pairs are cut along the sum, too, and those of attention where one binding holds a head's bias.
    let gpu = Gpu::open(&Choice { family: Some(Family::Tiled), ..choice.clone() }).expect("a Vulkan, Metal or DX12 adapter");
    let cache = Cache::default();
    let cut = ["triangle", "attention above", "attention beside", "attention bias", "attention turned", "attention 33"];
    for case in cases().iter().filter(|c| cut.iter().any(|name| c.name.starts_with(name))) {
        check(&gpu, &cache, case, DType::F32, false);
        // Sums that several launches make are rounded once.
        if case.name.starts_with("attention") {
            check(&gpu, &cache, case, DType::Bf16, false);
        }
    }
    let (wide, narrow) = (replayed(&Choice::default()), replayed(&choice));
    assert_eq!(wide, narrow, "64 KiB windows change a bit");
}

/// A two-layer network with dropout on 4,000 rows, with and without recompute: its loss-like output and the gradients of everything.
fn replayed(choice: &Choice) -> Vec<HostTensor> {
    let gpu = Gpu::open(choice).expect("a Vulkan, Metal or DX12 adapter");
    let cache = Cache::default();
    let mut all = Vec::new();
    for recompute in [false, true] {
        let graph = ops::graph(DType::F32, 4096);
        let x = graph.input("x", &[4000, 20], DType::F32, true);
        let seed = graph.input("seed", &[5], DType::I32, false);
        let scale = graph.param("scale", &[20], 0);
        let offset = graph.param("offset", &[20], 20);
        let w1 = graph.param("w1", &[20, 33], 64);
        let w2 = graph.param("w2", &[33, 20], 1024);
        let block = || {
            let h = graph.apply(LayerNorm { eps: 1e-5 }, &[x, scale, offset]);
            let h = graph.apply(Linear::plain(Act::Relu), &[h, w1]);
            let h = graph.apply(Linear::plain(Act::None), &[h, w2]);
            graph.apply(Dropout { rate: 0.25, share: Share::Nothing, key: 7, residual: true }, &[x, h, seed])
        };
        let y = if recompute { graph.recompute(block) } else { block() };
        let y = y * y;
        graph.output("y", y);
        graph.backward(&[(y, None)]);
        let session = Session::new(&gpu, &cache, &graph).expect("fits");
        session.set("x", &HostTensor::f32(&[4000, 20], draw(1, 80_000)));
        session.set("seed", &HostTensor::i32(&[5], vec![1, 2, 3, 4, 0]));
        session.set_param("scale", &HostTensor::f32(&[20], draw(2, 20)));
        session.set_param("offset", &HostTensor::f32(&[20], draw(3, 20)));
        session.set_param("w1", &HostTensor::f32(&[20, 33], draw(4, 660)));
        session.set_param("w2", &HostTensor::f32(&[33, 20], draw(5, 660)));
        session.replay().expect("runs");
        all.push(["w1", "w2", "scale", "offset"].map(|p| session.get_grad(p).expect("reads")).to_vec());
        all.last_mut().expect("just pushed").extend([session.get("y").expect("reads"), session.get("d/x").expect("reads")]);
    }
    assert_eq!(all[0], all[1], "recompute changes a bit");
    assert!(all[0].iter().all(|t| t.as_f32().iter().any(|v| *v != 0.0)), "a gradient is all zero");
    all.swap_remove(0)
}
