//! Cases of `ops::structure`: more rows than a workgroup, one row, widths that leave padding.

use anyfold::ops::structure::affine_frames::AffineFrames;
use anyfold::ops::structure::affine_update::AffineUpdate;
use anyfold::ops::structure::atom_gather::AtomGather;
use anyfold::ops::structure::frame_algebra::FrameAlgebra;
use anyfold::ops::structure::frame_atoms::FrameAtoms;
use anyfold::ops::structure::frame_points::FramePoints;
use anyfold::ops::structure::torsion_frames::TorsionFrames;
use anyfold::ops::structure::unit_pairs::UnitPairs;

use super::Draw::{Below, Mask, Signed};
use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
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
        case("frame atoms", FrameAtoms, &[&[70, 8, 12], &[70], &[5, 14], &[5, 14, 3], &[5, 14]]).drawn(&[
            Signed,
            Below(5),
            Below(8),
            Signed,
            Mask,
        ]),
        case("torsion frames", TorsionFrames, &[&[70, 12], &[70, 14], &[70], &[5, 96]]).drawn(&[Signed, Signed, Below(5), Signed]),
        case("unit pairs", UnitPairs { eps: 1e-12 }, &[&[70, 14]]),
    ]
}
