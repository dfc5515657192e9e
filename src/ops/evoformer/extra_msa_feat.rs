//! The 25 features of a residue in a row of the extra alignment (supplement 1.2.9, Table 1 `extra_msa_feat`).

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::view::padded;
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};

fn source() -> &'static Source {
    shader!("evoformer/extra_msa_feat")
}

/// Kinds of residue, with gap and mask.
const KINDS: usize = 23;

/// `extra_msa [n_extra, n_res] i32`, `has_deletion` and `deletion_value`, both `[n_extra, n_res]`, to `[n_extra, n_res, 25]`: a one-hot of 23
/// kinds, then the other two. There is no gradient.
#[derive(Debug, Clone, Copy)]
pub struct ExtraMsaFeat;

impl Op for ExtraMsaFeat {
    fn name(&self) -> &'static str {
        "extra_msa_feat"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let fits = x[0].len() == 2 && x[1] == x[0] && x[2] == x[0];
        assert!(fits, "extra_msa_feat of {x:?}: three times [n_extra, n_res]");
        vec![Spec::of(&[x[0][0], x[0][1], KINDS + 2])]
    }

    fn differentiable(&self, _i: usize) -> bool {
        false
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let n_res = x[0].width();
        let uniform = UniformData::of(&[("n_res", n_res.into()), ("pitch", padded(n_res).into())]);
        let row = [cut(1, 0, 1)];
        let launch = Launch::new(source(), "forward", uniform, [(n_res * y[0].groups()).div_ceil(64), x[0].shape[0], 1]);
        let launch = launch.read("kind", &x[0], &row).read("has_deletion", &x[1], &row).read("deletion_value", &x[2], &row);
        r.launch(launch.write("y", &y[0], &row));
    }

    fn backward(&self, _r: &mut Recorder, _b: &Backward) {}

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let one = |at: usize| (0..KINDS).map(move |k| f64::from(u8::from(x[0].data[at] == k as f64))).chain([x[1].data[at], x[2].data[at]]);
        vec![Array::new(&[x[0].shape[0], x[0].shape[1], KINDS + 2], (0..x[0].data.len()).flat_map(one).collect())]
    }
}
