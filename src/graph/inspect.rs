//! Looking at a graph: what is recorded, in order, with the memory it takes.
//!
//! Must not know any operation.

use std::fmt::Write as _;

use crate::gpu::recorder::Command;
use crate::graph::Graph;
use crate::graph::run::Session;

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
}
