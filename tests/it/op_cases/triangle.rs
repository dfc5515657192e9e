//! Cases of triangle multiplication and outer product mean: one residue, odd lengths, channels that leave padding, masks with zeros.

use anyfold::ops::basic::dropout::{Dropout, Share};
use anyfold::ops::basic::gated::Gated;
use anyfold::ops::evoformer::outer_product_mean::OuterProductMean;
use anyfold::ops::evoformer::shared_rows::SharedRows;
use anyfold::ops::evoformer::triangle_product::TriangleProduct;

use super::{Case, Draw, case};

pub(super) fn cases() -> Vec<Case> {
    let (out, into) = (TriangleProduct { outgoing: true, gated: false }, TriangleProduct { outgoing: false, gated: false });
    let (gated_out, gated_into) = (TriangleProduct { gated: true, ..out }, TriangleProduct { gated: true, ..into });
    const MASKED: &[Draw] = &[Draw::Signed, Draw::Mask];
    const GATED: &[Draw] = &[Draw::Signed, Draw::Signed, Draw::Mask];
    const MEAN: &[Draw] = &[Draw::Signed, Draw::Signed, Draw::Positive];
    const AFTER: &[Draw] = &[Draw::Signed, Draw::Signed, Draw::Mask, Draw::Signed, Draw::Below(99)];
    const UNMASKED: &[Draw] = &[Draw::Signed, Draw::Signed, Draw::Signed, Draw::Below(99)];
    let dropped = |mask, share| {
        let dropout = Dropout { rate: 0.25, share, key: 0x1234_5678_9abc_def1, residual: true };
        Gated { residual: true, dropout: Some(dropout), ..Gated::with_gate(mask) }
    };
    let mean = OuterProductMean::default();
    vec![
        case("triangle out 1", out, &[&[1, 1, 3], &[1, 1, 3]]),
        case("triangle out 17", out, &[&[17, 17, 33], &[17, 17, 33]]),
        case("triangle out 33", out, &[&[33, 33, 16], &[33, 33, 16]]),
        case("triangle in 1", into, &[&[1, 1, 3], &[1, 1, 3]]),
        case("triangle in 17", into, &[&[17, 17, 33], &[17, 17, 33]]),
        case("triangle in 33", into, &[&[33, 33, 16], &[33, 33, 16]]),
        case("triangle out turned", out, &[&[9, 9, 6], &[9, 9, 6]]).turned(),
        case("triangle out gated 1", gated_out, &[&[1, 1, 8], &[1, 1, 8], &[1, 1, 1]]).drawn(GATED),
        case("triangle out gated 17", gated_out, &[&[17, 17, 40], &[17, 17, 40], &[17, 1, 17]]).drawn(GATED),
        case("triangle in gated 1", gated_into, &[&[1, 1, 8], &[1, 1, 8], &[1, 1, 1]]).drawn(GATED),
        case("triangle in gated 33", gated_into, &[&[33, 33, 24], &[33, 33, 24], &[33, 1, 33]]).drawn(GATED),
        case("triangle in gated 66", gated_into, &[&[66, 66, 8], &[66, 66, 8], &[66, 1, 66]]).drawn(GATED),
        case("triangle out gated turned", gated_out, &[&[9, 9, 16], &[9, 9, 16], &[9, 1, 9]]).drawn(GATED).turned(),
        case("triangles out side by side", out, &[&[17, 51, 9], &[17, 51, 9]]),
        case("triangles in side by side", into, &[&[6, 12, 33], &[6, 12, 33]]),
        case("triangles out gated side by side", gated_out, &[&[9, 27, 24], &[9, 27, 24], &[9, 3, 9]]).drawn(GATED),
        case("triangles in gated side by side", gated_into, &[&[35, 70, 8], &[35, 70, 8], &[35, 2, 35]]).drawn(GATED),
        case("gated", Gated::with_gate(true), &[&[5, 7, 33], &[5, 7, 33], &[5, 7]]).drawn(GATED),
        case("gated 1", Gated::with_gate(true), &[&[1, 1, 3], &[1, 1, 3], &[1, 1]]).drawn(GATED),
        case("gated squares", Gated::with_gate(true), &[&[5, 14, 33], &[5, 14, 33], &[5, 2, 7]]).drawn(GATED),
        case("gated without a mask", Gated::with_gate(false), &[&[5, 7, 33], &[5, 7, 33]]),
        case("masked", Gated::masked(), &[&[17, 9, 16], &[17, 9]]).drawn(MASKED),
        case("gated residual", Gated { residual: true, ..Gated::with_gate(true) }, &[&[5, 7, 33], &[5, 7, 33], &[5, 7], &[5, 7, 33]])
            .drawn(GATED),
        case("gated dropout", dropped(true, Share::Rows), &[&[5, 7, 33], &[5, 7, 33], &[5, 7], &[5, 7, 33], &[5]]).drawn(AFTER),
        case("gated dropout column", dropped(false, Share::Columns(7)), &[&[5, 7, 12], &[5, 7, 12], &[5, 7, 12], &[5]]).drawn(UNMASKED),
        case("gated dropout of squares", dropped(false, Share::Columns(5)), &[&[5, 15, 12], &[5, 15, 12], &[5, 15, 12], &[5]])
            .drawn(UNMASKED),
        case("shared rows 1", SharedRows, &[&[1, 1]]).drawn(&[Draw::Mask]),
        case("shared rows", SharedRows, &[&[70, 67]]).drawn(&[Draw::Mask]),
        case("masked halves 7", Gated { halves: true, ..Gated::masked() }, &[&[5, 3, 7], &[5, 3]]).drawn(MASKED).outputs(2),
        case("masked halves", Gated { halves: true, ..Gated::masked() }, &[&[17, 9, 24], &[17, 9]]).drawn(MASKED).outputs(2),
        case("mean 1", mean, &[&[1, 1, 3], &[1, 4, 1], &[1, 1, 1], &[12, 5], &[5]]).drawn(MEAN),
        case("mean 3", mean, &[&[5, 9, 3], &[5, 4, 9], &[9, 9, 1], &[12, 33], &[33]]).drawn(MEAN),
        case("mean 16", mean, &[&[7, 17, 16], &[7, 8, 17], &[17, 17, 1], &[128, 9], &[9]]).drawn(MEAN),
        case("mean residual", OuterProductMean { residual: true }, &[&[5, 9, 3], &[5, 4, 9], &[9, 9, 1], &[12, 33], &[33], &[9, 9, 33]])
            .drawn(MEAN),
        // One residue's outer products exceed the small binding.
        case("mean 32", mean, &[&[2, 18, 32], &[2, 32, 18], &[18, 18, 1], &[1024, 3], &[3]]).drawn(MEAN),
        case("mean 33", mean, &[&[3, 17, 33], &[3, 8, 17], &[17, 17, 1], &[264, 4], &[4]]).drawn(MEAN),
    ]
}
