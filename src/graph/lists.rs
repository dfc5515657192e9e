//! Command lists of several graphs on one time line: what plans and sessions are made of.
//!
//! Must not know operations, nor a device.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::error::Result;
use crate::gpu::recorder::{Command, Launch, Recorded, Traits};
use crate::gpu::{Root, View};
use crate::graph::plan::{self, Plan};
use crate::graph::{Graph, Lowered, Origin};
use crate::tensor::HostTensor;

/// One command list.
#[derive(Debug)]
pub(crate) struct List {
    pub name: String,
    pub commands: Range<usize>,
}

/// All lists in order, with roots renumbered and shared ones joined by name. Inputs, parameters, gradients and states of the same name are the
/// same memory in all of them; what one list keeps only while it runs, the others may use.
#[derive(Debug, Default)]
pub struct Lists {
    pub(crate) lowered: Lowered,
    pub(crate) shared: BTreeMap<String, Root>,
    pub(crate) lists: Vec<List>,
    pub(crate) inputs: BTreeMap<String, View>,
    pub(crate) params: BTreeMap<String, View>,
    pub(crate) outputs: BTreeMap<String, View>,
    pub(crate) constants: Vec<(String, HostTensor)>,
}

impl Lists {
    /// Graphs as command lists for a device of these traits.
    pub fn of(traits: &Traits, graphs: &[(&str, &Graph)]) -> Self {
        let mut lists = Self::default();
        graphs.iter().for_each(|(name, graph)| lists.add(name, graph, traits));
        // Where no list makes a gradient, there is no memory for any.
        let gradients = lists.shared["gradients"];
        let touched = |r: &Recorded| match &r.command {
            Command::Launch(launch) => launch.binds.iter().any(|b| b.view.root == gradients),
            Command::Clear(view) => view.root == gradients,
        };
        if !lists.lowered.commands.iter().any(touched) {
            lists.lowered.roots[gradients.0 as usize].bytes = 0;
        }
        lists
    }

    /// Where everything lies, in buffers of at most `max_arena` bytes.
    pub fn plan(&self, align: u64, max_arena: u64) -> Result<Plan> {
        plan::place(&plan::lives(&self.lowered.commands, &self.lowered.roots), align, max_arena)
    }

    /// Every dispatch of every list, before it is cut to what a binding holds.
    pub fn launches(&self) -> impl Iterator<Item = &Launch> {
        self.lowered.commands.iter().filter_map(|c| if let Command::Launch(launch) = &c.command { Some(&**launch) } else { None })
    }

    fn add(&mut self, name: &str, graph: &Graph, traits: &Traits) {
        let mut part = graph.lower(traits);
        let mut to = Vec::new();
        for info in &part.roots {
            let next = Root(self.lowered.roots.len() as u32);
            let root = if info.shared { *self.shared.entry(info.name.clone()).or_insert(next) } else { next };
            match self.lowered.roots.get_mut(root.0 as usize) {
                Some(known) => known.bytes = known.bytes.max(info.bytes),
                None => self.lowered.roots.push(info.clone()),
            }
            to.push(root);
        }
        let moved = |view: &View| View { root: to[view.root.0 as usize], ..view.clone() };
        let (first, labels) = (self.lowered.commands.len(), self.lowered.labels.len());
        for recorded in &mut part.commands {
            recorded.node += labels;
            match &mut recorded.command {
                Command::Launch(launch) => launch.binds.iter_mut().for_each(|b| b.view = moved(&b.view)),
                Command::Clear(view) => *view = moved(view),
            }
        }
        self.lowered.commands.append(&mut part.commands);
        self.lowered.labels.append(&mut part.labels);
        self.lists.push(List { name: name.into(), commands: first..self.lowered.commands.len() });
        let inner = graph.inner.borrow();
        for (_, info) in inner.tensors.iter().enumerate().filter(|(id, info)| info.base == *id) {
            let view = moved(&info.view);
            match &info.origin {
                Origin::Input { name, .. } => drop(self.inputs.insert(name.clone(), view)),
                Origin::Param { name } => drop(self.params.insert(name.clone(), view)),
                Origin::Node(_) => {}
            }
        }
        self.constants.extend(inner.constants.iter().cloned());
        self.outputs.extend(inner.outputs.iter().map(|(name, view)| (name.clone(), moved(view))));
    }
}
