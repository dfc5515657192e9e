//! Looking at command lists: what is recorded, who reads what, the memory at the fullest moment, any tensor by name, and (in [`times`]) how
//! long each operation takes.
//!
//! Must not know any operation.

pub mod times;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::error::Result;
use crate::gpu::recorder::{Bind, Command};
use crate::gpu::{Root, View};
use crate::graph::plan::{self, Life};
use crate::graph::run::Session;
use crate::graph::{Graph, budget};
use crate::tensor::HostTensor;

/// A tensor that lives at the fullest moment.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Living {
    /// What it holds.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// The buffer it lies in, and its first byte there.
    pub at: (usize, u64),
    /// The step that makes it and the last one that reads it; both empty for what keeps its content between replays.
    pub span: (String, String),
}

impl Graph {
    /// Elements of the largest tensor that is recorded, with their padding. Shaders count elements in 32 bits.
    pub fn largest(&self) -> usize {
        self.inner.borrow().tensors.iter().map(|t| t.view.full_span().len()).max().unwrap_or(0)
    }
}

impl Session<'_> {
    /// One line for each command: step, kernel, workgroups, operands.
    pub fn print(&self) -> String {
        let mut out = String::new();
        for recorded in &self.lowered.commands {
            let label = &self.lowered.labels[recorded.node];
            match &recorded.command {
                Command::Launch(l) => {
                    let binds: Vec<String> = l.binds.iter().map(|b| format!("{}{:?}", b.name, b.view.shape)).collect();
                    writeln!(out, "{label}: {} {} {:?} {}", l.source.name, l.entry, l.groups, binds.join(" "))
                }
                Command::Clear(view) => writeln!(out, "{label}: clear {:?}", view.shape),
            }
            .expect("writing to a string");
        }
        out
    }

    /// The commands as a graph in DOT: an edge from the command that wrote a tensor last to each that reads it, and from inputs, parameters
    /// and states to their first readers.
    pub fn dot(&self) -> String {
        let mut out = String::from("digraph anyfold {\n  rankdir=TB; node [shape=box, fontname=monospace];\n");
        let text = |s: &str| s.replace('\\', "\\\\").replace('"', "\\\"");
        let mut writer: BTreeMap<Root, String> = BTreeMap::new();
        for (at, recorded) in self.lowered.commands.iter().enumerate() {
            let label = text(&self.lowered.labels[recorded.node]);
            let (kernel, binds) = match &recorded.command {
                Command::Launch(l) => (format!("{} {} {:?}", l.source.name, l.entry, l.groups), &l.binds[..]),
                Command::Clear(_) => ("clear".into(), &[][..]),
            };
            writeln!(out, "  c{at} [label=\"{label}\\n{kernel}\"];").expect("writing to a string");
            for bind in binds.iter().filter(|b| !b.write) {
                let Root(root) = bind.view.root;
                let from = writer.entry(bind.view.root).or_insert_with(|| format!("r{root}"));
                if *from == format!("r{root}") {
                    let name = text(&self.lowered.roots[root as usize].name);
                    writeln!(out, "  r{root} [label=\"{name}\", shape=ellipse];").expect("writing to a string");
                }
                writeln!(out, "  {from} -> c{at} [label=\"{} {:?}\"];", bind.name, bind.view.shape).expect("writing to a string");
            }
            let written = binds.iter().filter(|b| b.write).map(|b| b.view.root);
            let cleared = if let Command::Clear(view) = &recorded.command { Some(view.root) } else { None };
            written.chain(cleared).for_each(|root| drop(writer.insert(root, format!("c{at}"))));
        }
        out.push_str("}\n");
        out
    }

    /// The tensors that live at the fullest moment, largest first, and the step at that moment.
    pub fn at_peak(&self) -> (String, Vec<Living>) {
        let lives = plan::lives(&self.lowered.commands, &self.lowered.roots);
        let at = budget::fullest(&lives);
        let label = |at: usize| self.lowered.commands.get(at).map(|c| self.lowered.labels[c.node].clone()).unwrap_or_default();
        let living = |life: &Life| {
            let Root(root) = life.root;
            let place = self.plan.places[&life.root];
            let span = if life.to == usize::MAX { Default::default() } else { (label(life.from), label(life.to)) };
            Living { name: self.lowered.roots[root as usize].name.clone(), bytes: life.bytes, at: (place.arena, place.offset), span }
        };
        let mut all: Vec<Living> = lives.iter().filter(|l| l.from <= at && at <= l.to).map(living).collect();
        all.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.at.cmp(&b.at)));
        (label(at), all)
    }

    /// Replays everything once and reads each tensor whose name `wanted` accepts as its last command leaves it: what operations make is named
    /// `SCOPE/OPERATION` (and `d SCOPE/OPERATION` for its gradient), a second one of a name `NAME#1`. Memory is shared over time, so that
    /// the replay stops after each of these commands.
    pub fn dump(&self, wanted: &dyn Fn(&str) -> bool) -> Result<BTreeMap<String, HostTensor>> {
        let mut last: BTreeMap<Root, (usize, View)> = BTreeMap::new();
        for (at, recorded) in self.lowered.commands.iter().enumerate() {
            let Command::Launch(launch) = &recorded.command else { continue };
            for Bind { view, .. } in launch.binds.iter().filter(|b| b.write && b.view.is_contiguous()) {
                let seen = last.entry(view.root).or_insert_with(|| (at, view.clone()));
                // A part that is written later does not hide the whole.
                *seen = (at, if view.len() >= seen.1.len() { view.clone() } else { seen.1.clone() });
            }
        }
        let mut stops: Vec<(usize, Root, View)> = last.into_iter().map(|(root, (at, view))| (at, root, view)).collect();
        stops.retain(|(_, Root(root), _)| wanted(&self.lowered.roots[*root as usize].name));
        stops.sort_by_key(|(at, root, _)| (*at, *root));
        let (mut found, mut next) = (BTreeMap::new(), 0);
        for (at, Root(root), view) in stops {
            if at >= next {
                self.replay_commands(next..at + 1)?;
                next = at + 1;
            }
            let name = &self.lowered.roots[root as usize].name;
            let again = (1..).map(|i| format!("{name}#{i}")).find(|n| !found.contains_key(n)).expect("numbers do not end");
            let name = if found.contains_key(name) { again } else { name.clone() };
            found.insert(name, self.read_all(&[&view])?.remove(0));
        }
        self.replay_commands(next..self.lowered.commands.len())?;
        Ok(found)
    }
}
