//! Views as four outer axes and an innermost one, for kernels that take any strided view.

use crate::gpu::recorder::{Cut, cut};
use crate::gpu::view::{LANES, View, contiguous_strides};

/// Extents and strides (in groups of four) of four outer axes, and the innermost extent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axes {
    /// Extents, the outermost axis first; axes that do not exist are 1 and come last.
    pub n: [usize; 4],
    /// Strides in groups; 0 along broadcast axes.
    pub s: [usize; 4],
    /// Extent of the innermost axis.
    pub width: usize,
}

/// The axes of `view`, seen as one of shape `full` (the same or a broadcast one); more than five axes panic.
pub(super) fn axes(view: &View, full: &[usize], op: &str) -> Axes {
    assert!(full.len() <= 5 && view.shape.len() <= full.len(), "{op}: {:?} as {full:?}; at most five axes", view.shape);
    let mut out = Axes { n: [1; 4], s: [0; 4], width: view.width() };
    let (outer, missing) = (full.len() - 1, full.len() - view.shape.len());
    for axis in missing..outer {
        let extent = view.shape[axis - missing];
        assert!(extent == full[axis] || extent == 1, "{op}: {:?} does not broadcast to {full:?}", view.shape);
        out.n[axis] = extent;
        out.s[axis] = if extent == 1 { 0 } else { view.strides[axis - missing] / LANES };
    }
    assert!(view.width() == full[outer] || view.width() == 1, "{op}: {:?} does not broadcast to {full:?}", view.shape);
    out
}

/// How a binding follows the grid's second dimension, which runs along the first of the [`axes`]; a view that is broadcast there is
/// needed whole.
pub(super) fn first_axis(view: &View, full: &[usize]) -> Vec<Cut> {
    let cuttable = full.len() > 1 && view.shape.len() == full.len() && view.shape[0] == full[0];
    if cuttable { vec![cut(1, 0, 1)] } else { Vec::new() }
}

/// A contiguous view as `[groups, 4]`, so that elementwise kernels are cut anywhere between groups.
pub(super) fn as_groups(view: &View) -> View {
    let rows = view.as_rows();
    let shape = vec![rows.n_rows() * rows.groups(), LANES];
    View { strides: vec![LANES, 1], shape, ..rows }
}

/// A contiguous view under a shape that keeps its padded rows: the product of the outer axes and the innermost extent stay.
pub(super) fn as_shape(view: &View, shape: &[usize]) -> View {
    let rows = view.as_rows();
    let outer: usize = shape[..shape.len() - 1].iter().product();
    assert!(outer == rows.n_rows() && shape.last() == Some(&rows.width()), "{:?} cannot be seen as {shape:?}", view.shape);
    View { strides: contiguous_strides(shape), shape: shape.to_vec(), ..rows }
}
