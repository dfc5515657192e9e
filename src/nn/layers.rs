//! Linear maps, layer normalisation and transitions on a [`Scope`].

use crate::graph::Tensor;
use crate::nn::init::Init;
use crate::nn::params::{Decl, Scope, flat};
use crate::ops::basic::layer_norm::LayerNorm;
use crate::ops::basic::linear::{Act, Linear};

/// AlphaFold's epsilon of layer normalisation.
pub const EPS: f32 = 1e-5;

/// `Linear`: `x [.., in]` to `[.., out]` with the parameters `weights` and `bias` of `scope`.
pub fn linear<'g>(scope: &Scope<'g>, x: Tensor<'g>, output: usize, init: Init, act: Act) -> Tensor<'g> {
    linear_axes(scope, x, &[*x.shape().last().expect("an axis")], &[output], init, Some(Init::Constant(0.0)), act)
}

/// `Linear` over several axes: `x [.., flat(input)]` to `[.., flat(output)]`, where a last one of several axes is padded to groups of four.
pub fn linear_axes<'g>(
    scope: &Scope<'g>,
    x: Tensor<'g>,
    input: &[usize],
    output: &[usize],
    init: Init,
    bias: Option<Init>,
    act: Act,
) -> Tensor<'g> {
    assert_eq!(x.shape().last(), Some(&flat(input)), "linear over {input:?} of {x:?}");
    let w = scope.param(Decl { name: "weights", input, output, init }); // [in, out]
    match bias {
        None => scope.graph.apply(Linear::plain(act), &[x, w]),
        Some(init) => {
            let b = scope.param(Decl { name: "bias", input: &[], output, init }); // [out]
            scope.graph.apply(Linear::biased(act), &[x, w, b])
        }
    }
}

/// Several `Linear` of one source, each `x [.., in]` to `width` columns, as one product `[.., columns]`; gives also where the columns of each
/// begin. `each` are scopes with the beginning of their weights and the value of their biases.
pub fn linears<'g>(scope: &Scope<'g>, x: Tensor<'g>, width: usize, each: &[(&str, Init, f32)]) -> (Tensor<'g>, Vec<usize>) {
    let (input, output) = ([*x.shape().last().expect("an axis")], [width]);
    let named = |last: &str| each.iter().map(|(name, ..)| format!("{name}//{last}")).collect::<Vec<_>>();
    let (weights, biases) = (named("weights"), named("bias"));
    let w = weights.iter().zip(each).map(|(name, (_, init, _))| Decl { name, input: &input, output: &output, init: *init });
    let b = biases.iter().zip(each).map(|(name, (_, _, bias))| Decl { name, input: &[], output: &output, init: Init::Constant(*bias) });
    let (w, b) = (w.collect::<Vec<_>>(), b.collect::<Vec<_>>());
    let ((w, starts), (b, _)) = (scope.side_by_side(&w), scope.side_by_side(&b));
    (scope.graph.apply(Linear::biased(Act::None), &[x, w, b]), starts)
}

/// `Linear` as gates have it, before or with their sigmoid: weights begin at zero and the bias at one, so that every gate begins open.
pub fn gate<'g>(scope: &Scope<'g>, x: Tensor<'g>, output: usize, act: Act) -> Tensor<'g> {
    let input = [*x.shape().last().expect("an axis")];
    linear_axes(scope, x, &input, &[output], Init::Constant(0.0), Some(Init::Constant(1.0)), act)
}

/// `LayerNorm` with the parameters `scale` and `offset` of `scope`.
pub fn layer_norm<'g>(scope: &Scope<'g>, x: Tensor<'g>) -> Tensor<'g> {
    let c = *x.shape().last().expect("an axis");
    let scale = scope.param(Decl { name: "scale", input: &[], output: &[c], init: Init::Constant(1.0) });
    let offset = scope.param(Decl { name: "offset", input: &[], output: &[c], init: Init::Constant(0.0) });
    scope.graph.apply(LayerNorm { eps: EPS }, &[x, scale, offset])
}

/// Algorithm 9 MSATransition, and Algorithm 15 PairTransition: the update, without the residual.
pub fn transition<'g>(scope: &Scope<'g>, x: Tensor<'g>, factor: usize) -> Tensor<'g> {
    let c = *x.shape().last().expect("an axis");
    scope.graph.rows(&[x], |x| {
        let x = layer_norm(&scope.child("input_layer_norm"), x[0]); // line 1
        let a = linear(&scope.child("transition1"), x, factor * c, Init::Relu, Act::Relu); // line 2  [.., n c]
        linear(&scope.child("transition2"), a, c, Init::Constant(0.0), Act::None) // line 3  [.., c]
    })
}
