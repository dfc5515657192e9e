//! Neighbours joined before anything is run: an operation that can do what comes before or after it in one goes there, and what was between
//! them is never stored. Others stay two, and agree on the gradient between them.
//!
//! Which pairs there are, operations say. What is joined depends on the recording alone, so that it is the same wherever a part of it is
//! computed again. Must not know any operation.

use std::rc::Rc;

use crate::gpu::View;
use crate::gpu::view::padded_len;
use crate::graph::{Info, Inner, Origin, Step};
use crate::op::Op;

impl Inner {
    /// Joins what can be joined; `read` are tensors that are read besides, and `once` says that a backward pass will follow, for which an
    /// operation is not done several times to save a tensor.
    pub(crate) fn fuse(&mut self, read: &[usize], once: bool) {
        if std::mem::replace(&mut self.fused, true) {
            return;
        }
        let mut readers = vec![0; self.tensors.len()];
        self.nodes.iter().flat_map(|n| &n.x).chain(read).for_each(|&t| readers[self.tensors[t].base] += 1);
        for step in &self.steps {
            if let Step::Update { x, .. } = step {
                let touched = |base: usize| x.iter().any(|v| v.root == self.tensors[base].view.root);
                (0..readers.len()).filter(|&t| self.tensors[t].base == t && touched(t)).for_each(|t| readers[t] += 2);
            }
        }
        for n in 0..self.nodes.len() {
            self.join_before(n, &readers, once);
            if once {
                self.agree(n, &readers);
            }
            self.join_after(n, &readers);
        }
    }

    /// The node whose output 0 tensor `t` is, whole and as it lies or turned, if nothing stands between node `n` and it: the node, and whether
    /// `t` is turned.
    fn maker(&self, n: usize, t: usize) -> Option<(usize, bool)> {
        let info = &self.tensors[t];
        let owner = &self.tensors[info.base].view;
        let Origin::Node(made) = info.origin else { return None };
        let (node, user) = (self.nodes.get(made)?, &self.nodes[n]);
        let near = made < n && node.y.first() == Some(&info.base) && node.segments == user.segments;
        if !near || self.roots[owner.root.0 as usize].persistent || !owner.is_contiguous() {
            return None;
        }
        let turned = owner.shape.len() == 3 && owner.shape[0] > 1 && owner.shape[1] > 1 && info.view == owner.permute(&[1, 0, 2]);
        (turned || info.view == *owner).then_some((made, turned))
    }

    fn join_before(&mut self, n: usize, readers: &[usize], once: bool) {
        let node = &self.nodes[n];
        let Some((made, turned)) = node.x.first().and_then(|&t| self.maker(n, t)) else { return };
        let before = &self.nodes[made];
        if once && readers[before.y[0]] != 1 {
            return;
        }
        let Some(op) = node.op.following(&*before.op, turned) else { return };
        let x = [&before.x[..], &node.x[1..]].concat();
        let others = before.y[1..].to_vec();
        self.join(n, op, x, &others);
    }

    /// Node `n` does `op`, whose outputs are its own and such as others'.
    fn join(&mut self, n: usize, op: Rc<dyn Op>, x: Vec<usize>, others: &[usize]) {
        for &old in others {
            let view = self.tensors[old].view.clone();
            let name = format!("{}/{}", self.nodes[n].scope, op.name());
            let root = self.root(&name, padded_len(&view.shape) as u64 * view.dtype.size() as u64, false);
            let base = self.tensors.len();
            self.tensors.push(Info { view: View::whole(root, &view.shape, view.dtype), origin: Origin::Node(n), base });
            self.nodes[n].y.push(base);
        }
        (self.nodes[n].op, self.nodes[n].x) = (op, x);
    }

    /// Lets node `n` and the maker of its first input agree on what the gradient between them is. What is joined to `n` later keeps to it.
    fn agree(&mut self, n: usize, readers: &[usize]) {
        let node = &self.nodes[n];
        let Some((made, _)) = node.x.first().and_then(|&t| self.maker(n, t)) else { return };
        let before = &self.nodes[made];
        if readers.get(before.y[0]) != Some(&1) {
            return;
        }
        if let Some([first, second]) = node.op.agreed(&*before.op) {
            (self.nodes[made].op, self.nodes[n].op) = (first, second);
        }
    }

    fn join_after(&mut self, n: usize, readers: &[usize]) {
        let node = &self.nodes[n];
        let like_y = |t: usize| {
            let (view, y) = (&self.tensors[t].view, &self.tensors[node.y[0]].view);
            view.shape == y.shape && view.is_contiguous()
        };
        for (i, &t) in node.x.iter().enumerate() {
            let Some((made, turned)) = self.maker(n, t) else { continue };
            let first = &self.nodes[made];
            let rest = || (0..node.x.len()).filter(|&j| j != i);
            // A residual has the result's shape; a seed has none of its own to fit.
            let same = self.tensors[t].view.shape == self.tensors[node.y[0]].view.shape;
            if readers.get(first.y[0]) != Some(&1) || !same || !rest().next().is_some_and(|j| like_y(node.x[j])) {
                continue;
            }
            let Some(op) = first.op.then(&*node.op, i, turned) else { continue };
            let x = first.x.iter().copied().chain(rest().map(|j| node.x[j])).collect();
            let others = first.y[1..].to_vec();
            self.join(n, op, x, &others);
            return;
        }
    }
}
