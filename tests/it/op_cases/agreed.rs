//! Maps that agree on the gradient between them give the same bits as maps that do not, and what finite differences say.

use anyfold::gpu::Gpu;
use anyfold::gpu::device::{Choice, common};
use anyfold::gpu::program::Cache;
use anyfold::gpu::recorder::Family;
use anyfold::graph::Graph;
use anyfold::graph::lists::Lists;
use anyfold::graph::run::Session;
use anyfold::op::{Array, Op};
use anyfold::ops;
use anyfold::ops::basic::layer_norm::LayerNorm;
use anyfold::ops::basic::linear::{Act, Linear};
use anyfold::tensor::{DType, HostTensor};

use super::{close, draw};

const NORM: LayerNorm = LayerNorm { eps: 1e-5 };
/// A norm, two maps with a ReLU and one without; parameters by name, shape and place.
const PARAMS: [(&str, &[usize], usize); 8] = [
    ("scale", &[12], 0),
    ("offset", &[12], 64),
    ("w1", &[12, 33], 128),
    ("b1", &[33], 1024),
    ("w2", &[33, 21], 1088),
    ("b2", &[21], 2048),
    ("w3", &[21, 12], 2112),
    ("b3", &[12], 2560),
];

fn acts() -> [Linear; 3] {
    [Act::Relu, Act::Relu, Act::None].map(Linear::biased)
}

/// The network on `[a, b, 12]`, its second map on turned axes where `turned`; where `kept`, results between maps are read besides.
fn network(dtype: DType, [a, b]: [usize; 2], turned: bool, kept: bool) -> Graph {
    let graph = ops::graph(dtype, 4096);
    {
        let x = graph.input("x", &[a, b, 12], dtype, true);
        let p = PARAMS.map(|(name, shape, at)| graph.param(name, shape, at));
        let h0 = graph.apply(NORM, &[x, p[0], p[1]]);
        let h1 = graph.apply(acts()[0], &[h0, p[2], p[3]]);
        let h2 = graph.apply(acts()[1], &[if turned { h1.permute(&[1, 0, 2]) } else { h1 }, p[4], p[5]]);
        let h3 = graph.apply(acts()[2], &[h2, p[6], p[7]]);
        let y = if turned { h3.permute(&[1, 0, 2]) + x } else { h3 + x };
        if kept {
            graph.output("h1", h1);
            graph.output("h2", h2);
        }
        let cot = graph.input("cot", &[a, b, 12], dtype, false);
        graph.backward(&[(y * cot, None)]);
    }
    graph
}

fn value(i: usize, shape: &[usize]) -> Vec<f32> {
    draw(i as u64 + 1, shape.iter().product())
}

fn gradients(gpu: &Gpu, graph: &Graph, [a, b]: [usize; 2]) -> Vec<HostTensor> {
    let session = Session::new(gpu, &Cache::default(), graph).expect("fits");
    for (i, (name, shape, _)) in PARAMS.iter().enumerate() {
        session.set_param(name, &HostTensor::f32(shape, value(i, shape)));
    }
    session.set("x", &HostTensor::f32(&[a, b, 12], value(8, &[a, b, 12])));
    session.set("cot", &HostTensor::f32(&[a, b, 12], value(9, &[a, b, 12])));
    session.replay().expect("runs");
    let all = PARAMS.iter().map(|(name, ..)| session.get_grad(name).expect("reads"));
    all.chain([session.get("d/x").expect("reads")]).collect()
}

/// Central differences of the references, for some elements of every gradient.
fn against_differences(got: &[HostTensor], [a, b]: [usize; 2]) {
    let array = |i: usize, shape: &[usize]| Array::new(shape, value(i, shape).into_iter().map(f64::from).collect());
    let (rows, cot) = ([a, b, 12], array(9, &[a, b, 12]));
    let loss = |p: &[Array]| {
        let h = NORM.reference(&[p[8].clone(), p[0].clone(), p[1].clone()]).remove(0);
        let map = |h: Array, i: usize| acts()[i].reference(&[h, p[2 + 2 * i].clone(), p[3 + 2 * i].clone()]).remove(0);
        let y = (0..3).fold(h, map);
        y.data.iter().zip(&p[8].data).zip(&cot.data).map(|((y, x), c)| (y + x) * c).sum::<f64>()
    };
    let at: Vec<Array> = PARAMS.iter().map(|p| p.1).chain([&rows[..]]).enumerate().map(|(i, shape)| array(i, shape)).collect();
    for (i, got) in got.iter().enumerate() {
        let picked: Vec<usize> = (0..at[i].data.len()).step_by(at[i].data.len().div_ceil(24) | 1).collect();
        let difference = |place: &usize| {
            let moved = |h: f64| {
                let mut p = at.clone();
                p[i].data[*place] += h;
                loss(&p)
            };
            (moved(1e-6) - moved(-1e-6)) / 2e-6
        };
        let (want, got) = (picked.iter().map(difference).collect::<Vec<_>>(), got.to_f64());
        close("agreed maps", &format!("gradient {i}"), &picked.iter().map(|&p| got[p]).collect::<Vec<_>>(), &want, 1e-5);
    }
}

#[test]
fn maps_that_agree_on_a_gradient_change_no_bit() {
    for family in [None, Some(Family::Tiled)] {
        let open = |max_binding| Gpu::open(&Choice { family, max_binding, ..Choice::default() }).expect("a Vulkan, Metal or DX12 adapter");
        let gpus = [None, Some(64 << 10)].map(open);
        for (dtype, turned) in [(DType::F32, false), (DType::Bf16, false), (DType::F32, true), (DType::Bf16, true)] {
            let both = |gpu: &Gpu, size| {
                let [agreed, kept] = [false, true].map(|kept| gradients(gpu, &network(dtype, size, turned, kept), size));
                // A gradient is stored as its tensor is, and what a ReLU lets through is zero or the same: no rounding differs.
                assert_eq!(agreed, kept, "{dtype} {size:?} turned {turned}: agreement on a gradient changes a bit");
                agreed
            };
            if dtype == DType::F32 {
                against_differences(&both(&gpus[0], [5, 9]), [5, 9]);
            }
            // Turned rows are read where they lie if a binding holds all of them.
            let [wide, narrow] = [0, 1].map(|i| both(&gpus[i], [20, 55]));
            assert_eq!(wide, narrow, "{dtype} turned {turned}: 64 KiB windows change a bit");
        }
    }
}

#[test]
fn maps_whose_results_nobody_else_reads_agree() {
    for (turned, kept, want) in [(false, false, 0), (true, false, 0), (false, true, 2)] {
        let graph = network(DType::F32, [5, 9], turned, kept);
        let lists = Lists::of(&common().traits, &[("step", &graph)]);
        let through = lists.launches().filter(|l| l.entry == "through").count();
        assert_eq!(through, want, "turned {turned}, kept {kept}: launches that go through an activation by themselves");
    }
}
