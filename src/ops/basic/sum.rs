//! Sums and means over any set of axes, in blocks of a fixed logical size that are added in order.

use crate::gpu::Recorder;
use crate::gpu::recorder::{Cut, Launch, cut};
use crate::gpu::shader::{Scalar, Source, UniformData};
use crate::gpu::view::{LANES, View, padded};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::axes::{as_shape, axes, first_axis};
use crate::tensor::DType;

/// Loads that one partial sum is made of when there are more than [`SHORT`]: fixed, so that neither windows nor devices change a bit.
pub(super) const BLOCK: usize = 64;
/// Loads up to which a sum is made at once.
pub(super) const SHORT: usize = 128;

fn source() -> &'static Source {
    shader!("basic/sum")
}

/// The sum or the mean of `x` over `axes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// The axes that are summed over.
    pub axes: Vec<usize>,
    /// Whether the axes stay, with extent 1. Without them a sum over everything has the shape `[1]`.
    pub keep: bool,
    /// Divided by the number of summands.
    pub mean: bool,
}

impl Sum {
    /// The sum over `axes`, which are dropped.
    pub fn over(axes: &[usize]) -> Self {
        Self { axes: axes.to_vec(), keep: false, mean: false }
    }

    /// The mean over `axes`, which are dropped.
    pub fn mean(axes: &[usize]) -> Self {
        Self { mean: true, ..Self::over(axes) }
    }

    /// The same, the axes kept with extent 1.
    pub fn kept(self) -> Self {
        Self { keep: true, ..self }
    }

    fn reduced(&self, rank: usize) -> Vec<bool> {
        (0..rank).map(|a| self.axes.contains(&a)).collect()
    }

    fn out(&self, x: &[usize]) -> Vec<usize> {
        assert!(self.axes.iter().all(|&a| a < x.len()), "sum of {x:?} over axes {:?}", self.axes);
        let reduced = self.reduced(x.len());
        let pick = |a: usize| if reduced[a] { self.keep.then_some(1) } else { Some(x[a]) };
        let out: Vec<usize> = (0..x.len()).filter_map(pick).collect();
        if out.is_empty() { vec![1] } else { out }
    }

    fn scale(&self, x: &[usize]) -> f32 {
        if self.mean { 1.0 / self.axes.iter().map(|&a| x[a]).product::<usize>() as f32 } else { 1.0 }
    }
}

/// An axis of the input as the kernel walks it: neighbouring axes of one kind are one axis where memory allows.
#[derive(Debug, Clone, Copy)]
struct Axis {
    n: usize,
    stride: usize,
    reduced: bool,
    /// The axis along which the four lanes of an output group lie, when the innermost one is summed away.
    lane: bool,
}

fn merged(x: &View, reduced: &[bool], lane_axis: Option<usize>) -> Vec<Axis> {
    let last = x.shape.len() - 1;
    let outer = (0..last).map(|a| Axis { n: x.shape[a], stride: x.strides[a], reduced: reduced[a], lane: Some(a) == lane_axis });
    let groups = reduced[last].then_some(Axis { n: x.groups(), stride: LANES, reduced: true, lane: false });
    let mut out: Vec<Axis> = Vec::new();
    for axis in outer.chain(groups).filter(|a| a.n != 1 || a.lane) {
        match out.last_mut() {
            Some(top) if top.reduced == axis.reduced && !top.lane && !axis.lane && top.stride == axis.stride * axis.n => {
                *top = Axis { n: top.n * axis.n, ..axis };
            }
            _ => out.push(axis),
        }
    }
    if !out.iter().any(|a| a.reduced) {
        out.push(Axis { n: 1, stride: LANES, reduced: true, lane: false });
    }
    out
}

/// The numbers of a launch; `s` and `t` count groups, in the backward pass `t` counts elements.
#[derive(Debug, Default)]
struct Numbers {
    k: [usize; 4],
    s: [usize; 4],
    r: [usize; 4],
    t: [usize; 4],
    lane_stride: usize,
    groups: usize,
    width: usize,
    block: usize,
    inner: bool,
    scale: f32,
}

impl Numbers {
    fn uniform(&self) -> UniformData {
        let mut fields: Vec<(&'static str, Scalar)> = Vec::new();
        fields.extend(["k0", "k1", "k2", "k3"].into_iter().zip(self.k.map(Scalar::from)));
        fields.extend(["s0", "s1", "s2", "s3"].into_iter().zip(self.s.map(Scalar::from)));
        fields.extend(["r0", "r1", "r2", "r3"].into_iter().zip(self.r.map(Scalar::from)));
        fields.extend(["t0", "t1", "t2", "t3"].into_iter().zip(self.t.map(Scalar::from)));
        fields.extend([("lane_stride", self.lane_stride.into()), ("groups", self.groups.into()), ("width", self.width.into())]);
        fields.extend([("block", self.block.into()), ("inner", u32::from(self.inner).into()), ("scale", self.scale.into())]);
        UniformData::of(&fields)
    }
}

/// Records `y = scale * sum of x` over the axes that `reduced` names. `y` is contiguous and holds the other axes in order; with `keep` a
/// summed innermost axis stays in `y` with extent 1.
pub fn record(r: &mut Recorder, x: &View, reduced: &[bool], keep: bool, y: &View, scale: f32) {
    let last = x.shape.len() - 1;
    let lane_axis = if reduced[last] && !keep { (0..last).rfind(|&a| !reduced[a]) } else { None };
    let list = merged(x, reduced, lane_axis);
    let (rows, width) = (y.n_rows(), y.width());
    let kept: Vec<usize> = (0..list.len()).filter(|&a| !list[a].reduced && !list[a].lane).collect();
    let summed: Vec<usize> = (0..list.len()).filter(|&a| list[a].reduced).collect();
    assert!(kept.len() <= 4 && summed.len() <= 4, "sum of {x:?}: more than four axes to walk; make it contiguous first");
    let loads: usize = summed[1..].iter().map(|&a| list[a].n).product();
    let extent = list[summed[0]].n;
    let block = if extent * loads <= SHORT { extent } else { (BLOCK / loads).max(1) };
    let blocks = extent.div_ceil(block);
    let inner_view = View {
        shape: list.iter().map(|a| a.n).chain([if reduced[last] { LANES } else { x.width() }]).collect(),
        strides: list.iter().map(|a| a.stride).chain([1]).collect(),
        ..x.clone()
    };
    // Grid: x walks output groups (and kept axes but the first), y the first kept axis, z the blocks.
    let groups = padded(width) / LANES;
    let first_on_y = kept.len() > 1 || kept.len() == 1 && groups > 1;
    let mut n = Numbers { k: [1; 4], r: [1; 4], groups, width, block, inner: reduced[last], ..Numbers::default() };
    for (at, &a) in kept.iter().enumerate() {
        let slot = at + usize::from(!first_on_y);
        assert!(slot < 4, "sum of {x:?}: more than four axes to walk; make it contiguous first");
        (n.k[slot], n.s[slot]) = (list[a].n, list[a].stride / LANES);
    }
    for (slot, &a) in summed.iter().enumerate() {
        (n.r[slot], n.t[slot]) = (list[a].n, list[a].stride / LANES);
    }
    n.lane_stride = list.iter().find(|a| a.lane).map_or(0, |a| a.stride / LANES);
    n.scale = if blocks == 1 { scale } else { 1.0 };
    let mid = n.k[1] * n.k[2] * n.k[3];
    assert_eq!(n.k[0] * mid, rows, "sum of {x:?} over {reduced:?} into {:?}", y.shape);
    let out = if blocks == 1 { y.as_rows() } else { r.temp(&[blocks * rows, width], DType::F32) };
    let mut x_cuts = vec![cut(2, summed[0], block)];
    let mut y_cuts: Vec<Cut> = vec![cut(2, 0, 1)];
    if first_on_y {
        x_cuts.push(cut(1, kept[0], 1));
        y_cuts.push(cut(1, 1, 1));
    } else if let Some(&only) = kept.first() {
        x_cuts.push(cut(0, only, 64));
        y_cuts.push(cut(0, 2, 64));
    } else if let Some(lane) = list.iter().position(|a| a.lane) {
        x_cuts.push(cut(0, lane, 64 * LANES));
        y_cuts.push(cut(0, 3, 64 * LANES));
    }
    let launch = Launch::new(source(), "forward", n.uniform(), [(mid * groups).div_ceil(64), n.k[0], blocks])
        .read("x", &inner_view, &x_cuts)
        .write("y", &as_shape(&out, &[blocks, n.k[0], mid, width]), &y_cuts);
    r.launch(launch.flops(x.len() as f64));
    if blocks > 1 {
        record(r, &as_shape(&out, &[blocks, rows, width]), &[true, false, false], true, &y.as_rows(), scale);
    }
}

impl Op for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        vec![Spec::of(&self.out(x[0]))]
    }

    fn strided(&self, _i: usize) -> bool {
        true
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        record(r, &x[0], &self.reduced(x[0].shape.len()), self.keep, &y[0], self.scale(&x[0].shape));
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let Some(dx) = &b.dx[0] else { return };
        let (dy, rank) = (b.dy0(), dx.shape.len());
        let reduced = self.reduced(rank);
        let to = axes(dx, &dx.shape, "sum");
        let mut n = Numbers { k: to.n, s: to.s, groups: dx.groups(), width: dx.width(), ..Numbers::default() };
        n.inner = reduced[rank - 1];
        n.scale = self.scale(&dx.shape);
        let axis_of = |a: usize| if self.keep { a } else { reduced[..a].iter().filter(|x| !**x).count() };
        for a in (0..rank - 1).filter(|&a| !reduced[a]) {
            n.t[a] = dy.strides[axis_of(a)];
        }
        let dy_cuts = if rank > 1 && !reduced[0] && dy.shape.len() > 1 { vec![cut(1, 0, 1)] } else { Vec::new() };
        let inner = to.n[1] * to.n[2] * to.n[3] * dx.groups();
        let launch = Launch::new(source(), "backward", n.uniform(), [inner.div_ceil(64), to.n[0], 1]).read("dy", dy, &dy_cuts).write(
            "dx",
            dx,
            &first_axis(dx, &dx.shape),
        );
        r.launch(launch.flops(dx.len() as f64));
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let shape = &x[0].shape;
        let reduced = self.reduced(shape.len());
        let mut y = Array::zeros(&self.out(shape));
        for (flat, value) in x[0].data.iter().enumerate() {
            let (mut rest, mut at, mut stride) = (flat, 0, 1);
            for axis in (0..shape.len()).rev() {
                let i = rest % shape[axis];
                rest /= shape[axis];
                if !reduced[axis] {
                    at += i * stride;
                    stride *= shape[axis];
                }
            }
            y.data[at] += value;
        }
        let count = if self.mean { self.axes.iter().map(|&a| shape[a]).product::<usize>() } else { 1 };
        y.data.iter_mut().for_each(|v| *v /= count as f64);
        vec![y]
    }
}
