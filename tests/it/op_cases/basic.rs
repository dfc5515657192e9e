//! Cases of `ops::basic`: odd sizes, one element, more than a workgroup.

use anyfold::ops::basic::binary::Binary;
use anyfold::ops::basic::concat::Concat;
use anyfold::ops::basic::copy::Copy;
use anyfold::ops::basic::dropout::{Dropout, Share};
use anyfold::ops::basic::embedding::Embedding;
use anyfold::ops::basic::layer_norm::LayerNorm;
use anyfold::ops::basic::linear::{Act, After, Linear};
use anyfold::ops::basic::one_hot::OneHot;
use anyfold::ops::basic::softmax::Softmax;
use anyfold::ops::basic::sum::Sum;
use anyfold::ops::basic::unary::Unary;

use anyfold::ops::basic::transpose::Transpose;

use super::{Case, Draw, case};

pub(super) fn cases() -> Vec<Case> {
    const DROPPED: &[Draw] = &[Draw::Signed, Draw::Signed, Draw::Below(99)];
    let dropout = |share, residual| Dropout { rate: 0.25, share, key: 0x1234_5678_9abc_def1, residual };
    let embedding = |bias, relative| Embedding { bias, relative };
    let linear = |bias, act| Linear { bias, ..Linear::biased(act) };
    const AFTER: &[Draw] = &[Draw::Signed, Draw::Signed, Draw::Signed, Draw::Signed, Draw::Below(99)];
    const TURNED: &[&[usize]] = &[&[7, 9, 20], &[20, 6], &[6], &[9, 7, 6]];
    const TURNED_PARTS: &[&[usize]] = &[&[13, 90, 20], &[20, 6], &[6], &[90, 13, 6]];
    const NORMED_PARTS: &[&[usize]] = &[&[13, 90, 20], &[20], &[20], &[20, 6], &[6]];
    const NORMED: &[&[usize]] = &[&[5, 9, 40], &[40], &[40], &[40, 6], &[5, 9, 6]];
    let normed = |op: Linear| Linear { norm: Some(1e-5), ..op };
    let dropped = |share, turned| Linear { after: After::Dropout(dropout(share, true)), turned, ..linear(true, Act::None) };
    vec![
        case("copy 1", Copy, &[&[7]]),
        case("copy 4", Copy, &[&[2, 3, 5, 33]]),
        case("add same", Binary { mul: false }, &[&[3, 5, 33], &[3, 5, 33]]),
        case("add row", Binary { mul: false }, &[&[3, 5, 9], &[9]]),
        case("add inner", Binary { mul: false }, &[&[4, 3], &[4, 1]]),
        case("mul same", Binary { mul: true }, &[&[3, 5, 33], &[3, 5, 33]]),
        case("mul mask", Binary { mul: true }, &[&[3, 5, 33], &[5, 1]]).drawn(&[Draw::Signed, Draw::Mask]),
        case("add outer", Binary { mul: false }, &[&[5, 1, 9], &[1, 7, 9]]),
        case("mul positive", Binary { mul: true }, &[&[9], &[9]]).drawn(&[Draw::Positive, Draw::Positive]),
        case("mul both ways", Binary { mul: true }, &[&[3, 1, 9], &[1, 5, 1]]),
        case("mul five axes", Binary { mul: true }, &[&[3, 2, 2, 3, 5], &[1, 2, 1, 3, 5]]),
        case("add turned", Binary { mul: false }, &[&[9, 7, 33], &[9, 7, 33]]).turned(),
        case("mul turned", Binary { mul: true }, &[&[5, 7, 2, 40], &[5, 1, 1, 40]]).turned(),
        case("copy turned", Copy, &[&[4, 6, 3, 9]]).turned(),
        case("layer norm 5", LayerNorm { eps: 1e-5 }, &[&[5, 5], &[5], &[5]]),
        case("layer norm 33", LayerNorm { eps: 1e-5 }, &[&[2, 67, 33], &[33], &[33]]),
        // Wider than what stays in registers.
        case("layer norm 390", LayerNorm { eps: 1e-5 }, &[&[5, 390], &[390], &[390]]),
        case("layer norm 129", LayerNorm { eps: 1e-5 }, &[&[3, 129], &[129], &[129]]),
        case("relu", Unary::Relu, &[&[3, 5, 33]]),
        case("sigmoid", Unary::Sigmoid, &[&[7, 9]]),
        case("softplus", Unary::Softplus, &[&[130, 3]]),
        case("square", Unary::Square, &[&[1]]),
        case("abs", Unary::Abs, &[&[5, 7]]),
        case("affine", Unary::Affine(-2.5, 0.75), &[&[2, 2, 3, 2, 5]]),
        case("sqrt", Unary::Sqrt(1e-4), &[&[11, 9]]).drawn(&[Draw::Positive]),
        case("reciprocal", Unary::Reciprocal(1e-3), &[&[9, 5]]).drawn(&[Draw::Positive]),
        case("clip", Unary::Clip(-0.3, 0.6), &[&[17, 6]]),
        case("softmax 1", Softmax, &[&[3, 1]]),
        case("softmax", Softmax, &[&[2, 67, 33]]),
        case("sum all", Sum::over(&[0, 1, 2]), &[&[7, 41, 33]]),
        case("sum all kept", Sum::mean(&[0, 1]).kept(), &[&[5, 9]]),
        case("sum inner", Sum::over(&[2]), &[&[3, 70, 33]]),
        case("sum inner of one row", Sum::mean(&[1]), &[&[300, 9]]),
        case("sum inner kept", Sum::over(&[2]).kept(), &[&[3, 70, 5]]),
        case("sum inner long", Sum::mean(&[1]), &[&[3, 1500]]),
        case("sum first", Sum::mean(&[0]), &[&[700, 5, 9]]),
        case("sum middle", Sum::over(&[1]), &[&[3, 200, 9]]),
        case("sum middle kept", Sum::mean(&[1]).kept(), &[&[3, 20, 2, 9]]),
        case("sum outer and inner", Sum::over(&[0, 2]), &[&[30, 5, 9]]),
        case("sum every other", Sum::mean(&[1, 3]), &[&[3, 4, 5, 6, 7]]),
        case("sum of five axes", Sum::over(&[0, 2, 4]), &[&[3, 4, 5, 6, 7]]),
        case("concat first", Concat { axis: 0 }, &[&[3, 5, 9], &[1, 5, 9]]),
        case("concat middle", Concat { axis: 1 }, &[&[3, 5, 9], &[3, 2, 9], &[3, 1, 9]]),
        case("concat inner", Concat { axis: 2 }, &[&[3, 70, 22], &[3, 70, 1], &[3, 70, 1], &[3, 70, 9]]),
        case("concat inner in one group", Concat { axis: 0 }, &[&[1], &[1], &[1], &[6]]),
        case("dropout", dropout(Share::Nothing, false), &[&[67, 33], &[5]]).drawn(&[Draw::Signed, Draw::Below(99)]),
        case("dropout residual", dropout(Share::Nothing, true), &[&[19, 6], &[19, 6], &[5]]).drawn(DROPPED),
        case("dropout by row", dropout(Share::Rows, true), &[&[7, 17, 33], &[7, 17, 33], &[5]]).drawn(DROPPED),
        case("dropout by column", dropout(Share::Columns(17), true), &[&[7, 17, 33], &[7, 17, 33], &[5]]).drawn(DROPPED),
        case("dropout by some columns", dropout(Share::Columns(6), true), &[&[7, 18, 33], &[7, 18, 33], &[5]]).drawn(DROPPED),
        case("embedding 1", embedding(false, None), &[&[1], &[1, 1]]).drawn(&[Draw::Below(1)]),
        case("embedding", embedding(false, None), &[&[3, 33], &[7, 9]]).drawn(&[Draw::Below(7)]),
        case("embedding beyond the table", embedding(true, None), &[&[2, 5, 7], &[4, 6], &[6]]).drawn(&[Draw::Below(6)]),
        case("embedding in blocks", embedding(true, None), &[&[41, 30], &[23, 33], &[33]]).drawn(&[Draw::Below(23)]),
        case("embedding of long rows", embedding(true, None), &[&[2, 1100], &[5, 9], &[9]]).drawn(&[Draw::Below(5)]),
        case("relative positions", embedding(true, Some(4)), &[&[29], &[9, 7], &[7]]).drawn(&[Draw::Below(20)]),
        case("relative positions in blocks", embedding(false, Some(32)), &[&[67], &[65, 33]]).drawn(&[Draw::Below(90)]),
        case("one hot", OneHot { classes: 9 }, &[&[3, 33]]).drawn(&[Draw::Below(11)]),
        case("transpose", Transpose, &[&[5, 33]]),
        case("transpose batch", Transpose, &[&[3, 7, 2]]),
        case("linear 1", linear(true, Act::None), &[&[1, 1], &[1, 1], &[1]]),
        case("linear", linear(false, Act::None), &[&[3, 11, 33], &[33, 9]]),
        case("linear bias", linear(true, Act::None), &[&[37, 20], &[20, 70], &[70]]),
        case("linear relu", linear(true, Act::Relu), &[&[33, 7], &[7, 5], &[5]]),
        // Several partial weight gradients, the last one short, each beyond a small binding.
        case("linear parts", linear(true, Act::None), &[&[1100, 40], &[40, 9], &[9]]),
        case("linear turned", linear(true, Act::None), &[&[7, 9, 20], &[20, 6], &[6]]).turned(),
        // Rows at two distances in several parts, which begin anywhere among them.
        case("linear turned parts", linear(true, Act::None), &[&[90, 13, 20], &[20, 6], &[6]]).turned(),
        case("linear residual turned parts", Linear { after: After::Residual, turned: true, ..linear(true, Act::None) }, TURNED_PARTS),
        case("linear norm turned parts", Linear { turned: true, ..normed(linear(true, Act::None)) }, NORMED_PARTS),
        case("linear relu turned", linear(true, Act::Relu), &[&[3, 5, 2, 9], &[9, 66], &[66]]).turned(),
        case("linear tail", Linear { tail: 8, ..linear(true, Act::None) }, &[&[1100, 12], &[12, 22], &[14]]),
        case("linear tail sigmoid", Linear { tail: 4, ..linear(true, Act::Sigmoid) }, &[&[53, 6], &[6, 9], &[5]]),
        case("linear sigmoid", linear(true, Act::Sigmoid), &[&[530, 6], &[6, 9], &[9]]),
        // A norm before the product, and what follows it.
        case("linear norm", normed(linear(true, Act::None)), &[&[37, 22], &[22], &[22], &[22, 70], &[70]]),
        case("linear norm relu", normed(linear(true, Act::Relu)), &[&[1100, 20], &[20], &[20], &[20, 9], &[9]]),
        case("linear norm tail", Linear { tail: 8, ..normed(linear(true, Act::None)) }, &[&[3, 30, 12], &[12], &[12], &[12, 22], &[14]]),
        case("linear norm turned", Linear { turned: true, ..normed(linear(false, Act::None)) }, &[&[7, 70, 20], &[20], &[20], &[20, 6]]),
        case("linear residual", Linear { after: After::Residual, ..linear(true, Act::None) }, &[&[37, 20], &[20, 70], &[70], &[37, 70]]),
        case("linear residual turned", Linear { after: After::Residual, turned: true, ..linear(true, Act::None) }, TURNED),
        case("linear norm residual", Linear { after: After::Residual, ..normed(linear(false, Act::None)) }, NORMED),
        case("linear dropout", dropped(Share::Nothing, false), &[&[6, 9, 12], &[12, 21], &[21], &[6, 9, 21], &[5]]).drawn(AFTER),
        case("linear dropout row", dropped(Share::Rows, false), &[&[6, 70, 12], &[12, 21], &[21], &[6, 70, 21], &[5]]).drawn(AFTER),
        case("linear dropout column", dropped(Share::Columns(9), false), &[&[6, 9, 12], &[12, 73], &[73], &[6, 9, 73], &[5]]).drawn(AFTER),
        case("linear dropout plain", dropped(Share::Rows, false), &[&[53, 12], &[12, 21], &[21], &[53, 21], &[5]]).drawn(AFTER),
        case("linear dropout turned", dropped(Share::Columns(6), true), &[&[6, 9, 12], &[12, 21], &[21], &[9, 6, 21], &[5]]).drawn(AFTER),
        case("linear dropout squares turned", dropped(Share::Columns(3), true), &[&[6, 9, 12], &[12, 21], &[21], &[9, 6, 21], &[5]])
            .drawn(AFTER),
        case("linear dropout row turned", dropped(Share::Rows, true), &[&[6, 70, 12], &[12, 21], &[21], &[70, 6, 21], &[5]]).drawn(AFTER),
    ]
}
