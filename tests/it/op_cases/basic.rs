//! Cases of `ops::basic`: odd sizes, one element, more than a workgroup.

use anyfold::ops::basic::binary::Binary;
use anyfold::ops::basic::copy::Copy;
use anyfold::ops::basic::layer_norm::LayerNorm;
use anyfold::ops::basic::linear::{Act, Linear};

use super::{Case, Draw, case};

pub(super) fn cases() -> Vec<Case> {
    let linear = |bias, act| Linear { bias, act };
    vec![
        case("copy 1", Copy, &[&[7]]),
        case("copy 4", Copy, &[&[2, 3, 5, 33]]),
        case("add same", Binary { mul: false }, &[&[3, 5, 33], &[3, 5, 33]]),
        case("add row", Binary { mul: false }, &[&[3, 5, 9], &[9]]),
        case("add inner", Binary { mul: false }, &[&[4, 3], &[4, 1]]),
        case("mul same", Binary { mul: true }, &[&[3, 5, 33], &[3, 5, 33]]),
        case("mul mask", Binary { mul: true }, &[&[3, 5, 33], &[5, 1]]).drawn(&[Draw::Signed, Draw::Mask]),
        case("mul positive", Binary { mul: true }, &[&[9], &[9]]).drawn(&[Draw::Positive, Draw::Positive]),
        case("mul both ways", Binary { mul: true }, &[&[3, 1, 9], &[1, 5, 1]]),
        case("mul five axes", Binary { mul: true }, &[&[3, 2, 2, 3, 5], &[1, 2, 1, 3, 5]]),
        case("layer norm 5", LayerNorm { eps: 1e-5 }, &[&[5, 5], &[5], &[5]]),
        case("layer norm 33", LayerNorm { eps: 1e-5 }, &[&[2, 67, 33], &[33], &[33]]),
        case("layer norm 129", LayerNorm { eps: 1e-5 }, &[&[3, 129], &[129], &[129]]),
        case("linear 1", linear(true, Act::None), &[&[1, 1], &[1, 1], &[1]]),
        case("linear", linear(false, Act::None), &[&[3, 11, 33], &[33, 9]]),
        case("linear bias", linear(true, Act::None), &[&[37, 20], &[20, 70], &[70]]),
        case("linear relu", linear(true, Act::Relu), &[&[33, 7], &[7, 5], &[5]]),
        case("linear sigmoid", linear(true, Act::Sigmoid), &[&[530, 6], &[6, 9], &[9]]),
    ]
}
