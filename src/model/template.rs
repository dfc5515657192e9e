//! Templates (supplement 1.7.1): their pairs into `z`, their torsions as rows of the alignment.

use crate::graph::Tensor;
use crate::model::config::TemplateConfig;
use crate::model::evoformer::template_pair_stack;
use crate::model::features::Templates;
use crate::nn::attention::{Bias, Config as Heads, attention};
use crate::nn::init::Init;
use crate::nn::layers::{layer_norm, linear};
use crate::nn::params::Scope;
use crate::ops::basic::concat::Concat;
use crate::ops::basic::linear::Act;
use crate::ops::evoformer::template_pair_feat::TemplatePairFeat;

/// Algorithm 2 lines 9 and 11 for some templates: their five inputs (see [`TemplatePairFeat`]) to `[n_res, n_templ n_res, c_t]`, their pairs side
/// by side. `mask [n_res, n_res]` is that of the query's residues, not of the templates'.
pub fn single_template_embedding<'g>(
    scope: &Scope<'g>,
    inputs: [Tensor<'g>; 5],
    mask: Tensor<'g>,
    c: &TemplateConfig,
    seed: Option<Tensor<'g>>,
) -> Tensor<'g> {
    let t = scope.graph.recompute(|| {
        let t = scope.graph.apply(TemplatePairFeat { unit_vector: c.unit_vector }, &inputs); // [n_res, n_templ n_res, 88]
        linear(&scope.child("embedding2d"), t, c.c_t, Init::Relu, Act::None) // line 9  [n_res, n_templ n_res, c_t]
    });
    let t = template_pair_stack(&scope.child("template_pair_stack"), t, mask, &c.stack, seed); // line 11
    layer_norm(&scope.child("output_layer_norm"), t) // Algorithm 16 line 8
}

/// Algorithm 2 lines 9-12 with Algorithm 17 TemplatePointwiseAttention: the update of `z [n_res, n_res, c_z]`.
pub fn template_embedding<'g>(
    scope: &Scope<'g>,
    z: Tensor<'g>,
    templates: &Templates<'g>,
    mask: Tensor<'g>,
    c: &TemplateConfig,
    seed: Option<Tensor<'g>>,
) -> Tensor<'g> {
    let graph = scope.graph;
    let [n, _, c_z] = z.shape()[..] else { panic!("template_embedding of {z:?}, not [n_res, n_res, c_z]") };
    let n_templ = templates.mask.shape()[0];
    let single = scope.child("single_template_embedding");
    let some = |from: usize, n_some: usize| {
        let inputs = templates.pair_inputs(from..from + n_some);
        let t = single_template_embedding(&single, inputs, mask, c, seed); // [n_res, n_some n_res, c_t]
        t.regroup(1..2, &[n_some, n]).permute(&[0, 2, 1, 3]).reshape(&[n * n, n_some, c.c_t])
    };
    // Templates share weights but no dropout: its masks are drawn over all of them together.
    let step = if seed.is_some() { n_templ } else { graph.at_once(n_templ, n * n * c.c_t) };
    let all: Vec<Tensor<'g>> = (0..n_templ).step_by(step).map(|from| some(from, step.min(n_templ - from))).collect();
    let heads = Heads { heads: c.heads, d_k: c.attention / c.heads, d_v: c.attention / c.heads, gated: false, out: c_z };
    let key_mask = templates.mask.repeat(n * n); // [n_res n_res, n_templ]
    let query = z.reshape(&[n * n, 1, c_z]);
    let update = graph.rows(&[&[query, key_mask], all.as_slice()].concat(), |x| {
        let t = if all.len() == 1 { x[2] } else { graph.apply(Concat { axis: 1 }, &x[2..]) }; // [n_res n_res, n_templ, c_t]
        attention(scope, x[0], Some(t), Some(x[1]), Bias::None, heads) // Algorithm 17
    });
    // Without any template the average over none must not count.
    update.reshape(&[n, n, c_z]) * templates.any
}

/// Algorithm 2 line 7: rows `[n_templ, n_res, c_m]` from the templates' torsion angles. AlphaFold's code applies ReLU between the two maps.
pub fn template_angle_rows<'g>(scope: &Scope<'g>, templates: &Templates<'g>, c_m: usize) -> Tensor<'g> {
    let a = linear(&scope.child("template_single_embedding"), templates.angle_feat, c_m, Init::Relu, Act::Relu);
    linear(&scope.child("template_projection"), a, c_m, Init::Relu, Act::None)
}
