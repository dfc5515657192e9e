//! The reverse sweep: every node's own backward, in reverse order, with gradients added up and segments computed again.
//!
//! A gradient has the geometry of the tensor that owns the memory, so the gradient of a view is the same view of the owner's gradient.
//! Where the views that contribute cover the owner once and do not overlap, each backward writes its part directly; otherwise parts are
//! added. Must not know any operation.

use std::collections::{BTreeMap, BTreeSet};

use crate::gpu::View;
use crate::graph::{Graph, Info, Inner, Node, Origin, Step, Tensor};

/// How contributions to one owner's gradient come together.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Merge {
    /// Every part is written once.
    Write,
    /// Cleared or written first, every other part added.
    Add,
}

#[derive(Debug)]
struct Grad {
    view: View,
    merge: Merge,
    started: bool,
}

impl Graph {
    /// Appends the gradient of the scalar `loss` with respect to every parameter and every input that asked for one.
    /// Gradients of parameters fill the gradient arena; those of inputs become outputs named `d/NAME`. `seeds` gives instead the
    /// gradients of several tensors, each from an input of the graph.
    pub fn backward(&self, seeds: &[(Tensor<'_>, Option<Tensor<'_>>)]) {
        let mut inner = self.inner.borrow_mut();
        let inner = &mut *inner;
        assert!(inner.room.is_none(), "a backward pass of a recording that is bound to have none");
        let n_nodes = inner.nodes.len();
        let active = inner.active();
        let mut sweep = Sweep { parts: BTreeMap::new(), grads: BTreeMap::new(), renamed: BTreeMap::new(), redone: BTreeSet::new() };
        for (tensor, _) in seeds {
            let info = &inner.tensors[tensor.id];
            sweep.parts.entry(info.base).or_default().push(info.view.clone());
        }
        for n in (0..n_nodes).rev() {
            if !inner.nodes[n].y.iter().any(|y| sweep.parts.contains_key(y)) {
                continue;
            }
            for (i, &t) in inner.nodes[n].x.iter().enumerate() {
                let info = &inner.tensors[t];
                if inner.nodes[n].op.differentiable(i) && active[info.base] {
                    sweep.parts.entry(info.base).or_default().push(info.view.clone());
                }
            }
        }
        for (tensor, seed) in seeds {
            let info = inner.tensors[tensor.id].clone();
            let dst = sweep.part(inner, info.base, &info.view);
            match seed {
                None => inner.steps.push(Step::Fill { dst: dst.0.clone(), value: 1.0 }),
                Some(seed) => {
                    let src = inner.tensors[seed.id].view.clone();
                    inner.steps.push(Step::Fill { dst: dst.0.clone(), value: 0.0 });
                    inner.steps.push(Step::Accumulate { dst: dst.0.clone(), src });
                }
            }
            sweep.merge(inner, dst);
        }
        for n in (0..n_nodes).rev() {
            if inner.nodes[n].y.iter().any(|y| sweep.parts.contains_key(y)) {
                sweep.node(inner, n, &active);
            }
        }
        inner.finish_gradients(&sweep);
    }
}

struct Sweep {
    /// Views that contribute to an owner's gradient.
    parts: BTreeMap<usize, Vec<View>>,
    grads: BTreeMap<usize, Grad>,
    /// Owners computed again, by their first computation.
    renamed: BTreeMap<usize, usize>,
    /// Segments computed again.
    redone: BTreeSet<usize>,
}

impl Sweep {
    /// Where a contribution to `view` of `base` is written, and the place to add it to when it is not written directly.
    fn part(&mut self, inner: &mut Inner, base: usize, view: &View) -> (View, Option<View>) {
        let parts = &self.parts;
        let grad = self.grads.entry(base).or_insert_with(|| {
            let owner = inner.tensors[base].clone();
            let merge = if partition(&owner.view, &parts[&base]) { Merge::Write } else { Merge::Add };
            let root = match owner.origin {
                Origin::Param { .. } => inner.grads,
                _ => {
                    let bytes = inner.roots[owner.view.root.0 as usize].bytes;
                    let name = format!("d {}", inner.roots[owner.view.root.0 as usize].name);
                    inner.root(&name, bytes, false)
                }
            };
            Grad { view: View { root, ..owner.view }, merge, started: false }
        });
        let target = View { root: grad.view.root, ..view.clone() };
        let first = !std::mem::replace(&mut grad.started, true);
        // The first part that is as large as the whole is written, not added.
        if grad.merge == Merge::Write || first && partition(&grad.view, std::slice::from_ref(&target)) {
            return (target, None);
        }
        if first {
            inner.steps.push(Step::Fill { dst: grad.view.clone(), value: 0.0 });
        }
        let bytes = crate::gpu::view::padded_len(&view.shape) as u64 * view.dtype.size() as u64;
        let root = inner.root("gradient part", bytes, false);
        (View::whole(root, &view.shape, view.dtype), Some(target))
    }

    fn merge(&self, inner: &mut Inner, (src, dst): (View, Option<View>)) {
        if let Some(dst) = dst {
            inner.steps.push(Step::Accumulate { dst, src });
        }
    }

    fn node(&mut self, inner: &mut Inner, n: usize, active: &[bool]) {
        let node = inner.nodes[n].clone();
        for &segment in &node.segments {
            if self.redone.insert(segment) {
                self.redo(inner, segment, n);
            }
        }
        let dy: Vec<Option<View>> = node.y.iter().map(|y| self.grads.get(y).map(|g| g.view.clone())).collect();
        let mut merges = Vec::new();
        let mut dx = Vec::new();
        for (i, &t) in node.x.iter().enumerate() {
            let Info { view, base, .. } = inner.tensors[t].clone();
            dx.push(if node.op.differentiable(i) && active[base] {
                let part = self.part(inner, base, &view);
                let target = part.0.clone();
                merges.push(part);
                Some(target)
            } else {
                None
            });
        }
        if dx.iter().all(Option::is_none) {
            return;
        }
        let now = |t: usize| self.current(inner, t);
        let (x, y) = (node.x.iter().map(|&t| now(t)).collect(), node.y.iter().map(|&t| now(t)).collect());
        inner.steps.push(Step::Backward { node: n, x, y, dy, dx });
        for part in merges {
            self.merge(inner, part);
        }
    }

    /// The view of tensor `t` in the memory that holds it now.
    fn current(&self, inner: &Inner, t: usize) -> View {
        let info = &inner.tensors[t];
        match self.renamed.get(&info.base) {
            Some(&again) => View { root: inner.tensors[again].view.root, ..info.view.clone() },
            None => info.view.clone(),
        }
    }

    /// Records the segment's nodes up to `last` again, on new memory. Steps that nothing reads are dropped when the graph is lowered.
    fn redo(&mut self, inner: &mut Inner, segment: usize, last: usize) {
        for n in (0..=last).filter(|&n| inner.nodes[n].segments.contains(&segment)).collect::<Vec<_>>() {
            let node = inner.nodes[n].clone();
            let again = inner.nodes.len();
            let x = node.x.iter().map(|&t| {
                let info = Info { view: self.current(inner, t), ..inner.tensors[t].clone() };
                inner.tensors.push(info);
                inner.tensors.len() - 1
            });
            let x = x.collect();
            let mut y = Vec::new();
            for &old in &node.y {
                let view = inner.tensors[old].view.clone();
                let id = inner.new_output(again, node.op.name(), &view.shape, Some(view.dtype));
                self.renamed.insert(old, id);
                y.push(id);
            }
            inner.nodes.push(Node { x, y, segments: Vec::new(), ..node });
            inner.steps.push(Step::Forward(again));
        }
    }
}

impl Inner {
    /// Owners that something trainable flows into.
    fn active(&self) -> Vec<bool> {
        let mut active: Vec<bool> =
            self.tensors.iter().map(|t| matches!(t.origin, Origin::Param { .. } | Origin::Input { grad: true, .. })).collect();
        for node in &self.nodes {
            if node.x.iter().enumerate().any(|(i, &t)| node.op.differentiable(i) && active[self.tensors[t].base]) {
                node.y.iter().for_each(|&y| active[y] = true);
            }
        }
        active
    }

    /// Names the gradients of inputs, and clears those of parameters that nothing reaches.
    fn finish_gradients(&mut self, sweep: &Sweep) {
        for t in 0..self.tensors.len() {
            let Info { view, origin, base } = self.tensors[t].clone();
            if base != t {
                continue;
            }
            let grad = sweep.grads.get(&t).map(|g| g.view.clone());
            match (origin, grad) {
                (Origin::Input { name, grad: true }, grad) => {
                    let grad = grad.unwrap_or_else(|| {
                        let root = self.root(&format!("d {name}"), self.roots[view.root.0 as usize].bytes, false);
                        let dst = View { root, ..view.clone() };
                        self.steps.push(Step::Fill { dst: dst.clone(), value: 0.0 });
                        dst
                    });
                    self.roots[grad.root.0 as usize].persistent = true;
                    self.outputs.push((format!("d/{name}"), grad));
                }
                (Origin::Param { .. }, None) => {
                    let dst = View { root: self.grads, ..view };
                    self.steps.push(Step::Fill { dst, value: 0.0 });
                }
                _ => {}
            }
        }
    }
}

/// Whether the views cover `owner` once and do not overlap, as far as boxes along the owner's axes can tell.
fn partition(owner: &View, parts: &[View]) -> bool {
    if parts.iter().map(View::len).sum::<usize>() != owner.len() {
        return false;
    }
    if parts.len() == 1 {
        return true;
    }
    let boxes: Option<Vec<_>> = parts.iter().map(|p| box_of(owner, p)).collect();
    boxes.is_some_and(|boxes| {
        let apart =
            |a: &[std::ops::Range<usize>], b: &[std::ops::Range<usize>]| a.iter().zip(b).any(|(x, y)| x.end <= y.start || y.end <= x.start);
        (0..boxes.len()).all(|i| (0..i).all(|j| apart(&boxes[i], &boxes[j])))
    })
}

/// The view as a range along each axis of its owner, if it is one.
fn box_of(owner: &View, part: &View) -> Option<Vec<std::ops::Range<usize>>> {
    let mut rest = part.offset - owner.offset;
    let mut ranges = Vec::new();
    let mut volume = 1;
    for axis in 0..owner.shape.len() {
        let (stride, start) = (owner.strides[axis], rest / owner.strides[axis]);
        rest %= stride;
        let same = (0..part.shape.len()).find(|&a| part.strides[a] == stride && part.shape[a] > 1);
        let extent = same.map_or(1, |a| part.shape[a]);
        volume *= extent;
        ranges.push(start..start + extent);
    }
    (volume == part.len()).then_some(ranges)
}
