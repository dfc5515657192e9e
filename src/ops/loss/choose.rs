//! Algorithm 26 Rename symmetric ground truth atoms, line 7: for each residue, the truth under one naming or under the other.

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::view::LANES;
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};

fn source() -> &'static Source {
    shader!("loss/choose")
}

/// `b [n]` of zeros and ones, `x [n, ..]` and `alt [n, ..]` to `x` where b is 0 and `alt` where it is 1. The truth has no gradient.
#[derive(Debug, Clone, Copy)]
pub struct Choose;

impl Op for Choose {
    fn name(&self) -> &'static str {
        "choose"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        assert!(x[0] == [x[1][0]] && x[1] == x[2] && x[1].len() > 1, "choose of {x:?}");
        vec![Spec::f32(x[1])]
    }

    fn differentiable(&self, _i: usize) -> bool {
        false
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let n = y[0].shape[0];
        let groups = y[0].n_rows() / n * y[0].groups();
        let p = UniformData::of(&[("rows", n.into()), ("groups", groups.into())]);
        // The vector's windows begin at whole groups of residues only, so it is bound whole.
        let by_row = [cut(1, 0, 1)];
        r.launch(
            Launch::new(source(), "forward", p, [groups.div_ceil(LANES * 16), n, 1])
                .read("b", &x[0], &[])
                .read("x", &x[1], &by_row)
                .read("alt", &x[2], &by_row)
                .write("y", &y[0], &by_row)
                .flops(3.0 * y[0].len() as f64),
        );
    }

    fn backward(&self, _r: &mut Recorder, _b: &Backward) {
        panic!("choose has no gradient");
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let row = x[1].data.len() / x[0].data.len();
        let y = (0..x[1].data.len()).map(|k| if x[0].data[k / row] == 1.0 { x[2].data[k] } else { x[1].data[k] });
        vec![Array::new(&x[1].shape, y.collect())]
    }
}
