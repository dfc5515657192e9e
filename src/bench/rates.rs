//! What an adapter can do at best: copy bandwidth and multiply-adds in registers.

use std::rc::Rc;

use crate::bench::Taken;
use crate::error::Result;
use crate::gpu::program::Cache;
use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Gpu, Recorder, View};
use crate::graph::run::Session;
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops;
use crate::ops::basic::copy::Copy;
use crate::tensor::DType;

/// The adapter's rates.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Rates {
    /// Bytes read and written in a second by a copy of vectors of four.
    pub copy: f64,
    /// Single-precision operations in a second, two for a multiply-add.
    pub fma: f64,
    /// Half-precision operations in a second, where shaders have that type.
    pub half: Option<f64>,
    /// Copies and single precision for a second of one core, on a software adapter under Linux.
    pub a_core: Option<[f64; 2]>,
}

/// Multiply-adds of vectors of four that an invocation makes, in eight chains.
const STEPS: usize = 2048;
const CHAINS: usize = 8;

static SOURCE: Source = Source {
    name: "rates",
    text: "#storage y
struct Params { steps: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@compute @workgroup_size(64)
fn chains(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    let m = vec4<f32>(0.999 + f32(lane) * 1e-6);
#repeat c 8
    var v$c = vec4<f32>(f32(lane), 1.0, 2.0, $c.0);
#end
    for (var s = 0u; s < p.steps; s++) {
#repeat c 8
        v$c = fma(v$c, m, vec4<f32>($c.5));
#end
    }
    y_st4(i, (v0 + v1) + (v2 + v3) + ((v4 + v5) + (v6 + v7)));
}
",
};

static HALF: Source = Source {
    name: "rates half",
    text: "enable f16;
#storage y
struct Params { steps: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@compute @workgroup_size(64)
fn chains(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    let m = vec4<f16>(f16(0.5 + f32(lane) * 0.001));
#repeat c 8
    var v$c = vec4<f16>(f16(lane), 1.0h, 2.0h, $c.0h);
#end
    for (var s = 0u; s < p.steps; s++) {
#repeat c 8
        v$c = fma(v$c, m, vec4<f16>($c.5h));
#end
    }
    y_st4(i, vec4<f32>((v0 + v1) + (v2 + v3) + ((v4 + v5) + (v6 + v7))));
}
",
};

/// Chains of multiply-adds that nothing in memory holds up.
#[derive(Debug)]
struct Chains(&'static Source);

impl Op for Chains {
    fn name(&self) -> &'static str {
        "chains"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        vec![Spec::of(x[0])]
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn forward(&self, r: &mut Recorder, _x: &[View], y: &[View]) {
        let steps = STEPS / CHAINS;
        let groups = y[0].shape[0] / 64;
        let launch = Launch::new(self.0, "chains", UniformData::of(&[("steps", steps.into())]), [groups, 1, 1]);
        r.launch(launch.write("y", &y[0], &[cut(0, 0, 64)]).flops((groups * 64 * STEPS * 4 * 2) as f64));
    }

    fn backward(&self, _r: &mut Recorder, _b: &Backward) {}

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        x.to_vec()
    }
}

impl Rates {
    /// The rates of the whole adapter in words.
    pub fn line(&self) -> String {
        let half = self.half.map_or(String::new(), |half| format!(", in half precision {:.1} GFLOP/s", half / 1e9));
        format!("copies {:.2} GB/s, multiply-adds {:.1} GFLOP/s{half}", self.copy / 1e9, self.fma / 1e9)
    }
}

/// Measures the adapter.
pub fn measure(gpu: &Gpu, cache: &Cache) -> Result<Rates> {
    // 64 MiB, or what the adapter's buffers hold: beyond every cache but the largest.
    let rows = ((64u64 << 20).min(gpu.traits.max_buffer / 4) / 1024) as usize;
    let (copied, _) = replayed(gpu, cache, Rc::new(Copy), &[rows, 256])?;
    let bytes = 2.0 * (rows * 1024) as f64;
    let shape = [if gpu.traits.cpu { 1 << 12 } else { 1 << 18 }, 4];
    let (chained, flops) = replayed(gpu, cache, Rc::new(Chains(&SOURCE)), &shape)?;
    let half = if gpu.device.features().contains(wgpu::Features::SHADER_F16) {
        let (chained, flops) = replayed(gpu, cache, Rc::new(Chains(&HALF)), &shape)?;
        Some(flops / chained.seconds)
    } else {
        None
    };
    let a_core = copied.cores.zip(chained.cores).map(|(copy, chain)| [bytes / copy, flops / chain]);
    Ok(Rates { copy: bytes / copied.seconds, fma: flops / chained.seconds, half, a_core })
}

/// Time and operations of one replay of an operation with one input.
fn replayed(gpu: &Gpu, cache: &Cache, op: Rc<dyn Op>, shape: &[usize]) -> Result<(Taken, f64)> {
    let graph = ops::graph(DType::F32, 1);
    let x = graph.input("x", shape, DType::F32, false);
    graph.output("y", graph.apply_all(op, &[x])[0]);
    let session = Session::new(gpu, cache, &graph)?;
    let [forward, _] = session.halves();
    Ok((super::taken(gpu, &session, forward.clone())?, session.flops(forward)))
}
