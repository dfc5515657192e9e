//! Contiguous copies of strided views, addition in place, and constants.

use crate::gpu::recorder::Launch;
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec, Update};
use crate::ops::axes::{too_wide, walk, walk_rows};

fn source() -> &'static Source {
    shader!("basic/copy")
}

/// A contiguous copy of any strided view.
#[derive(Debug)]
pub struct Copy;

fn record(r: &mut Recorder, entry: &'static str, src: Option<&View>, dst: &View, add: bool, value: f32) {
    if let Some(axis) = src.and_then(|v| too_wide(r, v)).or_else(|| too_wide(r, dst)) {
        let middle = dst.shape[axis].div_ceil(2);
        for part in [0..middle, middle..dst.shape[axis]] {
            let src = src.map(|v| v.slice(axis, part.clone()));
            record(r, entry, src.as_ref(), &dst.slice(axis, part), add, value);
        }
        return;
    }
    let from = src.unwrap_or(dst);
    assert_eq!(from.shape, dst.shape, "copy between different shapes");
    // A constant knows its padding only from whole rows.
    let w = if src.is_some() { walk([dst, from], &dst.shape, "copy") } else { walk_rows([dst, dst], &dst.shape, "copy") };
    let [y, x] = &w.axes;
    let uniform = UniformData::of(&[
        ("n1", y.n[1].into()),
        ("n2", y.n[2].into()),
        ("n3", y.n[3].into()),
        ("groups", w.views[0].groups().into()),
        ("x0", x.s[0].into()),
        ("x1", x.s[1].into()),
        ("x2", x.s[2].into()),
        ("x3", x.s[3].into()),
        ("y0", y.s[0].into()),
        ("y1", y.s[1].into()),
        ("y2", y.s[2].into()),
        ("y3", y.s[3].into()),
        ("add", usize::from(add).into()),
        ("width", w.views[0].width().into()),
        ("log", w.log.into()),
        ("value", value.into()),
    ]);
    let mut launch =
        Launch::new(source(), entry, uniform, w.groups).write("y", &w.views[0], &w.cuts[0]).constant("FLAT", f64::from(u8::from(w.flat)));
    if src.is_some() {
        launch = launch.read("x", &w.views[1], &w.cuts[1]);
    }
    r.launch(launch.flops(if add { dst.len() as f64 } else { 0.0 }));
}

/// `dst += src` for two views of the same shape.
pub fn accumulate(r: &mut Recorder, dst: &View, src: &View) {
    record(r, "copy", Some(src), dst, true, 0.0);
}

/// `dst = src` for two views of the same shape.
pub fn copy(r: &mut Recorder, dst: &View, src: &View) {
    record(r, "copy", Some(src), dst, false, 0.0);
}

/// Sets every element to `value`, the padding to zero.
pub fn fill(r: &mut Recorder, dst: &View, value: f32) {
    record(r, "fill", None, dst, false, value);
}

impl Op for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        vec![Spec::of(x[0])]
    }

    fn strided(&self, _i: usize) -> bool {
        true
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        copy(r, &y[0], &x[0]);
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        if let Some(dx) = &b.dx[0] {
            copy(r, dx, b.dy0());
        }
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        vec![x[0].clone()]
    }
}

/// `state [..], value [..]`: the state becomes the value, in whatever each is stored.
impl Update for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn writes(&self) -> u32 {
        0b1
    }

    fn record(&self, r: &mut Recorder, x: &[View]) {
        assert_eq!(x[0].shape, x[1].shape, "a state becomes a value of its own shape");
        copy(r, &x[0], &x[1]);
    }

    fn reference(&self, x: &mut [Array]) {
        x[0].data = x[1].data.clone();
    }
}
