//! Why derivatives agree to three digits where outputs agree to six: units of a transition that lie within rounding of zero.
//!
//! A unit that single precision puts on the other side of zero gives its whole part of a gradient, or none. The gradient of the last transition's
//! first bias has a closed form, in which such a unit's part can be named.

use super::Case;
use super::compare::Evaluated;
use super::dense::{by_rows, layer_norm, project};

/// How near to zero a unit of variance about one may be put on the other side: some roundings of its value, and of what it is made from.
const NEAR: f64 = 3e-6;

/// What was found of the gradient of `pair_transition/transition1//bias`.
#[derive(Debug)]
pub struct Sides {
    /// Units: pairs times channels.
    pub units: usize,
    /// Units that the device must have put on the other side.
    pub other: usize,
    /// The worst error of a component, as a share of the largest, as it is.
    pub off: f64,
    /// And with those units' parts on the device's side.
    pub explained: f64,
}

/// Compares the gradient with its closed form, component by component: `sum over pairs of [a > 0] (w W2^T)`, where `a` are the
/// units before their ReLU, `w` the weights of the loss and `W2` those of the second map.
pub fn sides(case: &Case, evaluated: &Evaluated) -> Sides {
    let (c, p) = (case.c_z, |name: &str| evaluated.weight(&format!("pair_transition/{name}")));
    let x = layer_norm(evaluated.before_last(), p("input_layer_norm//scale"), p("input_layer_norm//offset"));
    let (w1, b1, w2) = (p("transition1//weights"), p("transition1//bias"), p("transition2//weights"));
    let f = b1.len();
    let back: Vec<f64> = (0..c * f).map(|at| w2[at % f * c + at / f]).collect(); // [c_z, f]
    let a = by_rows(&x, c, f, |x| project(x, c, w1, Some(b1))); // [n_res n_res, f]
    let parts = by_rows(&evaluated.cotangent("z"), c, f, |w| project(w, c, &back, None));
    let (mut want, mut near) = (vec![0.0; f], vec![Vec::new(); f]);
    for (at, (a, part)) in a.iter().zip(&parts).enumerate() {
        want[at % f] += if *a > 0.0 { *part } else { 0.0 };
        if a.abs() < NEAR && *part != 0.0 {
            near[at % f].push(if *a > 0.0 { -part } else { *part });
        }
    }
    let got = evaluated.gradient("pair_transition/transition1//bias");
    let most = want.iter().fold(0.0_f64, |most, v| most.max(v.abs()));
    let mut found = Sides { units: a.len(), other: 0, off: 0.0, explained: 0.0 };
    for ((want, got), near) in want.iter().zip(&got).zip(&near) {
        let off = got - want;
        assert!(off.is_finite() && near.len() < 16, "{off}, {} units near zero", near.len());
        // Of all choices among the few units near zero the one that comes nearest.
        let part = |set: u32| near.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1).map(|(_, part)| part).sum::<f64>();
        let left = |set: &u32| (off - part(*set)).abs();
        let set = (0..1 << near.len()).min_by(|a, b| left(a).total_cmp(&left(b))).expect("the empty choice");
        found.other += set.count_ones() as usize;
        found.off = found.off.max(off.abs() / most);
        found.explained = found.explained.max(left(&set) / most);
    }
    found
}
