//! Cases of `ops::structure` and `ops::loss`.

use anyfold::ops::structure::affine_frames::AffineFrames;
use anyfold::ops::structure::affine_update::AffineUpdate;

use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("affine frames", AffineFrames { scale: 10.0 }, &[&[70, 7]]).outputs(2),
        case("affine update", AffineUpdate, &[&[70, 7], &[70, 6]]),
    ]
}
