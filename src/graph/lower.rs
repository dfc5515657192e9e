//! From steps to commands: what leads to nothing is left out, and results take the memory of what is read for the last time.
//!
//! Must not know any operation.

use std::collections::BTreeMap;

use crate::gpu::recorder::{Recorded, Traits};
use crate::gpu::view::padded_len;
use crate::gpu::{Recorder, Root, View};
use crate::graph::{Graph, Inner, RootInfo, Step};
use crate::op::Backward;

/// A graph as commands.
#[derive(Debug, Default)]
pub(crate) struct Lowered {
    pub commands: Vec<Recorded>,
    pub roots: Vec<RootInfo>,
    /// A label for each step.
    pub labels: Vec<String>,
}

impl Graph {
    /// Records every step that something depends on.
    pub(crate) fn lower(&self, traits: &Traits) -> Lowered {
        self.inner.borrow_mut().fuse(&[], false);
        let inner = self.inner.borrow();
        let keep = inner.useful_steps();
        let taken = inner.taken(&keep);
        let moved = |v: &View| View { root: *taken.get(&v.root).unwrap_or(&v.root), ..v.clone() };
        let all = |views: &[View]| views.iter().map(moved).collect::<Vec<_>>();
        let some = |views: &[Option<View>]| views.iter().map(|v| v.as_ref().map(moved)).collect::<Vec<_>>();
        let mut recorder = Recorder::new(traits.clone(), inner.roots.len() as u32);
        recorder.wait_for(inner.grads, inner.builtins.sums);
        for (index, step) in inner.steps.iter().enumerate().filter(|(i, _)| keep[*i]) {
            recorder.set_node(index);
            match step {
                Step::Forward(n) => {
                    let node = &inner.nodes[*n];
                    let views = |ids: &[usize]| ids.iter().map(|&t| moved(&inner.tensors[t].view)).collect::<Vec<_>>();
                    node.op.forward(&mut recorder, &views(&node.x), &views(&node.y));
                }
                Step::Backward { node, x, y, dy, dx, add, own } => {
                    let (x, y, dy, dx) = (all(x), all(y), some(dy), some(dx));
                    let b = Backward { x: &x, y: &y, dy: &dy, dx: &dx, own: *own, add: *add };
                    inner.nodes[*node].op.backward(&mut recorder, &b);
                }
                Step::Accumulate { dst, src, .. } => (inner.builtins.accumulate)(&mut recorder, &moved(dst), &moved(src)),
                Step::Fill { dst, value } if *value == 0.0 && dst.is_contiguous() => recorder.clear(&moved(dst)),
                Step::Fill { dst, value } => (inner.builtins.fill)(&mut recorder, &moved(dst), *value),
                Step::Update { op, x } => op.record(&mut recorder, &all(x)),
            }
        }
        let (commands, temps) = recorder.finish();
        let mut roots = inner.roots.clone();
        roots.extend(temps.iter().map(|(_, bytes)| RootInfo { name: "workspace".into(), bytes: *bytes, persistent: false, shared: false }));
        let labels = inner.steps.iter().map(|s| inner.label(s)).collect();
        Lowered { commands, roots, labels }
    }
}

impl Inner {
    fn label(&self, step: &Step) -> String {
        match step {
            Step::Forward(n) => format!("{}/{}", self.nodes[*n].scope, self.nodes[*n].op.name()),
            Step::Backward { node, .. } => format!("{}/{} backward", self.nodes[*node].scope, self.nodes[*node].op.name()),
            Step::Accumulate { node: Some(node), .. } => {
                format!("{}/{} accumulate", self.nodes[*node].scope, self.nodes[*node].op.name())
            }
            Step::Accumulate { node: None, .. } => "accumulate".into(),
            Step::Fill { .. } => "fill".into(),
            Step::Update { op, .. } => op.name().into(),
        }
    }

    /// Which steps lead to something persistent: a reverse scan over what each step writes and reads.
    fn useful_steps(&self) -> Vec<bool> {
        let mut wanted: Vec<bool> = self.roots.iter().map(|r| r.persistent).collect();
        let mut keep = vec![false; self.steps.len()];
        for (index, step) in self.steps.iter().enumerate().rev() {
            let (reads, writes) = self.touches(step);
            keep[index] = writes.iter().any(|r| wanted[r.0 as usize]);
            if keep[index] {
                reads.iter().for_each(|r| wanted[r.0 as usize] = true);
            }
        }
        keep
    }

    /// Roots that take another one's memory: output 0 of an operation that may work in place, where the input is read by nobody later.
    fn taken(&self, keep: &[bool]) -> BTreeMap<Root, Root> {
        let mut last: BTreeMap<Root, usize> = BTreeMap::new();
        let kept = || self.steps.iter().enumerate().filter(|(i, _)| keep[*i]);
        for (index, step) in kept() {
            let (reads, writes) = self.touches(step);
            last.extend(reads.into_iter().chain(writes).map(|root| (root, index)));
        }
        let mut taken: BTreeMap<Root, Root> = BTreeMap::new();
        let whole = |v: &View| {
            v.offset == 0 && v.is_contiguous() && padded_len(&v.shape) * v.dtype.size() == self.roots[v.root.0 as usize].bytes as usize
        };
        for (index, step) in kept() {
            let Step::Forward(n) = step else { continue };
            let node = &self.nodes[*n];
            let y = &self.tensors[node.y[0]].view;
            let now = |t: usize| {
                let root = self.tensors[t].view.root;
                *taken.get(&root).unwrap_or(&root)
            };
            let free = |i: usize| {
                let (x, root) = (&self.tensors[node.x[i]].view, now(node.x[i]));
                let alike = whole(x) && x.shape == y.shape && x.dtype == y.dtype && !self.roots[root.0 as usize].persistent;
                alike && last[&root] == index && (0..node.x.len()).all(|j| j == i || now(node.x[j]) != root)
            };
            let bits = node.op.in_place();
            if !whole(y) || self.roots[y.root.0 as usize].persistent || taken.contains_key(&y.root) {
                continue;
            }
            if let Some(i) = (0..node.x.len()).find(|&i| bits >> i & 1 == 1 && free(i)) {
                let root = now(node.x[i]);
                last.insert(root, last[&y.root]);
                taken.insert(y.root, root);
            }
        }
        taken
    }

    fn touches(&self, step: &Step) -> (Vec<Root>, Vec<Root>) {
        let roots = |ids: &[usize]| ids.iter().map(|&t| self.tensors[t].view.root).collect::<Vec<_>>();
        match step {
            Step::Forward(n) => (roots(&self.nodes[*n].x), roots(&self.nodes[*n].y)),
            Step::Backward { node, x, y, dy, dx, add, .. } => {
                let needs = self.nodes[*node].op.needs();
                let some = |views: &[View], bits: u32| {
                    views.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, v)| v.root).collect::<Vec<_>>()
                };
                let mut reads = some(x, needs.x);
                reads.extend(some(y, needs.y));
                reads.extend(dy.iter().flatten().map(|v| v.root));
                reads.extend(dx.iter().enumerate().filter(|(i, _)| add >> i & 1 == 1).filter_map(|(_, v)| v.as_ref()).map(|v| v.root));
                (reads, dx.iter().flatten().map(|v| v.root).collect())
            }
            Step::Accumulate { dst, src, .. } => (vec![src.root], vec![dst.root]),
            Step::Fill { dst, .. } => (Vec::new(), vec![dst.root]),
            Step::Update { op, x } => {
                let written = x.iter().enumerate().filter(|(i, _)| op.writes() >> i & 1 == 1).map(|(_, v)| v.root);
                (x.iter().map(|v| v.root).collect(), written.collect())
            }
        }
    }
}
