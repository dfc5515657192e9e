//! The memory plan: when each piece of memory lives, where it lies, and the exact peak before anything runs.
//!
//! Knows commands and roots; must not know operations or wgpu.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::gpu::Root;
use crate::gpu::recorder::{Command, Recorded, Traits};
use crate::graph::RootInfo;

/// Where a root lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Place {
    /// Index of the arena.
    pub arena: usize,
    /// First byte.
    pub offset: u64,
    /// Size, a multiple of the alignment.
    pub bytes: u64,
}

/// A root's life in command indices, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// Which root.
    pub root: Root,
    /// Its size in bytes.
    pub bytes: u64,
    /// First and last command that touches it.
    pub from: usize,
    /// Last command that touches it.
    pub to: usize,
}

/// The plan of one graph.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Places of all roots that any command touches, and of all persistent ones.
    pub places: BTreeMap<Root, Place>,
    /// Bytes of each arena.
    pub arenas: Vec<u64>,
    /// Sum of all arenas.
    pub peak_bytes: u64,
    /// The largest sum of live roots at one command.
    pub live_bytes: u64,
    /// Sum of persistent roots.
    pub persistent_bytes: u64,
}

/// The lives of all roots: persistent ones live throughout.
pub fn lives(commands: &[Recorded], roots: &[RootInfo]) -> Vec<Life> {
    let mut span: BTreeMap<Root, (usize, usize)> = BTreeMap::new();
    for (index, recorded) in commands.iter().enumerate() {
        let mut touch = |root: Root| {
            let entry = span.entry(root).or_insert((index, index));
            entry.1 = index;
        };
        match &recorded.command {
            Command::Launch(launch) => launch.binds.iter().for_each(|b| touch(b.view.root)),
            Command::Clear(view) => touch(view.root),
        }
    }
    let life = |(index, info): (usize, &RootInfo)| {
        let root = Root(index as u32);
        if info.persistent {
            return Some(Life { root, bytes: info.bytes, from: 0, to: usize::MAX });
        }
        span.get(&root).map(|&(from, to)| Life { root, bytes: info.bytes, from, to })
    };
    roots.iter().enumerate().filter_map(life).filter(|l| l.bytes > 0).collect()
}

/// Places every life: large ones first, each into the lowest gap of the fullest arena that holds it.
pub fn place(lives: &[Life], align: u64, max_arena: u64) -> Result<Plan> {
    let mut order: Vec<Life> = lives.iter().map(|l| Life { bytes: l.bytes.next_multiple_of(align), ..*l }).collect();
    order.sort_by_key(|l| (std::cmp::Reverse(l.bytes), l.from, l.root));
    let mut arenas: Vec<Vec<(Life, u64)>> = Vec::new();
    let mut plan = Plan::default();
    for life in order {
        if life.bytes > max_arena {
            return Err(Error::Memory(format!(
                "one tensor needs {} bytes and a buffer holds {max_arena}; a smaller crop, fewer sequences or bf16 storage would make it fit",
                life.bytes
            )));
        }
        let found = arenas.iter().enumerate().find_map(|(a, placed)| gap(placed, &life, max_arena).map(|offset| (a, offset)));
        let (arena, offset) = found.unwrap_or_else(|| {
            arenas.push(Vec::new());
            (arenas.len() - 1, 0)
        });
        arenas[arena].push((life, offset));
        plan.places.insert(life.root, Place { arena, offset, bytes: life.bytes });
    }
    plan.arenas = arenas.iter().map(|placed| placed.iter().map(|(l, o)| o + l.bytes).max().unwrap_or(0)).collect();
    plan.peak_bytes = plan.arenas.iter().sum();
    plan.live_bytes = live_peak(lives);
    plan.persistent_bytes = lives.iter().filter(|l| l.to == usize::MAX).map(|l| l.bytes).sum();
    Ok(plan)
}

/// The lowest offset at which `life` overlaps nothing that lives at the same time.
fn gap(placed: &[(Life, u64)], life: &Life, max_arena: u64) -> Option<u64> {
    let mut busy: Vec<(u64, u64)> =
        placed.iter().filter(|(l, _)| l.from <= life.to && life.from <= l.to).map(|(l, o)| (*o, o + l.bytes)).collect();
    busy.sort_unstable();
    let mut best: Option<(u64, u64)> = None;
    let mut end = 0;
    for (from, to) in busy {
        if from >= end + life.bytes && best.is_none_or(|(size, _)| from - end < size) {
            best = Some((from - end, end));
        }
        end = end.max(to);
    }
    best.map(|(_, offset)| offset).or_else(|| (end + life.bytes <= max_arena).then_some(end))
}

fn live_peak(lives: &[Life]) -> u64 {
    let mut events: Vec<(usize, i128)> = Vec::new();
    for life in lives {
        events.push((life.from, i128::from(life.bytes)));
        if life.to != usize::MAX {
            events.push((life.to + 1, -i128::from(life.bytes)));
        }
    }
    events.sort_unstable();
    let (mut now, mut most) = (0i128, 0i128);
    let mut index = 0;
    while index < events.len() {
        let at = events[index].0;
        while index < events.len() && events[index].0 == at {
            now += events[index].1;
            index += 1;
        }
        most = most.max(now);
    }
    most as u64
}

/// Refuses a plan that the adapter's memory cannot hold.
pub fn check_fit(plan: &Plan, traits: &Traits, memory: Option<u64>) -> Result<()> {
    match memory {
        Some(have) if plan.peak_bytes > have => Err(Error::Memory(format!(
            "this needs {} bytes and {have} are there (buffers of at most {}); a smaller crop, fewer sequences, recompute or bf16 storage would make it fit",
            plan.peak_bytes, traits.max_buffer
        ))),
        _ => Ok(()),
    }
}
