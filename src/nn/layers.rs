//! Linear maps, layer normalisation and transitions on a [`Scope`].

use std::ops::Range;
use std::rc::Rc;

use crate::graph::Tensor;
use crate::graph::rows::Again;
use crate::nn::init::Init;
use crate::nn::params::{Decl, Scope, flat};
use crate::ops::basic::gated::Gated;
use crate::ops::basic::layer_norm::LayerNorm;
use crate::ops::basic::linear::{Act, Linear};
use crate::ops::evoformer::triangle_product::TriangleProduct;

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

/// One of several linear maps of one source.
#[derive(Debug, Clone)]
pub struct Map {
    /// Its weights' name.
    pub weights: String,
    /// Its bias's name, and the value that it begins with. Maps with a bias follow those without.
    pub bias: Option<(String, f32)>,
    /// Output axes.
    pub output: Vec<usize>,
    /// How the weights begin.
    pub init: Init,
    /// Whether its columns are given a second time, outermost: see [`Maps::heads`].
    pub outermost: bool,
}

impl Map {
    /// The `Linear` called `name`, whose bias begins with a value.
    pub fn linear(name: &str, width: usize, init: Init, bias: f32) -> Self {
        Self {
            weights: format!("{name}//weights"),
            bias: Some((format!("{name}//bias"), bias)),
            output: vec![width],
            init,
            outermost: false,
        }
    }

    /// A gate before its sigmoid: weights begin at zero and the bias at one, so that it begins open.
    pub fn gate(name: &str, width: usize) -> Self {
        Self::linear(name, width, Init::Constant(0.0), 1.0)
    }

    /// Weights alone.
    pub fn plain(weights: &str, output: &[usize], init: Init) -> Self {
        Self { weights: weights.into(), bias: None, output: output.to_vec(), init, outermost: false }
    }
}

/// Several linear maps of one source `[.., c]`, as one product: its columns are parts of one matrix. Where a recording is bound (see
/// [`Graph::bound`]) and the product of all takes more, each body of rows makes the product of those maps that it asks for.
#[derive(Debug)]
pub struct Maps<'g, F> {
    source: Again<'g, F>,
    product: Option<(Tensor<'g>, Option<Tensor<'g>>)>,
    /// Columns of the first map that are given a second time.
    heads: usize,
    w: Tensor<'g>,
    b: Option<Tensor<'g>>,
    /// Where the columns of each map begin, and where the last ones end.
    starts: Vec<usize>,
    /// The first column that has a bias.
    tail: usize,
}

impl<'g, F: Fn(Tensor<'g>) -> Tensor<'g>> Maps<'g, F> {
    /// The maps of `make(x)`.
    pub fn new(scope: &Scope<'g>, x: Tensor<'g>, make: F, maps: &[Map]) -> Self {
        let input = [*x.shape().last().expect("an axis")];
        let decls: Vec<Decl> = maps.iter().map(|m| Decl { name: &m.weights, input: &input, output: &m.output, init: m.init }).collect();
        let (w, mut starts) = scope.side_by_side(&decls);
        starts.push(*w.shape().last().expect("columns"));
        let first = maps.iter().position(|m| m.bias.is_some()).unwrap_or(maps.len());
        assert!(maps[first..].iter().all(|m| m.bias.is_some()), "maps with a bias follow those without: {maps:?}");
        let decls = maps.iter().filter_map(|m| m.bias.as_ref().map(|(name, value)| (m, name, *value)));
        let decls: Vec<Decl> =
            decls.map(|(m, name, value)| Decl { name, input: &[], output: &m.output, init: Init::Constant(value) }).collect();
        let b = (!decls.is_empty()).then(|| scope.side_by_side(&decls).0);
        let held = scope.graph.holds(x.len() / input[0] * starts[maps.len()]);
        let tail = starts[first];
        let heads = if maps[0].outermost { flat(&maps[0].output) } else { 0 };
        assert!(maps[1..].iter().all(|m| !m.outermost), "the first map alone is given a second time: {maps:?}");
        let mut this = Self { source: scope.graph.again(x, make), product: None, heads, w, b, starts, tail };
        this.product = held.then(|| this.apply(this.source.of(this.source.rows()), 0..maps.len()));
        this
    }

    /// The product of some maps, and the first one's columns outermost where they are wanted.
    fn apply(&self, x: Tensor<'g>, maps: Range<usize>) -> (Tensor<'g>, Option<Tensor<'g>>) {
        let columns = self.starts[maps.start]..self.starts[maps.end];
        let w = if columns == (0..self.starts[self.starts.len() - 1]) { self.w } else { self.w.slice(1, columns.clone()) };
        let b = self.b.filter(|_| columns.end > self.tail).map(|b| {
            let part = columns.start.max(self.tail) - self.tail..columns.end - self.tail;
            if part == (0..b.shape()[0]) { b } else { b.slice(0, part) }
        });
        let op = Linear { bias: b.is_some(), tail: self.tail.saturating_sub(columns.start), ..Linear::plain(Act::None) };
        let op = if b.is_some() { op } else { Linear::plain(Act::None) };
        let op = Linear { heads: if maps.start == 0 { self.heads } else { 0 }, ..op };
        let y = self.w.graph().apply_all(Rc::new(op), &[x, w].into_iter().chain(b).collect::<Vec<_>>());
        (y[0], y.get(1).copied())
    }

    /// What a body of rows is given, with as many rows as the source.
    pub fn rows(&self) -> Tensor<'g> {
        self.product.map_or_else(|| self.source.rows(), |(y, _)| y)
    }

    /// What the first map makes of all rows, `[.., heads]` and `[heads, ..]`, where it is [`Map::outermost`].
    pub fn heads(&self) -> [Tensor<'g>; 2] {
        let (y, turned) = self.product.unwrap_or_else(|| self.apply(self.source.of(self.source.rows()), 0..1));
        [columns(y, 0..self.starts[1]).narrow(self.heads), turned.expect("a map whose columns are given a second time")]
    }

    /// What some maps make of the rows that a body is given, each `[.., columns]` with whole groups.
    pub fn of(&self, rows: Tensor<'g>, maps: Range<usize>) -> Vec<Tensor<'g>> {
        let (y, first) = match self.product {
            Some(_) => (rows, 0),
            None => (self.apply(self.source.of(rows), maps.clone()).0, self.starts[maps.start]),
        };
        maps.map(|i| columns(y, self.starts[i] - first..self.starts[i + 1] - first)).collect()
    }

    /// The sum over third edges of two gated sides under a mask `[n, n]` (Algorithms 11 and 12, lines 2 and 4), `[n, n, c]`: the first `sides`
    /// maps are their projections, one for each or one of both, and as many follow that are their gates before the sigmoids.
    pub fn triangle_product(&self, mask: Tensor<'g>, sides: usize, c: usize, outgoing: bool) -> Tensor<'g> {
        let graph = mask.graph();
        if let Some((y, _)) = self.product {
            let [p, g] = [0, sides].map(|from| columns(y, self.starts[from]..self.starts[from + sides])); // [n, n, 2 c] each
            return graph.apply(TriangleProduct { outgoing, gated: true }, &[p, g, mask]).narrow(c);
        }
        let maps = |x: Tensor<'g>, i: usize| match sides {
            1 => self.of(x, 0..2),
            _ => [i, i + sides].map(|map| self.of(x, map..map + 1)[0].narrow(c)).to_vec(),
        };
        let gated = |i: usize| {
            graph.rows(&[self.rows(), mask], |x| {
                let y = maps(x[0], i);
                graph.apply(Gated::with_gate(true), &[y[0], y[1], x[1]])
            })
        };
        let [a, b] = match sides {
            1 => {
                let both = gated(0); // [n, n, 2 c]
                [columns(both, 0..c), columns(both, c..2 * c)]
            }
            _ => [gated(0), gated(1)],
        };
        graph.apply(TriangleProduct { outgoing, gated: false }, &[a, b])
    }
}

/// Some columns of `[.., c]`, whole groups of them.
fn columns(y: Tensor<'_>, columns: Range<usize>) -> Tensor<'_> {
    y.slice(y.shape().len() - 1, columns)
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
