//! Cases of attention: one key, odd lengths and heads, masks with zeros, a row without any key, with and without bias and gate; slices of one
//! projection and permuted axes.

use anyfold::gpu::Gpu;
use anyfold::gpu::device::Choice;
use anyfold::gpu::program::Cache;
use anyfold::gpu::recorder::Family;
use anyfold::graph::run::Session;
use anyfold::ops;
use anyfold::ops::basic::linear::{Act, Linear};
use anyfold::ops::evoformer::attention::Attention;
use anyfold::ops::evoformer::masked_mean::MaskedMean;
use anyfold::tensor::{DType, HostTensor};

use super::{Case, Draw, case, draw};

const NONE: Attention = Attention { mask: false, bias: false, turned: false, gate: false, run: 0, first: 0 };
const MASK: Attention = Attention { mask: true, ..NONE };
const BIAS: Attention = Attention { bias: true, ..NONE };
const GATE: Attention = Attention { gate: true, ..NONE };
const TURNED: Attention = Attention { bias: true, turned: true, ..NONE };
const ALL: Attention = Attention { mask: true, bias: true, gate: true, ..NONE };

/// Two squares of twelve rows.
const BESIDE: &[&[usize]] = &[&[24, 12, 5, 8], &[24, 9, 5, 8], &[24, 9, 5, 8], &[2, 12, 9, 5], &[5, 2, 12, 9]];

/// Three squares of four rows.
const PAIRS: &[&[usize]] = &[&[12, 33, 2, 8], &[12, 60, 2, 8], &[12, 60, 2, 8], &[3, 33, 60, 2]];

pub(super) fn cases() -> Vec<Case> {
    use Draw::{HeadsOf, Mask, MaskWithout, Signed};
    vec![
        case("attention 1", NONE, &[&[1, 1, 1, 3], &[1, 1, 1, 3], &[1, 1, 1, 3]]),
        case("attention", NONE, &[&[2, 5, 3, 6], &[2, 7, 3, 6], &[2, 7, 3, 9]]),
        case("attention gate", GATE, &[&[2, 6, 1, 8], &[2, 3, 1, 8], &[2, 3, 1, 5], &[2, 6, 1, 5]]),
        case("attention bias", BIAS, &[&[3, 33, 5, 8], &[3, 9, 5, 8], &[3, 9, 5, 8], &[1, 33, 9, 5]]),
        // More rows than a small binding holds, one after the other in the gradient of the bias.
        case("attention bias of rows", BIAS, &[&[150, 5, 3, 16], &[150, 6, 3, 16], &[150, 6, 3, 16], &[1, 5, 6, 3]]),
        case("attention turned", TURNED, &[&[3, 33, 5, 8], &[3, 9, 5, 8], &[3, 9, 5, 8], &[1, 33, 9, 5], &[5, 1, 33, 9]]).drawn(&[
            Signed,
            Signed,
            Signed,
            Signed,
            HeadsOf(3),
        ]),
        // Biases of squares, one above another and side by side.
        case(
            "attention above",
            Attention { run: 9, ..ALL },
            &[&[27, 9, 2, 8], &[27, 9, 2, 8], &[27, 9, 2, 8], &[27, 9], &[3, 9, 9, 2], &[27, 9, 2, 8]],
        )
        .drawn(&[Signed, Signed, Signed, MaskWithout(9)]),
        case("attention side by side", Attention { run: 1, ..TURNED }, BESIDE).drawn(&[Signed, Signed, Signed, Signed, HeadsOf(3)]),
        // More rows than a small binding holds of either.
        case(
            "attention above of rows",
            Attention { run: 75, ..BIAS },
            &[&[150, 9, 3, 16], &[150, 8, 3, 16], &[150, 8, 3, 16], &[2, 9, 8, 3]],
        ),
        case(
            "attention beside of rows",
            Attention { run: 1, ..BIAS },
            &[&[150, 5, 3, 16], &[150, 6, 3, 16], &[150, 6, 3, 16], &[2, 5, 6, 3]],
        ),
        // Pairs that a small binding holds one by one only.
        case("attention above of pairs", Attention { run: 4, ..BIAS }, PAIRS),
        case("attention beside of pairs", Attention { run: 1, ..BIAS }, PAIRS),
        case(
            "attention beside of tiles",
            Attention { run: 1, ..BIAS },
            &[&[150, 33, 5, 8], &[150, 9, 5, 8], &[150, 9, 5, 8], &[3, 33, 9, 5]],
        ),
        case("attention mask", MASK, &[&[3, 17, 2, 16], &[3, 33, 2, 16], &[3, 33, 2, 16], &[3, 33]]).drawn(&[
            Signed,
            Signed,
            Signed,
            MaskWithout(33),
        ]),
        case("attention points", MASK, &[&[70, 1, 2, 16], &[70, 4, 2, 16], &[70, 4, 2, 16], &[70, 4, 1]]).drawn(&[
            Signed,
            Signed,
            Signed,
            MaskWithout(4),
        ]),
        case("attention 33", ALL, &[&[3, 33, 2, 32], &[3, 33, 2, 32], &[3, 33, 2, 32], &[3, 33], &[1, 33, 33, 2], &[3, 33, 2, 32]])
            .drawn(&[Signed, Signed, Signed, MaskWithout(33)]),
        case("attention 129", ALL, &[&[1, 129, 1, 8], &[1, 129, 1, 8], &[1, 129, 1, 8], &[1, 129], &[1, 129, 129, 1], &[1, 129, 1, 8]])
            .drawn(&[Signed, Signed, Signed, Mask]),
        // Eight heads share keys and values: the queries of one row are its heads.
        case("attention global", MASK, &[&[3, 8, 1, 8], &[3, 129, 1, 8], &[3, 129, 1, 8], &[3, 129]]).drawn(&[
            Signed,
            Signed,
            Signed,
            MaskWithout(129),
        ]),
        case("masked mean", MaskedMean, &[&[3, 5, 6], &[3, 5]]).drawn(&[Signed, MaskWithout(5)]),
        case("masked mean 129", MaskedMean, &[&[5, 129, 70], &[5, 129]]).drawn(&[Signed, Mask]),
    ]
}

/// Rows and columns of a pair of 21 residues, two heads of 6 channels; q, k, v and gate as slices of one tensor or as tensors of their own.
fn pair_attention(gpu: &Gpu, cache: &Cache, dtype: DType, (sliced, turned): (bool, bool)) -> Vec<HostTensor> {
    const N: usize = 21;
    const ROW: usize = 2 * 6;
    let all = draw(7, N * N * 4 * ROW);
    let graph = ops::graph(dtype, 1);
    let order: &[usize] = if turned { &[1, 0, 2, 3] } else { &[0, 1, 2, 3] };
    let names = ["q", "k", "v", "gate"];
    let parts: Vec<_> = if sliced {
        let whole = graph.input("whole", &[N, N, 8, 6], dtype, true);
        (0..4).map(|i| whole.slice(2, 2 * i..2 * i + 2)).collect()
    } else {
        names.iter().map(|name| graph.input(name, &[N, N, 2, 6], dtype, true)).collect()
    };
    let bias = graph.input("bias", &[N, N, 2], dtype, true);
    // The ending node: all inputs are turned, and the result is turned back.
    let x: Vec<_> = parts.iter().map(|t| t.permute(order)).collect();
    let mask = graph.input("mask", &[N, N, 1], dtype, false);
    let mask = mask.permute(&order[..3]);
    let pair = bias.permute(&order[..3]).regroup(0..1, &[1, N]);
    let y = graph.apply_all(std::rc::Rc::new(ALL), &[x[0], x[1], x[2], mask, pair, x[3]])[0];
    let y = y.permute(order);
    let seed = graph.input("seed", &[N, N, 2, 6], dtype, false);
    let y = y * seed;
    graph.output("y", y);
    graph.backward(&[(y, None)]);
    let session = Session::new(gpu, cache, &graph).expect("fits");
    let part = |i: usize| all.chunks(4 * ROW).flat_map(|c| c[i * ROW..(i + 1) * ROW].to_vec()).collect::<Vec<f32>>();
    if sliced {
        session.set("whole", &HostTensor::f32(&[N, N, 8, 6], all.clone()));
    } else {
        (0..4).for_each(|i| session.set(names[i], &HostTensor::f32(&[N, N, 2, 6], part(i))));
    }
    session.set("bias", &HostTensor::f32(&[N, N, 2], draw(8, N * N * 2)));
    session.set("mask", &HostTensor::f32(&[N, N], draw(9, N * N).iter().map(|v| f32::from(u8::from(*v > -0.5))).collect()));
    session.set("seed", &HostTensor::f32(&[N, N, 2, 6], draw(10, N * N * ROW)));
    session.replay().expect("runs");
    let mut got = vec![session.get("y").expect("reads"), session.get("d/bias").expect("reads")];
    if sliced {
        let whole = session.get("d/whole").expect("reads").to_f32();
        let of = |i: usize| whole.chunks(4 * ROW).flat_map(|c| c[i * ROW..(i + 1) * ROW].to_vec()).collect::<Vec<f32>>();
        got.extend((0..4).map(|i| HostTensor::f32(&[N, N, 2, 6], of(i))));
    } else {
        got.extend(names.iter().map(|name| session.get(&format!("d/{name}")).expect("reads")));
    }
    got
}

/// The columns that a linear map gives a second time are the first of its result, in every way that it can be made: of one matrix of rows or
/// of turned axes, in whole groups of four or not, by the product or after it.
#[test]
fn heads_are_columns_outermost() {
    let narrow = Choice { max_binding: Some(64 << 10), checked: true, ..Choice::default() };
    let tiled = Choice { family: Some(Family::Tiled), ..Choice::default() };
    for choice in [Choice::default(), tiled, narrow] {
        let gpu = Gpu::open(&choice).expect("a Vulkan, Metal or DX12 adapter");
        let cache = Cache::default();
        for (shape, heads) in [([6, 8, 20], 5), ([70, 12, 20], 4), ([5, 9, 20], 2)] {
            for (turned, dtype) in [(false, DType::F32), (true, DType::F32), (true, DType::Bf16)] {
                let graph = ops::graph(dtype, 1);
                let inputs: [(&str, &[usize]); 5] = [("x", &shape), ("scale", &[20]), ("offset", &[20]), ("w", &[20, 70]), ("b", &[62])];
                let x: Vec<_> = inputs.iter().map(|(name, shape)| graph.input(name, shape, DType::F32, false)).collect();
                // What an activation makes is not turned.
                let act = if turned { Act::None } else { Act::Sigmoid };
                let op = Linear { norm: Some(1e-5), turned, heads, tail: 8, ..Linear::biased(act) };
                let y = graph.apply_all(std::rc::Rc::new(op), &x);
                graph.output("y", y[0]);
                graph.output("heads", y[1]);
                let session = Session::new(&gpu, &cache, &graph).expect("fits");
                for (i, (name, shape)) in inputs.iter().enumerate() {
                    session.set(name, &HostTensor::f32(shape, draw(i as u64, shape.iter().product())));
                }
                session.replay().expect("runs");
                let [y, got] = ["y", "heads"].map(|name| session.get(name).expect("reads"));
                let (y, got) = (y.to_f32(), got.to_f32());
                let want: Vec<f32> = (0..heads).flat_map(|h| y.iter().skip(h).step_by(70).copied()).collect();
                assert!(got == want && got.iter().all(|v| *v != 0.0), "{heads} heads of {shape:?}, turned {turned}, {dtype}");
                assert!(session.padding_is_zero("heads").expect("reads"), "padding of {heads} heads of {shape:?}");
            }
        }
    }
}

#[test]
fn slices_and_turned_axes_change_no_bit() {
    let gpu = Gpu::open(&Choice::default()).expect("a Vulkan, Metal or DX12 adapter");
    let cache = Cache::default();
    for turned in [false, true] {
        let [apart, together] = [false, true].map(|sliced| pair_attention(&gpu, &cache, DType::F32, (sliced, turned)));
        assert_eq!(apart, together, "slices of one tensor give other bits than tensors of their own");
        assert!(apart.iter().all(|t| t.as_f32().iter().any(|v| *v != 0.0)), "a tensor is all zero");
    }
}
