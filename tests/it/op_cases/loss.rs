//! Cases of `ops::loss`.

use anyfold::ops::loss::alt_naming::AltNaming;
use anyfold::ops::loss::choose::Choose;
use anyfold::ops::loss::clash::Clash;
use anyfold::ops::loss::fape::Fape;
use anyfold::ops::loss::peptide::Peptide;
use anyfold::ops::loss::torsion_loss::TorsionLoss;
use anyfold::ops::loss::violation_metrics::ViolationMetrics;
use anyfold::ops::loss::weighted_sum::WeightedSum;
use anyfold::ops::loss::within::Within;

use super::{Case, Draw, case};

pub(super) fn cases() -> Vec<Case> {
    use Draw::{Below, Chain, Mask, Positive, Signed};
    let fape = |clamp| Fape { clamp, scale: 10.0, eps: 1e-4 };
    let masked: &[Draw] = &[Signed, Signed, Signed, Mask, Signed, Mask, Positive];
    let torsions: &[Draw] = &[Signed, Signed, Signed, Mask, Mask, Below(9), Mask];
    let (bonds, clashes): (&[Draw], &[Draw]) = (&[Signed, Mask, Chain, Below(21)], &[Signed, Mask, Positive, Below(5), Chain]);
    vec![
        case("fape 1", fape(None), &[&[1, 1, 12], &[1, 1, 3], &[1, 12], &[1], &[1, 3], &[1], &[1]]).drawn(masked).outputs(2),
        case("fape", fape(None), &[&[3, 67, 12], &[3, 67, 3], &[67, 12], &[67], &[67, 3], &[67], &[1]]).drawn(masked).outputs(2),
        // A clamp amid the errors; the mask's rows are padded.
        case("fape clamped", fape(Some(2.0)), &[&[1, 72, 12], &[1, 126, 3], &[72, 12], &[9, 8], &[126, 3], &[9, 14], &[1]])
            .drawn(masked)
            .outputs(2),
        case("alt naming", AltNaming, &[&[9, 14, 3], &[9, 14, 3], &[9, 14, 3], &[9, 14], &[9, 14]])
            .drawn(&[Signed, Signed, Signed, Mask, Mask]),
        case("choose", Choose, &[&[67], &[67, 8, 12], &[67, 8, 12]]).drawn(&[Mask]),
        case("torsion loss 1", TorsionLoss, &[&[1, 1, 7, 2], &[1, 1, 7, 2], &[1, 4], &[1, 4], &[1], &[1], &[9, 4]])
            .drawn(torsions)
            .outputs(2),
        case("torsion loss", TorsionLoss, &[&[3, 67, 7, 2], &[3, 67, 7, 2], &[67, 4], &[67, 4], &[67], &[67], &[9, 4]])
            .drawn(torsions)
            .outputs(2),
        case("peptide 1", Peptide { factor: 12.0 }, &[&[1, 14, 3], &[1, 14], &[1], &[1]]).drawn(bonds).outputs(4),
        case("peptide", Peptide { factor: 5.0 }, &[&[33, 14, 3], &[33, 14], &[33], &[33]]).drawn(bonds).outputs(4),
        case("clash 1", Clash { overlap: 0.5 }, &[&[1, 14, 3], &[1, 14], &[5, 14], &[1], &[1]]).drawn(clashes).outputs(3),
        case("clash", Clash { overlap: 0.5 }, &[&[9, 14, 3], &[9, 14], &[5, 14], &[9], &[9]]).drawn(clashes).outputs(3),
        case("within", Within, &[&[9, 14, 3], &[9, 14], &[9], &[5, 14, 14], &[5, 14, 14]])
            .drawn(&[Signed, Mask, Below(5), Positive, Positive])
            .outputs(2),
        case("violation metrics", ViolationMetrics, &[&[67], &[67, 14], &[67, 14], &[67]]).drawn(&[Mask, Mask, Mask, Mask]).outputs(2),
        case("weighted sum", WeightedSum { weights: vec![0.5, -2.0, 0.0] }, &[&[1], &[1], &[1]]),
        case("weighted sum of seven", WeightedSum { weights: vec![1.0; 7] }, &[&[1], &[1], &[1], &[1], &[1], &[1], &[1]]),
    ]
}
