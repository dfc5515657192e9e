//! Times of commands: from the adapter's own clock where it can be read between dispatches, from this machine's where it cannot.
//!
//! Must not know graphs or operations.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use crate::error::Result;
use crate::gpu::Gpu;
use crate::gpu::program::{Program, Step};

/// Whose clock was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// The adapter's, by timestamp queries between dispatches.
    Adapter,
    /// This machine's, each command submitted and waited for by itself: a submit's own time is in each.
    Host,
}

/// Most queries of a set.
const QUERIES: u32 = 4096;

impl Program {
    /// Runs the commands in `range` once; gives the seconds of each by its index.
    pub fn run_timed(&self, gpu: &Gpu, arenas: &[wgpu::Buffer], range: Range<usize>) -> Result<(Clock, BTreeMap<usize, f64>)> {
        let needed = wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES;
        if gpu.device.features().contains(needed) {
            return Ok((Clock::Adapter, self.by_queries(gpu, arenas, range)?));
        }
        let mut seconds = BTreeMap::new();
        for at in range {
            let start = Instant::now();
            self.run(gpu, arenas, at..at + 1)?;
            gpu.wait()?;
            seconds.insert(at, start.elapsed().as_secs_f64());
        }
        Ok((Clock::Host, seconds))
    }

    /// One pass and one submit for as many dispatches as a query set holds; a clear ends the pass before.
    fn by_queries(&self, gpu: &Gpu, arenas: &[wgpu::Buffer], range: Range<usize>) -> Result<BTreeMap<usize, f64>> {
        let kind = wgpu::QueryType::Timestamp;
        let set = gpu.device.create_query_set(&wgpu::QuerySetDescriptor { label: Some("times"), ty: kind, count: QUERIES });
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let size = u64::from(QUERIES) * 8;
        let resolved = gpu.device.create_buffer(&wgpu::BufferDescriptor { label: Some("times"), size, usage, mapped_at_creation: false });
        let period = f64::from(gpu.queue.get_timestamp_period()) * 1e-9;
        let mut seconds = BTreeMap::new();
        let mut next = self.commands.partition_point(|&c| c < range.start);
        let end = self.commands.partition_point(|&c| c < range.end);
        while next < end {
            let mut encoder = gpu.device.create_command_encoder(&Default::default());
            let mut timed = Vec::new();
            while let Some(Step::Clear { arena, offset, bytes }) = self.steps.get(next).filter(|_| next < end) {
                encoder.clear_buffer(&arenas[*arena], *offset, Some(*bytes));
                next += 1;
            }
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.write_timestamp(&set, 0);
            while let Some(Step::Piece(piece)) = self.steps.get(next).filter(|_| next < end && timed.len() as u32 + 1 < QUERIES) {
                pass.set_pipeline(&piece.pipeline.pipeline);
                pass.set_bind_group(0, &piece.group, &[]);
                pass.dispatch_workgroups(piece.groups[0], piece.groups[1], piece.groups[2]);
                timed.push(self.commands[next]);
                pass.write_timestamp(&set, timed.len() as u32);
                next += 1;
            }
            drop(pass);
            encoder.resolve_query_set(&set, 0..timed.len() as u32 + 1, &resolved, 0);
            gpu.queue.submit([encoder.finish()]);
            let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&gpu.read(&resolved, 0, (timed.len() as u64 + 1) * 8)?);
            for (command, pair) in timed.iter().zip(ticks.windows(2)) {
                *seconds.entry(*command).or_insert(0.0) += pair[1].saturating_sub(pair[0]) as f64 * period;
            }
        }
        Ok(seconds)
    }
}
