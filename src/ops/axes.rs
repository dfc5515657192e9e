//! Views as four outer axes and an innermost one, for kernels that take any strided view.

use crate::gpu::Recorder;
use crate::gpu::recorder::{Cut, cut};
use crate::gpu::view::{LANES, View, contiguous_strides, padded};

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

/// The axis to halve where one step along the first axis is more than a binding holds; the executor cuts along the first axis alone.
pub(super) fn too_wide(r: &Recorder, view: &View) -> Option<usize> {
    let ranges: Vec<_> = view.shape.iter().enumerate().map(|(axis, &n)| 0..if axis == 0 { n.min(1) } else { n }).collect();
    let last = view.shape.len() - 1;
    // A window begins at an aligned byte, so that a little room is left in front of it.
    let fits = view.span(&ranges).len() * view.dtype.size() <= (r.traits.max_binding as usize).saturating_sub(1024);
    let reach = |&axis: &usize| (view.shape[axis] - 1) * view.strides[axis];
    (1..last).filter(|&axis| !fits && view.shape[axis] > 1).max_by_key(reach)
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

/// How an elementwise kernel walks several views of one shape: neighbouring axes are joined, and whole contiguous tensors are one list of
/// groups, so that kernels seldom divide. `2^log` neighbouring invocations share a row; grid x walks rows, grid y the first of several axes.
#[derive(Debug)]
pub(super) struct Walk<const N: usize> {
    /// The joined views, to be bound.
    pub views: [View; N],
    /// Extents and strides of each.
    pub axes: [Axes; N],
    /// How each follows the grid.
    pub cuts: [Vec<Cut>; N],
    /// Workgroups of 64 invocations.
    pub groups: [usize; 3],
    /// Logarithm of the invocations that share a row.
    pub log: usize,
    /// All are one list of groups, without strides or rows: the kernel needs no loop.
    pub flat: bool,
}

/// Walks views that all have the shape `full` or are broadcast to it; the first one has all of it.
pub(super) fn walk<const N: usize>(views: [&View; N], full: &[usize], op: &str) -> Walk<N> {
    let flat = views.iter().all(|v| v.shape == full && v.is_contiguous());
    Walk { flat, ..walk_joined(if flat { views.map(as_groups) } else { joined(views, full, op) }, op) }
}

/// The same by whole rows, for kernels that must know where rows end.
pub(super) fn walk_rows<const N: usize>(views: [&View; N], full: &[usize], op: &str) -> Walk<N> {
    walk_joined(joined(views, full, op), op)
}

fn walk_joined<const N: usize>(views: [View; N], op: &str) -> Walk<N> {
    let shape = &views[0].shape;
    let outer = shape.len() - 1;
    let groups = padded(shape[outer]) / LANES;
    let log = groups.next_power_of_two().ilog2().min(3) as usize;
    let per_group = 64 >> log;
    // A single outer axis runs along grid x; of several the first runs along grid y, and grid x walks the others.
    let single = outer == 1;
    let of = |v: &View| {
        let mut axes = axes(v, shape, op);
        if single {
            (axes.n, axes.s) = ([1, axes.n[0], 1, 1], [0, axes.s[0], 0, 0]);
        }
        axes
    };
    let follows = |v: &View| {
        if single {
            return Vec::from_iter((v.shape[0] == shape[0]).then(|| cut(0, 0, per_group)));
        }
        // Of two axes each has a dimension of the grid: where one view has them the other way round, both must be cut.
        let (first, second) = (v.shape[0] == shape[0], outer == 2 && v.shape[1] == shape[1]);
        first.then(|| cut(1, 0, 1)).into_iter().chain(second.then(|| cut(0, 1, per_group))).collect()
    };
    let rows: usize = if single { shape[0] } else { shape[1..outer].iter().product() };
    let grid = [rows.div_ceil(per_group), if single { 1 } else { shape[0] }, 1];
    Walk { axes: views.each_ref().map(of), cuts: views.each_ref().map(follows), groups: grid, log, flat: false, views }
}

/// Views of one rank, at least two, with neighbouring outer axes joined where all of them allow it; broadcast axes have extent 1.
fn joined<const N: usize>(views: [&View; N], full: &[usize], op: &str) -> [View; N] {
    let outer = full.len() - 1;
    let at = |v: &View, axis: usize| match (axis + v.shape.len()).checked_sub(full.len()) {
        Some(a) if v.shape[a] == full[axis] => (full[axis], v.strides[a]),
        Some(a) if v.shape[a] != 1 => panic!("{op}: {:?} does not broadcast to {full:?}", v.shape),
        _ => (1, 0),
    };
    let mut list: Vec<[(usize, usize); N]> = Vec::new();
    for axis in (0..outer).filter(|&a| full[a] != 1) {
        let next = views.map(|v| at(v, axis));
        let fits = |top: &[(usize, usize); N]| {
            (0..N).all(|i| (top[i].0 == 1) == (next[i].0 == 1) && (next[i].0 == 1 || top[i].1 == next[i].1 * next[i].0))
        };
        match list.last_mut().filter(|top| fits(top)) {
            Some(top) => (0..N).for_each(|i| top[i] = (top[i].0 * next[i].0, next[i].1)),
            None => list.push(next),
        }
    }
    if list.is_empty() {
        list.push(views.map(|_| (1, 0)));
    }
    let of = |i: usize| View {
        shape: list.iter().map(|a| a[i].0).chain([views[i].width()]).collect(),
        strides: list.iter().map(|a| a[i].1).chain([1]).collect(),
        ..views[i].clone()
    };
    std::array::from_fn(of)
}
