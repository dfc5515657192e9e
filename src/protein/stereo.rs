//! Bond lengths and angles of the twenty amino acids, and from them the distance bounds by which violations are judged (supplement 1.9.11).
//!
//! The table is `assets/stereo_chemistry.tsv`, whose head names its source.

use std::sync::LazyLock;

use super::letters::restype_of_name;
use super::residues::RESIDUE_TYPES;
use super::tables::{N_TYPES, element_of_atom, van_der_waals_radius};

/// Peptide bond C-N: mean length for any residue and for one before proline, Angstrom.
pub const C_N_LENGTH: [f64; 2] = [1.329, 1.341];
/// Standard deviations of [`C_N_LENGTH`].
pub const C_N_LENGTH_STDDEV: [f64; 2] = [0.014, 0.016];
/// Cosine of the angle C-N-CA across a peptide bond: mean and standard deviation (121.352 +- 2.315 degrees).
pub const COS_C_N_CA: [f64; 2] = [-0.5203, 0.0353];
/// Cosine of the angle CA-C-N across a peptide bond: mean and standard deviation (116.568 +- 1.995 degrees).
pub const COS_CA_C_N: [f64; 2] = [-0.4473, 0.0311];
/// Distance of consecutive CA atoms across a trans peptide bond, Angstrom.
pub const CA_CA: f64 = 3.80209737096;

/// A bond, or the opposite edge of a bond angle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distance {
    /// atom14 slots of its ends.
    pub slots: [usize; 2],
    /// Mean length, Angstrom.
    pub length: f64,
    /// Standard deviation, Angstrom.
    pub stddev: f64,
}

/// A bond angle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Angle {
    /// atom14 slots; the second is the vertex.
    pub slots: [usize; 3],
    /// Mean, radians.
    pub angle: f64,
    /// Standard deviation, radians.
    pub stddev: f64,
}

/// Stereochemistry of one residue type; empty for the unknown type.
#[derive(Debug, Clone, Default)]
pub struct Stereo {
    /// Covalent bonds.
    pub bonds: Vec<Distance>,
    /// Bond angles.
    pub angles: Vec<Angle>,
    /// Bond angles as distances of their outer atoms.
    pub virtual_bonds: Vec<Distance>,
}

/// Stereochemistry of the 21 types.
pub static STEREO: LazyLock<Vec<Stereo>> = LazyLock::new(|| parse(include_str!("../../assets/stereo_chemistry.tsv")));

fn parse(table: &str) -> Vec<Stereo> {
    let mut types = vec![Stereo::default(); N_TYPES];
    for line in table.lines().filter(|l| !l.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [name, atoms, mean, stddev] = columns[..] else { panic!("stereo_chemistry.tsv: `{line}` has not four columns") };
        let restype = restype_of_name(name);
        let slot = |a: &str| RESIDUE_TYPES[restype].slot(a).unwrap_or_else(|| panic!("stereo_chemistry.tsv: {name} has no atom {a}"));
        let number = |x: &str| x.parse::<f64>().unwrap_or_else(|_| panic!("stereo_chemistry.tsv: `{x}` is no number"));
        let slots: Vec<usize> = atoms.split('-').map(slot).collect();
        let (mean, stddev) = (number(mean), number(stddev));
        match slots[..] {
            [a, b] => types[restype].bonds.push(Distance { slots: [a, b], length: mean, stddev }),
            [a, b, c] => types[restype].angles.push(Angle { slots: [a, b, c], angle: mean.to_radians(), stddev: stddev.to_radians() }),
            _ => panic!("stereo_chemistry.tsv: `{atoms}` is neither a bond nor an angle"),
        }
    }
    for stereo in &mut types {
        stereo.virtual_bonds = stereo.angles.iter().map(|angle| opposite_edge(angle, &stereo.bonds)).collect();
    }
    types
}

/// The distance of an angle's outer atoms by the law of cosines, with the uncertainty of both bonds and of the angle propagated as uncorrelated.
fn opposite_edge(angle: &Angle, bonds: &[Distance]) -> Distance {
    let bond = |a: usize, b: usize| {
        // The last of equal rows counts, as a later row overrules an earlier one.
        let found = bonds.iter().rfind(|d| d.slots == [a, b] || d.slots == [b, a]);
        found.unwrap_or_else(|| panic!("stereo_chemistry.tsv: an angle lacks the bond of its atoms {a} and {b}"))
    };
    let [a, vertex, b] = angle.slots;
    let (one, two) = (bond(a, vertex), bond(vertex, b));
    let (sin, cos) = angle.angle.sin_cos();
    let length = (one.length.powi(2) + two.length.powi(2) - 2.0 * one.length * two.length * cos).sqrt();
    let outer = 0.5 / length;
    let by_angle = 2.0 * one.length * two.length * sin * outer;
    let by_one = (2.0 * one.length - 2.0 * two.length * cos) * outer;
    let by_two = (2.0 * two.length - 2.0 * one.length * cos) * outer;
    let variance = (by_angle * angle.stddev).powi(2) + (by_one * one.stddev).powi(2) + (by_two * two.stddev).powi(2);
    Distance { slots: [a, b], length, stddev: variance.sqrt() }
}

/// Bounds on the distances within each residue type, Angstrom.
#[derive(Debug, Clone)]
pub struct DistanceBounds {
    /// A shorter distance is a violation; 0 where there is no pair.
    pub lower: Box<[[[f32; 14]; 14]; N_TYPES]>,
    /// A longer distance is a violation; 1e10 for pairs that are not bound.
    pub upper: Box<[[[f32; 14]; 14]; N_TYPES]>,
    /// Standard deviation of bonds and of the distances across bond angles; 0 for other pairs.
    pub stddev: Box<[[[f32; 14]; 14]; N_TYPES]>,
}

impl DistanceBounds {
    /// AlphaFold's `make_atom14_dists_bounds`: unbound atoms may overlap by `overlap_tolerance` Angstrom, bonds and angles may
    /// deviate by `bond_tolerance` standard deviations. Training uses 1.5 and 12.
    pub fn new(overlap_tolerance: f64, bond_tolerance: f64) -> Self {
        let zeros = || Box::new([[[0.0; 14]; 14]; N_TYPES]);
        let mut bounds = Self { lower: zeros(), upper: zeros(), stddev: zeros() };
        for (row, residue) in RESIDUE_TYPES.iter().enumerate() {
            for (i, a) in residue.atoms.iter().enumerate() {
                for (j, b) in residue.atoms.iter().enumerate().filter(|(j, _)| *j != i) {
                    let radius = |name: &str| van_der_waals_radius(element_of_atom(name));
                    bounds.lower[row][i][j] = (radius(a.name) + radius(b.name) - overlap_tolerance) as f32;
                    bounds.upper[row][i][j] = 1e10;
                }
            }
            for d in STEREO[row].bonds.iter().chain(&STEREO[row].virtual_bonds) {
                for [i, j] in [d.slots, [d.slots[1], d.slots[0]]] {
                    bounds.lower[row][i][j] = (d.length - bond_tolerance * d.stddev) as f32;
                    bounds.upper[row][i][j] = (d.length + bond_tolerance * d.stddev) as f32;
                    bounds.stddev[row][i][j] = d.stddev as f32;
                }
            }
        }
        bounds
    }
}
