//! Views as four outer axes and an innermost one, for kernels that take any strided view.

use crate::gpu::view::{LANES, View};

/// Extents and strides (in groups of four) of four outer axes, and the innermost extent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axes {
    /// Extents; missing outer axes are 1.
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
        let (extent, to) = (view.shape[axis - missing], 4 - outer + axis);
        assert!(extent == full[axis] || extent == 1, "{op}: {:?} does not broadcast to {full:?}", view.shape);
        out.n[to] = extent;
        out.s[to] = if extent == 1 { 0 } else { view.strides[axis - missing] / LANES };
    }
    assert!(view.width() == full[outer] || view.width() == 1, "{op}: {:?} does not broadcast to {full:?}", view.shape);
    out
}

/// The axis of `view` that [`axes`] puts first, along which the grid's second dimension runs, if the view has it.
pub(super) fn first_axis(view: &View, full: &[usize]) -> Option<usize> {
    (full.len() == 5 && view.shape.len() == 5).then_some(0)
}
