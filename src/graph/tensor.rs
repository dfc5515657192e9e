//! What a handle on a tensor can do: views without copies, sums and products.
//!
//! Must not know any operation's name.

use crate::gpu::View;
use crate::graph::{Graph, Info, Tensor};
use crate::tensor::DType;

impl<'g> Tensor<'g> {
    pub(crate) fn view(&self) -> View {
        self.graph.inner.borrow().tensors[self.id].view.clone()
    }

    /// The graph that it belongs to.
    pub fn graph(&self) -> &'g Graph {
        self.graph
    }

    /// Extent of every axis.
    pub fn shape(&self) -> Vec<usize> {
        self.graph.inner.borrow().tensors[self.id].view.shape.clone()
    }

    /// Number of elements, without padding.
    pub fn len(&self) -> usize {
        self.shape().iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How its elements are stored.
    pub fn dtype(&self) -> DType {
        self.graph.inner.borrow().tensors[self.id].view.dtype
    }

    fn derive(&self, change: impl FnOnce(&View) -> View) -> Tensor<'g> {
        let info = self.graph.inner.borrow().tensors[self.id].clone();
        self.graph.push(Info { view: change(&info.view), ..info })
    }

    /// The part `range` of `axis`, without a copy.
    pub fn slice(&self, axis: usize, range: std::ops::Range<usize>) -> Tensor<'g> {
        self.derive(|v| v.slice(axis, range))
    }

    /// `n` times itself along a new first axis, without a copy: for masks and tables, which have no gradient.
    pub fn repeat(&self, n: usize) -> Tensor<'g> {
        self.derive(|v| View { shape: [&[n], v.shape.as_slice()].concat(), strides: [&[0], v.strides.as_slice()].concat(), ..v.clone() })
    }

    /// The first `width` columns of the innermost axis, which has as many groups: for one whose other columns are zero.
    pub fn narrow(&self, width: usize) -> Tensor<'g> {
        self.derive(|v| v.narrow(width))
    }

    /// The axes in another order, without a copy; the innermost stays.
    pub fn permute(&self, order: &[usize]) -> Tensor<'g> {
        self.derive(|v| v.permute(order))
    }

    /// Neighbouring outer axes under other extents, without a copy, where they lie at one distance.
    pub fn regroup(&self, axes: std::ops::Range<usize>, extents: &[usize]) -> Tensor<'g> {
        self.derive(|v| v.regroup(axes, extents))
    }

    /// The same elements under another shape, without a copy when they are contiguous.
    pub fn reshape(&self, shape: &[usize]) -> Tensor<'g> {
        self.contiguous().derive(|v| v.reshape(shape))
    }

    /// The last two axes `[h, d]` as one of `h` times `d` padded to whole groups, without a copy.
    pub fn merge_last(&self) -> Tensor<'g> {
        self.contiguous().derive(View::merge_last)
    }

    /// The innermost axis as `[h, d]`, where each `d` takes whole groups, without a copy: the inverse of [`Tensor::merge_last`].
    pub fn split_last(&self, h: usize, d: usize) -> Tensor<'g> {
        self.derive(|v| v.split_last(h, d))
    }

    /// Itself, or a contiguous copy.
    pub fn contiguous(&self) -> Tensor<'g> {
        if self.view().is_contiguous() {
            return *self;
        }
        let copy = (self.graph.inner.borrow().builtins.copy)();
        self.graph.apply_all(copy, &[*self])[0]
    }
}

impl<'g> std::ops::Add for Tensor<'g> {
    type Output = Tensor<'g>;
    fn add(self, other: Self) -> Tensor<'g> {
        let op = (self.graph.inner.borrow().builtins.add)();
        self.graph.apply_all(op, &[self, other])[0]
    }
}

impl<'g> std::ops::Mul for Tensor<'g> {
    type Output = Tensor<'g>;
    fn mul(self, other: Self) -> Tensor<'g> {
        let op = (self.graph.inner.borrow().builtins.mul)();
        self.graph.apply_all(op, &[self, other])[0]
    }
}
