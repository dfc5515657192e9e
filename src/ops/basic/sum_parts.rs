//! Many sums over parts in one dispatch: the last step of the gradients of weights, biases, scales and offsets.

use crate::gpu::recorder::{Late, Launch};
use crate::gpu::shader::{TABLE, UniformData};
use crate::gpu::view::LANES;
use crate::gpu::{Recorder, View};
use crate::ops::basic::copy::accumulate;
use crate::ops::basic::sum;
use crate::tensor::DType;

/// Invocations of a workgroup, a group of four columns each.
const GROUPS: usize = 64;

/// Records sums over parts: those whose parts lie in one piece of memory, and which one binding reaches, together.
pub fn record(r: &mut Recorder, mut all: Vec<Late>) {
    all.sort_by_key(|l| (l.parts.root, l.to.root, l.to.offset));
    let limit = (r.traits.max_binding as usize).saturating_sub(1024) / DType::F32.size();
    let mut some: Vec<Late> = Vec::new();
    for late in all {
        let ok = [&late.parts, &late.to].iter().all(|v| v.full_span().len() <= limit && v.dtype == DType::F32) && late.to.is_contiguous();
        if !ok {
            alone(r, &late);
            continue;
        }
        let fits = |some: &[Late]| {
            let first = &some[0];
            let reach = |of: fn(&Late) -> &View| span(some.iter().chain([&late]).map(of)).len() <= limit;
            let same = first.parts.root == late.parts.root && first.to.root == late.to.root;
            same && some.len() < TABLE / 2 && reach(|l| &l.parts) && reach(|l| &l.to)
        };
        if !some.is_empty() && !fits(&some) {
            together(r, &some);
            some.clear();
        }
        some.push(late);
    }
    if !some.is_empty() {
        together(r, &some);
    }
}

/// The elements from the first to one past the last that any of the views touches.
fn span<'a>(views: impl Iterator<Item = &'a View>) -> std::ops::Range<usize> {
    views.map(View::full_span).reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)).expect("a view")
}

/// A sum that needs windows, or whose place is not plain memory.
fn alone(r: &mut Recorder, late: &Late) {
    let reduced: Vec<bool> = (0..late.parts.shape.len()).map(|axis| axis == 0).collect();
    if late.add {
        let held = r.temp(&late.to.shape, DType::F32);
        sum::record(r, &late.parts, &reduced, false, &held, 1.0);
        accumulate(r, &late.to, &held);
    } else {
        sum::record(r, &late.parts, &reduced, false, &late.to, 1.0);
    }
}

fn together(r: &mut Recorder, some: &[Late]) {
    let flat = |views: Vec<&View>| {
        let span = span(views.iter().copied());
        View { offset: span.start, shape: vec![span.len()], strides: vec![1], ..views[0].clone() }
    };
    let (from, to) = (flat(some.iter().map(|l| &l.parts).collect()), flat(some.iter().map(|l| &l.to).collect()));
    let mut rows = Vec::new();
    let (mut workgroups, mut adds) = (0, 0);
    for late in some {
        let groups = late.to.n_rows() * late.to.groups();
        let at = |v: &View, of: &View| (v.offset - of.offset) / LANES;
        rows.push([workgroups, at(&late.parts, &from), at(&late.to, &to), groups].map(|v| v as u32));
        rows.push([late.parts.shape[0], late.parts.strides[0] / LANES, usize::from(late.add), 0].map(|v| v as u32));
        workgroups += groups.div_ceil(GROUPS);
        adds += late.parts.len();
    }
    let fields = [("entries", some.len().into()), ("block", sum::BLOCK.into()), ("short", sum::SHORT.into())];
    let uniform = UniformData::of(&fields).table("table", &rows);
    let launch = Launch::new(shader!("basic/sum_parts"), "sum_parts", uniform, [workgroups, 1, 1]);
    r.launch(launch.read("parts", &from, &[]).write("to", &to, &[]).flops(adds as f64));
}
