//! Cases of operations that make features: one residue, odd lengths, types that are no class, masks with zeros.

use anyfold::ops::evoformer::extra_msa_feat::ExtraMsaFeat;
use anyfold::ops::evoformer::pair_mask::PairMask;
use anyfold::ops::evoformer::pseudo_beta::PseudoBeta;
use anyfold::ops::evoformer::template_pair_feat::TemplatePairFeat;

use super::{Case, Draw, case};

pub(super) fn cases() -> Vec<Case> {
    const TEMPLATE: &[Draw] = &[Draw::Below(22), Draw::Wide, Draw::Mask, Draw::Wide, Draw::Mask];
    const EXTRA: &[Draw] = &[Draw::Below(23), Draw::Mask, Draw::Signed];
    let template = |unit_vector| TemplatePairFeat { unit_vector };
    vec![
        case("pair mask 1", PairMask, &[&[1]]).drawn(&[Draw::Mask]),
        case("pair mask", PairMask, &[&[67]]).drawn(&[Draw::Mask]),
        case("pseudo beta 1", PseudoBeta, &[&[1], &[1, 37, 3]]).drawn(&[Draw::Below(21)]),
        case("pseudo beta", PseudoBeta, &[&[67], &[67, 37, 3]]).drawn(&[Draw::Below(21)]),
        case("extra features 1", ExtraMsaFeat, &[&[1, 1], &[1, 1], &[1, 1]]).drawn(EXTRA),
        case("extra features", ExtraMsaFeat, &[&[5, 33], &[5, 33], &[5, 33]]).drawn(EXTRA),
        case("templates side by side", template(true), &[&[3, 7], &[3, 7, 3], &[3, 7], &[3, 7, 37, 3], &[3, 7, 37]]).drawn(TEMPLATE),
        case("template pairs", template(false), &[&[1, 13], &[1, 13, 3], &[1, 13], &[1, 13, 37, 3], &[1, 13, 37]]).drawn(TEMPLATE),
        case("template pairs with vectors", template(true), &[&[1, 13], &[1, 13, 3], &[1, 13], &[1, 13, 37, 3], &[1, 13, 37]])
            .drawn(TEMPLATE),
    ]
}
