//! Cases of `ops::loss`.

use anyfold::ops::loss::fape::Fape;

use super::{Case, Draw, case};

pub(super) fn cases() -> Vec<Case> {
    use Draw::{Mask, Positive, Signed};
    let fape = |clamp| Fape { clamp, scale: 10.0, eps: 1e-4 };
    let masked: &[Draw] = &[Signed, Signed, Signed, Mask, Signed, Mask, Positive];
    vec![
        case("fape 1", fape(None), &[&[1, 1, 12], &[1, 1, 3], &[1, 12], &[1], &[1, 3], &[1], &[1]]).drawn(masked).outputs(2),
        case("fape", fape(None), &[&[3, 67, 12], &[3, 67, 3], &[67, 12], &[67], &[67, 3], &[67], &[1]]).drawn(masked).outputs(2),
        // A clamp amid the errors; the mask's rows are padded.
        case("fape clamped", fape(Some(2.0)), &[&[1, 72, 12], &[1, 126, 3], &[72, 12], &[9, 8], &[126, 3], &[9, 14], &[1]])
            .drawn(masked)
            .outputs(2),
    ]
}
