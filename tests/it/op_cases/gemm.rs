//! Cases of products of matrices: one element, edges of tiles, every transposition, batches, and operands beyond a small binding.

use anyfold::ops::basic::gemm::Matmul;

use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    let matmul = |ta, tb| Matmul { ta, tb };
    vec![
        case("matmul 1", matmul(false, false), &[&[1, 1], &[1, 1]]),
        case("matmul 33", matmul(false, false), &[&[33, 17], &[17, 33]]),
        case("matmul 129", matmul(false, false), &[&[129, 129], &[129, 129]]),
        case("matmul ta", matmul(true, false), &[&[2, 3, 34, 33], &[2, 3, 34, 9]]),
        case("matmul tb", matmul(false, true), &[&[3, 2, 5, 70], &[3, 2, 66, 70]]),
        case("matmul ta tb", matmul(true, true), &[&[2, 129, 5], &[2, 3, 129]]),
        case("matmul long", matmul(false, true), &[&[3, 1030], &[5, 1030]]),
    ]
}
