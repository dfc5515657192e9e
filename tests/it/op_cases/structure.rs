//! Cases of `ops::structure`: more rows than a workgroup, one row, widths that leave padding.

use anyfold::ops::structure::affine_frames::AffineFrames;
use anyfold::ops::structure::affine_update::AffineUpdate;
use anyfold::ops::structure::atom_gather::AtomGather;
use anyfold::ops::structure::frame_algebra::FrameAlgebra;
use anyfold::ops::structure::frame_atoms::FrameAtoms;
use anyfold::ops::structure::frame_points::FramePoints;
use anyfold::ops::structure::ipa_features::IpaFeatures;
use anyfold::ops::structure::ipa_heads::IpaHeads;
use anyfold::ops::structure::ipa_logits::IpaLogits;
use anyfold::ops::structure::torsion_frames::TorsionFrames;
use anyfold::ops::structure::unit_pairs::UnitPairs;

use super::Draw::{Below, Mask, Signed};
use super::{Case, Draw, case};

fn heads(heads: usize, [scalar_qk, scalar_v]: [usize; 2], [point_qk, point_v]: [usize; 2]) -> IpaHeads {
    IpaHeads { heads, scalar_qk, scalar_v, point_qk, point_v }
}

pub(super) fn cases() -> Vec<Case> {
    const LOGITS: &[Draw] = &[Signed, Signed, Signed, Mask, Signed];
    vec![
        case("affine frames", AffineFrames { scale: 10.0 }, &[&[70, 7]]).outputs(2),
        case("affine update", AffineUpdate, &[&[70, 7], &[70, 6]]),
        case("atom gather", AtomGather, &[&[70, 14, 3], &[70, 37], &[70, 37]]).drawn(&[Signed, Below(14), Mask]),
        case("frame product", FrameAlgebra::Product, &[&[70, 12], &[70, 12]]),
        case("frame inverse", FrameAlgebra::Inverse, &[&[70, 12]]),
        case("frame of three points", FrameAlgebra::ThreePoints, &[&[70, 3], &[70, 3], &[70, 3]]),
        case("quaternions", FrameAlgebra::Quaternions, &[&[70, 4], &[70, 4]]),
        case("frame points", FramePoints { inverse: false }, &[&[70, 12], &[70, 5, 3]]),
        case("frame points inverse", FramePoints { inverse: true }, &[&[1, 12], &[1, 9, 3]]),
        case("frame atoms", FrameAtoms, &[&[70, 8, 12], &[35], &[5, 14], &[5, 14, 3], &[5, 14]]).drawn(&[
            Signed,
            Below(5),
            Below(8),
            Signed,
            Mask,
        ]),
        case("ipa heads", heads(3, [5, 7], [2, 3]), &[&[9, 16 + 36 + 20 + 45], &[9, 12]]).outputs(3),
        case("ipa heads 1", heads(1, [1, 1], [1, 1]), &[&[1, 4 + 4 + 4 + 6], &[1, 12]]).outputs(3),
        case("ipa heads full", heads(12, [16, 16], [4, 8]), &[&[3, 1152], &[3, 12]]).outputs(3),
        case("ipa logits", IpaLogits { scalars: 5, points: 3, inf: 100.0 }, &[&[33, 3, 14], &[33, 3, 14], &[33, 33, 3], &[33], &[3]])
            .drawn(LOGITS),
        case("ipa logits 1", IpaLogits { scalars: 4, points: 1, inf: 100.0 }, &[&[1, 5, 7], &[1, 5, 7], &[1, 1, 5], &[1], &[5]])
            .drawn(LOGITS),
        case("ipa features", IpaFeatures { scalars: 5, points: 3 }, &[&[3, 70, 14], &[70, 3, 9], &[70, 12]]),
        case("ipa features 1", IpaFeatures { scalars: 4, points: 1 }, &[&[1, 1, 7], &[1, 1, 3], &[1, 12]]),
        case("torsion frames", TorsionFrames, &[&[70, 12], &[70, 7, 2], &[35], &[5, 96]]).drawn(&[Signed, Signed, Below(5), Signed]),
        case("unit pairs", UnitPairs { eps: 1e-12 }, &[&[70, 14]]).outputs(2),
    ]
}
