//! Every operation: forward against its f64 reference, every gradient against central differences of the reference, padding zero, and
//! identical bits twice, in f32 and in bf16 storage. A case is data: an operation, shapes and how inputs are drawn.

use std::rc::Rc;

use anyfold::gpu::Gpu;
use anyfold::gpu::device::Choice;
use anyfold::gpu::program::Cache;
use anyfold::graph::run::Session;
use anyfold::op::{Array, Op};
use anyfold::ops;
use anyfold::ops::basic::binary::Binary;
use anyfold::ops::basic::copy::Copy;
use anyfold::ops::basic::layer_norm::LayerNorm;
use anyfold::ops::basic::linear::{Act, Linear};
use anyfold::tensor::{DType, HostTensor};

struct Case {
    name: &'static str,
    op: Rc<dyn Op>,
    shapes: &'static [&'static [usize]],
}

fn case(name: &'static str, op: impl Op + 'static, shapes: &'static [&'static [usize]]) -> Case {
    Case { name, op: Rc::new(op), shapes }
}

fn cases() -> Vec<Case> {
    let linear = |bias, act| Linear { bias, act };
    vec![
        case("copy 1", Copy, &[&[7]]),
        case("copy 4", Copy, &[&[2, 3, 5, 33]]),
        case("add same", Binary { mul: false }, &[&[3, 5, 33], &[3, 5, 33]]),
        case("add row", Binary { mul: false }, &[&[3, 5, 9], &[9]]),
        case("add inner", Binary { mul: false }, &[&[4, 3], &[4, 1]]),
        case("mul same", Binary { mul: true }, &[&[3, 5, 33], &[3, 5, 33]]),
        case("mul both ways", Binary { mul: true }, &[&[3, 1, 9], &[1, 5, 1]]),
        case("mul five axes", Binary { mul: true }, &[&[3, 2, 2, 3, 5], &[1, 2, 1, 3, 5]]),
        case("layer norm 5", LayerNorm { eps: 1e-5 }, &[&[5, 5], &[5], &[5]]),
        case("layer norm 33", LayerNorm { eps: 1e-5 }, &[&[2, 67, 33], &[33], &[33]]),
        case("layer norm 129", LayerNorm { eps: 1e-5 }, &[&[3, 129], &[129], &[129]]),
        case("linear 1", linear(true, Act::None), &[&[1, 1], &[1, 1], &[1]]),
        case("linear", linear(false, Act::None), &[&[3, 11, 33], &[33, 9]]),
        case("linear bias", linear(true, Act::None), &[&[37, 20], &[20, 70], &[70]]),
        case("linear relu", linear(true, Act::Relu), &[&[33, 7], &[7, 5], &[5]]),
        case("linear sigmoid", linear(true, Act::Sigmoid), &[&[530, 6], &[6, 9], &[9]]),
    ]
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

fn close(case: &str, what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    let scale = want.iter().fold(1e-6f64, |m, v| m.max(v.abs()));
    let worst = got.iter().zip(want).map(|(g, w)| (g - w).abs()).fold(0.0, f64::max) / scale;
    assert!(got.iter().all(|v| v.is_finite()), "{case}: {what} has a value that is not finite");
    assert!(worst <= tolerance, "{case}: {what} differs by {worst:.2e} of its largest value, allowed {tolerance:.1e}");
}

fn check(gpu: &Gpu, cache: &Cache, case: &Case, dtype: DType) {
    let label = format!("{} {dtype}", case.name);
    let inputs: Vec<Vec<f32>> =
        case.shapes.iter().enumerate().map(|(i, s)| stored(draw(i as u64 + 1, s.iter().product()), dtype)).collect();
    let arrays: Vec<Array> =
        inputs.iter().zip(case.shapes).map(|(v, s)| Array::new(s, v.iter().map(|&x| f64::from(x)).collect())).collect();
    let want = case.op.reference(&arrays);
    let graph = ops::graph(dtype, 1);
    let x: Vec<_> = case.shapes.iter().enumerate().map(|(i, s)| graph.input(&format!("x{i}"), s, dtype, true)).collect();
    let y = graph.apply_all(case.op.clone(), &x)[0];
    graph.output("y", y);
    let seed = graph.input("seed", &y.shape(), y.dtype(), false);
    graph.backward(&[(y, Some(seed))]);
    let session = Session::new(gpu, cache, &graph).expect(&label);
    for (i, v) in inputs.iter().enumerate() {
        session.set(&format!("x{i}"), &HostTensor::f32(case.shapes[i], v.clone()));
    }
    let cot = stored(draw(99, want[0].data.len()), dtype);
    session.set("seed", &HostTensor::f32(&want[0].shape, cot.clone()));
    session.replay().expect(&label);
    // bf16 keeps eight bits of a value; sums of such values stay within a few of its steps.
    let (forward, backward) = if dtype == DType::F32 { (2e-6, 1e-5) } else { (8e-3, 2e-2) };
    let first = session.get("y").expect(&label);
    close(&label, "y", &first.to_f64(), &want[0].data, forward);
    assert!(session.padding_is_zero("y").expect(&label), "{label}: padding of y is not zero");
    let loss = |arrays: &[Array]| case.op.reference(arrays)[0].data.iter().zip(&cot).map(|(y, c)| y * f64::from(*c)).sum::<f64>();
    let mut again = Vec::new();
    for i in 0..inputs.len() {
        let name = format!("d/x{i}");
        let got = session.get(&name).expect(&label);
        assert!(session.padding_is_zero(&name).expect(&label), "{label}: padding of {name} is not zero");
        let n = inputs[i].len();
        let picked: Vec<usize> = (0..n).step_by(n.div_ceil(24)).collect();
        let difference = |at: usize| {
            let mut moved = arrays.clone();
            let h = 1e-5;
            moved[i].data[at] += h;
            let up = loss(&moved);
            moved[i].data[at] -= 2.0 * h;
            (up - loss(&moved)) / (2.0 * h)
        };
        let want: Vec<f64> = picked.iter().map(|&at| difference(at)).collect();
        let values = got.to_f64();
        close(&label, &name, &picked.iter().map(|&at| values[at]).collect::<Vec<_>>(), &want, backward);
        again.push((name, got));
    }
    session.replay().expect(&label);
    assert_eq!(session.get("y").expect(&label), first, "{label}: a second replay gives other bits");
    for (name, got) in again {
        assert_eq!(session.get(&name).expect(&label), got, "{label}: a second replay gives other bits for {name}");
    }
}

#[test]
fn every_operation_agrees_with_its_reference() {
    let gpu = Gpu::open(&Choice::default()).expect("a Vulkan, Metal or DX12 adapter");
    let cache = Cache::default();
    for case in cases() {
        check(&gpu, &cache, &case, DType::F32);
        check(&gpu, &cache, &case, DType::Bf16);
    }
}

#[test]
fn windows_and_checks_change_no_bit() {
    // 64 KiB is the smallest binding that the project promises to work with.
    let choice = Choice { max_binding: Some(64 << 10), checked: true, ..Choice::default() };
    let gpu = Gpu::open(&choice).expect("a Vulkan, Metal or DX12 adapter");
    let cache = Cache::default();
    for case in cases() {
        check(&gpu, &cache, &case, DType::F32);
    }
    let (wide, narrow) = (replayed(&Choice::default()), replayed(&choice));
    assert_eq!(wide, narrow, "64 KiB windows change a bit");
}

/// A two-layer network on 4,000 rows, with and without recompute: its loss-like output and the gradients of everything.
fn replayed(choice: &Choice) -> Vec<HostTensor> {
    let gpu = Gpu::open(choice).expect("a Vulkan, Metal or DX12 adapter");
    let cache = Cache::default();
    let mut all = Vec::new();
    for recompute in [false, true] {
        let graph = ops::graph(DType::F32, 4096);
        let x = graph.input("x", &[4000, 20], DType::F32, true);
        let scale = graph.param("scale", &[20], 0);
        let offset = graph.param("offset", &[20], 20);
        let w1 = graph.param("w1", &[20, 33], 64);
        let w2 = graph.param("w2", &[33, 20], 1024);
        let block = || {
            let h = graph.apply(LayerNorm { eps: 1e-5 }, &[x, scale, offset]);
            let h = graph.apply(Linear { bias: false, act: Act::Relu }, &[h, w1]);
            x + graph.apply(Linear { bias: false, act: Act::None }, &[h, w2])
        };
        let y = if recompute { graph.recompute(block) } else { block() };
        let y = y * y;
        graph.output("y", y);
        graph.backward(&[(y, None)]);
        let session = Session::new(&gpu, &cache, &graph).expect("fits");
        session.set("x", &HostTensor::f32(&[4000, 20], draw(1, 80_000)));
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
