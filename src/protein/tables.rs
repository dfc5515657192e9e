//! Index tables per residue type, derived from [`RESIDUE_TYPES`]: atom14 and atom37 layouts, rigid groups, torsions, ambiguous names.
//!
//! Tables have 21 rows; the last is the unknown type, which has no atoms. Their numbers are those of AlphaFold's `residue_constants`, single
//! precision where AlphaFold has it, so that they can be uploaded as they are.

use std::sync::LazyLock;

use glam::DVec3;

use super::letters::atom37_slot;
use super::residues::{RESIDUE_TYPES, ResidueType};
use super::rigid::Rigid;

/// Residue types with the unknown one.
pub const N_TYPES: usize = 21;

/// The tables; [`TABLES`] holds the only instance.
#[derive(Debug, Clone)]
pub struct Tables {
    /// Slot in atom37 of each atom14 slot; 0 where there is no atom.
    pub atom14_to_atom37: [[i32; 14]; N_TYPES],
    /// Slot in atom14 of each atom37 slot; 0 where there is no atom.
    pub atom37_to_atom14: [[i32; 37]; N_TYPES],
    /// 1 where an atom14 slot holds an atom.
    pub atom14_exists: [[f32; 14]; N_TYPES],
    /// 1 where an atom37 slot holds an atom (never OXT).
    pub atom37_exists: [[f32; 37]; N_TYPES],
    /// Rigid group of each atom14 slot.
    pub atom14_group: [[i32; 14]; N_TYPES],
    /// Idealised position of each atom14 slot in its group's frame, Angstrom.
    pub atom14_position: [[[f32; 3]; 14]; N_TYPES],
    /// Frame of each rigid group in the frame it turns with (backbone for groups 0-4, the chi before for 5-7), as rows of a 3x3 rotation and a
    /// translation in Angstrom. All zero for groups that a type does not have.
    pub default_frame: [[[f32; 12]; 8]; N_TYPES],
    /// The three atom37 slots that define each rigid group's frame: a point on the negative x axis, the origin, a point in the xy plane.
    pub group_base_atom37: [[[i32; 3]; 8]; N_TYPES],
    /// 1 where a type has a rigid group whose frame atoms are defined (0, 3 and its chis).
    pub group_exists: [[f32; 8]; N_TYPES],
    /// 1 where a rigid group's frame depends on ambiguous names.
    pub group_is_ambiguous: [[f32; 8]; N_TYPES],
    /// The four atom37 slots of each chi; zeros where there is none.
    pub chi_atom37: [[[i32; 4]; 4]; N_TYPES],
    /// 1 where a type has that chi.
    pub chi_exists: [[f32; 4]; N_TYPES],
    /// 1 where that chi may be turned by pi.
    pub chi_pi_periodic: [[f32; 4]; N_TYPES],
    /// The atom14 slot whose position each slot takes under the other naming; itself when unambiguous.
    pub atom14_renamed_from: [[i32; 14]; N_TYPES],
    /// 1 where an atom14 slot has an ambiguous name.
    pub atom14_is_ambiguous: [[f32; 14]; N_TYPES],
    /// Van der Waals radius of each atom14 slot, Angstrom; 0 where there is no atom.
    pub atom14_radius: [[f32; 14]; N_TYPES],
}

/// All tables per residue type, made at first use.
pub static TABLES: LazyLock<Box<Tables>> = LazyLock::new(|| Box::new(Tables::new()));

/// Van der Waals radius by the element's letter, Angstrom (AlphaFold's table).
pub fn van_der_waals_radius(element: u8) -> f64 {
    match element {
        b'C' => 1.7,
        b'N' => 1.55,
        b'O' => 1.52,
        b'S' => 1.8,
        other => panic!("no residue type has an atom of element {:?}", other as char),
    }
}

/// The element of one of the atom37 names: its first letter, since proteins have only C, N, O and S there.
pub fn element_of_atom(name: &str) -> u8 {
    name.as_bytes()[0]
}

impl Tables {
    fn new() -> Self {
        let mut t = Tables {
            atom14_to_atom37: [[0; 14]; N_TYPES],
            atom37_to_atom14: [[0; 37]; N_TYPES],
            atom14_exists: [[0.0; 14]; N_TYPES],
            atom37_exists: [[0.0; 37]; N_TYPES],
            atom14_group: [[0; 14]; N_TYPES],
            atom14_position: [[[0.0; 3]; 14]; N_TYPES],
            default_frame: [[[0.0; 12]; 8]; N_TYPES],
            group_base_atom37: [[[0; 3]; 8]; N_TYPES],
            group_exists: [[0.0; 8]; N_TYPES],
            group_is_ambiguous: [[0.0; 8]; N_TYPES],
            chi_atom37: [[[0; 4]; 4]; N_TYPES],
            chi_exists: [[0.0; 4]; N_TYPES],
            chi_pi_periodic: [[0.0; 4]; N_TYPES],
            atom14_renamed_from: [std::array::from_fn(|slot| slot as i32); N_TYPES],
            atom14_is_ambiguous: [[0.0; 14]; N_TYPES],
            atom14_radius: [[0.0; 14]; N_TYPES],
        };
        // The backbone and psi frames are defined by name for every type, the unknown one included.
        for row in 0..N_TYPES {
            t.group_base_atom37[row][0] = ["C", "CA", "N"].map(slot37);
            t.group_base_atom37[row][3] = ["CA", "C", "O"].map(slot37);
            t.group_exists[row][0] = 1.0;
            t.group_exists[row][3] = 1.0;
        }
        for (row, residue) in RESIDUE_TYPES.iter().enumerate() {
            t.fill_atoms(row, residue);
            t.fill_groups(row, residue);
            t.fill_swaps(row, residue);
        }
        t
    }

    fn fill_atoms(&mut self, row: usize, residue: &ResidueType) {
        for (slot, atom) in residue.atoms.iter().enumerate() {
            let slot_37 = slot37(atom.name);
            self.atom14_to_atom37[row][slot] = slot_37;
            self.atom37_to_atom14[row][slot_37 as usize] = slot as i32;
            self.atom14_exists[row][slot] = 1.0;
            self.atom37_exists[row][slot_37 as usize] = 1.0;
            self.atom14_group[row][slot] = i32::from(atom.group);
            self.atom14_position[row][slot] = atom.at.map(|x| x as f32);
            self.atom14_radius[row][slot] = van_der_waals_radius(element_of_atom(atom.name)) as f32;
        }
    }

    fn fill_groups(&mut self, row: usize, residue: &ResidueType) {
        for (group, frame) in default_frames(residue).into_iter().enumerate() {
            if let Some(frame) = frame {
                self.default_frame[row][group] = frame.flat12().map(|x| x as f32);
            }
        }
        for (chi, atoms) in residue.chi.iter().enumerate() {
            self.chi_atom37[row][chi] = atoms.map(slot37);
            self.chi_exists[row][chi] = 1.0;
            self.group_base_atom37[row][4 + chi] = [atoms[1], atoms[2], atoms[3]].map(slot37);
            self.group_exists[row][4 + chi] = 1.0;
        }
        if let Some(chi) = residue.pi_periodic_chi {
            self.chi_pi_periodic[row][chi] = 1.0;
            self.group_is_ambiguous[row][4 + chi] = 1.0;
        }
    }

    fn fill_swaps(&mut self, row: usize, residue: &ResidueType) {
        let slot = |name: &str| residue.slot(name).expect("swapped atoms are atoms of their residue");
        for (a, b) in residue.swaps {
            let (a, b) = (slot(a), slot(b));
            self.atom14_renamed_from[row][a] = b as i32;
            self.atom14_renamed_from[row][b] = a as i32;
            self.atom14_is_ambiguous[row][a] = 1.0;
            self.atom14_is_ambiguous[row][b] = 1.0;
        }
    }
}

fn slot37(name: &str) -> i32 {
    atom37_slot(name).expect("every atom of a residue type has an atom37 slot") as i32
}

/// The eight default frames of a residue type (supplement 1.8.4: literature torsion-free geometry).
fn default_frames(residue: &ResidueType) -> [Option<Rigid>; 8] {
    let at = |name: &str| DVec3::from(residue.atoms[residue.slot(name).expect("frame atoms are atoms of their residue")].at);
    let (n, ca, c) = (at("N"), at("CA"), at("C"));
    let mut frames = [None; 8];
    frames[0] = Some(Rigid::IDENTITY);
    // The pre-omega group holds no atom; its frame is never used and is the identity by AlphaFold's convention.
    frames[1] = Some(Rigid::IDENTITY);
    frames[2] = Some(Rigid::from_two_axes(n - ca, DVec3::X, n));
    frames[3] = Some(Rigid::from_two_axes(c - ca, ca - n, c));
    for (chi, atoms) in residue.chi.iter().enumerate() {
        let [first, axis_start, axis_end] = [at(atoms[0]), at(atoms[1]), at(atoms[2])];
        frames[4 + chi] = Some(match chi {
            0 => Rigid::from_two_axes(axis_end - axis_start, first - axis_start, axis_end),
            // The axis of a later chi starts at the origin of the frame before, whose x axis points along the bond before.
            _ => Rigid::from_two_axes(axis_end, DVec3::NEG_X, axis_end),
        });
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::super::letters::ATOM37;
    use super::*;

    #[test]
    fn layouts_are_inverse_to_each_other() {
        for row in 0..N_TYPES {
            for slot in 0..14 {
                if TABLES.atom14_exists[row][slot] == 1.0 {
                    let s37 = TABLES.atom14_to_atom37[row][slot] as usize;
                    assert_eq!(TABLES.atom37_to_atom14[row][s37], slot as i32, "type {row}, atom {}", ATOM37[s37]);
                }
            }
            let count = |m: &[f32]| m.iter().sum::<f32>();
            assert_eq!(count(&TABLES.atom14_exists[row]), count(&TABLES.atom37_exists[row]));
        }
        assert_eq!(TABLES.atom14_exists.as_flattened().iter().sum::<f32>(), 167.0);
    }

    #[test]
    fn the_ambiguous_chi_is_the_last_one() {
        for (row, residue) in RESIDUE_TYPES.iter().enumerate() {
            assert_eq!(residue.pi_periodic_chi.is_some(), !residue.swaps.is_empty());
            if residue.pi_periodic_chi.is_some() {
                assert_eq!(residue.pi_periodic_chi, Some(residue.chi.len() - 1));
                assert_eq!(TABLES.group_is_ambiguous[row][3 + residue.chi.len()], 1.0);
            }
        }
    }
}
