//! Adapters and the device: choosing one, asking for its real limits, and turning its failures into errors that say what to do.
//!
//! Must not know what runs on it.

use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};
use crate::gpu::recorder::{Family, Traits};

/// How the user chose.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// A part of the adapter's name, or its index in `anyfold devices`; `None` takes `ANYFOLD_ADAPTER` or the best.
    pub adapter: Option<String>,
    /// Among adapters as good as the best, which one, counted round: the place of a process among those of its machine.
    pub turn: usize,
    /// Full run-time checks in shaders.
    pub checked: bool,
    /// A lower limit on the bytes of a storage binding than the adapter has, for tests.
    pub max_binding: Option<u64>,
    /// A lower limit on the bytes of a buffer than the adapter has, for tests.
    pub max_buffer: Option<u64>,
    /// A family of kernels in place of the one that suits the adapter.
    pub family: Option<Family>,
}

/// An adapter as `anyfold devices` shows it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Listed {
    /// Position in the list, usable as `--adapter INDEX`.
    pub index: usize,
    /// The adapter's name.
    pub name: String,
    /// Discrete, integrated, virtual, software.
    pub kind: String,
    /// Vulkan, Metal or DX12.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
    /// Largest storage binding in bytes.
    pub max_binding: u64,
    /// Largest buffer in bytes.
    pub max_buffer: u64,
    /// Workgroup memory in bytes.
    pub workgroup_memory: u32,
    /// Smallest and largest subgroup.
    pub subgroup: [u32; 2],
    /// Features that anyfold uses when they are there.
    pub features: Vec<String>,
    /// Whether it would be chosen.
    pub chosen: bool,
}

/// An open device.
#[derive(Debug)]
pub struct Gpu {
    /// The device.
    pub device: wgpu::Device,
    /// Its queue.
    pub queue: wgpu::Queue,
    /// What the driver says of itself.
    pub info: wgpu::AdapterInfo,
    /// What chooses kernel variants.
    pub traits: Traits,
    /// Full run-time checks in shaders.
    pub checked: bool,
    /// Alignment of storage and uniform offsets in bytes.
    pub align: u64,
    /// Bytes of the adapter's own memory, where the driver tells.
    pub memory: Option<u64>,
    /// Adapters as good as this one that the choice was among, itself counted.
    pub alike: usize,
    lost: Arc<Mutex<Option<String>>>,
}

/// Bytes that are read back through one buffer, unless one part alone is larger.
const STAGED: u64 = 256 << 20;

/// The optional features that make anyfold faster or better informed.
const WANTED: &[(wgpu::Features, &str)] = &[
    (wgpu::Features::SUBGROUP, "subgroups"),
    (wgpu::Features::SHADER_F16, "f16"),
    (wgpu::Features::TIMESTAMP_QUERY, "timestamps"),
    (wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES, "timestamps in passes"),
    (wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX, "cooperative matrices"),
];

fn instance() -> wgpu::Instance {
    let mut desc = wgpu::InstanceDescriptor::new_without_display_handle();
    desc.backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    desc.flags = if cfg!(debug_assertions) && std::env::var_os("ANYFOLD_VALIDATION").is_some() {
        wgpu::InstanceFlags::debugging()
    } else {
        wgpu::InstanceFlags::empty()
    };
    wgpu::Instance::new(desc)
}

/// Hardware before software; among hardware, discrete before integrated before virtual.
fn rank(kind: wgpu::DeviceType) -> u32 {
    match kind {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    }
}

fn wish(choice: &Choice) -> Option<String> {
    choice.adapter.clone().or_else(|| std::env::var("ANYFOLD_ADAPTER").ok()).filter(|w| !w.is_empty())
}

/// The adapters as good as the best. One device may be listed by several backends: those of the first one's count.
fn alike(infos: &[wgpu::AdapterInfo]) -> Vec<usize> {
    let Some(best) = infos.iter().min_by_key(|a| rank(a.device_type)) else { return Vec::new() };
    (0..infos.len()).filter(|&i| infos[i].device_type == best.device_type && infos[i].backend == best.backend).collect()
}

/// The index that the choice means among these adapters.
fn pick(infos: &[wgpu::AdapterInfo], choice: &Choice) -> Result<usize> {
    let all = || infos.iter().enumerate().map(|(i, a)| format!("{i}: {}", a.name)).collect::<Vec<_>>().join(", ");
    if infos.is_empty() {
        return Err(Error::Device(
            "no Vulkan, Metal or DX12 adapter found; install the GPU's driver, or a software one (Debian, Ubuntu: mesa-vulkan-drivers)"
                .into(),
        ));
    }
    let Some(wish) = wish(choice) else {
        let best = alike(infos);
        return Ok(best[choice.turn % best.len()]);
    };
    let found = match wish.parse::<usize>() {
        Ok(index) => (index < infos.len()).then_some(index),
        Err(_) => (0..infos.len()).find(|&i| infos[i].name.to_lowercase().contains(&wish.to_lowercase())),
    };
    found.ok_or_else(|| Error::Device(format!("no adapter `{wish}`; there are {}", all())))
}

/// Every adapter of this machine.
pub fn list(choice: &Choice) -> Result<Vec<Listed>> {
    let adapters = pollster::block_on(instance().enumerate_adapters(wgpu::Backends::all()));
    let infos: Vec<_> = adapters.iter().map(wgpu::Adapter::get_info).collect();
    let chosen = pick(&infos, choice)?;
    let describe = |(index, adapter): (usize, &wgpu::Adapter)| {
        let (info, limits, features) = (&infos[index], adapter.limits(), adapter.features());
        Listed {
            index,
            name: info.name.clone(),
            kind: if info.device_type == wgpu::DeviceType::Cpu { "software".into() } else { format!("{:?}", info.device_type) },
            backend: info.backend.to_string(),
            driver: format!("{} {}", info.driver, info.driver_info),
            max_binding: limits.max_storage_buffer_binding_size,
            max_buffer: limits.max_buffer_size,
            workgroup_memory: limits.max_compute_workgroup_storage_size,
            subgroup: [info.subgroup_min_size, info.subgroup_max_size],
            features: WANTED.iter().filter(|(f, _)| features.contains(*f)).map(|(_, n)| n.to_string()).collect(),
            chosen: chosen == index,
        }
    };
    Ok(adapters.iter().enumerate().map(describe).collect())
}

/// An adapter as plans see it, without a device.
#[derive(Debug, Clone)]
pub struct Found {
    /// The adapter's name.
    pub name: String,
    /// What chooses kernel variants.
    pub traits: Traits,
    /// Alignment of storage and uniform offsets in bytes.
    pub align: u64,
    /// Bytes of its own memory, where the driver tells.
    pub memory: Option<u64>,
}

/// What is assumed where there is no adapter: a discrete GPU with drivers of today.
pub fn common() -> Found {
    let (max_binding, max_buffer) = ((2 << 30) - 4, 4 << 30);
    let traits = Traits { cpu: false, subgroup: 32, family: Family::Tiled, cooperative: 0, max_binding, max_buffer, workspace: 64 << 20 };
    Found { name: "a common GPU".into(), traits, align: 256, memory: None }
}

/// The chosen adapter, which is not opened.
pub fn find(choice: &Choice) -> Result<Found> {
    let adapters = pollster::block_on(instance().enumerate_adapters(wgpu::Backends::all()));
    let infos: Vec<_> = adapters.iter().map(wgpu::Adapter::get_info).collect();
    let index = pick(&infos, choice)?;
    let (traits, align) = traits_of(&adapters[index], &infos[index], choice)?;
    Ok(Found { name: infos[index].name.clone(), traits, align, memory: memory_of(&adapters[index]) })
}

/// The sum of the heaps that are the device's own. Only Vulkan is asked.
#[cfg(not(any(target_vendor = "apple", target_arch = "wasm32")))]
fn memory_of(adapter: &wgpu::Adapter) -> Option<u64> {
    // SAFETY: the physical device lives as long as its adapter, and asking for its memory's properties changes nothing.
    let memory = unsafe {
        let vulkan = adapter.as_hal::<wgpu::hal::api::Vulkan>()?;
        vulkan.shared_instance().raw_instance().get_physical_device_memory_properties(vulkan.raw_physical_device())
    };
    let heaps = memory.memory_heaps.iter().take(memory.memory_heap_count as usize);
    // Bit 0 of a heap's flags: VK_MEMORY_HEAP_DEVICE_LOCAL_BIT.
    Some(heaps.filter(|h| h.flags.as_raw() & 1 == 1).map(|h| h.size).sum())
}

/// Metal and browsers are not asked.
#[cfg(any(target_vendor = "apple", target_arch = "wasm32"))]
fn memory_of(_: &wgpu::Adapter) -> Option<u64> {
    None
}

/// What chooses kernel variants, and the alignment of offsets.
fn traits_of(adapter: &wgpu::Adapter, info: &wgpu::AdapterInfo, choice: &Choice) -> Result<(Traits, u64)> {
    let (limits, features) = (adapter.limits(), adapter.features());
    let cpu = info.device_type == wgpu::DeviceType::Cpu;
    let max_buffer = limits.max_buffer_size.min(choice.max_buffer.unwrap_or(u64::MAX));
    let max_binding = limits.max_storage_buffer_binding_size.min(choice.max_binding.unwrap_or(u64::MAX)).min(max_buffer);
    let align = u64::from(limits.min_storage_buffer_offset_alignment.max(limits.min_uniform_buffer_offset_alignment)).max(256);
    let subgroup = if features.contains(wgpu::Features::SUBGROUP) { info.subgroup_min_size } else { 0 };
    let suits = if cpu && subgroup >= 8 { Family::Subgroup } else { Family::Tiled };
    let family = choice.family.unwrap_or(suits);
    if family == Family::Subgroup && subgroup < 8 {
        return Err(Error::Device(format!(
            "{} has no subgroups of eight lanes, which the family `subgroup` needs; try `tiled`",
            info.name
        )));
    }
    let cooperative = cooperative(adapter, info);
    if family == Family::Cooperative && cooperative == 0 {
        return Err(Error::Device(format!(
            "{} has no cooperative matrices of half precision with sums in single precision, which the family `cooperative` needs; try `tiled`",
            info.name
        )));
    }
    Ok((Traits { cpu, subgroup, family, cooperative, max_binding, max_buffer, workspace: 64 << 20 }, align))
}

/// The edge of the square cooperative matrices that kernels are written for, larger ones first. Kernels share work out by whole subgroups,
/// whose size must therefore be known.
fn cooperative(adapter: &wgpu::Adapter, info: &wgpu::AdapterInfo) -> u32 {
    use wgpu::{CooperativeScalarType as S, Features as F};
    let all = F::SUBGROUP | F::SHADER_F16 | F::EXPERIMENTAL_COOPERATIVE_MATRIX;
    let sized = info.subgroup_min_size == info.subgroup_max_size && (4..=64).contains(&info.subgroup_min_size);
    if !adapter.features().contains(all) || !sized {
        return 0;
    }
    let square = |edge: u32| move |p: &wgpu::CooperativeMatrixProperties| [p.m_size, p.n_size, p.k_size] == [edge; 3];
    let has =
        |edge| adapter.cooperative_matrix_properties().iter().filter(|p| p.ab_type == S::F16 && p.cr_type == S::F32).any(square(edge));
    [16, 8].into_iter().find(|edge| has(*edge)).unwrap_or(0)
}

impl Gpu {
    /// Opens the chosen adapter with its real limits.
    pub fn open(choice: &Choice) -> Result<Self> {
        let adapters = pollster::block_on(instance().enumerate_adapters(wgpu::Backends::all()));
        let infos: Vec<_> = adapters.iter().map(wgpu::Adapter::get_info).collect();
        let index = pick(&infos, choice)?;
        let (adapter, info) = (&adapters[index], infos[index].clone());
        let wanted = WANTED.iter().fold(wgpu::Features::empty(), |all, (f, _)| all | *f);
        let features = adapter.features() & wanted;
        let limits = adapter.limits();
        let mut descriptor = wgpu::DeviceDescriptor { label: Some("anyfold"), required_features: features, ..Default::default() };
        descriptor.required_limits = limits.clone();
        descriptor.memory_hints = wgpu::MemoryHints::MemoryUsage;
        if features.intersects(wgpu::Features::all_experimental_mask()) {
            // SAFETY: cooperative matrices are the only experimental feature asked for; kernels that use them are checked by `verify`.
            descriptor.experimental_features = unsafe { wgpu::ExperimentalFeatures::enabled() };
        }
        let opened = pollster::block_on(adapter.request_device(&descriptor));
        let (device, queue) = opened.map_err(|e| Error::Device(format!("{} cannot be opened: {e}; try another --adapter", info.name)))?;
        let lost = Arc::new(Mutex::new(None));
        let (on_lost, on_error) = (lost.clone(), lost.clone());
        device.set_device_lost_callback(move |reason, what| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                note(&on_lost, format!("the device was lost: {what}"));
            }
        });
        device.on_uncaptured_error(Arc::new(move |error| note(&on_error, error.to_string())));
        let (traits, align) = traits_of(adapter, &info, choice)?;
        let alike = if wish(choice).is_none() { alike(&infos).len() } else { 1 };
        Ok(Self { device, queue, info, traits, checked: choice.checked, align, memory: memory_of(adapter), alike, lost })
    }

    /// The first failure that the device reported, as an error.
    pub fn check(&self) -> Result<()> {
        let failure = self.lost.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        match failure {
            None => Ok(()),
            Some(what) if what.to_lowercase().contains("memory") => {
                Err(Error::Memory(format!("{}: {what}; try a smaller crop, fewer sequences or bf16 storage", self.info.name)))
            }
            Some(what) => {
                Err(Error::Device(format!("{}: {what}; `anyfold verify` tells whether the driver computes correctly", self.info.name)))
            }
        }
    }

    /// Bytes that the allocator holds on the device, where it tells.
    pub fn allocated(&self) -> Option<u64> {
        self.device.generate_allocator_report().map(|report| report.total_reserved_bytes)
    }

    /// Waits for all submitted work.
    pub fn wait(&self) -> Result<()> {
        let done = self.device.poll(wgpu::PollType::wait_indefinitely());
        self.check()?;
        done.map(|_| ()).map_err(|e| Error::Device(format!("{}: waiting for the device failed: {e}", self.info.name)))
    }

    /// A zeroed buffer for storage, copies and, when `uniform`, uniform bindings.
    pub fn buffer(&self, label: &str, bytes: u64, uniform: bool) -> Result<wgpu::Buffer> {
        use wgpu::BufferUsages as U;
        let usage = U::STORAGE | U::COPY_SRC | U::COPY_DST | if uniform { U::UNIFORM } else { U::empty() };
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let size = bytes.next_multiple_of(self.align).max(self.align);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false });
        match pollster::block_on(scope.pop()) {
            None => Ok(buffer),
            Some(_) => Err(Error::Memory(format!(
                "{} has no room for {size} bytes ({label}); free its memory, or try a smaller crop, fewer sequences or bf16 storage",
                self.info.name
            ))),
        }
    }

    /// Fills parts of buffers with zeros: first byte and length of each, multiples of four. Does not wait.
    pub fn clear(&self, parts: &[(&wgpu::Buffer, u64, u64)]) {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        parts.iter().for_each(|&(buffer, offset, bytes)| encoder.clear_buffer(buffer, offset, Some(bytes)));
        self.queue.submit([encoder.finish()]);
    }

    /// Reads bytes back; waits for the device.
    pub fn read(&self, buffer: &wgpu::Buffer, offset: u64, bytes: u64) -> Result<Vec<u8>> {
        Ok(self.read_all(&[(buffer, offset, bytes)])?.remove(0))
    }

    /// Reads parts of buffers back, first byte and length of each, multiples of four; waits once for all of them, unless
    /// they are many megabytes together.
    pub fn read_all(&self, parts: &[(&wgpu::Buffer, u64, u64)]) -> Result<Vec<Vec<u8>>> {
        let size: u64 = parts.iter().map(|p| p.2).sum();
        if size > STAGED && parts.len() > 1 {
            let (first, rest) = parts.split_at(parts.len() / 2);
            return Ok([self.read_all(first)?, self.read_all(rest)?].concat());
        }
        if size == 0 {
            return Ok(vec![Vec::new(); parts.len()]);
        }
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging =
            self.device.create_buffer(&wgpu::BufferDescriptor { label: Some("read back"), size, usage, mapped_at_creation: false });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut at = 0;
        for &(buffer, offset, bytes) in parts.iter().filter(|p| p.2 > 0) {
            encoder.copy_buffer_to_buffer(buffer, offset, &staging, at, bytes);
            at += bytes;
        }
        self.queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |_| {});
        self.wait()?;
        let failed = |e: &dyn std::fmt::Display| Error::Device(format!("{}: reading back failed: {e}", self.info.name));
        let view = staging.get_mapped_range(..).map_err(|e| failed(&e))?;
        let ends = parts.iter().scan(0, |end, p| {
            *end += p.2 as usize;
            Some((*end, p.2 as usize))
        });
        Ok(ends.map(|(end, bytes)| view[end - bytes..end].to_vec()).collect())
    }
}

fn note(slot: &Mutex<Option<String>>, what: String) {
    slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(what);
}
