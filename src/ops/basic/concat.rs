//! Concatenation along any axis. The parts of a tensor along an axis need no operation: they are views.

use crate::gpu::Recorder;
use crate::gpu::recorder::Launch;
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::view::{LANES, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::axes::{axes, first_axis};
use crate::ops::basic::copy;

fn source() -> &'static Source {
    shader!("basic/concat")
}

/// Tensors that differ in the extent of `axis` only, one after the other along it.
#[derive(Debug, Clone, Copy)]
pub struct Concat {
    /// The axis along which they follow one another.
    pub axis: usize,
}

impl Concat {
    /// Where operands of these extents begin.
    fn starts<'a>(extents: impl Iterator<Item = usize> + 'a) -> impl Iterator<Item = usize> + 'a {
        extents.scan(0, |next, n| {
            *next += n;
            Some(*next - n)
        })
    }

    /// One operand `x` (or its gradient) on the innermost axis of `y` (or its gradient), from element `start` on.
    fn inner(&self, r: &mut Recorder, x: &View, y: &View, start: usize, forward: bool) {
        let (a, b) = (axes(x, &x.shape, "concat"), axes(&View { shape: x.shape.clone(), ..y.clone() }, &x.shape, "concat"));
        let first = start / LANES;
        let groups = if forward { (start + x.width()).div_ceil(LANES) - first } else { x.groups() };
        let uniform = UniformData::of(&[
            ("n1", a.n[1].into()),
            ("n2", a.n[2].into()),
            ("n3", a.n[3].into()),
            ("groups", groups.into()),
            ("first", first.into()),
            ("start", start.into()),
            ("width", x.width().into()),
            ("x0", a.s[0].into()),
            ("x1", a.s[1].into()),
            ("x2", a.s[2].into()),
            ("x3", a.s[3].into()),
            ("y0", b.s[0].into()),
            ("y1", b.s[1].into()),
            ("y2", b.s[2].into()),
            ("y3", b.s[3].into()),
        ]);
        let grid = [(a.n[1] * a.n[2] * a.n[3] * groups).div_ceil(64), a.n[0], 1];
        let (x_cuts, y_cuts) = (first_axis(x, &x.shape), first_axis(y, &y.shape));
        r.launch(match forward {
            true => Launch::new(source(), "forward", uniform, grid).read("x", x, &x_cuts).write("y", y, &y_cuts),
            false => Launch::new(source(), "backward", uniform, grid).read("dy", y, &y_cuts).write("dx", x, &x_cuts),
        });
    }
}

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let mut shape = x[0].to_vec();
        assert!(self.axis < shape.len(), "concat of {x:?} along axis {}", self.axis);
        shape[self.axis] = x.iter().map(|s| s[self.axis]).sum();
        let fits = |s: &[usize]| s.len() == shape.len() && (0..s.len()).all(|a| a == self.axis || s[a] == shape[a]);
        assert!(x.iter().all(|s| fits(s)), "concat of {x:?} along axis {}", self.axis);
        vec![Spec::of(&shape)]
    }

    fn strided(&self, _i: usize) -> bool {
        true
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let y = &y[0];
        let starts = Self::starts(x.iter().map(|v| v.shape[self.axis]));
        for (x, start) in x.iter().zip(starts) {
            match self.axis + 1 == y.shape.len() {
                true => self.inner(r, x, y, start, true),
                false => copy::copy(r, &y.slice(self.axis, start..start + x.shape[self.axis]), x),
            }
        }
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let dy = b.dy0();
        let starts = Self::starts(b.x.iter().map(|v| v.shape[self.axis]));
        for (dx, start) in b.dx.iter().zip(starts) {
            let Some(dx) = dx else { continue };
            match self.axis + 1 == dy.shape.len() {
                true => self.inner(r, dx, dy, start, false),
                false => copy::copy(r, dx, &dy.slice(self.axis, start..start + dx.shape[self.axis])),
            }
        }
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let outer: usize = x[0].shape[..self.axis].iter().product();
        let row = |a: &Array| a.shape[self.axis..].iter().product::<usize>();
        let rows = (0..outer).flat_map(|i| x.iter().flat_map(move |a| a.data[i * row(a)..(i + 1) * row(a)].to_vec()));
        let mut shape = x[0].shape.clone();
        shape[self.axis] = x.iter().map(|a| a.shape[self.axis]).sum();
        vec![Array::new(&shape, rows.collect())]
    }
}
