//! Work on rows that do not know of each other, recorded in parts where the whole would take much memory.
//!
//! Must not know any operation.

use crate::gpu::View;
use crate::graph::{Graph, Inner, Origin, Tensor};

/// Bytes that the inner tensors of one layer may take where there is no backward pass: little beside one pair representation of a chain so
/// long that it counts, and enough for every product to keep a GPU busy.
const ROOM: u64 = 512 << 20;

/// How much of a recording there is, to go back to.
struct Mark {
    tensors: usize,
    nodes: usize,
    steps: usize,
    roots: usize,
    outputs: usize,
    constants: usize,
    segments: usize,
}

impl Graph {
    /// States that the recording has no backward pass, so that layers may be made in parts; see [`Graph::bound`].
    pub fn forward_only(&self) {
        let room = self.inner.borrow().room.unwrap_or(ROOM);
        self.bound(room);
    }

    /// States that what is recorded from here on has no backward pass, and that the tensors inside a body of [`Graph::rows`] may take about
    /// `bytes` together.
    pub fn bound(&self, bytes: u64) {
        self.inner.borrow_mut().room = Some(bytes);
    }

    /// Records `body`, which makes each row of its result (along the first axis) from the same rows of `x` alone. Where the recording is
    /// bound (see [`Graph::bound`]) and the body's tensors together take more, it is recorded once for every part of the rows, and each
    /// part writes its own rows of the result: no bit depends on it.
    pub fn rows<'g>(&'g self, x: &[Tensor<'g>], body: impl Fn(&[Tensor<'g>]) -> Tensor<'g>) -> Tensor<'g> {
        self.rows_from(x, |x, _| body(x))
    }

    /// The same for a body that is also told how many rows are before those that it is given.
    pub fn rows_from<'g>(&'g self, x: &[Tensor<'g>], body: impl Fn(&[Tensor<'g>], usize) -> Tensor<'g>) -> Tensor<'g> {
        let Some(room) = self.inner.borrow().room else { return body(x, 0) };
        let n = x[0].shape()[0];
        assert!(x.iter().all(|t| t.shape()[0] == n), "rows of {x:?}: the first axis of all inputs is the same");
        let mark = self.inner.borrow().mark();
        let whole = body(x, 0);
        assert_eq!(whole.shape()[0], n, "a body of {n} rows gives {whole:?}");
        let inside = self.inner.borrow().bytes_since(&mark, &whole.view());
        if inside <= room || n == 1 {
            return whole;
        }
        let View { shape, dtype, .. } = whole.view();
        self.inner.borrow_mut().undo(&mark);
        let step = (n as u64 * room / inside).max(1) as usize;
        let result = {
            let mut inner = self.inner.borrow_mut();
            let node = inner.nodes.len();
            let id = inner.new_output(node, "rows", &shape, Some(dtype));
            Tensor { graph: self, id }
        };
        for from in (0..n).step_by(step) {
            let range = from..(from + step).min(n);
            let part: Vec<Tensor<'g>> = x.iter().map(|t| t.slice(0, range.clone())).collect();
            let mark = self.inner.borrow().mark();
            let made = body(&part, from);
            let to = result.view().slice(0, range);
            self.inner.borrow_mut().move_to(made.id, to, &mark);
        }
        result
    }
}

/// What a layer makes of rows alone, such as their norm, for several bodies of [`Graph::rows`]: held, or made again by each body where that
/// takes less memory.
#[derive(Debug)]
pub struct Again<'g, F> {
    x: Tensor<'g>,
    held: bool,
    make: F,
}

impl<'g, F: Fn(Tensor<'g>) -> Tensor<'g>> Again<'g, F> {
    /// What a body of rows is given.
    pub fn rows(&self) -> Tensor<'g> {
        self.x
    }

    /// The layer's result for the rows that a body is given.
    pub fn of(&self, rows: Tensor<'g>) -> Tensor<'g> {
        if self.held { rows } else { (self.make)(rows) }
    }
}

impl Graph {
    /// Whether a tensor of so many elements may be held, rather than made by each body of rows.
    pub fn holds(&self, elements: usize) -> bool {
        let inner = self.inner.borrow();
        inner.room.is_none_or(|room| (elements * inner.storage.size()) as u64 <= room)
    }

    /// How many of `n` things that know nothing of each other may go through layers together, whose tensors have so many elements for each:
    /// where four of such tensors may be held, one at least.
    pub fn at_once(&self, n: usize, elements: usize) -> usize {
        (2..=n).rev().find(|some| self.holds(4 * some * elements)).unwrap_or(1)
    }

    /// `make(x)`, which bodies of rows read: see [`Again`].
    pub fn again<'g, F: Fn(Tensor<'g>) -> Tensor<'g>>(&'g self, x: Tensor<'g>, make: F) -> Again<'g, F> {
        let room = self.inner.borrow().room;
        let held = room.is_none_or(|room| self.inner.borrow().roots[x.view().root.0 as usize].bytes <= room);
        Again { x: if held { make(x) } else { x }, held, make }
    }
}

impl Inner {
    fn mark(&self) -> Mark {
        Mark {
            tensors: self.tensors.len(),
            nodes: self.nodes.len(),
            steps: self.steps.len(),
            roots: self.roots.len(),
            outputs: self.outputs.len(),
            constants: self.constants.len(),
            segments: self.segments,
        }
    }

    /// Goes back to what was recorded at the mark.
    fn undo(&mut self, mark: &Mark) {
        self.tensors.truncate(mark.tensors);
        self.nodes.truncate(mark.nodes);
        self.steps.truncate(mark.steps);
        self.roots.truncate(mark.roots);
        self.outputs.truncate(mark.outputs);
        self.constants.truncate(mark.constants);
        self.segments = mark.segments;
        self.param_ids.retain(|_, id| *id < mark.tensors);
        self.once.retain(|_, id| *id < mark.tensors);
    }

    /// Bytes of all tensors since the mark, without those of `result`.
    fn bytes_since(&self, mark: &Mark, result: &View) -> u64 {
        let all: u64 = self.roots[mark.roots..].iter().map(|r| r.bytes).sum();
        all - self.roots[result.root.0 as usize].bytes
    }

    /// Lets the node that makes tensor `id` write it to `to`.
    fn move_to(&mut self, id: usize, to: View, mark: &Mark) {
        let view = &self.tensors[id].view;
        let made = matches!(self.tensors[id].origin, Origin::Node(n) if n >= mark.nodes && self.nodes[n].y.contains(&id));
        let parts = self.tensors.iter().filter(|t| t.base == id).count();
        let read = self.nodes[mark.nodes..].iter().any(|n| n.x.contains(&id));
        let fits = view.shape == to.shape && view.dtype == to.dtype;
        assert!(made && parts == 1 && !read && fits, "a body of rows gives {view:?}, which is not a new tensor for {to:?}");
        self.tensors[id].view = to;
    }
}
