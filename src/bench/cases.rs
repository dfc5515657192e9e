//! Operations at the shapes of a training step of `model_1`, and at small ones where launches and edges of tiles count.

use std::rc::Rc;

use crate::op::Op;
use crate::ops::basic::binary::Binary;
use crate::ops::basic::copy::Copy;
use crate::ops::basic::gated::Gated;
use crate::ops::basic::gemm::Matmul;
use crate::ops::basic::layer_norm::LayerNorm;
use crate::ops::basic::linear::{Act, Linear};
use crate::ops::basic::softmax::Softmax;
use crate::ops::basic::sum::Sum;
use crate::ops::basic::unary::Unary;
use crate::ops::evoformer::attention::Attention;
use crate::ops::evoformer::masked_mean::MaskedMean;
use crate::ops::evoformer::outer_product_mean::OuterProductMean;
use crate::ops::evoformer::triangle_product::TriangleProduct;

/// An operation at one shape.
#[derive(Debug, Clone)]
pub struct Case {
    /// The operation and where it occurs.
    pub name: &'static str,
    /// The operation.
    pub op: Rc<dyn Op>,
    /// Extents of its inputs.
    pub shapes: Vec<Vec<usize>>,
}

fn case(name: &'static str, op: impl Op + 'static, shapes: &[&[usize]]) -> Case {
    Case { name, op: Rc::new(op), shapes: shapes.iter().map(|s| s.to_vec()).collect() }
}

/// A masked attention of `b` rows, `q` queries, `k` keys and `h` heads of `d` channels.
fn attention(name: &'static str, bias: bool, gate: bool, [b, q, k, h, d]: [usize; 5]) -> Case {
    let (queries, keys, pairs) = ([b, q, h, d], [b, k, h, d], [1, q, k, h]);
    let mut shapes: Vec<&[usize]> = vec![&queries, &keys, &keys, &keys[..2]];
    let turned = [h, 1, q, k];
    shapes.extend([&pairs[..], &turned].into_iter().filter(|_| bias));
    shapes.extend(gate.then_some(&queries[..]));
    case(name, Attention { mask: true, bias, turned: bias, gate, ..Attention::default() }, &shapes)
}

/// All cases: 256 residues, 128 clustered and 1,024 extra sequences, `c_m` 256, `c_z` 128, `c_e` 64.
pub fn all() -> Vec<Case> {
    let product = |ta, tb| Matmul { ta, tb };
    let linear = |bias, act| Linear { bias, ..Linear::biased(act) };
    let (out, into) = (TriangleProduct { outgoing: true, gated: false }, TriangleProduct { outgoing: false, gated: false });
    let norm = LayerNorm { eps: 1e-5 };
    vec![
        case("gemm 512", product(false, false), &[&[512, 512], &[512, 512]]),
        case("gemm 1024", product(false, false), &[&[1024, 1024], &[1024, 1024]]),
        case("gemm 32768x128x128", product(false, false), &[&[32768, 128], &[128, 128]]),
        case("gemm small", product(false, false), &[&[64, 64], &[64, 64]]),
        case("linear msa 256 to 256", linear(true, Act::None), &[&[128, 256, 256], &[256, 256], &[256]]),
        case("linear msa transition relu", linear(true, Act::Relu), &[&[128, 256, 256], &[256, 1024], &[1024]]),
        case("linear pair 128 to 128", linear(true, Act::None), &[&[256, 256, 128], &[128, 128], &[128]]),
        case("linear pair gate sigmoid", linear(true, Act::Sigmoid), &[&[256, 256, 128], &[128, 128], &[128]]),
        case("linear pair bias 128 to 4", linear(false, Act::None), &[&[256, 256, 128], &[128, 4]]),
        case("linear single 384 to 384", linear(true, Act::Relu), &[&[256, 384], &[384, 384], &[384]]),
        case("linear small", linear(true, Act::None), &[&[64, 32], &[32, 32], &[32]]),
        case("triangle outgoing", out, &[&[256, 256, 128], &[256, 256, 128]]),
        case("triangle incoming", into, &[&[256, 256, 128], &[256, 256, 128]]),
        case("triangle gated", TriangleProduct { gated: true, ..out }, &[&[256, 256, 256], &[256, 256, 256], &[256, 1, 256]]),
        case("triangle small", out, &[&[32, 32, 64], &[32, 32, 64]]),
        case("outer product mean", OuterProductMean::default(), &[&[128, 256, 32], &[128, 32, 256], &[256, 256, 1], &[1024, 128], &[128]]),
        case("outer product mean small", OuterProductMean::default(), &[&[16, 32, 8], &[16, 8, 32], &[32, 32, 1], &[64, 16], &[16]]),
        attention("attention rows 8 heads of 32", true, true, [128, 256, 256, 8, 32]),
        attention("attention columns 8 heads of 32", false, true, [256, 128, 128, 8, 32]),
        attention("attention triangle 4 heads of 32", true, true, [256, 256, 256, 4, 32]),
        attention("attention extra rows 8 heads of 8", true, true, [1024, 256, 256, 8, 8]),
        attention("attention global", false, false, [256, 8, 1024, 1, 8]),
        attention("attention templates", false, false, [65536, 1, 4, 4, 16]),
        attention("attention small", true, true, [8, 32, 32, 2, 8]),
        case("masked mean extra", MaskedMean, &[&[256, 1024, 64], &[256, 1024]]),
        case("layer norm msa", norm, &[&[128, 256, 256], &[256], &[256]]),
        case("layer norm pair", norm, &[&[256, 256, 128], &[128], &[128]]),
        case("layer norm extra", norm, &[&[1024, 256, 64], &[64], &[64]]),
        case("layer norm small", norm, &[&[64, 32], &[32], &[32]]),
        case("softmax rows of 256", Softmax, &[&[128, 256, 256]]),
        case("add pair", Binary { mul: false }, &[&[256, 256, 128], &[256, 256, 128]]),
        case("mul pair", Binary { mul: true }, &[&[256, 256, 128], &[256, 256, 128]]),
        case("mul mask", Binary { mul: true }, &[&[256, 256, 128], &[256, 256, 1]]),
        case("gated pair", Gated::with_gate(true), &[&[256, 256, 128], &[256, 256, 128], &[256, 256]]),
        case("sigmoid pair", Unary::Sigmoid, &[&[256, 256, 128]]),
        case("relu msa", Unary::Relu, &[&[128, 256, 256]]),
        case("sum over sequences", Sum::mean(&[0]), &[&[128, 256, 256]]),
        case("sum over channels", Sum::over(&[2]), &[&[128, 256, 256]]),
        case("copy pair", Copy, &[&[256, 256, 128]]),
    ]
}
