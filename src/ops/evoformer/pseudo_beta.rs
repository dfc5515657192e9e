//! The position that stands for a residue's side chain: CB, or CA of glycine.

use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};
use crate::ops::rows::{BY_ROW, cotangent, launch};
use crate::protein::letters::restype_of_letter;

fn source() -> &'static Source {
    shader!("evoformer/pseudo_beta")
}

/// `aatype [n] i32, positions [n, 37, 3]` to `[n, 3]`.
#[derive(Debug, Clone, Copy)]
pub struct PseudoBeta;

impl PseudoBeta {
    fn uniform(x: &View) -> UniformData {
        UniformData::of(&[("rows", x.shape[0].into()), ("glycine", (restype_of_letter(b'G') as u32).into())])
    }
}

impl Op for PseudoBeta {
    fn name(&self) -> &'static str {
        "pseudo_beta"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let n = x[0][0];
        assert!(x[0] == [n] && x[1] == [n, 37, 3], "pseudo_beta of {x:?}: aatype is [n], positions [n, 37, 3]");
        vec![Spec::f32(&[n, 3])]
    }

    fn differentiable(&self, i: usize) -> bool {
        i == 1
    }

    fn needs(&self) -> Needs {
        Needs { x: 0b1, y: 0 }
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let launch = launch(source(), "forward", Self::uniform(&x[0]), x[0].shape[0]).read("aatype", &x[0], &BY_ROW);
        r.launch(launch.read("x", &x[1], &BY_ROW).write("y", &y[0], &BY_ROW));
    }

    fn backward(&self, r: &mut Recorder, b: &Backward) {
        let Some(dx) = &b.dx[1] else { return };
        let dy = cotangent(r, b, 0);
        let launch = launch(source(), "backward", Self::uniform(&b.x[0]), b.x[0].shape[0]).read("aatype", &b.x[0], &BY_ROW);
        r.launch(launch.read("dy", &dy, &BY_ROW).write("dx", dx, &BY_ROW));
    }

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let n = x[0].width();
        let slot = |i: usize| if x[0].data[i] as usize == restype_of_letter(b'G') { 1 } else { 3 };
        vec![Array::new(&[n, 3], (0..n * 3).map(|at| x[1].data[(at / 3 * 37 + slot(at / 3)) * 3 + at % 3]).collect())]
    }
}
