//! Elementwise sum and product with broadcasting.

use crate::gpu::recorder::{Cut, Launch};
use crate::gpu::shader::{Scalar, Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::axes::{Axes, as_shape, axes, first_axis, too_wide, walk};
use crate::ops::basic::sum;

fn source() -> &'static Source {
    shader!("basic/binary")
}

/// `y = a + b`, or `a * b`; axes are aligned from the innermost, extents of 1 are repeated.
#[derive(Debug, Clone, Copy)]
pub struct Binary {
    /// Product instead of sum.
    pub mul: bool,
}

fn broadcast(a: &[usize], b: &[usize], op: &str) -> Vec<usize> {
    let rank = a.len().max(b.len());
    let at = |s: &[usize], axis: usize| if axis + s.len() < rank { 1 } else { s[axis + s.len() - rank] };
    let join = |axis| match (at(a, axis), at(b, axis)) {
        (x, y) if x == y => x,
        (1, y) => y,
        (x, 1) => x,
        _ => panic!("{op}: {a:?} and {b:?} do not broadcast"),
    };
    (0..rank).map(join).collect()
}

/// The axes of `full` that `part` was broadcast along, and `part` without them (but for the innermost), where a sum can write it as it lies:
/// the gradient of what was added many times, in blocks that windows may part.
fn summed(full: &View, part: &View) -> Option<(Vec<bool>, View)> {
    let missing = full.shape.len() - part.shape.len();
    let extent = |axis: usize| if axis < missing { 1 } else { part.shape[axis - missing] };
    let reduced: Vec<bool> = (0..full.shape.len()).map(|axis| extent(axis) != full.shape[axis]).collect();
    let last = full.shape.len() - 1;
    let mut shape: Vec<usize> = (0..last).filter(|&axis| !reduced[axis]).map(extent).collect();
    shape.push(part.width());
    let plain = full.shape.len() <= 4 && part.is_contiguous() && reduced.contains(&true);
    plain.then(|| (reduced, as_shape(&part.as_rows(), &shape)))
}

impl Binary {
    /// The uniform block for operand `a`, the other operand `b` and the result's geometry; `e` and `d` describe the gradient.
    fn uniform(self, log: usize, [a, b, y, d]: [&Axes; 4]) -> UniformData {
        let mut fields: Vec<(&'static str, Scalar)> = vec![("mul", usize::from(self.mul).into()), ("log", log.into())];
        let groups = |width: usize| width.div_ceil(4);
        let splat = |o: &Axes| usize::from(o.width == 1 && y.width != 1);
        let mut four = |names: [&'static str; 4], values: [usize; 4]| fields.extend(names.into_iter().zip(values.map(Scalar::from)));
        four(["n0", "n1", "n2", "n3"], y.n);
        fields.extend([("groups", groups(y.width).into()), ("width", y.width.into())]);
        let mut four = |names: [&'static str; 4], values: [usize; 4]| fields.extend(names.into_iter().zip(values.map(Scalar::from)));
        four(["a0", "a1", "a2", "a3"], a.s);
        fields.push(("a_splat", splat(a).into()));
        fields.extend(["b0", "b1", "b2", "b3"].into_iter().zip(b.s.map(Scalar::from)));
        fields.push(("b_splat", splat(b).into()));
        fields.extend(["y0", "y1", "y2", "y3"].into_iter().zip(y.s.map(Scalar::from)));
        fields.extend(["e0", "e1", "e2", "e3"].into_iter().zip(d.n.map(Scalar::from)));
        fields.extend([("e_groups", groups(d.width).into()), ("e_width", d.width.into())]);
        fields.extend(["d0", "d1", "d2", "d3"].into_iter().zip(d.s.map(Scalar::from)));
        UniformData::of(&fields)
    }
}

impl Op for Binary {
    fn name(&self) -> &'static str {
        "binary"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        vec![Spec::of(&broadcast(x[0], x[1], "binary"))]
    }

    fn strided(&self, _i: usize) -> bool {
        true
    }

    fn passes(&self, _i: usize) -> bool {
        !self.mul
    }

    fn needs(&self) -> Needs {
        Needs { x: if self.mul { 0b11 } else { 0 }, y: 0 }
    }

    fn in_place(&self) -> u32 {
        0b11
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let outer = |v: &View| y[0].shape.len() - v.shape.len();
        // An operand whose first two axes are exchanged may reach far along the second one.
        if let Some(axis) = x.iter().find_map(|v| too_wide(r, v).map(|axis| axis + outer(v))) {
            let middle = y[0].shape[axis].div_ceil(2);
            for range in [0..middle, middle..y[0].shape[axis]] {
                let part = |v: &View| match axis.checked_sub(outer(v)) {
                    Some(axis) if v.shape[axis] > 1 => v.slice(axis, range.clone()),
                    _ => v.clone(),
                };
                self.forward(r, &[part(&x[0]), part(&x[1])], &[part(&y[0])]);
            }
            return;
        }
        let w = walk([&y[0], &x[0], &x[1]], &y[0].shape, "binary");
        let [out, a, b] = &w.axes;
        let launch = Launch::new(source(), "forward", self.uniform(w.log, [a, b, out, a]), w.groups)
            .constant("FLAT", f64::from(u8::from(w.flat)))
            .read("a", &w.views[1], &w.cuts[1])
            .read("b", &w.views[2], &w.cuts[2])
            .write("y", &w.views[0], &w.cuts[0]);
        r.launch(launch.flops(y[0].len() as f64));
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let dy = b.dy0();
        let full = &dy.shape;
        for (i, dx) in b.dx.iter().enumerate() {
            let Some(dx) = dx else { continue };
            let other = &b.x[1 - i];
            if dx.shape == *full {
                // A sum's gradient does not read the other operand; the binding must still name valid memory, and dy is at hand.
                let w = walk([dy, dx, if self.mul { other } else { dy }], full, "binary");
                let [out, d, o] = &w.axes;
                let launch = Launch::new(source(), "backward_same", self.uniform(w.log, [d, o, out, d]), w.groups)
                    .constant("FLAT", f64::from(u8::from(w.flat)))
                    .read("dy", &w.views[0], &w.cuts[0])
                    .read("b", &w.views[2], &w.cuts[2])
                    .write("dx", &w.views[1], &w.cuts[1]);
                r.launch(launch.flops(dy.len() as f64));
                continue;
            }
            if let Some((reduced, to)) = (!self.mul).then(|| summed(dy, dx)).flatten() {
                sum::record(r, dy, &reduced, true, &to, 1.0);
                continue;
            }
            let [d, o, out] = [dx, other, dy].map(|v| axes(v, full, "binary"));
            let inner = d.n[1] * d.n[2] * d.n[3] * dx.groups();
            let same = d.n[0] == out.n[0];
            let cut_of = |v: &View| -> Vec<Cut> { if same { first_axis(v, full) } else { Vec::new() } };
            let uniform = self.uniform(0, [&d, &o, &out, &d]);
            let mut launch = Launch::new(source(), "backward", uniform, [inner.div_ceil(64), d.n[0], 1]).read("dy", dy, &cut_of(dy)).write(
                "dx",
                dx,
                &cut_of(dx),
            );
            launch = if self.mul { launch.read("b", other, &cut_of(other)) } else { launch.read("b", dy, &cut_of(dy)) };
            r.launch(launch.flops(dy.len() as f64 * 2.0));
        }
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let shape = broadcast(&x[0].shape, &x[1].shape, "binary");
        let mut y = Array::zeros(&shape);
        let index = |a: &Array, flat: usize| {
            let (mut rest, mut at, mut stride) = (flat, 0, 1);
            for axis in (0..shape.len()).rev() {
                let i = rest % shape[axis];
                rest /= shape[axis];
                if axis + a.shape.len() >= shape.len() {
                    let extent = a.shape[axis + a.shape.len() - shape.len()];
                    at += if extent == 1 { 0 } else { i * stride };
                    stride *= extent;
                }
            }
            a.data[at]
        };
        for flat in 0..y.data.len() {
            let (a, b) = (index(&x[0], flat), index(&x[1], flat));
            y.data[flat] = if self.mul { a * b } else { a + b };
        }
        vec![y]
    }
}
