//! Replays a plan: memory made once, host tensors written and read in padded form, nothing allocated or compiled inside a replay.
//!
//! Must not know operations.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use crate::error::Result;
use crate::gpu::program::{Cache, Placed, Program, bytes_of};
use crate::gpu::recorder::{Command, Recorded};
use crate::gpu::view::padded;
use crate::gpu::{Gpu, Root, View};
use crate::graph::budget::{Work, work};
use crate::graph::lists::{List, Lists};
use crate::graph::plan::Plan;
use crate::graph::{Graph, Lowered};
use crate::tensor::{DType, HostTensor};

/// Graphs ready to be replayed on one device, as command lists that share one memory plan: what one list keeps only while it runs, the
/// others may use.
#[derive(Debug)]
pub struct Session<'a> {
    pub(super) gpu: &'a Gpu,
    /// The memory plan.
    pub plan: Plan,
    pub(super) program: Program,
    pub(super) arenas: Vec<wgpu::Buffer>,
    pub(super) placed: Placed,
    lists: Vec<List>,
    inputs: BTreeMap<String, View>,
    pub(super) params: BTreeMap<String, View>,
    outputs: BTreeMap<String, View>,
    param_root: Root,
    pub(super) grads: Root,
    pub(crate) lowered: Lowered,
}

/// Command lists with their memory plan: nothing is allocated yet.
#[derive(Debug)]
pub struct Planned {
    joined: Lists,
    /// The memory plan.
    pub plan: Plan,
}

impl Planned {
    /// Plans several graphs as command lists.
    pub fn new(gpu: &Gpu, graphs: &[(&str, &Graph)]) -> Result<Self> {
        let joined = Lists::of(&gpu.traits, graphs);
        let plan = joined.plan(gpu.align, gpu.traits.max_buffer)?;
        Ok(Self { joined, plan })
    }

    /// Floating-point operations of all lists, as the operations count them.
    pub fn flops(&self) -> f64 {
        flops(&self.joined.lowered.commands)
    }
}

fn flops(commands: &[Recorded]) -> f64 {
    commands.iter().map(|c| if let Command::Launch(launch) = &c.command { launch.flops } else { 0.0 }).sum()
}

impl<'a> Session<'a> {
    /// Plans, allocates and compiles one graph, as the list `run`.
    pub fn new(gpu: &'a Gpu, cache: &Cache, graph: &Graph) -> Result<Self> {
        Self::of(gpu, cache, &[("run", graph)])
    }

    /// Plans, allocates and compiles several graphs as command lists. Inputs, parameters and gradients of the same name are the same
    /// memory in all of them; names of outputs must differ.
    pub fn of(gpu: &'a Gpu, cache: &Cache, graphs: &[(&str, &Graph)]) -> Result<Self> {
        Self::planned(gpu, cache, Planned::new(gpu, graphs)?)
    }

    /// Allocates and compiles what was planned.
    pub fn planned(gpu: &'a Gpu, cache: &Cache, planned: Planned) -> Result<Self> {
        let Planned { joined, plan } = planned;
        let Lists { lowered, shared, lists, inputs, params, outputs, constants } = joined;
        let arenas = plan.arenas.iter().map(|&bytes| gpu.buffer("arena", bytes, false)).collect::<Result<Vec<_>>>()?;
        let placed: Placed = plan.places.iter().map(|(root, p)| (*root, (p.arena, p.offset))).collect();
        let program = Program::new(gpu, cache, &lowered.commands, &arenas, &placed)?;
        let session = Self {
            gpu,
            plan,
            program,
            arenas,
            placed,
            lists,
            inputs,
            params,
            outputs,
            param_root: shared["parameters"],
            grads: shared["gradients"],
            lowered,
        };
        constants.iter().for_each(|(name, value)| session.set(name, value));
        Ok(session)
    }

    /// Bytes of device memory.
    pub fn memory(&self) -> u64 {
        self.plan.arenas.iter().sum()
    }

    /// Whether any list reads the input `name`.
    pub fn takes(&self, name: &str) -> bool {
        self.inputs.contains_key(name)
    }

    /// Dispatches and clears of one replay.
    pub fn dispatches(&self) -> usize {
        self.program.len()
    }

    /// Runs all lists once. Returns when the work is submitted; reading waits.
    pub fn replay(&self) -> Result<()> {
        self.program.run(self.gpu, &self.arenas, 0..self.lowered.commands.len())
    }

    /// Runs one list once.
    pub fn replay_list(&self, name: &str) -> Result<()> {
        self.program.run(self.gpu, &self.arenas, self.list(name))
    }

    /// The commands of a list.
    pub fn list(&self, name: &str) -> Range<usize> {
        self.lists.iter().find(|l| l.name == name).unwrap_or_else(|| panic!("no command list `{name}`")).commands.clone()
    }

    /// The command lists, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.lists.iter().map(|l| l.name.as_str())
    }

    /// What a command is part of: its scope and operation.
    pub fn label(&self, command: usize) -> &str {
        &self.lowered.labels[self.lowered.commands[command].node]
    }

    /// The work of some of the commands.
    pub fn work(&self, commands: Range<usize>) -> Result<Work> {
        let mut all = Work::default();
        for recorded in &self.lowered.commands[commands] {
            all.add(&work(recorded, &self.gpu.traits, self.gpu.align, &self.placed)?, 1.0);
        }
        Ok(all)
    }

    /// Runs some of the commands once and gives the seconds of each by the adapter's clock, 0 for clears; `None` where it has none.
    pub fn stamped(&self, commands: Range<usize>) -> Result<Option<Vec<f64>>> {
        self.program.stamped(self.gpu, &self.arenas, commands)
    }

    /// Runs some of the commands once, each by itself, and gives the seconds until it was done.
    pub fn waited(&self, commands: Range<usize>) -> Result<Vec<f64>> {
        let one = |at: usize| {
            let start = Instant::now();
            self.replay_commands(at..at + 1)?;
            self.gpu.wait()?;
            Ok(start.elapsed().as_secs_f64())
        };
        commands.map(one).collect()
    }

    /// Runs some of the commands once.
    pub fn replay_commands(&self, commands: Range<usize>) -> Result<()> {
        self.program.run(self.gpu, &self.arenas, commands)
    }

    /// The commands of the forward pass, and those of the reverse sweep without what seeds it.
    pub fn halves(&self) -> [Range<usize>; 2] {
        let (commands, labels) = (&self.lowered.commands, &self.lowered.labels);
        let first = |wanted: &dyn Fn(&str) -> bool| commands.iter().position(|c| wanted(&labels[c.node])).unwrap_or(commands.len());
        let forward = first(&|label| label.ends_with("accumulate") || label == "fill" || label.ends_with(" backward"));
        [0..forward, first(&|label| label.ends_with(" backward"))..commands.len()]
    }

    /// Floating-point operations of some of the commands, as the operations count them.
    pub fn flops(&self, commands: Range<usize>) -> f64 {
        flops(&self.lowered.commands[commands])
    }

    /// Writes the input `name`.
    pub fn set(&self, name: &str, value: &HostTensor) {
        let view = self.inputs.get(name).unwrap_or_else(|| panic!("no input `{name}`"));
        self.write(view, value, name);
    }

    /// Fills the input `name` with zeros, on the device.
    pub fn clear(&self, name: &str) {
        let view = self.inputs.get(name).unwrap_or_else(|| panic!("no input `{name}`"));
        let Some(&(arena, start)) = self.placed.get(&view.root) else { return };
        let range = bytes_of(view);
        self.gpu.clear(&[(&self.arenas[arena], start + range.start, range.end - range.start)]);
    }

    /// Fills a piece of memory with zeros.
    pub(super) fn clear_root(&self, root: Root) {
        if let Some(place) = self.plan.places.get(&root) {
            self.gpu.clear(&[(&self.arenas[place.arena], place.offset, place.bytes)]);
        }
    }

    /// Writes the parameter `name`.
    pub fn set_param(&self, name: &str, value: &HostTensor) {
        let view = self.params.get(name).unwrap_or_else(|| panic!("no parameter `{name}`"));
        self.write(view, value, name);
    }

    /// Writes the whole arena of parameters.
    pub fn set_params(&self, arena: &[f32]) {
        let (index, start) = self.placed[&self.param_root];
        self.gpu.queue.write_buffer(&self.arenas[index], start, bytemuck::cast_slice(arena));
    }

    /// Reads the whole arena of gradients; zeros where no list makes any.
    pub fn get_grads(&self) -> Result<Vec<f32>> {
        let bytes = self.lowered.roots[self.param_root.0 as usize].bytes;
        let Some(&(index, start)) = self.placed.get(&self.grads) else { return Ok(vec![0.0; bytes as usize / 4]) };
        Ok(bytemuck::pod_collect_to_vec(&self.gpu.read(&self.arenas[index], start, bytes)?))
    }

    /// Reads the output `name`.
    pub fn get(&self, name: &str) -> Result<HostTensor> {
        Ok(self.get_all(&[name])?.remove(0))
    }

    /// Reads outputs, waiting once for all of them.
    pub fn get_all(&self, names: &[&str]) -> Result<Vec<HostTensor>> {
        let view = |name: &&str| self.outputs.get(*name).unwrap_or_else(|| panic!("no output `{name}`"));
        self.read_all(&names.iter().map(view).collect::<Vec<_>>())
    }

    /// Reads the gradient of the parameter `name`.
    pub fn get_grad(&self, name: &str) -> Result<HostTensor> {
        let view = self.params.get(name).unwrap_or_else(|| panic!("no parameter `{name}`"));
        Ok(self.read_all(&[&View { root: self.grads, ..view.clone() }])?.remove(0))
    }

    /// Whether the padding of the output `name` is zero, as every kernel must leave it.
    pub fn padding_is_zero(&self, name: &str) -> Result<bool> {
        let view = &self.outputs[name];
        let all = decode(&self.bytes(&[view])?[0], view.dtype);
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

    pub(super) fn bytes(&self, views: &[&View]) -> Result<Vec<Vec<u8>>> {
        let part = |view: &&View| {
            let (arena, start) = self.placed[&view.root];
            let range = bytes_of(view);
            (&self.arenas[arena], start + range.start, range.end - range.start)
        };
        self.gpu.read_all(&views.iter().map(part).collect::<Vec<_>>())
    }

    pub(crate) fn read_all(&self, views: &[&View]) -> Result<Vec<HostTensor>> {
        Ok(views.iter().zip(self.bytes(views)?).map(|(view, bytes)| unpadded(view, &bytes)).collect())
    }
}

/// The elements of a contiguous view, without its padding.
fn unpadded(view: &View, bytes: &[u8]) -> HostTensor {
    let (width, pitch) = (view.width(), padded(view.width()));
    if view.dtype == DType::I32 {
        let all: Vec<i32> = bytemuck::pod_collect_to_vec(bytes);
        return HostTensor::i32(&view.shape, all.chunks(pitch).flat_map(|row| row[..width].to_vec()).collect());
    }
    HostTensor::f32(&view.shape, decode(bytes, view.dtype).chunks(pitch).flat_map(|row| row[..width].to_vec()).collect())
}

fn encode(bytes: &mut Vec<u8>, x: f32, dtype: DType) {
    match dtype {
        DType::F32 => bytes.extend(x.to_le_bytes()),
        DType::Bf16 => bytes.extend(half::bf16::from_f32(x).to_le_bytes()),
        DType::F16 => bytes.extend(half::f16::from_f32(x).to_le_bytes()),
        DType::I32 => panic!("a float for an integer tensor"),
    }
}

pub(super) fn decode(bytes: &[u8], dtype: DType) -> Vec<f32> {
    match dtype {
        DType::F32 => bytemuck::pod_collect_to_vec(bytes),
        DType::I32 => bytemuck::pod_collect_to_vec::<u8, i32>(bytes).iter().map(|&x| x as f32).collect(),
        DType::Bf16 => bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        DType::F16 => bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
    }
}
