//! Where the first value that is not finite comes from: a list is replayed command by command, and what each one wrote is looked at.
//!
//! Must not know operations.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use crate::error::Result;
use crate::gpu::recorder::{Bind, Command};
use crate::gpu::{Root, View};
use crate::graph::run::{Session, decode};
use crate::tensor::DType;

/// What the first operation with a value that is not finite wrote and read.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct NonFinite {
    /// The operation; in the reverse sweep, with ` backward`.
    pub op: String,
    /// Where in the network it is.
    pub scope: String,
    /// Its kernel.
    pub kernel: String,
    /// What it wrote.
    pub tensor: Seen,
    /// What it read.
    pub inputs: Vec<Seen>,
}

/// A tensor that was looked at.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Seen {
    /// The kernel's name for it.
    pub name: String,
    /// What its memory holds: a parameter or an input by name, or what an operation made.
    pub holds: String,
    /// Its extents.
    pub shape: Vec<usize>,
    /// How many of its elements are not finite.
    pub bad: usize,
    /// The largest magnitude among the others.
    pub largest: f32,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, holds, shape, bad, largest } = self;
        let n: usize = shape.iter().product();
        match bad {
            0 => write!(f, "`{name}` {shape:?} ({holds}; finite, up to {largest:.2e})"),
            _ => write!(f, "`{name}` {shape:?} ({holds}; {bad} of {n} not finite)"),
        }
    }
}

impl fmt::Display for NonFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inputs: Vec<String> = self.inputs.iter().map(Seen::to_string).collect();
        let at = if self.scope.is_empty() { "the step's end" } else { &self.scope };
        write!(f, "`{}` in {at} wrote {} from {}", self.op, self.tensor, inputs.join(", "))
    }
}

impl Session<'_> {
    /// Replays the list `name` until a command writes a value that is not finite; `None` when none does. Slow: every command is waited for.
    pub fn first_non_finite(&self, name: &str) -> Result<Option<NonFinite>> {
        let commands = self.list(name);
        let first = self.first_touches(commands.clone());
        for at in commands {
            // Kernels may leave a part of their workspace as it is: what another tensor left there is not theirs.
            first.iter().filter(|(begins, _)| *begins == at).for_each(|(_, root)| self.clear_root(*root));
            self.replay_commands(at..at + 1)?;
            let Command::Launch(launch) = &self.lowered.commands[at].command else { continue };
            let floats = |write: bool| launch.binds.iter().filter(move |b| b.write == write && b.view.dtype != DType::I32);
            let written = self.seen(&floats(true).collect::<Vec<_>>())?;
            let Some(tensor) = written.into_iter().find(|s| s.bad > 0) else { continue };
            let label = &self.lowered.labels[self.lowered.commands[at].node];
            let (scope, op) = label.rsplit_once('/').unwrap_or(("", label));
            let kernel = format!("{} {}", launch.source.name, launch.entry);
            let inputs = self.seen(&floats(false).collect::<Vec<_>>())?;
            return Ok(Some(NonFinite { op: op.into(), scope: scope.into(), kernel, tensor, inputs }));
        }
        Ok(None)
    }

    /// The command of a list that touches each piece of memory first which keeps nothing between replays.
    fn first_touches(&self, commands: Range<usize>) -> Vec<(usize, Root)> {
        let (mut known, mut first) = (BTreeSet::new(), Vec::new());
        for at in commands {
            let touched: Vec<Root> = match &self.lowered.commands[at].command {
                Command::Launch(launch) => launch.binds.iter().map(|b| b.view.root).collect(),
                Command::Clear(view) => vec![view.root],
            };
            for root in touched {
                if known.insert(root) && !self.lowered.roots[root.0 as usize].persistent {
                    first.push((at, root));
                }
            }
        }
        first
    }

    fn seen(&self, binds: &[&Bind]) -> Result<Vec<Seen>> {
        let views: Vec<&View> = binds.iter().map(|b| &b.view).collect();
        let seen = |(bind, bytes): (&&Bind, Vec<u8>)| {
            let (bad, largest) = look(&bind.view, &decode(&bytes, bind.view.dtype));
            Seen { name: bind.name.into(), holds: self.holds(&bind.view), shape: bind.view.shape.clone(), bad, largest }
        };
        Ok(binds.iter().zip(self.bytes(&views)?).map(seen).collect())
    }

    /// What the memory of a view holds, by name.
    fn holds(&self, view: &View) -> String {
        let parameter = self.params.iter().find(|(_, p)| p.root == view.root && p.full_span().contains(&view.full_span().start));
        let gradient = |(_, p): &(&String, &View)| view.root == self.grads && p.full_span().contains(&view.full_span().start);
        match (parameter, self.params.iter().find(gradient)) {
            (Some((name, _)), _) => name.clone(),
            (_, Some((name, _))) => format!("gradient of {name}"),
            _ => self.lowered.roots[view.root.0 as usize].name.trim_start_matches('/').to_owned(),
        }
    }
}

/// How many elements of a view are not finite, and the largest magnitude of the others. `span` is the memory from its first element on.
fn look(view: &View, span: &[f32]) -> (usize, f32) {
    let largest = |values: &mut dyn Iterator<Item = f32>| {
        values.fold((0, 0.0f32), |(bad, most), v| if v.is_finite() { (bad, most.max(v.abs())) } else { (bad + 1, most) })
    };
    let all = largest(&mut span.iter().copied());
    if all.0 == 0 {
        return all;
    }
    // Between the rows of a strided view lie elements that are not its own.
    let start = view.full_span().start;
    let element = |flat: usize| {
        let mut rest = flat;
        let mut at = view.offset - start;
        for axis in (0..view.shape.len()).rev() {
            at += rest % view.shape[axis] * view.strides[axis];
            rest /= view.shape[axis];
        }
        span[at]
    };
    largest(&mut (0..view.len()).map(element))
}
