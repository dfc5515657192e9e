//! Frame aligned point error of the backbone, in every layer, and of the side chains (supplement 1.9.2; Algorithms 20 and 28).

use std::rc::Rc;

use crate::graph::Tensor;
use crate::ops::loss::fape::Fape;
use crate::ops::structure::affine_frames::AffineFrames;
use crate::tensor::HostTensor;

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

/// True frames and which of them are known.
#[derive(Debug, Clone, Copy)]
pub struct Truth<'g> {
    /// Affines `[n_res, 7]` of the backbone, or frames `[n_res, 8, 12]` of all rigid groups, Angstrom.
    pub frames: Tensor<'g>,
    /// 1 for those that are known, `[n_res]` or `[n_res, 8]`.
    pub mask: Tensor<'g>,
}

/// Algorithm 20 line 17: the FAPE of all backbone frames and CA atoms, in every layer. `traj [l, n_res, 7]` are affines in Angstrom.
/// `use_clamped_fape [1]` is the share of the clamped error, the rest is not clamped (supplement 1.11.5).
pub fn backbone_loss<'g>(fape: Fape, traj: Tensor<'g>, truth: Truth<'g>, use_clamped_fape: Tensor<'g>) -> BackboneFape<'g> {
    let graph = traj.graph();
    let &[l, n_res, 7] = traj.shape().as_slice() else { panic!("a trajectory of affines is {traj:?}") };
    let rigid = |affine: Tensor<'g>| graph.apply_all(Rc::new(AffineFrames { scale: 1.0 }), &[affine]);
    let pred = rigid(traj.reshape(&[l * n_res, 7])); // [l n_res, 12], [l n_res, 3]
    let gt = rigid(truth.frames); // [n_res, 12], [n_res, 3]
    let (frames, x) = (pred[0].reshape(&[l, n_res, 12]), pred[1].reshape(&[l, n_res, 3]));
    let y = graph.apply_all(Rc::new(fape), &[frames, x, gt[0], truth.mask, gt[1], truth.mask, use_clamped_fape]);
    BackboneFape { loss: y[0], fape: y[1] }
}

/// The final loss of Algorithm 20: the FAPE of all frames `[n_res, 8, 12]` and atoms `[n_res, 14, 3]` of the last layer, always clamped, `[1]`. The truth is
/// named as the prediction would have it (Algorithm 26); `gt_positions [n_res, 14, 3]`, `gt_exists [n_res, 14]`.
pub fn sidechain_loss<'g>(
    fape: Fape,
    frames: Tensor<'g>,
    positions: Tensor<'g>,
    truth: Truth<'g>,
    gt_positions: Tensor<'g>,
    gt_exists: Tensor<'g>,
) -> Tensor<'g> {
    let graph = frames.graph();
    let n_res = frames.shape()[0];
    let always = graph.constant("always clamped", &HostTensor::f32(&[1], vec![1.0]));
    let pred = (frames.reshape(&[1, n_res * 8, 12]), positions.reshape(&[1, n_res * 14, 3]));
    let gt = (truth.frames.reshape(&[n_res * 8, 12]), gt_positions.reshape(&[n_res * 14, 3]));
    graph.apply_all(Rc::new(fape), &[pred.0, pred.1, gt.0, truth.mask, gt.1, gt_exists, always])[0]
}
