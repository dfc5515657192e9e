//! How long each operation takes, with its arithmetic and its traffic.
//!
//! Must not know any operation.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::gpu::recorder::Command;
use crate::gpu::timing::Clock;
use crate::graph::budget;
use crate::graph::run::Session;

/// All dispatches of one kernel for one operation and direction.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Timed {
    /// The operation; with ` backward` in the reverse sweep.
    pub op: String,
    /// The kernel's file and entry point.
    pub kernel: String,
    /// Commands, before they are cut to what a binding holds.
    pub commands: usize,
    /// Seconds, all of them together.
    pub seconds: f64,
    /// Floating-point operations, as the operation counts them.
    pub flops: f64,
    /// Bytes of all operands, each counted once a command.
    pub bytes: f64,
}

impl Session<'_> {
    /// Runs everything twice, the first time for drivers to compile, and gives the second run's times by operation and kernel, the longest
    /// first. Clears are counted with the dispatch that follows them.
    pub fn times(&self) -> Result<(Clock, Vec<Timed>)> {
        self.replay()?;
        self.gpu.wait()?;
        let (clock, seconds) = self.program.run_timed(self.gpu, &self.arenas, 0..self.lowered.commands.len())?;
        let mut all: BTreeMap<(String, String), Timed> = BTreeMap::new();
        for (at, recorded) in self.lowered.commands.iter().enumerate() {
            let Command::Launch(launch) = &recorded.command else { continue };
            let label = &self.lowered.labels[recorded.node];
            let op = label.rsplit('/').next().unwrap_or(label).to_owned();
            let kernel = format!("{} {}", launch.source.name, launch.entry);
            let blank = || Timed { op: op.clone(), kernel: kernel.clone(), commands: 0, seconds: 0.0, flops: 0.0, bytes: 0.0 };
            let row = all.entry((op.clone(), kernel.clone())).or_insert_with(blank);
            row.commands += 1;
            row.seconds += seconds.get(&at).copied().unwrap_or_default();
            row.flops += launch.flops;
            row.bytes += budget::bytes(launch);
        }
        let mut all: Vec<Timed> = all.into_values().collect();
        all.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        Ok((clock, all))
    }
}

/// The heading of the table.
pub fn head() -> String {
    format!("{:<34} {:<46} {:>8} {:>11} {:>6} {:>9} {:>8}", "operation", "kernel", "commands", "time", "share", "GFLOP/s", "GB/s")
}

impl Timed {
    /// The row of the table, of a whole of so many seconds.
    pub fn line(&self, whole: f64) -> String {
        let (ms, share) = (self.seconds * 1e3, 100.0 * self.seconds / whole.max(1e-12));
        let rate = |n: f64| n / self.seconds.max(1e-12) / 1e9;
        let Self { op, kernel, commands, .. } = self;
        format!("{op:<34} {kernel:<46} {commands:>8} {ms:>8.3} ms {share:>4.1} % {:>9.2} {:>8.2}", rate(self.flops), rate(self.bytes))
    }
}
