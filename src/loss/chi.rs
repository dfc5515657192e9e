//! Side-chain torsions and the length of all torsions' vectors (supplement 1.9.1, Algorithm 27).

use std::rc::Rc;

use crate::graph::Tensor;
use crate::ops::loss::torsion_loss::TorsionLoss;
use crate::protein::tables::{N_TYPES, TABLES};
use crate::tensor::HostTensor;

/// The two losses of Algorithm 27, each `[1]`.
#[derive(Debug, Clone, Copy)]
pub struct TorsionLosses<'g> {
    /// Squared distance of predicted and true (sin, cos) of the chis, the nearer of two where a chi may be turned by pi.
    pub chi: Tensor<'g>,
    /// How far the predicted vectors were from unit length.
    pub angle_norm: Tensor<'g>,
}

/// Algorithm 27 Side chain and backbone torsion angle loss: `angles` and `unnormalized [l, n_res, 7, 2]`, both (sin, cos), of all layers against
/// `chi_angles [n_res, 4]` in radians with `chi_mask [n_res, 4]`. `aatype [n_res]` says which chis may be turned by pi.
pub fn supervised_chi_loss<'g>(
    angles: Tensor<'g>,
    unnormalized: Tensor<'g>,
    chi_angles: Tensor<'g>,
    chi_mask: Tensor<'g>,
    seq_mask: Tensor<'g>,
    aatype: Tensor<'g>,
) -> TorsionLosses<'g> {
    let table = HostTensor::f32(&[N_TYPES, 4], TABLES.chi_pi_periodic.as_flattened().to_vec());
    let pi_periodic = angles.graph().constant("chi_pi_periodic", &table);
    let x = [angles, unnormalized, chi_angles, chi_mask, seq_mask, aatype, pi_periodic];
    let y = angles.graph().apply_all(Rc::new(TorsionLoss), &x);
    TorsionLosses { chi: y[0], angle_norm: y[1] }
}
