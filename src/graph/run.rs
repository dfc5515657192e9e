//! Replays a plan: memory made once, host tensors written and read in padded form, nothing allocated or compiled inside a replay.
//!
//! Must not know operations.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::gpu::program::{Cache, Placed, Program, bytes_of};
use crate::gpu::view::padded;
use crate::gpu::{Gpu, View};
use crate::graph::plan::{self, Plan};
use crate::graph::{Graph, Lowered, Origin};
use crate::tensor::{DType, HostTensor};

/// A graph ready to be replayed on one device.
#[derive(Debug)]
pub struct Session<'a> {
    gpu: &'a Gpu,
    /// The memory plan.
    pub plan: Plan,
    program: Program,
    arenas: Vec<wgpu::Buffer>,
    placed: Placed,
    inputs: BTreeMap<String, View>,
    params: BTreeMap<String, View>,
    outputs: BTreeMap<String, View>,
    grads: crate::gpu::Root,
    pub(crate) lowered: Lowered,
}

impl<'a> Session<'a> {
    /// Plans, allocates and compiles.
    pub fn new(gpu: &'a Gpu, cache: &Cache, graph: &Graph) -> Result<Self> {
        let lowered = graph.lower(&gpu.traits);
        let lives = plan::lives(&lowered.commands, &lowered.roots);
        let plan = plan::place(&lives, gpu.align, gpu.traits.max_buffer)?;
        let arenas = plan.arenas.iter().map(|&bytes| gpu.buffer("arena", bytes, false)).collect::<Result<Vec<_>>>()?;
        let placed: Placed = plan.places.iter().map(|(root, p)| (*root, (p.arena, p.offset))).collect();
        let program = Program::new(gpu, cache, &lowered.commands, &arenas, &placed)?;
        let inner = graph.inner.borrow();
        let (mut inputs, mut params) = (BTreeMap::new(), BTreeMap::new());
        for (id, info) in inner.tensors.iter().enumerate().filter(|(id, info)| info.base == *id) {
            debug_assert_eq!(info.base, id);
            match &info.origin {
                Origin::Input { name, .. } => drop(inputs.insert(name.clone(), info.view.clone())),
                Origin::Param { name } => drop(params.insert(name.clone(), info.view.clone())),
                Origin::Node(_) => {}
            }
        }
        let outputs = inner.outputs.iter().cloned().collect();
        Ok(Self { gpu, plan, program, arenas, placed, inputs, params, outputs, grads: inner.grads, lowered })
    }

    /// Dispatches and clears of one replay.
    pub fn dispatches(&self) -> usize {
        self.program.len()
    }

    /// Runs everything once. Returns when the work is submitted; reading waits.
    pub fn replay(&self) -> Result<()> {
        self.program.run(self.gpu, &self.arenas, 0..self.lowered.commands.len())
    }

    /// Writes the input `name`.
    pub fn set(&self, name: &str, value: &HostTensor) {
        let view = self.inputs.get(name).unwrap_or_else(|| panic!("no input `{name}`"));
        self.write(view, value, name);
    }

    /// Writes the parameter `name`.
    pub fn set_param(&self, name: &str, value: &HostTensor) {
        let view = self.params.get(name).unwrap_or_else(|| panic!("no parameter `{name}`"));
        self.write(view, value, name);
    }

    /// Reads the output `name`.
    pub fn get(&self, name: &str) -> Result<HostTensor> {
        self.read(self.outputs.get(name).unwrap_or_else(|| panic!("no output `{name}`")))
    }

    /// Reads the gradient of the parameter `name`.
    pub fn get_grad(&self, name: &str) -> Result<HostTensor> {
        let view = self.params.get(name).unwrap_or_else(|| panic!("no parameter `{name}`"));
        self.read(&View { root: self.grads, ..view.clone() })
    }

    /// Whether the padding of the output `name` is zero, as every kernel must leave it.
    pub fn padding_is_zero(&self, name: &str) -> Result<bool> {
        let view = &self.outputs[name];
        let all = decode(&self.bytes(view)?, view.dtype);
        let (width, pitch) = (view.width(), padded(view.width()));
        Ok(all.chunks(pitch).all(|row| row[width..].iter().all(|&x| x == 0.0)))
    }

    fn write(&self, view: &View, value: &HostTensor, name: &str) {
        assert!(view.shape == value.shape || view.len() == value.len(), "`{name}` is {:?}, given {:?}", view.shape, value.shape);
        let Some(&(arena, start)) = self.placed.get(&view.root) else { return };
        let (width, pitch) = (view.width(), padded(view.width()));
        let mut bytes = Vec::with_capacity(view.len() / width.max(1) * pitch * view.dtype.size());
        if view.dtype == DType::I32 {
            value.as_i32().chunks(width).for_each(|row| {
                row.iter().for_each(|x| bytes.extend(x.to_le_bytes()));
                bytes.resize(bytes.len() + (pitch - width) * 4, 0);
            });
        } else {
            value.to_f32().chunks(width).for_each(|row| {
                row.iter().for_each(|&x| encode(&mut bytes, x, view.dtype));
                bytes.resize(bytes.len() + (pitch - width) * view.dtype.size(), 0);
            });
        }
        self.gpu.queue.write_buffer(&self.arenas[arena], start + bytes_of(view).start, &bytes);
    }

    fn bytes(&self, view: &View) -> Result<Vec<u8>> {
        let (arena, start) = self.placed[&view.root];
        let range = bytes_of(view);
        self.gpu.read(&self.arenas[arena], start + range.start, range.end - range.start)
    }

    fn read(&self, view: &View) -> Result<HostTensor> {
        let bytes = self.bytes(view)?;
        let (width, pitch) = (view.width(), padded(view.width()));
        let rows = |all: &[f32]| all.chunks(pitch).flat_map(|row| row[..width].to_vec()).collect::<Vec<f32>>();
        if view.dtype == DType::I32 {
            let all: Vec<i32> = bytemuck::pod_collect_to_vec(&bytes);
            return Ok(HostTensor::i32(&view.shape, all.chunks(pitch).flat_map(|row| row[..width].to_vec()).collect()));
        }
        Ok(HostTensor::f32(&view.shape, rows(&decode(&bytes, view.dtype))))
    }
}

fn encode(bytes: &mut Vec<u8>, x: f32, dtype: DType) {
    match dtype {
        DType::F32 => bytes.extend(x.to_le_bytes()),
        DType::Bf16 => bytes.extend(half::bf16::from_f32(x).to_le_bytes()),
        DType::F16 => bytes.extend(half::f16::from_f32(x).to_le_bytes()),
        DType::I32 => panic!("a float for an integer tensor"),
    }
}

fn decode(bytes: &[u8], dtype: DType) -> Vec<f32> {
    match dtype {
        DType::F32 => bytemuck::pod_collect_to_vec(bytes),
        DType::I32 => bytemuck::pod_collect_to_vec::<u8, i32>(bytes).iter().map(|&x| x as f32).collect(),
        DType::Bf16 => bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        DType::F16 => bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
    }
}
