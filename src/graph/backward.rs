//! The reverse sweep: every node's own backward, in reverse order, with gradients added up and segments computed again.
//!
//! A gradient has the geometry of the tensor that owns the memory, so the gradient of a view is the same view of the owner's gradient.
//! Where the views that contribute cover the owner once and do not overlap, each backward writes its part directly; otherwise parts are
//! added, by the operation itself where it can. A gradient that an operation passes on as it stands, as a residual's, takes the memory of
//! the one it comes from. Must not know any operation.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::gpu::{Root, View};
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
        let read: Vec<usize> = seeds.iter().flat_map(|(tensor, seed)| std::iter::once(tensor).chain(seed)).map(|t| t.id).collect();
        inner.fuse(&read, true);
        let n_nodes = inner.nodes.len();
        let active = inner.active();
        let mut sweep = Sweep::default();
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
                    sweep.users.entry(info.base).or_default().push(n);
                }
            }
        }
        for (tensor, seed) in seeds {
            let info = inner.tensors[tensor.id].clone();
            let dst = sweep.part(inner, info.base, &info.view, false);
            match seed {
                None => inner.steps.push(Step::Fill { dst: dst.target.clone(), value: 1.0 }),
                Some(seed) => {
                    let src = inner.tensors[seed.id].view.clone();
                    inner.steps.push(Step::Fill { dst: dst.target.clone(), value: 0.0 });
                    inner.steps.push(Step::Accumulate { node: None, dst: dst.target.clone(), src });
                }
            }
            sweep.merge(inner, None, dst);
        }
        for n in (0..n_nodes).rev() {
            if inner.nodes[n].y.iter().any(|y| sweep.parts.contains_key(y)) {
                sweep.node(inner, n, &active);
            }
        }
        inner.finish_gradients(&sweep);
    }
}

#[derive(Debug, Default)]
struct Sweep {
    /// Views that contribute to an owner's gradient.
    parts: BTreeMap<usize, Vec<View>>,
    /// Nodes that contribute to it.
    users: BTreeMap<usize, Vec<usize>>,
    grads: BTreeMap<usize, Grad>,
    /// Owners whose gradients lie in one piece of memory, until the sweep has gone through what made them.
    sharing: BTreeMap<Root, Vec<usize>>,
    /// Owners computed again, by their first computation.
    renamed: BTreeMap<usize, usize>,
    /// Segments computed again.
    redone: BTreeSet<usize>,
}

/// Where a contribution is written.
#[derive(Debug)]
struct Part {
    target: View,
    /// Whether it is added to what is there.
    add: bool,
    /// The place to add it to afterwards.
    then: Option<View>,
}

impl Sweep {
    /// Where a contribution to `view` of `base` is written; `adds` says that whoever writes it can add it instead.
    fn part(&mut self, inner: &mut Inner, base: usize, view: &View, adds: bool) -> Part {
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
        let repeated = view.strides.iter().zip(&view.shape).any(|(s, n)| *s == 0 && *n > 1);
        assert!(!repeated, "a gradient of a repeated view {:?}: masks and tables have none", view.shape);
        let target = View { root: grad.view.root, ..view.clone() };
        let first = !std::mem::replace(&mut grad.started, true);
        // The first part that is as large as the whole is written, not added.
        if grad.merge == Merge::Write || first && partition(&grad.view, std::slice::from_ref(&target)) {
            return Part { target, add: false, then: None };
        }
        if first {
            inner.steps.push(Step::Fill { dst: grad.view.clone(), value: 0.0 });
        }
        if adds {
            return Part { target, add: true, then: None };
        }
        let bytes = crate::gpu::view::padded_len(&view.shape) as u64 * view.dtype.size() as u64;
        let root = inner.root("gradient part", bytes, false);
        Part { target: View::whole(root, &view.shape, view.dtype), add: false, then: Some(target) }
    }

    fn merge(&self, inner: &mut Inner, node: Option<usize>, part: Part) {
        if let Some(dst) = part.then {
            inner.steps.push(Step::Accumulate { node, dst, src: part.target });
        }
    }

    /// The gradient `dy` of node `n` as that of its input `t`: in the same memory where nobody who still reads one of them can see the
    /// other change, added where `t` has a gradient already. `false` where neither is possible.
    fn pass(&mut self, inner: &mut Inner, n: usize, t: usize, dy: &View) -> bool {
        let Info { view, base, origin } = inner.tensors[t].clone();
        if view.shape != dy.shape || view.dtype != dy.dtype {
            return false;
        }
        if let Some(grad) = self.grads.get(&base).filter(|g| g.started && g.merge == Merge::Add) {
            if grad.view.root == dy.root {
                return false; // two views of one tensor: the second is not added in place to what it is read from
            }
            let dst = View { root: grad.view.root, ..view };
            inner.steps.push(Step::Accumulate { node: Some(n), dst, src: dy.clone() });
            return true;
        }
        let owner = &inner.tensors[base].view;
        let whole = |v: &View| v.is_contiguous() && v.len() == owner.len();
        let maker = |inner: &Inner, t: usize| match inner.tensors[t].origin {
            Origin::Node(made) => Some(made),
            _ => None,
        };
        let Some(made) = maker(inner, base).filter(|_| !self.grads.contains_key(&base) && whole(&view) && whole(dy)) else { return false };
        assert!(matches!(origin, Origin::Node(_)), "a view of a node's output");
        let sharing = self.sharing.entry(dy.root).or_default();
        sharing.retain(|&other| maker(inner, other).is_some_and(|m| m < n));
        // Who uses a tensor adds to its gradient, who made it reads it: all reading of the one comes before any adding to the other.
        let users = |t: usize| self.users.get(&t).into_iter().flatten().filter(|&&u| u != n);
        let before = |adding: usize, made: usize| users(adding).all(|&u| u < made || u > n);
        let apart = sharing.iter().all(|&other| maker(inner, other).is_some_and(|m| before(base, m)) && before(other, made));
        // A gradient that stays for others, such as an output, is nobody else's.
        if !apart || inner.roots[dy.root.0 as usize].persistent {
            return false;
        }
        sharing.push(base);
        self.grads.insert(base, Grad { view: View { root: dy.root, ..owner.clone() }, merge: Merge::Add, started: true });
        true
    }

    fn node(&mut self, inner: &mut Inner, n: usize, active: &[bool]) {
        let node = inner.nodes[n].clone();
        for &segment in &node.segments {
            if self.redone.insert(segment) {
                self.redo(inner, segment, n);
            }
        }
        let dy: Vec<Option<View>> = node.y.iter().map(|y| self.grads.get(y).map(|g| g.view.clone())).collect();
        // What is passed on is done last: until then its memory is this node's gradient alone.
        let passed = |i: usize| node.op.passes(i) && dy[0].is_some();
        let wanted = |inner: &Inner, i: usize| node.op.differentiable(i) && active[inner.tensors[node.x[i]].base];
        let (mut parts, mut dx, mut add) = (Vec::new(), Vec::new(), 0);
        let mut left = Vec::new();
        for (i, &t) in node.x.iter().enumerate() {
            if !wanted(inner, i) || passed(i) {
                left.extend(wanted(inner, i).then_some(i));
                dx.push(None);
                continue;
            }
            let Info { view, base, .. } = inner.tensors[t].clone();
            let part = self.part(inner, base, &view, node.op.adds(i));
            dx.push(Some(part.target.clone()));
            add |= u32::from(part.add) << i;
            parts.push(part);
        }
        self.backward(inner, n, (&dy, dx, add), parts);
        for i in left {
            let gradient = dy[0].as_ref().expect("only then is anything passed on");
            if self.pass(inner, n, node.x[i], gradient) {
                continue;
            }
            let Info { view, base, .. } = inner.tensors[node.x[i]].clone();
            let part = self.part(inner, base, &view, node.op.adds(i));
            let mut dx = vec![None; node.x.len()];
            dx[i] = Some(part.target.clone());
            let add = u32::from(part.add) << i;
            self.backward(inner, n, (&dy, dx, add), vec![part]);
        }
    }

    /// Records the backward pass of node `n`, as far as somebody wants a gradient, and adds up what it could not add itself.
    fn backward(&self, inner: &mut Inner, n: usize, (dy, dx, add): (&[Option<View>], Vec<Option<View>>, u32), parts: Vec<Part>) {
        if dx.iter().all(Option::is_none) {
            return;
        }
        let node = inner.nodes[n].clone();
        let now = |t: usize| self.current(inner, t);
        let (x, y) = (node.x.iter().map(|&t| now(t)).collect(), node.y.iter().map(|&t| now(t)).collect());
        let made_before = |t: &usize| matches!(inner.tensors[*t].origin, Origin::Node(m) if m < n);
        let own = dy[0].as_ref().is_some_and(|dy| {
            let shared = self.sharing.get(&dy.root).is_some_and(|sharing| sharing.iter().any(made_before));
            !shared && !inner.roots[dy.root.0 as usize].persistent && !(0..node.x.len()).any(|i| node.op.passes(i))
        });
        inner.steps.push(Step::Backward { node: n, x, y, dy: dy.to_vec(), dx, add, own });
        for part in parts {
            self.merge(inner, Some(n), part);
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
        let apart = |a: &[Range<usize>], b: &[Range<usize>]| a.iter().zip(b).any(|(x, y)| x.end <= y.start || y.end <= x.start);
        (0..boxes.len()).all(|i| (0..i).all(|j| apart(&boxes[i], &boxes[j])))
    })
}

/// The view as a range along each axis of its owner, if it is one, whatever the order of its axes, and where it has several for one of the
/// owner's (heads, `[h, d]`, are a range of the innermost one) or one for several.
fn box_of(owner: &View, part: &View) -> Option<Vec<Range<usize>>> {
    let mut axes: Vec<(usize, usize)> = part.strides.iter().copied().zip(part.shape.iter().copied()).filter(|(_, n)| *n > 1).collect();
    axes.sort_unstable();
    let mut joined: Vec<(usize, usize)> = Vec::new();
    for (stride, n) in axes {
        match joined.last_mut() {
            Some((unit, count)) if *unit * *count == stride => *count *= n,
            _ => joined.push((stride, n)),
        }
    }
    let mut starts = vec![0; owner.shape.len()];
    let mut rest = part.offset - owner.offset;
    for (start, stride) in starts.iter_mut().zip(&owner.strides) {
        (*start, rest) = (rest / stride, rest % stride);
    }
    let mut left = joined.into_iter().peekable();
    let mut ranges = vec![0..1; owner.shape.len()];
    // What goes on beyond an axis has all of it, and goes on with the next one, at this stride.
    let mut beyond: Option<(usize, usize)> = None;
    for axis in (0..owner.shape.len()).rev().filter(|&axis| owner.shape[axis] > 1) {
        let (stride, extent, start) = (owner.strides[axis], owner.shape[axis], starts[axis]);
        let own = match beyond.take() {
            Some((unit, n)) if unit == stride => n,
            Some(_) => return None,
            None => left.next_if(|(unit, _)| *unit == stride).map_or(1, |(_, n)| n),
        };
        if own > extent {
            if start > 0 || !own.is_multiple_of(extent) {
                return None;
            }
            beyond = Some((stride * extent, own / extent));
        }
        ranges[axis] = start..start + own.min(extent);
    }
    let inside = ranges.iter().zip(&owner.shape).all(|(range, extent)| range.end <= *extent);
    (inside && beyond.is_none() && left.next().is_none()).then_some(ranges)
}

#[cfg(test)]
mod tests {
    use super::{box_of, partition};
    use crate::gpu::{Root, View};
    use crate::tensor::DType;

    fn whole(shape: &[usize]) -> View {
        View::whole(Root(0), shape, DType::F32)
    }

    #[test]
    fn parts_are_ranges_in_every_order_of_axes() {
        let owner = whole(&[5, 6, 24]);
        assert_eq!(box_of(&owner, &owner.slice(0, 1..3).slice(2, 8..16)), Some(vec![1..3, 0..6, 8..16]));
        assert_eq!(box_of(&owner, &owner.permute(&[1, 0, 2]).slice(2, 8..24).split_last(2, 8)), Some(vec![0..5, 0..6, 8..24]));
        // Axes in two parts, and several as one.
        assert_eq!(box_of(&owner, &owner.slice(2, 0..8).regroup(1..2, &[3, 2]).regroup(0..2, &[15])), Some(vec![0..5, 0..6, 0..8]));
        assert_eq!(box_of(&owner, &owner.slice(1, 2..4).regroup(1..2, &[2, 1])), Some(vec![0..5, 2..4, 0..24]));
        let one = whole(&[5, 1, 6, 24]);
        assert_eq!(box_of(&one, &one.slice(3, 4..8).regroup(0..2, &[5])), Some(vec![0..5, 0..1, 0..6, 4..8]));
        // Heads that leave padding between them, and every second row, are no ranges.
        assert_eq!(box_of(&owner, &owner.split_last(3, 6)), None);
        let second = View { shape: vec![5, 3, 24], strides: vec![owner.strides[0], 2 * owner.strides[1], 1], ..owner.clone() };
        assert_eq!(box_of(&owner, &second), None);
    }

    #[test]
    fn what_covers_its_owner_once_is_a_partition() {
        let owner = whole(&[4, 6, 24]);
        let flat = |from: usize, to: usize| owner.slice(2, from..to).regroup(0..2, &[24]);
        assert!(partition(&owner, &[flat(0, 8), owner.slice(2, 8..24).permute(&[1, 0, 2])]));
        assert!(!partition(&owner, &[flat(0, 12), flat(8, 20)]), "columns 8 to 12 twice");
        assert!(!partition(&owner, &[flat(0, 8), flat(8, 20)]), "four columns nowhere");
    }
}
