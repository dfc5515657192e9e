//! Strided views of device memory that has not been placed yet.
//!
//! A [`Root`] is one piece of memory to come; a [`View`] names a part of it by offset, extents and strides. In device memory the
//! innermost axis is padded to a multiple of [`LANES`] elements, its stride is 1, and the padding always holds zero: kernels own whole
//! groups of four, and a contraction over a padded axis adds nothing.

use crate::tensor::DType;

/// Elements in a group: the unit of every load and store.
pub const LANES: usize = 4;

/// Every parameter begins at a multiple of this many elements of its arena, which every adapter can bind; so long is the arena, too.
pub const ARENA_UNIT: usize = 64;

/// `n` rounded up to whole groups.
pub fn padded(n: usize) -> usize {
    n.div_ceil(LANES) * LANES
}

/// One piece of memory, placed by the plan (transient) or by a store (persistent).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Root(pub u32);

/// A strided part of a root. Offsets and strides count elements and are multiples of [`LANES`]; the innermost stride is 1.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// The memory it lies in.
    pub root: Root,
    /// First element.
    pub offset: usize,
    /// Extent of every axis; a scalar has one axis of extent 1.
    pub shape: Vec<usize>,
    /// Distance between neighbours along every axis.
    pub strides: Vec<usize>,
    /// How elements are stored.
    pub dtype: DType,
}

/// The strides of a contiguous padded tensor.
pub fn contiguous_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        let inner = if axis + 2 == shape.len() { padded(shape[axis + 1]) } else { shape[axis + 1] };
        strides[axis] = strides[axis + 1] * inner;
    }
    strides
}

/// Elements that a contiguous tensor takes, padding included.
pub fn padded_len(shape: &[usize]) -> usize {
    let (last, outer) = shape.split_last().expect("a tensor has at least one axis");
    outer.iter().product::<usize>() * padded(*last)
}

impl View {
    /// A whole root of this shape.
    pub fn whole(root: Root, shape: &[usize], dtype: DType) -> Self {
        Self { root, offset: 0, shape: shape.to_vec(), strides: contiguous_strides(shape), dtype }
    }

    /// Whether the elements lie as a freshly made tensor of this shape would.
    pub fn is_contiguous(&self) -> bool {
        let plain = contiguous_strides(&self.shape);
        (0..self.shape.len()).all(|a| self.shape[a] == 1 || self.strides[a] == plain[a])
    }

    /// Number of elements, without padding.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Extent of the innermost axis.
    pub fn width(&self) -> usize {
        *self.shape.last().expect("a tensor has at least one axis")
    }

    /// Groups in a row of the innermost axis.
    pub fn groups(&self) -> usize {
        padded(self.width()) / LANES
    }

    /// Rows: the product of all axes but the innermost.
    pub fn n_rows(&self) -> usize {
        self.shape[..self.shape.len() - 1].iter().product()
    }

    /// The same contiguous memory as `[rows, width]`.
    pub fn as_rows(&self) -> Self {
        assert!(self.is_contiguous(), "rows of a view that is not contiguous: {self:?}");
        let shape = vec![self.n_rows(), self.width()];
        Self { strides: contiguous_strides(&shape), shape, ..self.clone() }
    }

    /// The part `range` of `axis`; on the innermost axis both ends must be whole groups (or the axis's own end).
    pub fn slice(&self, axis: usize, range: std::ops::Range<usize>) -> Self {
        let extent = self.shape[axis];
        assert!(range.start <= range.end && range.end <= extent, "slice {range:?} of axis {axis} of {:?}", self.shape);
        if axis + 1 == self.shape.len() {
            let whole = range.start.is_multiple_of(LANES) && (range.end == extent || range.end.is_multiple_of(LANES));
            assert!(whole, "slice {range:?} of the innermost axis of {:?} cuts a group of {LANES}", self.shape);
        }
        let mut view = self.clone();
        view.offset += range.start * self.strides[axis];
        view.shape[axis] = range.len();
        view
    }

    /// Part `i` of an outer axis, without that axis.
    pub fn nth(&self, axis: usize, i: usize) -> Self {
        assert!(axis + 1 < self.shape.len(), "part {i} of axis {axis} of {:?}", self.shape);
        let mut view = self.slice(axis, i..i + 1);
        view.shape.remove(axis);
        view.strides.remove(axis);
        view
    }

    /// The first `width` elements of the innermost axis, which takes as many groups: those beyond are zero, as padding is.
    pub fn narrow(&self, width: usize) -> Self {
        assert_eq!(padded(width), padded(self.width()), "{:?} has other groups than {width} columns", self.shape);
        let mut view = self.clone();
        *view.shape.last_mut().expect("an axis") = width;
        view
    }

    /// The axes in another order; the innermost stays where it is.
    pub fn permute(&self, order: &[usize]) -> Self {
        let last = self.shape.len() - 1;
        assert!(order.len() == last + 1 && order[last] == last, "permutation {order:?} of {:?} moves the innermost axis", self.shape);
        let mut view = self.clone();
        for (to, &from) in order.iter().enumerate() {
            (view.shape[to], view.strides[to]) = (self.shape[from], self.strides[from]);
        }
        view
    }

    /// Neighbouring outer axes under other extents, of a view in which they lie at one distance.
    pub fn regroup(&self, axes: std::ops::Range<usize>, extents: &[usize]) -> Self {
        let (mut count, mut unit) = (1, self.strides[axes.end - 1]);
        for axis in axes.clone().rev().filter(|&axis| self.shape[axis] != 1) {
            unit = if count == 1 { self.strides[axis] } else { unit };
            assert_eq!(self.strides[axis], unit * count, "axes {axes:?} of {self:?} as {extents:?}");
            count *= self.shape[axis];
        }
        let fits = count == extents.iter().product::<usize>() && axes.end < self.shape.len();
        assert!(fits, "axes {axes:?} of {:?} as {extents:?}", self.shape);
        let mut view = self.clone();
        view.shape.splice(axes.clone(), extents.iter().copied());
        view.strides.splice(axes, (0..extents.len()).map(|i| unit * extents[i + 1..].iter().product::<usize>()));
        view
    }

    /// The same contiguous elements under another shape with the same padded innermost axis, or with none of them padded.
    pub fn reshape(&self, shape: &[usize]) -> Self {
        assert!(self.is_contiguous(), "reshape of a view that is not contiguous: {self:?}");
        let same = self.len() == shape.iter().product::<usize>() && padded_len(&self.shape) == padded_len(shape);
        assert!(same, "{:?} cannot be seen as {shape:?} in padded memory", self.shape);
        Self { shape: shape.to_vec(), strides: contiguous_strides(shape), ..self.clone() }
    }

    /// The last two axes of a contiguous view as one, padding included.
    pub fn merge_last(&self) -> Self {
        assert!(self.is_contiguous() && self.shape.len() > 1, "the last two axes of {self:?} as one");
        let mut shape = self.shape.clone();
        let width = padded(shape.pop().expect("two axes"));
        *shape.last_mut().expect("two axes") *= width;
        Self { strides: contiguous_strides(&shape), shape, ..self.clone() }
    }

    /// The innermost axis as `[h, d]`, each `d` padded to whole groups.
    pub fn split_last(&self, h: usize, d: usize) -> Self {
        assert_eq!(self.width(), h * padded(d), "{:?} as {h} heads of {d}", self.shape);
        let mut view = self.clone();
        let last = view.shape.len() - 1;
        view.shape[last] = h;
        view.strides[last] = padded(d);
        view.shape.push(d);
        view.strides.push(1);
        view
    }

    /// Elements from the first to one past the last group touched, when axis `a` runs over `ranges[a]`, relative to the root.
    pub fn span(&self, ranges: &[std::ops::Range<usize>]) -> std::ops::Range<usize> {
        let (mut lo, mut hi) = (self.offset, self.offset);
        for (axis, range) in ranges.iter().enumerate() {
            lo += range.start * self.strides[axis];
            let last = range.end.saturating_sub(1);
            let last = if axis + 1 == ranges.len() { padded(last + 1) - LANES } else { last };
            hi += last * self.strides[axis];
        }
        lo..hi + LANES
    }

    /// The whole span of the view, relative to its root.
    pub fn full_span(&self) -> std::ops::Range<usize> {
        let ranges: Vec<_> = self.shape.iter().map(|&n| 0..n).collect();
        self.span(&ranges)
    }
}
