//! Cases of the operations of embeddings, heads and their losses.

use anyfold::ops::evoformer::distance_bins::DistanceBins;

use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("dgram", DistanceBins::dgram(0.3, 2.0, 15), &[&[33, 3]]).outputs(2),
        case("dgram of a batch", DistanceBins::dgram(0.3, 2.0, 39), &[&[3, 7, 3]]).outputs(2),
        case("distance bins", DistanceBins::count(0.1, 3.0, 64), &[&[67, 3]]).outputs(2),
    ]
}
