//! Violations of stereochemistry in one structure: bonds and angles across peptide bonds, clashes between residues, distances within them.
//!
//! AlphaFold's definitions and tolerances (supplement 1.9.11; `model/all_atom.py`; QUIRKS 41-43), as counts.

use glam::DVec3;

use crate::protein::letters::restype_of_letter;
use crate::protein::stereo::{C_N_LENGTH, C_N_LENGTH_STDDEV, CA_CA, COS_C_N_CA, COS_CA_C_N, DistanceBounds};
use crate::protein::tables::TABLES;
use crate::protein::truth::{Mask14, Positions14};

/// Bonds and angles may deviate by this many standard deviations.
pub const TOLERANCE_FACTOR: f64 = 12.0;
/// Unbound atoms may overlap by this much, Angstrom.
pub const OVERLAP_TOLERANCE: f64 = 1.5;
/// Consecutive CA atoms may lie this much further apart than in a trans peptide bond, Angstrom.
pub const CA_CA_TOLERANCE: f64 = 1.5;

/// What is wrong with a chain, per residue and in total.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Violations {
    /// Residues at a peptide bond whose length or angles are out of bounds.
    pub bond_residues: Vec<bool>,
    /// Atoms (atom14) that clash with an atom of another residue.
    pub clash_atoms: Vec<[bool; 14]>,
    /// Atoms (atom14) at a distance out of bounds from an atom of their own residue.
    pub within_atoms: Vec<[bool; 14]>,
    /// Peptide bonds whose C-N length is out of bounds.
    pub n_bonds: usize,
    /// Angles at peptide bonds out of bounds.
    pub n_angles: usize,
    /// Pairs of atoms of different residues that clash.
    pub n_clashes: usize,
    /// Pairs of atoms of one residue at a distance out of bounds.
    pub n_within: usize,
    /// Consecutive CA atoms too far apart.
    pub n_ca_ca: usize,
}

impl Violations {
    /// Whether anything is wrong with residue `i`.
    pub fn at(&self, i: usize) -> bool {
        self.bond_residues[i] || self.clash_atoms[i].contains(&true) || self.within_atoms[i].contains(&true)
    }
}

/// A chain in the atom14 layout.
#[derive(Debug, Clone, Copy)]
pub struct Atoms14<'a> {
    /// Residue types 0-20.
    pub aatype: &'a [usize],
    /// Coordinates, Angstrom.
    pub positions: &'a [Positions14],
    /// Which of them are there.
    pub mask: &'a [Mask14],
    /// Residue numbers; only consecutive numbers are joined by a bond.
    pub residue_index: &'a [i32],
}

impl Atoms14<'_> {
    fn at(&self, residue: usize, slot: usize) -> DVec3 {
        DVec3::from(self.positions[residue][slot].map(f64::from))
    }

    fn has(&self, residue: usize, slots: &[usize]) -> bool {
        slots.iter().all(|&s| self.mask[residue][s] == 1.0)
    }
}

/// All violations of a chain.
pub fn violations(atoms: &Atoms14) -> Violations {
    let n = atoms.aatype.len();
    let mut found = Violations {
        bond_residues: vec![false; n],
        clash_atoms: vec![[false; 14]; n],
        within_atoms: vec![[false; 14]; n],
        ..Violations::default()
    };
    bonds(atoms, &mut found);
    clashes(atoms, &mut found);
    let bounds = DistanceBounds::new(OVERLAP_TOLERANCE, TOLERANCE_FACTOR);
    within_residues(atoms, &bounds, &mut found);
    found
}

fn bonds(atoms: &Atoms14, found: &mut Violations) {
    const N: usize = 0;
    const CA: usize = 1;
    const C: usize = 2;
    let proline = restype_of_letter(b'P');
    let is_off = |value: f64, mean: f64, stddev: f64| (1e-6 + (value - mean).powi(2)).sqrt() > TOLERANCE_FACTOR * stddev;
    let length = |v: DVec3| (1e-6 + v.length_squared()).sqrt();
    for i in 1..atoms.aatype.len() {
        let (a, b) = (i - 1, i);
        if atoms.residue_index[b] - atoms.residue_index[a] != 1 {
            continue;
        }
        let c_to_n = atoms.at(b, N) - atoms.at(a, C);
        let c_to_ca = atoms.at(a, CA) - atoms.at(a, C);
        let n_to_ca = atoms.at(b, CA) - atoms.at(b, N);
        let bonded = atoms.has(a, &[C]) && atoms.has(b, &[N]);
        let kind = usize::from(atoms.aatype[b] == proline);
        let bond = bonded && is_off(length(c_to_n), C_N_LENGTH[kind], C_N_LENGTH_STDDEV[kind]);
        let (unit_n, unit_ca) = (c_to_n / length(c_to_n), c_to_ca / length(c_to_ca));
        let at_c = bonded && atoms.has(a, &[CA]) && is_off(unit_ca.dot(unit_n), COS_CA_C_N[0], COS_CA_C_N[1]);
        let at_n = bonded && atoms.has(b, &[CA]) && is_off((-unit_n).dot(n_to_ca / length(n_to_ca)), COS_C_N_CA[0], COS_C_N_CA[1]);
        found.n_bonds += usize::from(bond);
        found.n_angles += usize::from(at_c) + usize::from(at_n);
        if bond || at_c || at_n {
            found.bond_residues[a] = true;
            found.bond_residues[b] = true;
        }
        let both_ca = atoms.has(a, &[CA]) && atoms.has(b, &[CA]);
        found.n_ca_ca += usize::from(both_ca && length(atoms.at(b, CA) - atoms.at(a, CA)) - CA_CA > CA_CA_TOLERANCE);
    }
}

fn clashes(atoms: &Atoms14, found: &mut Violations) {
    // AlphaFold lets any two atoms in this slot overlap: it means the sulphurs of disulphide bridges.
    const SULPHUR: usize = 5;
    // Two residues whose first atoms are further apart than two of the longest side chains cannot touch.
    const REACH: f64 = 25.0;
    let n = atoms.aatype.len();
    let first: Vec<Option<usize>> = (0..n).map(|i| (0..14).find(|&s| atoms.mask[i][s] == 1.0)).collect();
    for i in 0..n {
        for j in (0..n).filter(|&j| atoms.residue_index[i] < atoms.residue_index[j]) {
            let (Some(a), Some(b)) = (first[i], first[j]) else { continue };
            if atoms.at(i, a).distance(atoms.at(j, b)) > REACH {
                continue;
            }
            let neighbours = atoms.residue_index[i] + 1 == atoms.residue_index[j];
            for a in (0..14).filter(|&a| atoms.mask[i][a] == 1.0) {
                for b in (0..14).filter(|&b| atoms.mask[j][b] == 1.0) {
                    if (neighbours && (a, b) == (2, 0)) || (a, b) == (SULPHUR, SULPHUR) {
                        continue;
                    }
                    let radii = TABLES.atom14_radius[atoms.aatype[i]][a] + TABLES.atom14_radius[atoms.aatype[j]][b];
                    let distance = (1e-10 + atoms.at(i, a).distance_squared(atoms.at(j, b))).sqrt();
                    if distance < f64::from(radii) - OVERLAP_TOLERANCE {
                        found.n_clashes += 1;
                        found.clash_atoms[i][a] = true;
                        found.clash_atoms[j][b] = true;
                    }
                }
            }
        }
    }
}

fn within_residues(atoms: &Atoms14, bounds: &DistanceBounds, found: &mut Violations) {
    for (i, &row) in atoms.aatype.iter().enumerate() {
        for a in (0..14).filter(|&a| atoms.mask[i][a] == 1.0) {
            for b in (0..a).filter(|&b| atoms.mask[i][b] == 1.0) {
                let distance = (1e-10 + atoms.at(i, a).distance_squared(atoms.at(i, b))).sqrt();
                if distance < f64::from(bounds.lower[row][a][b]) || distance > f64::from(bounds.upper[row][a][b]) {
                    found.n_within += 1;
                    found.within_atoms[i][a] = true;
                    found.within_atoms[i][b] = true;
                }
            }
        }
    }
}
