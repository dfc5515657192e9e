//! Cases of triangle multiplication and outer product mean: one residue, odd lengths, channels that leave padding, masks with zeros.

use anyfold::ops::evoformer::gated::Gated;
use anyfold::ops::evoformer::outer_product_mean::OuterProductMean;
use anyfold::ops::evoformer::triangle_product::TriangleProduct;

use super::{Case, Draw, case};

pub(super) fn cases() -> Vec<Case> {
    let (out, into) = (TriangleProduct { outgoing: true }, TriangleProduct { outgoing: false });
    const MASKED: &[Draw] = &[Draw::Signed, Draw::Mask];
    const GATED: &[Draw] = &[Draw::Signed, Draw::Signed, Draw::Mask];
    const MEAN: &[Draw] = &[Draw::Signed, Draw::Signed, Draw::Mask];
    const MEAN_3: &[Draw] = &[Draw::Signed, Draw::Signed, Draw::Mask, Draw::Rows(3)];
    const MEAN_5: &[Draw] = &[Draw::Signed, Draw::Signed, Draw::Mask, Draw::Rows(5)];
    let mean = OuterProductMean;
    vec![
        case("triangle out 1", out, &[&[1, 1, 3], &[1, 1, 3]]),
        case("triangle out 17", out, &[&[17, 17, 33], &[17, 17, 33]]),
        case("triangle out 33", out, &[&[33, 33, 16], &[33, 33, 16]]),
        case("triangle in 1", into, &[&[1, 1, 3], &[1, 1, 3]]),
        case("triangle in 17", into, &[&[17, 17, 33], &[17, 17, 33]]),
        case("triangle in 33", into, &[&[33, 33, 16], &[33, 33, 16]]),
        case("triangle out turned", out, &[&[9, 9, 6], &[9, 9, 6]]).turned(),
        case("gated", Gated { gate: true, mask: true }, &[&[5, 7, 33], &[5, 7, 33], &[5, 7]]).drawn(GATED),
        case("gated 1", Gated { gate: true, mask: true }, &[&[1, 1, 3], &[1, 1, 3], &[1, 1]]).drawn(GATED),
        case("gated without a mask", Gated { gate: true, mask: false }, &[&[5, 7, 33], &[5, 7, 33]]),
        case("masked", Gated { gate: false, mask: true }, &[&[17, 9, 16], &[17, 9]]).drawn(MASKED),
        case("mean 1", mean, &[&[1, 1, 3], &[1, 1, 3], &[1, 1], &[12, 5], &[5]]).drawn(MEAN_3),
        case("mean 3", mean, &[&[5, 9, 3], &[5, 9, 3], &[5, 9], &[12, 33], &[33]]).drawn(MEAN_3),
        case("mean 16", mean, &[&[7, 17, 16], &[7, 17, 8], &[7, 17], &[128, 9], &[9]]).drawn(MEAN),
        // One residue's outer products exceed the small binding.
        case("mean 32", mean, &[&[2, 18, 32], &[2, 18, 32], &[2, 18], &[1024, 3], &[3]]).drawn(MEAN),
        case("mean 33", mean, &[&[3, 17, 33], &[3, 17, 5], &[3, 17], &[264, 4], &[4]]).drawn(MEAN_5),
    ]
}
