//! `anyfold bench`: [`predict`] measures passes of a prediction over length; the rest is `bench ops`: what the adapter can do at best, and how near to it every operation comes.
//!
//! [`rates`] measures copies and multiply-adds, [`cases`] names operations at AlphaFold's shapes and at small ones. Times are wall-clock
//! times of replays as training makes them. Must not know the command line.

pub mod cases;
pub mod predict;
pub mod rates;
pub mod step;

use std::ops::Range;
use std::time::Instant;

use cases::Case;
use rates::Rates;

use crate::error::Result;
use crate::gpu::Gpu;
use crate::gpu::program::Cache;
use crate::graph::run::Session;
use crate::op::Op;
use crate::ops;
use crate::tensor::{DType, HostTensor};

/// Batches of replays; the fastest counts, because other work on the machine only ever adds time.
const BATCHES: usize = 5;
/// Seconds that a batch lasts at least, unless one replay does.
const BATCH: f64 = 0.03;

/// A replay that takes longer is timed once.
const LONG: f64 = 0.5;

/// One direction of one operation at one shape.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Row {
    /// The operation and where it occurs.
    pub name: String,
    /// Extents of the inputs.
    pub shapes: Vec<Vec<usize>>,
    /// How tensors are stored.
    pub storage: String,
    /// `forward`, or `backward`: all gradients of the inputs.
    pub direction: &'static str,
    /// Seconds of one replay.
    pub seconds: f64,
    /// Seconds that processor cores spent on one replay, on a software adapter under Linux: other work on the machine hardly changes them.
    pub core_seconds: Option<f64>,
    /// Arithmetic, as the operation counts it.
    pub gflops: f64,
    /// Least traffic: every tensor read or written once.
    pub gbs: f64,
    /// `arithmetic` or `bandwidth`: which of the adapter's rates would take longer for this.
    pub bound: &'static str,
    /// The time that this rate would take, over the time taken.
    pub share: f64,
}

/// How long a replay takes.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// Seconds on the clock.
    pub seconds: f64,
    /// Seconds of processor cores, where the adapter is software and the system tells.
    pub cores: Option<f64>,
}

/// Nanoseconds that the threads of this process ran, as Linux tells; `None` elsewhere.
pub fn ran() -> Option<f64> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?.flatten();
    let of = |task: std::fs::DirEntry| -> Option<f64> {
        std::fs::read_to_string(task.path().join("schedstat")).ok()?.split(' ').next()?.parse().ok()
    };
    Some(tasks.filter_map(of).sum())
}

/// The least of a few batches of replays of `commands`.
pub fn taken(gpu: &Gpu, session: &Session, commands: Range<usize>) -> Result<Taken> {
    let batch = |replays: usize| -> Result<Taken> {
        let (start, before) = (Instant::now(), ran());
        (0..replays).try_for_each(|_| session.replay_commands(commands.clone()))?;
        gpu.wait()?;
        let seconds = start.elapsed().as_secs_f64() / replays as f64;
        let spent = |before| Some((ran()? - before) / 1e9 / replays as f64);
        Ok(Taken { seconds, cores: before.and_then(spent).filter(|_| gpu.traits.cpu) })
    };
    batch(1)?; // Drivers compile at the first dispatch.
    let once = batch(1)?;
    if once.seconds > LONG {
        return Ok(once);
    }
    let replays = ((BATCH / once.seconds.max(1e-7)) as usize).clamp(1, 1000);
    (0..BATCHES).try_fold(once, |best, _| {
        let next = batch(replays)?;
        Ok(Taken { seconds: next.seconds.min(best.seconds), cores: next.cores.zip(best.cores).map(|(a, b)| a.min(b)) })
    })
}

/// Both directions of a case.
pub fn run(gpu: &Gpu, cache: &Cache, case: &Case, storage: DType, rates: &Rates) -> Result<Vec<Row>> {
    let graph = ops::graph(storage, 1);
    let (op, x) = (case.op.clone(), &case.shapes);
    let inputs: Vec<_> = x.iter().enumerate().map(|(i, s)| graph.input(&format!("x{i}"), s, storage, op.differentiable(i))).collect();
    let y = graph.apply_all(op.clone(), &inputs)[0];
    let seed = graph.input("seed", &y.shape(), y.dtype(), false);
    graph.output("y", y);
    graph.backward(&[(y, Some(seed))]);
    let session = Session::new(gpu, cache, &graph)?;
    for (i, shape) in x.iter().enumerate() {
        session.set(&format!("x{i}"), &values(shape));
    }
    session.set("seed", &values(&y.shape()));
    session.replay()?;
    let traffic = traffic(op.as_ref(), x, &y.shape(), storage);
    let directions = ["forward", "backward"].into_iter().zip(session.halves()).zip(traffic);
    directions
        .map(|((direction, commands), bytes)| {
            let flops = session.flops(commands.clone());
            let Taken { seconds: time, cores } = taken(gpu, &session, commands)?;
            let (compute, copy) = (flops / rates.fma, bytes / rates.copy);
            let bound = if compute > copy { "arithmetic" } else { "bandwidth" };
            let (gflops, gbs, share) = (flops / time / 1e9, bytes / time / 1e9, compute.max(copy) / time);
            let (name, storage) = (case.name.to_string(), storage.to_string());
            Ok(Row { name, shapes: x.clone(), storage, direction, seconds: time, core_seconds: cores, gflops, gbs, bound, share })
        })
        .collect()
}

/// Bytes that each direction must move at least.
fn traffic(op: &dyn Op, x: &[Vec<usize>], y: &[usize], storage: DType) -> [f64; 2] {
    let bytes = |shape: &[usize]| (shape.iter().product::<usize>() * storage.size()) as f64;
    let some = |bits: u32| x.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, s)| bytes(s)).sum::<f64>();
    let needs = op.needs();
    let gradients: f64 = x.iter().enumerate().filter(|(i, _)| op.differentiable(*i)).map(|(_, s)| bytes(s)).sum();
    let all: f64 = x.iter().map(|s| bytes(s)).sum();
    [all + bytes(y), some(needs.x) + f64::from(needs.y & 1) * bytes(y) + bytes(y) + gradients]
}

/// Ordinary values in [-0.5, 0.5): what they are does not matter, only that none is denormal or repeated.
fn values(shape: &[usize]) -> HostTensor {
    let value = |i: usize| ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32 - 0.5;
    HostTensor::f32(shape, (0..shape.iter().product()).map(value).collect())
}

/// The heading of the table.
pub fn head() -> String {
    format!(
        "{:<34} {:<9} {:<9} {:>11} {:>9} {:>8}  share of              a core",
        "operation", "storage", "direction", "time", "GFLOP/s", "GB/s"
    )
}

impl Row {
    /// The row of the table.
    pub fn line(&self) -> String {
        let ms = self.seconds * 1e3;
        let Row { name, storage, direction, gflops, gbs, bound, .. } = self;
        let share = self.share * 100.0;
        // On a software adapter: the same rates for a second of one core.
        let a_core = |cores: f64| format!("{:>7.1} GFLOP/s {:>6.2} GB/s", gflops * self.seconds / cores, gbs * self.seconds / cores);
        let cores = self.core_seconds.map(a_core).unwrap_or_default();
        format!("{name:<34} {storage:<9} {direction:<9} {ms:>8.3} ms {gflops:>9.1} {gbs:>8.2}  {share:>3.0} % {bound:<10} {cores}")
    }
}
