//! The 88 features of a pair of residues in a template (supplement 1.7.1, Table 1 `template_pair_feat`).

use crate::gpu::recorder::{Launch, cut};
use crate::gpu::shader::{Source, UniformData};
use crate::gpu::{Recorder, View};
use crate::op::{Array, Backward, Needs, Op, Spec};

fn source() -> &'static Source {
    shader!("evoformer/template_pair_feat")
}

/// Bins of the distogram.
const BINS: usize = 39;
/// Features of a pair: bins, mask, both types, unit vector, backbone mask.
pub const FEATURES: usize = BINS + 1 + 22 + 22 + 3 + 1;

/// `aatype [t, n] i32` (0..=21), `pseudo_beta [t, n, 3]`, `pseudo_beta_mask [t, n]`, `positions [t, n, 37, 3]`, `masks [t, n, 37]` of t
/// templates to `[n, t n, 88]`, the templates' pairs side by side: bins of the distance between pseudo-betas, the product of their masks, the
/// types of column and row, the unit vector from the row's backbone frame to the column's, the product of the backbone masks, by which everything
/// is multiplied (QUIRKS 17). There is no gradient.
#[derive(Debug, Clone, Copy)]
pub struct TemplatePairFeat {
    /// Whether the unit vectors are there; they are zeros in the released monomer models.
    pub unit_vector: bool,
}

impl Op for TemplatePairFeat {
    fn name(&self) -> &'static str {
        "template_pair_feat"
    }

    fn shapes(&self, x: &[&[usize]]) -> Vec<Spec> {
        let [t, n] = *x[0] else { panic!("template_pair_feat of {x:?}: types are [t, n]") };
        let fits = x[1] == [t, n, 3] && x[2] == [t, n] && x[3] == [t, n, 37, 3] && x[4] == [t, n, 37];
        assert!(fits, "template_pair_feat of {x:?}: [t, n], [t, n, 3], [t, n], [t, n, 37, 3], [t, n, 37]");
        vec![Spec::of(&[n, t * n, FEATURES])]
    }

    fn differentiable(&self, _i: usize) -> bool {
        false
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn forward(&self, r: &mut Recorder, x: &[View], y: &[View]) {
        let [t, n] = x[0].shape[..] else { unreachable!("two axes") };
        let fields = [("n", n.into()), ("templates", t.into()), ("unit_vector", u32::from(self.unit_vector).into())];
        let mut launch = Launch::new(source(), "forward", UniformData::of(&fields), [(n * FEATURES / 4).div_ceil(64), n, t]);
        for (name, view) in ["aatype", "beta", "beta_mask", "atoms", "masks"].into_iter().zip(x) {
            launch = launch.read(name, view, &[]);
        }
        r.launch(launch.write("y", &y[0], &[cut(1, 0, 1)]));
    }

    fn backward(&self, _r: &mut Recorder, _b: &Backward) {}

    fn reference(&self, x: &[Array]) -> Vec<Array> {
        let (templates, n) = (x[0].shape[0], x[0].shape[1]);
        let point = |a: &Array, at: usize| glam::DVec3::from_slice(&a.data[at * 3..at * 3 + 3]);
        let atom = |i: usize, a: usize| point(&x[3], i * 37 + a);
        let backbone = |i: usize| (0..3).map(|a| x[4].data[i * 37 + a]).product::<f64>();
        let mut y = Vec::with_capacity(n * templates * n * FEATURES);
        for (i, t, j) in (0..n * templates * n).map(|at| (at / n / templates, at / n % templates, at % n)) {
            let (i, j) = (t * n + i, t * n + j);
            let mask = backbone(i) * backbone(j);
            let square = point(&x[1], i).distance_squared(point(&x[1], j));
            let edge = |k: usize| (3.25 + 1.25 * k as f64).powi(2);
            let upper = |k: usize| if k + 1 == BINS { 1e8 } else { edge(k + 1) };
            y.extend((0..BINS).map(|k| if edge(k) < square && square < upper(k) { mask } else { 0.0 }));
            y.push(mask * x[2].data[i] * x[2].data[j]);
            let kind = |of: usize| (0..22).map(move |k| if x[0].data[of] == f64::from(k) { mask } else { 0.0 });
            y.extend(kind(j).chain(kind(i)));
            let unit = |v: glam::DVec3| v / (v.length_squared() + 1e-20).sqrt();
            let e1 = unit(atom(i, 2) - atom(i, 1));
            let towards = atom(i, 0) - atom(i, 1);
            let e2 = unit(towards - e1 * e1.dot(towards));
            let way = atom(j, 1) - atom(i, 1);
            let local = glam::DVec3::new(e1.dot(way), e2.dot(way), e1.cross(e2).dot(way));
            let shown = if self.unit_vector { local / (local.length_squared() + 1e-6).sqrt() * mask * mask } else { glam::DVec3::ZERO };
            y.extend(shown.to_array());
            y.push(mask * mask);
        }
        vec![Array::new(&[n, templates * n, FEATURES], y)]
    }
}
