//! Frame aligned point error of the backbone, in every layer, and of the side chains (supplement 1.9.2, Algorithm 28).

use std::rc::Rc;

use crate::graph::Tensor;
use crate::ops::loss::fape::Fape;
use crate::ops::structure::affine_frames::AffineFrames;

/// Where errors are cut off, and the unit in which they count, Angstrom.
pub const FAPE: Fape = Fape { clamp: Some(10.0), scale: 10.0, eps: 1e-4 };

/// The loss that is trained, and what is reported of it.
#[derive(Debug, Clone, Copy)]
pub struct BackboneFape<'g> {
    /// Mean over the layers, `[1]`.
    pub loss: Tensor<'g>,
    /// The last layer's, `[1]`.
    pub fape: Tensor<'g>,
}

/// Algorithm 20 line 17: the FAPE of all backbone frames and CA atoms, in every layer. `traj [l, n_res, 7]` are affines in Angstrom, `truth
/// [n_res, 7]` with `mask [n_res]`. `use_clamped_fape [1]` is the clamped error's share, the rest is not clamped (supplement 1.11.5).
pub fn backbone_loss<'g>(
    fape: Fape,
    traj: Tensor<'g>,
    truth: Tensor<'g>,
    mask: Tensor<'g>,
    use_clamped_fape: Tensor<'g>,
) -> BackboneFape<'g> {
    let graph = traj.graph();
    let &[l, n_res, 7] = traj.shape().as_slice() else { panic!("a trajectory of affines is {traj:?}") };
    let rigid = |affine: Tensor<'g>| graph.apply_all(Rc::new(AffineFrames { scale: 1.0 }), &[affine]);
    let pred = rigid(traj.reshape(&[l * n_res, 7])); // [l n_res, 12], [l n_res, 3]
    let gt = rigid(truth); // [n_res, 12], [n_res, 3]
    let (frames, x) = (pred[0].reshape(&[l, n_res, 12]), pred[1].reshape(&[l, n_res, 3]));
    let y = graph.apply_all(Rc::new(fape), &[frames, x, gt[0], mask, gt[1], mask, use_clamped_fape]);
    BackboneFape { loss: y[0], fape: y[1] }
}
