//! Operations at AlphaFold's real sizes, where sums are split, grids are folded, windows are bound and tiles reach beyond the edge: sampled
//! outputs against an f64 evaluation of just those, and the gradient of every input along a random direction against central differences.
//!
//! `cargo test --test it -- --ignored real_size` runs them; it takes minutes on a processor.

use std::rc::Rc;

use anyfold::gpu::Gpu;
use anyfold::gpu::device::Choice;
use anyfold::gpu::program::Cache;
use anyfold::graph::run::Session;
use anyfold::op::{Array, Op, Update};
use anyfold::ops;
use anyfold::ops::basic::embedding::Embedding;
use anyfold::ops::basic::gemm::Matmul;
use anyfold::ops::basic::layer_norm::LayerNorm;
use anyfold::ops::basic::linear::{Act, Linear};
use anyfold::ops::basic::softmax::Softmax;
use anyfold::ops::basic::softmax_cross_entropy::SoftmaxCrossEntropy;
use anyfold::ops::basic::sum::Sum;
use anyfold::ops::evoformer::attention::Attention;
use anyfold::ops::evoformer::masked_mean::MaskedMean;
use anyfold::ops::evoformer::outer_product_mean::OuterProductMean;
use anyfold::ops::evoformer::triangle_product::TriangleProduct;
use anyfold::ops::train::adam::Adam;
use anyfold::ops::train::ema::Ema;
use anyfold::ops::train::norm::Norm;
use anyfold::ops::train::{Control, STATUS};
use anyfold::tensor::{DType, HostTensor};

/// What differs from a plain case.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// The loss is linear in each input by itself: one difference is exact, whatever its step.
    Linear,
    /// Smooth: central differences with a small step.
    Smooth,
    /// With kinks, near which a step gives neither side's gradient: few of the units lie there, and their part is allowed.
    Kinks,
}

/// How an input is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Draw {
    Signed,
    Mask,
    /// Integers below this.
    Below(i32),
}

struct Case {
    name: &'static str,
    op: Rc<dyn Op>,
    /// Each input: its extents, and for each axis a letter along which outputs are sampled, or `*` for an axis that every output needs whole.
    inputs: Vec<(&'static [usize], &'static str, Draw)>,
    /// The same for the output.
    output: &'static str,
    kind: Kind,
    /// The f64 evaluation of sampled inputs; the operation's own reference where there is none.
    reference: Option<fn(&[Array]) -> Array>,
}

fn case(
    name: &'static str,
    op: impl Op + 'static,
    inputs: &[(&'static [usize], &'static str, Draw)],
    output: &'static str,
    kind: Kind,
) -> Case {
    Case { name, op: Rc::new(op), inputs: inputs.to_vec(), output, kind, reference: None }
}

/// `y[i, j, c] = sum_k a[i, k, c] b[j, k, c]`.
fn outgoing(x: &[Array]) -> Array {
    let ([i, k, c], j) = ([0, 1, 2].map(|a| x[0].shape[a]), x[1].shape[0]);
    let term = |at: usize, l: usize| x[0].data[(at / c / j * k + l) * c + at % c] * x[1].data[(at / c % j * k + l) * c + at % c];
    Array::new(&[i, j, c], (0..i * j * c).map(|at| (0..k).map(|l| term(at, l)).sum()).collect())
}

/// `y[i, j, c] = sum_k a[k, j, c] b[k, i, c]`.
fn incoming(x: &[Array]) -> Array {
    let ([k, j, c], i) = ([0, 1, 2].map(|a| x[0].shape[a]), x[1].shape[1]);
    let term = |at: usize, l: usize| x[0].data[(l * j + at / c % j) * c + at % c] * x[1].data[(l * i + at / c / j) * c + at % c];
    Array::new(&[i, j, c], (0..i * j * c).map(|at| (0..k).map(|l| term(at, l)).sum()).collect())
}

fn cases() -> Vec<Case> {
    use Draw::{Below, Mask, Signed};
    use Kind::{Kinks, Linear as Exact, Smooth};
    let linear = Linear::biased;
    let s = Signed;
    let triangle = |name, outgoing_, tags: [&'static str; 2], reference| Case {
        reference: Some(reference),
        ..case(
            name,
            TriangleProduct { outgoing: outgoing_, gated: false },
            &[(&[256, 256, 128], tags[0], s), (&[256, 256, 128], tags[1], s)],
            "ijc",
            Exact,
        )
    };
    let (q, pair): (&[usize], &[usize]) = (&[128, 256, 8, 32], &[1, 256, 256, 8]);
    vec![
        // 142 MB of outputs: more than the 128 MiB that many adapters bind.
        case(
            "linear msa transition",
            linear(Act::Relu),
            &[(&[136, 256, 256], "ab*", s), (&[256, 1024], "**", s), (&[1024], "*", s)],
            "ab*",
            Kinks,
        ),
        case(
            "linear pair gate",
            linear(Act::Sigmoid),
            &[(&[256, 256, 128], "ab*", s), (&[128, 128], "**", s), (&[128], "*", s)],
            "ab*",
            Smooth,
        ),
        case("linear odd edges", linear(Act::None), &[(&[1021, 381], "a*", s), (&[381, 387], "**", s), (&[387], "*", s)], "a*", Exact),
        case("matmul of long sums", Matmul { ta: true, tb: false }, &[(&[32768, 130], "*a", s), (&[32768, 126], "*b", s)], "ab", Exact),
        case(
            "layer norm pair",
            LayerNorm { eps: 1e-5 },
            &[(&[257, 256, 128], "ab*", s), (&[128], "*", s), (&[128], "*", s)],
            "ab*",
            Smooth,
        ),
        case("softmax", Softmax, &[(&[128, 256, 256], "ab*", s)], "ab*", Smooth),
        case(
            "attention rows",
            Attention { mask: true, bias: true, gate: true, ..Attention::default() },
            &[(q, "bq**", s), (q, "b***", s), (q, "b***", s), (&[128, 256], "b*", Mask), (pair, "*q**", s), (q, "bq**", s)],
            "bq**",
            Smooth,
        ),
        triangle("triangle outgoing", true, ["i*c", "j*c"], outgoing),
        triangle("triangle incoming", false, ["*jc", "*ic"], incoming),
        case(
            "outer product mean",
            OuterProductMean::default(),
            &[
                (&[128, 256, 32], "*i*", s),
                (&[128, 32, 256], "**i", s),
                (&[256, 256, 1], "ii*", s),
                (&[1024, 128], "**", s),
                (&[128], "*", s),
            ],
            "ii*",
            Exact,
        ),
        case("sum over sequences", Sum::mean(&[0]), &[(&[128, 256, 256], "*b*", s)], "b*", Exact),
        case("sum over channels", Sum::over(&[2]), &[(&[128, 256, 256], "ab*", s)], "ab", Exact),
        case("masked mean", MaskedMean, &[(&[256, 1024, 64], "a**", s), (&[256, 1024], "a*", Mask)], "a*", Exact),
        case(
            "embedding",
            Embedding { bias: true, relative: None },
            &[(&[1024, 256], "ab", Below(23)), (&[23, 64], "**", s), (&[64], "*", s)],
            "ab*",
            Exact,
        ),
        case(
            "cross entropy",
            SoftmaxCrossEntropy { soft: false },
            &[(&[256, 256, 64], "ab*", s), (&[256, 256], "ab", Below(64))],
            "ab",
            Smooth,
        ),
    ]
}

fn mix(seed: u64, i: u64) -> u64 {
    let mut z = (seed << 32 | i).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Values in [-1, 1): they need only be fixed and of ordinary size.
fn values(seed: u64, n: usize) -> Vec<f32> {
    (0..n as u64).map(|i| (mix(seed, i) >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
}

fn drawn(seed: u64, shape: &[usize], draw: Draw) -> Vec<f32> {
    let raw = values(seed, shape.iter().product());
    match draw {
        Draw::Signed => raw,
        Draw::Mask => raw.iter().map(|v| if *v > -0.5 { 1.0 } else { 0.0 }).collect(),
        Draw::Below(n) => raw.iter().map(|v| ((v * 0.5 + 0.5) * n as f32).floor().min((n - 1) as f32)).collect(),
    }
}

/// Sampled places along the axis of a letter: both ends and places between, as many as make a thousand outputs.
fn picks(letter: char, extent: usize, n: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..n as u64).map(|i| mix(u64::from(letter), i) as usize % extent).collect();
    all.extend([0, extent - 1]);
    all.sort_unstable();
    all.dedup();
    all
}

/// The part of a tensor at the sampled places of its axes.
fn gather(data: &[f32], shape: &[usize], places: &[Vec<usize>]) -> Array {
    let extents: Vec<usize> = places.iter().map(Vec::len).collect();
    let n = extents.iter().product();
    let mut out = Vec::with_capacity(n);
    for flat in 0..n {
        let (mut rest, mut at, mut stride) = (flat, 0, 1);
        for axis in (0..shape.len()).rev() {
            at += places[axis][rest % extents[axis]] * stride;
            rest /= extents[axis];
            stride *= shape[axis];
        }
        out.push(f64::from(data[at]));
    }
    Array::new(&extents, out)
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

struct Ran<'a> {
    session: Session<'a>,
    inputs: Vec<Vec<f32>>,
    cotangent: Vec<f32>,
}

/// Records and runs a case forward and backward.
fn run<'a>(gpu: &'a Gpu, cache: &Cache, case: &Case) -> Ran<'a> {
    let graph = ops::graph(DType::F32, 1);
    let integer = |i: usize| matches!(case.inputs[i].2, Draw::Below(_));
    let kind = |i: usize| if integer(i) { DType::I32 } else { DType::F32 };
    let x: Vec<_> = (0..case.inputs.len())
        .map(|i| graph.input(&format!("x{i}"), case.inputs[i].0, kind(i), !integer(i) && case.op.differentiable(i)))
        .collect();
    let y = graph.apply_all(case.op.clone(), &x)[0];
    let seed = graph.input("seed", &y.shape(), y.dtype(), false);
    graph.output("y", y);
    graph.backward(&[(y, Some(seed))]);
    let shape = y.shape();
    let session = Session::new(gpu, cache, &graph).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    let inputs: Vec<Vec<f32>> = case.inputs.iter().enumerate().map(|(i, (shape, _, draw))| drawn(i as u64 + 1, shape, *draw)).collect();
    for (i, (shape, ..)) in case.inputs.iter().enumerate() {
        let value = if integer(i) {
            HostTensor::i32(shape, inputs[i].iter().map(|v| *v as i32).collect())
        } else {
            HostTensor::f32(shape, inputs[i].clone())
        };
        session.set(&format!("x{i}"), &value);
    }
    let cotangent = values(99, shape.iter().product());
    session.set("seed", &HostTensor::f32(&shape, cotangent.clone()));
    session.replay().unwrap_or_else(|e| panic!("{}: {e}", case.name));
    Ran { session, inputs, cotangent }
}

/// Sampled outputs: their number, and the worst error as a share of the largest.
fn sampled(case: &Case, ran: &Ran, y: &HostTensor) -> (usize, f64) {
    let free: usize = case.output.chars().zip(&y.shape).filter(|(l, _)| *l == '*').map(|(_, n)| n).product();
    let letters = case.output.chars().filter(|l| *l != '*').count();
    // Some are drawn twice.
    let each = ((1000.0 / free as f64).powf(1.0 / letters as f64).ceil() * 1.4) as usize + 2;
    let places = |tags: &str, shape: &[usize]| -> Vec<Vec<usize>> {
        tags.chars().zip(shape).map(|(l, &n)| if l == '*' { (0..n).collect() } else { picks(l, n, each) }).collect()
    };
    let parts: Vec<Array> =
        case.inputs.iter().zip(&ran.inputs).map(|((shape, tags, _), data)| gather(data, shape, &places(tags, shape))).collect();
    let want = match case.reference {
        Some(reference) => reference(&parts),
        None => case.op.reference(&parts).swap_remove(0),
    };
    let got = gather(y.as_f32(), &y.shape, &places(case.output, &y.shape));
    assert_eq!(got.data.len(), want.data.len(), "{}", case.name);
    let scale = want.data.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let worst = got.data.iter().zip(&want.data).fold(0.0_f64, |m, (g, w)| m.max((g - w).abs()));
    assert!(got.data.iter().all(|v| v.is_finite()), "{}: an output is not finite", case.name);
    (want.data.len(), worst / scale)
}

/// How far the gradient of input `i` along a random direction is off, as a share of what the gradient's size makes of chance.
fn along_a_direction(case: &Case, ran: &Ran, i: usize, before: f64) -> f64 {
    let (shape, x) = (case.inputs[i].0, &ran.inputs[i]);
    let direction = values(1000 + i as u64, x.len());
    let gradient = ran.session.get(&format!("d/x{i}")).expect("a gradient");
    let [forward, _] = ran.session.halves();
    let loss = |h: f32| {
        let moved = x.iter().zip(&direction).map(|(x, d)| x + h * d).collect();
        ran.session.set(&format!("x{i}"), &HostTensor::f32(shape, moved));
        ran.session.replay_commands(forward.clone()).expect("runs");
        dot(ran.session.get("y").expect("reads").as_f32(), &ran.cotangent)
    };
    let difference = match case.kind {
        Kind::Linear => loss(1.0) - before,
        Kind::Smooth => (loss(0.01) - loss(-0.01)) / 0.02,
        Kind::Kinks => (loss(1e-3) - loss(-1e-3)) / 2e-3,
    };
    ran.session.set(&format!("x{i}"), &HostTensor::f32(shape, x.clone()));
    let size = dot(gradient.as_f32(), gradient.as_f32()).sqrt() * (dot(&direction, &direction) / direction.len() as f64).sqrt();
    assert!(size > 0.0, "{}: the gradient of input {i} is all zero", case.name);
    (dot(gradient.as_f32(), &direction) - difference).abs() / size
}

#[test]
#[ignore = "minutes; `cargo test --test it -- --ignored real_size`"]
fn operations_at_real_sizes() {
    let gpu = Gpu::open(&Choice::default()).expect("a Vulkan, Metal or DX12 adapter");
    let cache = Cache::default();
    let mut wrong = Vec::new();
    for case in cases() {
        let start = std::time::Instant::now();
        let ran = run(&gpu, &cache, &case);
        let y = ran.session.get("y").expect("reads");
        let (n, off) = sampled(&case, &ran, &y);
        assert!(n >= 1000, "{}: {n} samples", case.name);
        let before = dot(y.as_f32(), &ran.cotangent);
        // Of the one with kinks, whose outputs are the largest, its parameters only.
        let first = usize::from(case.kind == Kind::Kinks);
        let differentiable = |i: &usize| *i >= first && case.op.differentiable(*i) && case.inputs[*i].2 == Draw::Signed;
        let slack = if case.kind == Kind::Kinks { 3e-2 } else { 1e-3 };
        let along: Vec<(usize, f64)> =
            (0..case.inputs.len()).filter(differentiable).map(|i| (i, along_a_direction(&case, &ran, i, before))).collect();
        let shown: Vec<String> = along.iter().map(|(i, off)| format!("x{i} {off:.1e}")).collect();
        println!("{:<24} {n} samples {off:.1e}, along directions {} ({:.1} s)", case.name, shown.join(" "), start.elapsed().as_secs_f64());
        // Sums of up to 32,768 products in single precision.
        if off > 1e-5 || along.iter().any(|(_, off)| *off > slack) {
            wrong.push(format!("{}: {off:.1e}; {}", case.name, shown.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The optimiser on an arena of 20 million elements: sampled elements of what Adam and the average leave, and the norm as a whole.
#[test]
#[ignore = "minutes; `cargo test --test it -- --ignored real_size`"]
fn the_optimiser_at_real_size() {
    const N: usize = 20_000_000;
    let gpu = Gpu::open(&Choice::default()).expect("a Vulkan, Metal or DX12 adapter");
    let cache = Cache::default();
    let control = Control { lr: 1e-3, eps: 1e-6, clip: 0.1, batch: 2, b1: 0.9, b2: 0.999, decay: 0.999 }.pack().to_vec();
    let status: Vec<f32> = vec![0.0; STATUS];
    let arena = |seed| values(seed, N);
    let positive = |seed| values(seed, N).iter().map(|v| v.abs()).collect::<Vec<f32>>();
    let adam = [control.clone(), status.clone(), arena(1), arena(2), arena(3), positive(4)];
    sampled_update(&gpu, &cache, Adam { scaled: false }, &adam);
    // The average follows steps that were taken.
    let mut taken = status.clone();
    taken[5] = 1.0;
    sampled_update(&gpu, &cache, Ema, &[control.clone(), taken, arena(5), arena(6)]);
    let gradient = arena(7);
    let norm = dot(&gradient, &gradient).sqrt();
    let after = updated(&gpu, &cache, Norm { masked: false }, &[control, status, vec![1.0], gradient]);
    let found = after[1].iter().map(|v| (f64::from(*v) - norm).abs() / norm).fold(f64::INFINITY, f64::min);
    println!("norm of {N} elements: off by {found:.1e}");
    assert!(found < 1e-5, "no element of the status is the norm {norm}: {:?}", after[1]);
}

/// What an update leaves of states with these contents.
fn updated(gpu: &Gpu, cache: &Cache, op: impl Update + 'static, x: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let graph = ops::graph(DType::F32, 0);
    let states: Vec<_> = x.iter().enumerate().map(|(i, v)| graph.state(&format!("x{i}"), &[v.len()])).collect();
    graph.update(op, &states);
    let session = Session::new(gpu, cache, &graph).expect("fits");
    x.iter().enumerate().for_each(|(i, v)| session.set(&format!("x{i}"), &HostTensor::f32(&[v.len()], v.clone())));
    session.replay().expect("runs");
    (0..x.len()).map(|i| session.get(&format!("x{i}")).expect("reads").to_f32()).collect()
}

fn sampled_update(gpu: &Gpu, cache: &Cache, op: impl Update + Copy + 'static, x: &[Vec<f32>]) {
    let after = updated(gpu, cache, op, x);
    let places = |v: &Vec<f32>| if v.len() > 1000 { picks('u', v.len(), 1200) } else { (0..v.len()).collect() };
    let part = |v: &Vec<f32>| gather(v, &[v.len()], &[places(v)]);
    let before: Vec<Array> = x.iter().map(part).collect();
    let mut want: Vec<Array> = before.clone();
    op.reference(&mut want);
    let mut moved = 0;
    for (i, (want, after)) in want.iter().zip(&after).enumerate() {
        let (got, old) = (part(after), &before[i]);
        let scale = want.data.iter().fold(1e-30_f64, |m, v| m.max(v.abs()));
        let off = got.data.iter().zip(&want.data).fold(0.0_f64, |m, (g, w)| m.max((g - w).abs())) / scale;
        let changed = got.data.iter().zip(&old.data).any(|(g, w)| g != w);
        moved += usize::from(changed && got.data.len() > 1000);
        println!("{} x{i}: {} samples, off by {off:.1e}{}", op.name(), got.data.len(), if changed { "" } else { ", unchanged" });
        assert!(off <= 2e-6, "{} x{i}: {off:.1e}", op.name());
    }
    assert!(moved > 0, "{} changes no arena", op.name());
}
