//! Layer normalisation over the innermost axis.

use crate::gpu::recorder::{Family, Late, Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::view::LANES;
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};

/// Rows that one partial sum of the parameters' gradients covers: fixed, so that neither chunks nor devices change a bit.
const BLOCK: usize = 64;

/// Groups of a row that one lane of a CPU's subgroup takes.
pub(super) const NARROW: usize = 32;

/// Groups of a row that stay in registers.
const REGISTERS: usize = 64;

fn source() -> &'static Source {
    shader!("basic/layer_norm")
}

/// The family's kernels over rows, and how many rows a workgroup takes.
fn by_rows(r: &Recorder) -> (&'static Source, usize) {
    match r.traits.family {
        Family::Subgroup => (shader!("basic/layer_norm/subgroup"), 16),
        Family::Tiled | Family::Cooperative => (source(), 8),
    }
}

/// `x [.., c], scale [c], offset [c]` to `y [.., c]` and the statistics `[rows, 2]`, which are always f32.
#[derive(Debug, Clone, Copy)]
pub struct LayerNorm {
    /// Added to the variance; AlphaFold's is 1e-5.
    pub eps: f32,
}

impl LayerNorm {
    fn uniform(&self, rows: usize, v: &View) -> UniformData {
        UniformData::of(&[
            ("rows", rows.into()),
            ("width", v.width().into()),
            ("groups", v.groups().into()),
            ("eps", self.eps.into()),
            ("block", BLOCK.into()),
        ])
    }
}

impl Op for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let c = *x[0].last().expect("an axis");
        assert!(x[1] == [c] && x[2] == [c], "layer_norm of {:?} with scale {:?} and offset {:?}", x[0], x[1], x[2]);
        vec![Spec::of(x[0]), Spec::f32(&[x[0].iter().product::<usize>() / c, 2])]
    }

    fn adds(&self, _i: usize) -> bool {
        true
    }

    fn needs(&self) -> Needs {
        Needs { x: 0b011, y: 0b10 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let (rows, out) = (x[0].as_rows(), y[0].as_rows());
        let n = rows.n_rows();
        let (source, per_group) = by_rows(r);
        let by_row = [cut(0, 0, per_group)];
        let narrow = r.traits.family == Family::Subgroup && rows.groups() <= NARROW;
        let entry = if narrow { "forward_narrow" } else { "forward" };
        let launch = Launch::new(source, entry, self.uniform(n, &rows), [n.div_ceil(per_group), 1, 1])
            .read("x", &rows, &by_row)
            .read("scale", &x[1], &[])
            .read("offset", &x[2], &[])
            .write("y", &out, &by_row)
            .write("stats", &y[1], &by_row)
            .flops(8.0 * rows.len() as f64);
        r.launch(if narrow { launch.constant("GROUPS", rows.groups() as f64) } else { launch });
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let to = [0, 1, 2].map(|i| b.dx[i].as_ref().map(|v| (v, b.adds(i))));
        gradients(r, [&b.x[0], &b.x[1], &b.y[1]], b.dy0(), to);
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let (c, mut y) = (x[0].width(), x[0].clone());
        let mut stats = Vec::new();
        for row in y.data.chunks_mut(c) {
            let mean = row.iter().sum::<f64>() / c as f64;
            let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / c as f64;
            let rstd = 1.0 / (variance + f64::from(self.eps)).sqrt();
            row.iter_mut().enumerate().for_each(|(i, v)| *v = (*v - mean) * rstd * x[1].data[i] + x[2].data[i]);
            stats.extend([mean, rstd]);
        }
        vec![y, Array::new(&[stats.len() / 2, 2], stats)]
    }
}

/// Records the gradients of x, scale and offset, each written or added to what is there where it is wanted, from those of the result.
pub(super) fn gradients(r: &mut Recorder, [x, scale, stats]: [&View; 3], dy: &View, to: [Option<(&View, bool)>; 3]) {
    let (x, dy) = (x.as_rows(), dy.as_rows());
    let n = x.n_rows();
    // Statistics are there: epsilon is in them.
    let uniform = || LayerNorm { eps: 0.0 }.uniform(n, &x);
    let (source, per_group) = by_rows(r);
    let (blocks, place) = (n.div_ceil(BLOCK), to[1].or(to[2]).map(|(v, _)| v));
    let part = place.map(|place| r.temp_parts(&[blocks, 2, x.width()], place));
    let rows = |launch: Launch, rows: usize| {
        let by_row = [cut(0, 0, rows)];
        launch.read("x", &x, &by_row).read("stats", stats, &by_row).read("dy", &dy, &by_row)
    };
    let dx = |launch: Launch, (to, add): (&View, bool), rows: usize| {
        let launch = launch.constant("ADD", f64::from(u8::from(add))).read("scale", scale, &[]);
        launch.write("dx", &to.as_rows(), &[cut(0, 0, rows)]).flops(14.0 * x.len() as f64)
    };
    match (to[0], &part) {
        (Some(to), Some(part)) if x.groups() <= REGISTERS => {
            let narrow = r.traits.family == Family::Subgroup && x.groups() <= NARROW;
            let entry = if narrow { "backward_all_narrow" } else { "backward_all" };
            let launch = rows(Launch::new(source, entry, uniform(), [blocks, 1, 1]), BLOCK).write("part", part, &[cut(0, 0, 1)]);
            let launch = dx(launch, to, BLOCK).flops(19.0 * x.len() as f64);
            r.launch(if narrow { launch.constant("GROUPS", x.groups() as f64) } else { launch });
        }
        (to, part) => {
            if let Some(to) = to {
                let launch = Launch::new(source, "backward", uniform(), [n.div_ceil(per_group), 1, 1]);
                r.launch(dx(rows(launch, per_group), to, per_group));
            }
            if let Some(part) = part {
                let launch = Launch::new(self::source(), "backward_part", uniform(), [blocks, x.groups().div_ceil(64), 1]);
                r.launch(rows(launch, BLOCK).write("part", part, &[cut(0, 0, 1)]).flops(5.0 * x.len() as f64));
            }
        }
    }
    let Some(part) = part else { return };
    for (i, to) in to[1..].iter().enumerate() {
        let Some((dx, add)) = *to else { continue };
        let to = View { shape: vec![1, x.width()], strides: vec![x.groups() * LANES, 1], ..dx.clone() };
        r.sum_later(Late { parts: part.slice(1, i..i + 1), to, add });
    }
}
