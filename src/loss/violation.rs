//! Violations of stereochemistry: peptide bonds, clashes, distances within residues (supplement 1.9.11).

use std::rc::Rc;

use crate::graph::Tensor;
use crate::ops::basic::sum::Sum;
use crate::ops::basic::unary::Unary;
use crate::ops::loss::clash::Clash;
use crate::ops::loss::peptide::Peptide;
use crate::ops::loss::violation_metrics::ViolationMetrics;
use crate::ops::loss::within::Within;
use crate::protein::metrics::violations::{OVERLAP_TOLERANCE, TOLERANCE_FACTOR};
use crate::protein::stereo::DistanceBounds;
use crate::protein::tables::{N_TYPES, TABLES};
use crate::tensor::HostTensor;

/// What counts as a violation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerances {
    /// Standard deviations that lengths and angles of bonds may be off.
    pub bond_factor: f32,
    /// Overlap that atoms may have, Angstrom.
    pub overlap: f32,
}

impl Default for Tolerances {
    fn default() -> Self {
        Self { bond_factor: TOLERANCE_FACTOR as f32, overlap: OVERLAP_TOLERANCE as f32 }
    }
}

/// A prediction as the violations see it.
#[derive(Debug, Clone, Copy)]
pub struct Atoms<'g> {
    /// atom14 positions `[n_res, 14, 3]`, Angstrom.
    pub positions: Tensor<'g>,
    /// Which atoms the residue types have, `[n_res, 14]`.
    pub exists: Tensor<'g>,
    /// Residue types `[n_res]`, integers 0-20.
    pub aatype: Tensor<'g>,
    /// Residue numbers `[n_res]`, integers.
    pub residue_index: Tensor<'g>,
}

/// All violations of a prediction. Masks have no gradient.
#[derive(Debug, Clone, Copy)]
pub struct Violations<'g> {
    /// Mean losses of C-N lengths, CA-C-N angles and C-N-CA angles, `[3, 1]`.
    pub bonds: Tensor<'g>,
    /// Each residue's half of the losses of its bonds, not masked, `[n_res]`.
    pub bonds_per_residue: Tensor<'g>,
    /// 1 for residues at a bond out of bounds, `[n_res]`.
    pub bonds_mask: Tensor<'g>,
    /// Share of consecutive CA atoms that are too far apart, `[1]`.
    pub extreme_ca_ca: Tensor<'g>,
    /// Each atom's clashes, `[n_res, 14]`.
    pub clashes: Tensor<'g>,
    /// 1 for atoms that clash, `[n_res, 14]`.
    pub clashes_mask: Tensor<'g>,
    /// Mean clash over all pairs of atoms, `[1]`.
    pub clashes_mean: Tensor<'g>,
    /// What each atom's distances within its residue are out of bounds, `[n_res, 14]`.
    pub within: Tensor<'g>,
    /// 1 for atoms at such a distance, `[n_res, 14]`.
    pub within_mask: Tensor<'g>,
}

/// Equations 44-46: every violation of `atoms`.
pub fn find_structural_violations<'g>(tolerances: Tolerances, atoms: Atoms<'g>) -> Violations<'g> {
    let Atoms { positions, exists, aatype, residue_index } = atoms;
    let graph = positions.graph();
    let factor = tolerances.bond_factor;
    let bonds = graph.apply_all(Rc::new(Peptide { factor }), &[positions, exists, residue_index, aatype]); // equations 44, 45

    let radius = HostTensor::f32(&[N_TYPES, 14], TABLES.atom14_radius.as_flattened().to_vec());
    let radius = graph.constant("atom14_radius", &radius);
    let clash = Rc::new(Clash { overlap: tolerances.overlap });
    let clashes = graph.apply_all(clash, &[positions, exists, radius, aatype, residue_index]); // equation 46

    let bounds = DistanceBounds::new(tolerances.overlap.into(), factor.into());
    let table = |name: &str, values: &[[[f32; 14]; 14]]| {
        graph.constant(name, &HostTensor::f32(&[N_TYPES, 14, 14], values.as_flattened().as_flattened().to_vec()))
    };
    let (lower, upper) = (table("atom14_dists_lower_bound", &bounds.lower[..]), table("atom14_dists_upper_bound", &bounds.upper[..]));
    let within = graph.apply_all(Rc::new(Within), &[positions, exists, aatype, lower, upper]);
    Violations {
        bonds: bonds[0],
        bonds_per_residue: bonds[1],
        bonds_mask: bonds[2],
        extreme_ca_ca: bonds[3].slice(0, 0..1).reshape(&[1]),
        clashes: clashes[0],
        clashes_mask: clashes[1],
        clashes_mean: clashes[2],
        within: within[0],
        within_mask: within[1],
    }
}

/// Equation 47: the three means of the bonds, and all clashes and distances over the number of atoms, `[1]`.
pub fn structural_violation_loss<'g>(violations: &Violations<'g>, exists: Tensor<'g>) -> Tensor<'g> {
    let graph = exists.graph();
    graph.precise(|| {
        let bonds = graph.apply(Sum::over(&[0, 1]), &[violations.bonds]); // [1]
        let atoms = graph.apply(Sum::over(&[0, 1]), &[violations.clashes + violations.within]); // [1]
        let n_atoms = graph.apply(Sum::over(&[0, 1]), &[exists]); // [1]
        bonds + atoms * graph.apply(Unary::Reciprocal(1e-6), &[n_atoms])
    })
}

/// What is reported of violations, without gradients.
#[derive(Debug, Clone, Copy)]
pub struct Metrics<'g> {
    /// 1 for residues with a violation of any kind, `[n_res]`.
    pub total_per_residue: Tensor<'g>,
    /// Shares of residues with a bond, a clash, a distance, and any of them, `[4, 1]`.
    pub shares: Tensor<'g>,
    /// Share of consecutive CA atoms that are too far apart, `[1]`.
    pub extreme_ca_ca: Tensor<'g>,
}

/// The shares of residues that violate stereochemistry, over `seq_mask [n_res]`.
pub fn violation_metrics<'g>(violations: &Violations<'g>, seq_mask: Tensor<'g>) -> Metrics<'g> {
    let v = violations;
    let y = seq_mask.graph().apply_all(Rc::new(ViolationMetrics), &[v.bonds_mask, v.clashes_mask, v.within_mask, seq_mask]);
    Metrics { total_per_residue: y[0], shares: y[1], extreme_ca_ca: v.extreme_ca_ca }
}
