//! What command lists will take, told before anything runs: memory by kind at the fullest moment, and work by list and scope.
//!
//! Must not know operations, nor a device.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::gpu::Root;
use crate::gpu::program::{Placed, pieces};
use crate::gpu::recorder::{Bind, Command, Launch, Recorded, Traits};
use crate::graph::RootInfo;
use crate::graph::lists::Lists;
use crate::graph::plan::{self, Life};

/// Work of a list, or of a part of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Work {
    /// Floating-point operations, as the operations count them.
    pub flops: f64,
    /// Bytes of all operands, each counted once a dispatch.
    pub bytes: f64,
    /// Dispatches and clears, after cutting to what a binding holds.
    pub dispatches: f64,
}

impl Work {
    /// Adds `times` times another.
    pub fn add(&mut self, other: &Work, times: f64) {
        self.flops += times * other.flops;
        self.bytes += times * other.bytes;
        self.dispatches += times * other.dispatches;
    }
}

/// Tensors of one name at the fullest moment.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Share {
    /// Their scope and operation.
    pub name: String,
    /// How many there are.
    pub count: usize,
    /// Their bytes together.
    pub bytes: u64,
}

/// The memory and the work of command lists.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Budget {
    /// All memory that a session takes.
    pub peak_bytes: u64,
    /// The largest sum of tensors that live at one moment; the rest of the peak is gaps between them.
    pub live_bytes: u64,
    /// Bytes of each buffer.
    pub buffers: Vec<u64>,
    /// The step at the fullest moment.
    pub fullest: String,
    /// What lives then, by kind.
    pub kinds: BTreeMap<String, u64>,
    /// The tensors that take most then.
    pub largest: Vec<Share>,
    /// Work of each list.
    pub lists: BTreeMap<String, Work>,
    /// The same by the first part of the scope.
    pub scopes: BTreeMap<String, BTreeMap<String, Work>>,
    /// The same by operation, direction and entry point.
    pub kernels: BTreeMap<String, BTreeMap<String, Work>>,
}

/// Plans lists for a device of these traits whose bindings begin at multiples of `align` bytes.
pub fn budget(lists: &Lists, traits: &Traits, align: u64) -> Result<Budget> {
    let lives = plan::lives(&lists.lowered.commands, &lists.lowered.roots);
    let plan = plan::place(&lives, align, traits.max_buffer)?;
    let placed: Placed = plan.places.iter().map(|(root, p)| (*root, (p.arena, p.offset))).collect();
    let at = fullest(&lives);
    let alive: Vec<&Life> = lives.iter().filter(|l| l.from <= at && at <= l.to).collect();
    let mut kinds = BTreeMap::new();
    for life in &alive {
        *kinds.entry(kind(lists, life)).or_insert(0) += life.bytes;
    }
    let mut budget = Budget {
        peak_bytes: plan.peak_bytes,
        live_bytes: plan.live_bytes,
        buffers: plan.arenas,
        fullest: lists.lowered.commands.get(at).map(|c| lists.lowered.labels[c.node].clone()).unwrap_or_default(),
        kinds,
        largest: largest(&alive, &lists.lowered.roots),
        lists: BTreeMap::new(),
        scopes: BTreeMap::new(),
        kernels: BTreeMap::new(),
    };
    budget.kinds.insert("gaps between tensors".into(), plan.peak_bytes.saturating_sub(plan.live_bytes));
    for list in &lists.lists {
        let mut all = Work::default();
        let [mut scopes, mut kernels] = [const { BTreeMap::<String, Work>::new() }; 2];
        for recorded in &lists.lowered.commands[list.commands.clone()] {
            let work = work(recorded, traits, align, &placed)?;
            all.add(&work, 1.0);
            let label = &lists.lowered.labels[recorded.node];
            scopes.entry(scope(label)).or_default().add(&work, 1.0);
            kernels.entry(kernel(label, &recorded.command)).or_default().add(&work, 1.0);
        }
        budget.lists.insert(list.name.clone(), all);
        budget.scopes.insert(list.name.clone(), scopes);
        budget.kernels.insert(list.name.clone(), kernels);
    }
    Ok(budget)
}

/// The first part of a step's scope, with the direction.
fn scope(label: &str) -> String {
    let first = label.split(['/', ' ']).next().unwrap_or_default();
    let first = if first.is_empty() || !label.contains('/') { "others" } else { first };
    let sweep = label.ends_with(" backward") || label.ends_with(" accumulate");
    if sweep { format!("{first} backward") } else { first.to_owned() }
}

/// A step's operation and direction, and the kernel that does this part of it.
fn kernel(label: &str, command: &Command) -> String {
    let op = label.rsplit('/').next().unwrap_or_default();
    match command {
        Command::Launch(launch) => format!("{op}: {} {}", launch.source.name, launch.entry),
        Command::Clear(_) => format!("{op}: clear"),
    }
}

/// The work of a command.
pub(super) fn work(recorded: &Recorded, traits: &Traits, align: u64, placed: &Placed) -> Result<Work> {
    Ok(match &recorded.command {
        Command::Clear(view) => Work { flops: 0.0, bytes: (view.len() * view.dtype.size()) as f64, dispatches: 1.0 },
        Command::Launch(launch) => {
            Work { flops: launch.flops, bytes: bytes(launch), dispatches: pieces(traits, align, launch, placed)? as f64 }
        }
    })
}

/// Bytes of all operands, each counted once, even where it stands in for another that is not there; repeated rows are read from the same
/// memory.
pub(crate) fn bytes(launch: &Launch) -> f64 {
    let same = |a: &Bind, b: &Bind| (&a.view, a.write) == (&b.view, b.write);
    let once = launch.binds.iter().enumerate().filter(|(i, bind)| !launch.binds[..*i].iter().any(|before| same(before, bind)));
    once.map(|(_, b)| (b.view.len().min(b.view.full_span().len()) * b.view.dtype.size()) as f64).sum()
}

/// The command at which most bytes live.
pub(crate) fn fullest(lives: &[Life]) -> usize {
    let mut change: BTreeMap<usize, i128> = BTreeMap::new();
    for life in lives {
        *change.entry(life.from).or_default() += i128::from(life.bytes);
        if life.to != usize::MAX {
            *change.entry(life.to + 1).or_default() -= i128::from(life.bytes);
        }
    }
    let (mut now, mut best) = (0, (i128::MIN, 0));
    for (at, by) in change {
        now += by;
        if now > best.0 {
            best = (now, at);
        }
    }
    best.1
}

/// What a root is for.
fn kind(lists: &Lists, life: &Life) -> String {
    let info = &lists.lowered.roots[life.root.0 as usize];
    let arena = lists.lowered.roots[lists.shared["parameters"].0 as usize].bytes;
    if info.persistent {
        return match (info.shared, info.bytes == arena) {
            (true, true) => info.name.clone(),
            (true, false) => "inputs and states".into(),
            _ => "outputs".into(),
        };
    }
    if info.name == "workspace" {
        return info.name.clone();
    }
    if info.name.starts_with("d ") || info.name == "gradient part" {
        return "gradients of activations".into();
    }
    let label = |at: usize| &lists.lowered.labels[lists.lowered.commands[at].node];
    let list = lists.lists.iter().find(|l| l.commands.contains(&life.from)).expect("a command is in a list");
    let sweep = list.commands.clone().find(|&at| label(at).ends_with(" backward")).unwrap_or(usize::MAX);
    match life.from < sweep && sweep <= life.to {
        true => "kept for the backward sweep".into(),
        false => "activations".into(),
    }
}

fn largest(alive: &[&Life], roots: &[RootInfo]) -> Vec<Share> {
    let mut by_name: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    for life in alive {
        let Root(index) = life.root;
        let entry = by_name.entry(&roots[index as usize].name).or_default();
        *entry = (entry.0 + 1, entry.1 + life.bytes);
    }
    let mut all: Vec<Share> = by_name.into_iter().map(|(n, (count, bytes))| Share { name: n.into(), count, bytes }).collect();
    all.sort_by_key(|s| std::cmp::Reverse(s.bytes));
    all.truncate(40);
    all
}
