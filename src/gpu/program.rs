//! Commands made ready to run: launches cut into pieces that the device's limits allow, pipelines and bind groups made once.
//!
//! Must not know graphs or operations: it gets commands, and buffers with places for their roots.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};
use crate::gpu::recorder::{Bind, Command, Launch, Recorded, Traits};
use crate::gpu::shader::{self, Reflection, Variant};
use crate::gpu::{Gpu, Root, View};

/// Most workgroups in one dimension of a dispatch.
const MAX_GROUPS: usize = 65_535;
/// Steps that are stamped with one set of queries: WebGPU allows 4096 queries.
const STAMPED: usize = 2048;
/// Bytes of the window block: grid and sixteen bases.
const WINDOW_BYTES: usize = 80;

/// Memory of one root: the arena and its first byte.
pub type Placed = BTreeMap<Root, (usize, u64)>;

/// Pipelines and modules, shared by all programs of a device.
#[derive(Debug, Default)]
pub struct Cache {
    modules: Mutex<HashMap<Variant, Arc<(wgpu::ShaderModule, Reflection)>>>,
    pipelines: Mutex<HashMap<Key, Arc<Pipeline>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    variant: Variant,
    entry: &'static str,
    constants: Vec<(&'static str, u64)>,
}

#[derive(Debug)]
pub(super) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
    storages: Vec<String>,
    uniform: bool,
}

/// One dispatch.
#[derive(Debug)]
pub(super) struct Piece {
    pub pipeline: Arc<Pipeline>,
    pub group: wgpu::BindGroup,
    pub groups: [u32; 3],
}

/// What is encoded.
#[derive(Debug)]
pub(super) enum Step {
    Piece(Piece),
    Clear { arena: usize, offset: u64, bytes: u64 },
}

/// A list of commands ready to be replayed.
#[derive(Debug)]
pub struct Program {
    pub(super) steps: Vec<Step>,
    /// The command that each step belongs to.
    pub(super) commands: Vec<usize>,
    /// Estimated seconds of each step.
    seconds: Vec<f64>,
}

/// One piece of a launch: the part of its grid, and the bytes that each binding needs.
struct Cutout {
    grid: [Range<usize>; 3],
    windows: Vec<Range<u64>>,
}

impl Program {
    /// Cuts, compiles and binds all commands.
    pub fn new(gpu: &Gpu, cache: &Cache, commands: &[Recorded], arenas: &[wgpu::Buffer], placed: &Placed) -> Result<Self> {
        let mut uniforms = Uniforms { bytes: Vec::new(), seen: HashMap::new(), align: gpu.align as usize };
        let mut cutouts = Vec::new();
        for recorded in commands {
            let Command::Launch(launch) = &recorded.command else {
                cutouts.push(Vec::new());
                continue;
            };
            cutouts.push(cut_launch(&gpu.traits, gpu.align, launch, placed)?);
        }
        let mut slots = Vec::new();
        for (recorded, pieces) in commands.iter().zip(&cutouts) {
            let Command::Launch(launch) = &recorded.command else { continue };
            let block = uniforms.add(&launch.uniform.bytes);
            for piece in pieces {
                slots.push((block.clone(), uniforms.add(&window(launch, piece, placed))));
            }
        }
        let buffer = gpu.buffer("uniforms", uniforms.bytes.len() as u64, true)?;
        gpu.queue.write_buffer(&buffer, 0, &uniforms.bytes);
        let mut program = Self { steps: Vec::new(), commands: Vec::new(), seconds: Vec::new() };
        let mut slots = slots.into_iter();
        for (index, (recorded, pieces)) in commands.iter().zip(&cutouts).enumerate() {
            match &recorded.command {
                Command::Clear(view) => {
                    let (arena, start) = placed[&view.root];
                    let span = view.full_span();
                    let size = view.dtype.size() as u64;
                    let (offset, bytes) = (start + span.start as u64 * size, span.len() as u64 * size);
                    program.push(index, Step::Clear { arena, offset, bytes }, bytes as f64 / 1e10);
                }
                Command::Launch(launch) => {
                    let pipeline = cache.pipeline(gpu, launch)?;
                    let share = launch.flops / pieces.len() as f64 / if gpu.traits.cpu { 1e10 } else { 2e12 };
                    for piece in pieces {
                        let (block, win) = slots.next().expect("one slot for each piece");
                        let group = bind_group(gpu, &pipeline, launch, piece, arenas, placed, (&buffer, block, win));
                        let groups = [0, 1, 2].map(|d| piece.grid[d].len() as u32);
                        program.push(index, Step::Piece(Piece { pipeline: pipeline.clone(), group, groups }), share);
                    }
                }
            }
        }
        gpu.check()?;
        Ok(program)
    }

    fn push(&mut self, command: usize, step: Step, seconds: f64) {
        self.steps.push(step);
        self.commands.push(command);
        self.seconds.push(seconds);
    }

    /// Dispatches and clears.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Runs the commands in `range`, one compute pass per submit, submits cut at an estimated 100 ms.
    pub fn run(&self, gpu: &Gpu, arenas: &[wgpu::Buffer], range: Range<usize>) -> Result<()> {
        let mut next = self.commands.partition_point(|&c| c < range.start);
        let end = self.commands.partition_point(|&c| c < range.end);
        while next < end {
            let mut encoder = gpu.device.create_command_encoder(&Default::default());
            let mut spent = 0.0;
            while next < end && spent < 0.1 {
                if let Step::Clear { arena, offset, bytes } = &self.steps[next] {
                    encoder.clear_buffer(&arenas[*arena], *offset, Some(*bytes));
                    (spent, next) = (spent + self.seconds[next], next + 1);
                    continue;
                }
                let mut pass = encoder.begin_compute_pass(&Default::default());
                while let Some(Step::Piece(piece)) = self.steps.get(next).filter(|_| next < end && spent < 0.1) {
                    pass.set_pipeline(&piece.pipeline.pipeline);
                    pass.set_bind_group(0, &piece.group, &[]);
                    pass.dispatch_workgroups(piece.groups[0], piece.groups[1], piece.groups[2]);
                    (spent, next) = (spent + self.seconds[next], next + 1);
                }
            }
            gpu.queue.submit([encoder.finish()]);
        }
        gpu.check()
    }
}

impl Program {
    /// Runs the commands in `range` with every dispatch in a pass of its own, and gives the seconds of each command by the adapter's clock,
    /// 0 for clears; `None` where the adapter has no such clock.
    pub fn stamped(&self, gpu: &Gpu, arenas: &[wgpu::Buffer], range: Range<usize>) -> Result<Option<Vec<f64>>> {
        if !gpu.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Ok(None);
        }
        let mut seconds = vec![0.0; range.len()];
        let end = self.commands.partition_point(|&c| c < range.end);
        let mut next = self.commands.partition_point(|&c| c < range.start);
        while next < end {
            let mut last = next;
            let mut spent = 0.0;
            while last < end && last - next < STAMPED && spent < 0.1 {
                (spent, last) = (spent + self.seconds[last], last + 1);
            }
            for (step, took) in (next..last).zip(self.stamps(gpu, arenas, next..last)?) {
                seconds[self.commands[step] - range.start] += took;
            }
            next = last;
        }
        Ok(Some(seconds))
    }

    /// Seconds of some steps.
    fn stamps(&self, gpu: &Gpu, arenas: &[wgpu::Buffer], steps: Range<usize>) -> Result<Vec<f64>> {
        let count = 2 * steps.len() as u32;
        let set = gpu.device.create_query_set(&wgpu::QuerySetDescriptor { label: Some("stamps"), ty: wgpu::QueryType::Timestamp, count });
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let size = u64::from(count) * 8;
        let resolved = gpu.device.create_buffer(&wgpu::BufferDescriptor { label: Some("stamps"), size, usage, mapped_at_creation: false });
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        for (i, step) in (0..).zip(&self.steps[steps.clone()]) {
            let timestamp_writes = wgpu::ComputePassTimestampWrites {
                query_set: &set,
                beginning_of_pass_write_index: Some(2 * i),
                end_of_pass_write_index: Some(2 * i + 1),
            };
            if let Step::Clear { arena, offset, bytes } = step {
                encoder.clear_buffer(&arenas[*arena], *offset, Some(*bytes));
            }
            let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes: Some(timestamp_writes) };
            let mut pass = encoder.begin_compute_pass(&descriptor);
            if let Step::Piece(piece) = step {
                pass.set_pipeline(&piece.pipeline.pipeline);
                pass.set_bind_group(0, &piece.group, &[]);
                pass.dispatch_workgroups(piece.groups[0], piece.groups[1], piece.groups[2]);
            }
        }
        encoder.resolve_query_set(&set, 0..count, &resolved, 0);
        gpu.queue.submit([encoder.finish()]);
        let stamps: Vec<u64> = bytemuck::pod_collect_to_vec(&gpu.read(&resolved, 0, size)?);
        let period = f64::from(gpu.queue.get_timestamp_period()) * 1e-9;
        let took = |(step, pair): (usize, &[u64])| match &self.steps[step] {
            Step::Clear { .. } => 0.0,
            Step::Piece(_) => pair[1].saturating_sub(pair[0]) as f64 * period,
        };
        Ok(steps.zip(stamps.chunks_exact(2)).map(took).collect())
    }
}

/// All uniform blocks in one buffer, equal ones once.
struct Uniforms {
    bytes: Vec<u8>,
    seen: HashMap<Vec<u8>, Range<u64>>,
    align: usize,
}

impl Uniforms {
    fn add(&mut self, block: &[u8]) -> Range<u64> {
        if let Some(found) = self.seen.get(block) {
            return found.clone();
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(self.align), 0);
        let start = self.bytes.len() as u64;
        self.bytes.extend_from_slice(block);
        self.bytes.resize(self.bytes.len().next_multiple_of(16).max(start as usize + 16), 0);
        let range = start..self.bytes.len() as u64;
        self.seen.insert(block.to_vec(), range.clone());
        range
    }
}

/// The axis ranges of a binding that a part of the grid touches.
fn touched(bind: &Bind, grid: &[Range<usize>; 3]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = bind.view.shape.iter().map(|&n| 0..n).collect();
    for cut in &bind.cuts {
        let extent = bind.view.shape[cut.axis];
        let part = &grid[cut.grid];
        ranges[cut.axis] = (part.start * cut.per_group).min(extent)..(part.end * cut.per_group).min(extent);
    }
    ranges
}

/// The aligned bytes of the root that a binding needs for a part of the grid.
fn window_of(align: u64, bind: &Bind, grid: &[Range<usize>; 3], start: u64) -> Range<u64> {
    let span = bind.view.span(&touched(bind, grid));
    let size = bind.view.dtype.size() as u64;
    let from = (start + span.start as u64 * size) / align * align;
    from..(start + span.end as u64 * size).next_multiple_of(4)
}

fn cut_launch(traits: &Traits, align: u64, launch: &Launch, placed: &Placed) -> Result<Vec<Cutout>> {
    let whole = launch.groups.map(|n| 0..n);
    let mut pieces = Vec::new();
    split((traits, align), launch, placed, whole, &mut pieces)?;
    Ok(pieces)
}

/// How many dispatches a launch becomes on a device of these traits whose bindings begin at multiples of `align` bytes.
pub fn pieces(traits: &Traits, align: u64, launch: &Launch, placed: &Placed) -> Result<usize> {
    Ok(cut_launch(traits, align, launch, placed)?.len())
}

/// Halves the grid along the dimension that helps until every window fits a binding and every dimension a dispatch.
fn split((traits, align): (&Traits, u64), launch: &Launch, placed: &Placed, grid: [Range<usize>; 3], out: &mut Vec<Cutout>) -> Result<()> {
    let windows: Vec<Range<u64>> = launch.binds.iter().map(|b| window_of(align, b, &grid, placed[&b.view.root].1)).collect();
    let worst = (0..windows.len()).max_by_key(|&i| windows[i].end - windows[i].start);
    let too_wide = worst.filter(|&i| windows[i].end - windows[i].start > traits.max_binding);
    let halved = match too_wide {
        Some(i) => {
            let size = |d: usize, part: Range<usize>| {
                let mut trial = grid.clone();
                trial[d] = part;
                let window = window_of(align, &launch.binds[i], &trial, placed[&launch.binds[i].view.root].1);
                window.end - window.start
            };
            let candidates = (0..3).filter(|&d| grid[d].len() > 1 && launch.binds[i].cuts.iter().any(|c| c.grid == d));
            let best = candidates.min_by_key(|&d| size(d, grid[d].start..grid[d].start + grid[d].len().div_ceil(2)));
            Some(best.ok_or_else(|| {
                Error::Memory(format!(
                    "{} {}: `{}` of {:?} needs {} bytes in one binding and the adapter allows {}",
                    launch.source.name,
                    launch.entry,
                    launch.binds[i].name,
                    launch.binds[i].view.shape,
                    windows[i].end - windows[i].start,
                    traits.max_binding
                ))
            })?)
        }
        None => (0..3).find(|&d| grid[d].len() > MAX_GROUPS),
    };
    let Some(d) = halved else {
        out.push(Cutout { grid, windows });
        return Ok(());
    };
    let middle = grid[d].start + grid[d].len().div_ceil(2);
    for part in [grid[d].start..middle, middle..grid[d].end] {
        let mut half = grid.clone();
        half[d] = part;
        split((traits, align), launch, placed, half, out)?;
    }
    Ok(())
}

/// The window block of a piece: its first workgroup, and for every declared storage the group at which its window begins, counted from
/// the view's first element and wrapping where the window begins before it.
fn window(launch: &Launch, piece: &Cutout, placed: &Placed) -> Vec<u8> {
    let mut words = vec![0u32; WINDOW_BYTES / 4];
    words.iter_mut().zip(&piece.grid).for_each(|(word, part)| *word = part.start as u32);
    let names = shader::storages(launch.source);
    for (bind, range) in launch.binds.iter().zip(&piece.windows) {
        let slot =
            names.iter().position(|n| *n == bind.name).unwrap_or_else(|| panic!("{}: no storage `{}`", launch.source.name, bind.name));
        let size = bind.view.dtype.size() as i64 * 4;
        let origin = placed[&bind.view.root].1 as i64 + bind.view.offset as i64 * bind.view.dtype.size() as i64;
        let bytes = range.start as i64 - origin;
        assert!(bytes % size == 0, "{}: window of `{}` does not begin at a group", launch.source.name, bind.name);
        words[4 + slot] = (bytes / size) as u32;
    }
    bytemuck::cast_slice(&words).to_vec()
}

/// A binding that lies on another one's memory shares its buffer variable when both are the same view.
pub fn variant_of(launch: &Launch) -> Variant {
    let types: BTreeMap<_, _> = launch.binds.iter().map(|b| (b.name, b.view.dtype)).collect();
    let mut alias = BTreeMap::new();
    for bind in launch.binds.iter().filter(|b| !b.write) {
        let same = |w: &&Bind| w.write && w.view == bind.view && w.cuts == bind.cuts;
        if let Some(writer) = launch.binds.iter().find(same) {
            alias.insert(bind.name, writer.name);
        }
    }
    Variant { name: launch.source.name, types, alias }
}

type UniformSlots<'a> = (&'a wgpu::Buffer, Range<u64>, Range<u64>);

fn bind_group(
    gpu: &Gpu,
    pipeline: &Pipeline,
    launch: &Launch,
    piece: &Cutout,
    arenas: &[wgpu::Buffer],
    placed: &Placed,
    (uniforms, block, win): UniformSlots,
) -> wgpu::BindGroup {
    let part = |buffer, range: &Range<u64>| {
        let size = std::num::NonZeroU64::new(range.end - range.start);
        wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset: range.start, size })
    };
    let mut entries = vec![wgpu::BindGroupEntry { binding: 1, resource: part(uniforms, &win) }];
    if pipeline.uniform {
        entries.push(wgpu::BindGroupEntry { binding: 0, resource: part(uniforms, &block) });
    }
    let names = shader::storages(launch.source);
    for name in &pipeline.storages {
        let found = launch.binds.iter().position(|b| b.name == name);
        let at = found.unwrap_or_else(|| panic!("{} {}: `{name}` is not bound", launch.source.name, launch.entry));
        let slot = names.iter().position(|n| n == name).expect("a reflected name is declared");
        let buffer = &arenas[placed[&launch.binds[at].view.root].0];
        entries.push(wgpu::BindGroupEntry { binding: slot as u32 + 2, resource: part(buffer, &piece.windows[at]) });
    }
    gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(launch.source.name),
        layout: &pipeline.layout,
        entries: &entries,
    })
}

impl Cache {
    fn module(&self, gpu: &Gpu, launch: &Launch, variant: &Variant) -> Arc<(wgpu::ShaderModule, Reflection)> {
        let mut modules = self.modules.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let make = || {
            let text = shader::for_naga(&shader::assemble(launch.source, variant));
            let reflection = shader::reflect(launch.source.name, &text);
            let desc = wgpu::ShaderModuleDescriptor { label: Some(launch.source.name), source: wgpu::ShaderSource::Wgsl(text.into()) };
            let module = if gpu.checked {
                gpu.device.create_shader_module(desc)
            } else {
                // SAFETY: kernels index within the windows that `cut_launch` makes; `--checked` and the op cases verify it.
                unsafe { gpu.device.create_shader_module_trusted(desc, wgpu::ShaderRuntimeChecks::unchecked()) }
            };
            Arc::new((module, reflection))
        };
        modules.entry(variant.clone()).or_insert_with(make).clone()
    }

    fn pipeline(&self, gpu: &Gpu, launch: &Launch) -> Result<Arc<Pipeline>> {
        let variant = variant_of(launch);
        let constants = launch.constants.iter().map(|(n, v)| (*n, v.to_bits())).collect();
        let key = Key { variant: variant.clone(), entry: launch.entry, constants };
        if let Some(found) = self.pipelines.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(&key) {
            return Ok(found.clone());
        }
        let module = self.module(gpu, launch, &variant);
        let entry = module.1.entries.get(launch.entry).unwrap_or_else(|| panic!("{}: no entry `{}`", launch.source.name, launch.entry));
        entry.check_uniform(launch.source.name, &launch.uniform);
        for (name, _) in &launch.constants {
            assert!(entry.overrides.iter().any(|o| o == name), "{}: no override `{name}`", launch.source.name);
        }
        let pipeline = Arc::new(build(gpu, launch, &module.0, entry));
        gpu.check()?;
        self.pipelines.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(key, pipeline.clone());
        Ok(pipeline)
    }
}

fn build(gpu: &Gpu, launch: &Launch, module: &wgpu::ShaderModule, entry: &shader::Entry) -> Pipeline {
    let names = shader::storages(launch.source);
    let layout_entry = |binding: u32, ty| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    };
    let mut entries = vec![layout_entry(1, wgpu::BufferBindingType::Uniform)];
    if entry.uniform.is_some() {
        entries.push(layout_entry(0, wgpu::BufferBindingType::Uniform));
    }
    for name in &entry.storages {
        let slot = names.iter().position(|n| n == name).expect("a reflected name is declared");
        entries.push(layout_entry(slot as u32 + 2, wgpu::BufferBindingType::Storage { read_only: false }));
    }
    let label = format!("{} {}", launch.source.name, launch.entry);
    let layout = gpu.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(&label), entries: &entries });
    let layouts = [Some(&layout)];
    let desc = wgpu::PipelineLayoutDescriptor { label: Some(&label), bind_group_layouts: &layouts, immediate_size: 0 };
    let pipeline_layout = gpu.device.create_pipeline_layout(&desc);
    let compilation_options =
        wgpu::PipelineCompilationOptions { constants: &launch.constants, zero_initialize_workgroup_memory: gpu.checked };
    let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(&label),
        layout: Some(&pipeline_layout),
        module,
        entry_point: Some(launch.entry),
        compilation_options,
        cache: None,
    });
    Pipeline { pipeline, layout, storages: entry.storages.clone(), uniform: entry.uniform.is_some() }
}

/// Bytes of a view's span within its root, for uploads and reads of contiguous views.
pub fn bytes_of(view: &View) -> Range<u64> {
    let (span, size) = (view.full_span(), view.dtype.size() as u64);
    span.start as u64 * size..span.end as u64 * size
}
