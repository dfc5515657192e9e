//! Cases of the operations of embeddings, heads and their losses.

use anyfold::ops::basic::sigmoid_cross_entropy::SigmoidCrossEntropy;
use anyfold::ops::basic::softmax_cross_entropy::SoftmaxCrossEntropy;
use anyfold::ops::evoformer::distance_bins::DistanceBins;
use anyfold::ops::loss::aligned_error_bins::AlignedErrorBins;
use anyfold::ops::loss::lddt::Lddt;
use anyfold::ops::loss::masked_mean::MaskedMean;

use super::{Case, Draw, case};

pub(super) fn cases() -> Vec<Case> {
    let (hard, soft) = (SoftmaxCrossEntropy { soft: false }, SoftmaxCrossEntropy { soft: true });
    const OF_2: &[Draw] = &[Draw::Signed, Draw::Below(2)];
    const OF_23: &[Draw] = &[Draw::Signed, Draw::Below(23)];
    const OF_12: &[Draw] = &[Draw::Signed, Draw::Below(12)];
    const MASKED: &[Draw] = &[Draw::Signed, Draw::Mask, Draw::Positive];
    let lddt = Lddt { atom: 1, cutoff: 1.5, bins: 50 };
    vec![
        case("dgram", DistanceBins::dgram(0.3, 2.0, 15), &[&[33, 3]]).outputs(2),
        case("dgram of a batch", DistanceBins::dgram(0.3, 2.0, 39), &[&[3, 7, 3]]).outputs(2),
        case("distance bins", DistanceBins::count(0.1, 3.0, 64), &[&[67, 3]]).outputs(2),
        case("cross entropy 1", hard, &[&[1, 2], &[1]]).drawn(OF_2),
        case("cross entropy", hard, &[&[3, 33, 23], &[3, 33]]).drawn(OF_23),
        case("cross entropy of unknown labels", hard, &[&[150, 9], &[150]]).drawn(OF_12),
        case("cross entropy soft", soft, &[&[3, 33, 23], &[3, 33, 23]]).drawn(&[Draw::Signed, Draw::Positive]),
        case("sigmoid cross entropy", SigmoidCrossEntropy, &[&[19, 37], &[19, 37]]).drawn(&[Draw::Signed, Draw::Positive]),
        case("masked mean", MaskedMean::over(1e-3), &[&[2, 9, 33], &[2, 9, 33]]).drawn(MASKED),
        case("masked mean of a row", MaskedMean::over(1e-3).weighted(), &[&[300], &[300], &[1]]).drawn(MASKED),
        case("masked mean of pairs", MaskedMean::over_pairs(1e-3).weighted(), &[&[33, 33], &[33], &[1]]).drawn(MASKED),
        case("lddt", lddt, &[&[67, 3, 3], &[67, 3, 3], &[67, 3]]).drawn(&[Draw::Signed, Draw::Signed, Draw::Mask]).outputs(3),
        case("aligned error bins", AlignedErrorBins { max: 5.0, bins: 64 }, &[&[33, 12], &[33, 12]]),
    ]
}
