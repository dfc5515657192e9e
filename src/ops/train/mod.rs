//! What training does to its states, in place: one file each. All of it on flat arenas that hold every parameter.
//!
//! Two small states steer it. `control`, which the host writes before every step, is
//! `(lr, eps, clip, 1/batch), (b1, 1-b1, b2, 1-b2), (1-decay, 0, 0, 0)`; `status`, which stays on the device, is
//! `(applied, c1, c2, skipped), (bad, apply, norm, scale)`: steps taken, Adam's corrections, steps skipped; whether an example of this step
//! was not finite, whether the last step was taken, the last example's gradient norm and the factor that clipped it.

pub mod adam;
pub mod clip_accumulate;
pub mod ema;
pub mod norm;

use crate::gpu::View;
use crate::gpu::recorder::{Cut, cut};
use crate::ops::axes::as_groups;

/// Elements of `control`.
pub const CONTROL: usize = 12;
/// Elements of `status`.
pub const STATUS: usize = 8;

/// What the host writes into `control`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Control {
    /// Learning rate.
    pub lr: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Largest norm of one example's gradient.
    pub clip: f64,
    /// Examples of a step, over all processes: their gradients are averaged.
    pub batch: usize,
    /// Decay of the first moment.
    pub b1: f64,
    /// Decay of the second moment.
    pub b2: f64,
    /// Decay of the averaged parameters.
    pub decay: f64,
}

impl Control {
    /// The state's content. Complements are rounded once, from f64.
    pub fn pack(&self) -> [f32; CONTROL] {
        let Self { lr, eps, clip, batch, b1, b2, decay } = *self;
        [lr, eps, clip, 1.0 / batch as f64, b1, 1.0 - b1, b2, 1.0 - b2, 1.0 - decay, 0.0, 0.0, 0.0].map(|v| v as f32)
    }
}

/// What `status` says after an example or a step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Status {
    /// Steps taken.
    pub applied: u64,
    /// Steps left out because something was not finite.
    pub skipped: u64,
    /// Whether an example since the last step had a gradient or loss that is not finite.
    pub bad: bool,
    /// Whether the last step was taken.
    pub taken: bool,
    /// The last example's gradient norm, before clipping.
    pub norm: f32,
    /// What its gradient was multiplied by; 0 when it was left out.
    pub scale: f32,
}

impl Status {
    /// Reads the state's content.
    pub fn unpack(v: &[f32]) -> Self {
        assert_eq!(v.len(), STATUS, "status has {STATUS} elements");
        Self { applied: v[0] as u64, skipped: v[3] as u64, bad: v[4] != 0.0, taken: v[5] != 0.0, norm: v[6], scale: v[7] }
    }

    /// Writes what it says of examples into the state's content: `bad`, `norm` and `scale`.
    pub fn put(&self, v: &mut [f32]) {
        assert_eq!(v.len(), STATUS, "status has {STATUS} elements");
        (v[4], v[6], v[7]) = (f32::from(u8::from(self.bad)), self.norm, self.scale);
    }
}

/// Workgroups of 64 groups of four each, and arenas as groups that may be cut along them.
fn flat(view: &View) -> (View, usize) {
    assert!(view.shape.len() == 1 && view.shape[0].is_multiple_of(4), "an arena is one axis of whole groups, not {:?}", view.shape);
    let groups = as_groups(view);
    let n = groups.shape[0];
    (groups, n)
}

/// How an arena follows a grid of 64 groups a workgroup.
const BY_64: [Cut; 1] = [cut(0, 0, 64)];
/// Groups that one workgroup of `norm` sums: fixed, so that neither windows nor devices change a bit.
const BLOCK: usize = 1024;
/// How an arena follows a grid of blocks.
const BY_BLOCK: [Cut; 1] = [cut(0, 0, BLOCK)];
