//! From atom records to residues: alternative locations, several residue types at one place, selenium, arginine's names.
//!
//! The rules are AlphaFold's (QUIRKS 58; supplement 1.2.1), the same for every file format.

use std::path::Path;

use crate::error::{Error, Result};
use crate::protein::letters::{atom37_slot, letter_of_component, restype_of_name};
use crate::protein::structure::{Chain, Number, ResidueAtoms, Site};

/// Atoms of one residue, hydrogens and alternative locations included; real residues have up to about two hundred.
const MAX_ATOMS: usize = 1000;

/// One atom record.
#[derive(Debug, Clone, Copy)]
pub struct RawAtom<'a> {
    /// Atom name.
    pub name: &'a str,
    /// Alternative location, empty when there is none.
    pub altloc: &'a str,
    /// Component (residue) name.
    pub component: &'a str,
    /// The author's residue number.
    pub number: i32,
    /// Insertion code, blank when there is none.
    pub insertion: char,
    /// Whether this is a HETATM record.
    pub hetatm: bool,
    /// Coordinates, Angstrom.
    pub at: [f32; 3],
    /// Occupancy.
    pub occupancy: f32,
    /// Temperature factor.
    pub b_factor: f32,
    /// One-based line of the file.
    pub line: u32,
}

/// What to make of an atom that is given twice without alternative locations.
#[derive(Debug)]
pub enum Twice<'w> {
    /// mmCIF has a column for alternatives, so that an equal atom is an error.
    Refuse,
    /// Legacy files are often stripped of their letters: the one with the highest occupancy, or the first, is taken, with a warning.
    Warn(&'w mut Vec<String>),
}

/// All atoms at one place of a chain, of one or (microheterogeneity) several components.
#[derive(Debug, Default, Clone)]
pub struct Place<'a> {
    /// Components that the file's sequence lists here, in its order; empty when it has no sequence.
    pub listed: Vec<&'a str>,
    /// The records.
    pub atoms: Vec<RawAtom<'a>>,
}

impl<'a> Place<'a> {
    /// The component that stands for the place: the first listed one that has atoms (as the canonical sequence has it), else the first that has
    /// atoms, else the first listed one.
    pub fn component(&self) -> &'a str {
        let has_atoms = |c: &&&str| self.atoms.iter().any(|a| a.component == **c);
        let listed = self.listed.iter().find(has_atoms).copied();
        listed.or_else(|| self.atoms.first().map(|a| a.component)).or_else(|| self.listed.first().copied()).unwrap_or("UNK")
    }

    /// Appends the place to a chain.
    pub fn push_to(&self, chain: &mut Chain, path: &Path, twice: &mut Twice) -> Result<()> {
        let component = self.component();
        let own: Vec<&RawAtom> = self.atoms.iter().filter(|a| a.component == component).collect();
        let number = own.last().map(|a| Number { value: a.number, insertion: a.insertion, hetatm: a.hetatm });
        let atoms = residue_atoms(&own, path, &chain.id, twice)?;
        chain.push(letter_of_component(component), Site { name: component.to_string(), number }, atoms);
        Ok(())
    }

    /// Whether the atoms are those of an amino acid in a chain: one of the twenty, or a component with a peptide backbone.
    pub fn is_amino_acid(&self) -> bool {
        let component = self.component();
        let has = |name: &str| self.atoms.iter().any(|a| a.component == component && a.name == name);
        if restype_of_name(component) < 20 || component == "UNK" {
            return self.atoms.iter().any(|a| atom37_slot(a.name).is_some());
        }
        let known_parent = letter_of_component(component) != b'X';
        has("CA") && if known_parent { has("N") || has("C") } else { has("N") && has("C") }
    }
}

/// The atoms of one component: of alternative locations, each atom takes the one with the highest occupancy, the first among equals.
fn residue_atoms(atoms: &[&RawAtom], path: &Path, chain: &str, twice: &mut Twice) -> Result<ResidueAtoms> {
    if let Some(atom) = atoms.get(MAX_ATOMS) {
        let what = format!("residue {} {} in chain `{chain}` has more than {MAX_ATOMS} atoms", atom.component, atom.number);
        return Err(Error::at_line(path, atom.line as usize, what));
    }
    let mut chosen: [Option<&RawAtom>; 37] = [None; 37];
    for (i, atom) in atoms.iter().enumerate() {
        // Selenomethionine's selenium takes the place of methionine's sulphur.
        let is_selenium = atom.component == "MSE" && atom.name.eq_ignore_ascii_case("SE");
        let Some(slot) = (if is_selenium { atom37_slot("SD") } else { atom37_slot(atom.name) }) else { continue };
        if let Some(before) = atoms[..i].iter().find(|b| b.name == atom.name && b.altloc == atom.altloc) {
            let what = given_twice(atom, before.line, chain);
            match twice {
                Twice::Refuse => return Err(Error::at_line(path, atom.line as usize, what)),
                Twice::Warn(warnings) => warnings.push(format!("line {}: {what}", atom.line)),
            }
        }
        if chosen[slot].is_none_or(|before| atom.occupancy > before.occupancy) {
            chosen[slot] = Some(atom);
        }
    }
    let mut out = ResidueAtoms::default();
    for (slot, atom) in chosen.iter().enumerate() {
        if let Some(atom) = atom {
            out.positions[slot] = atom.at;
            out.mask[slot] = 1.0;
            out.b_factors[slot] = atom.b_factor;
        }
    }
    if atoms.first().is_some_and(|a| a.component == "ARG") {
        name_arginine(&mut out);
    }
    Ok(out)
}

fn given_twice(atom: &RawAtom, before: u32, chain: &str) -> String {
    let RawAtom { name, component, number, insertion, .. } = atom;
    let number = format!("{number}{insertion}");
    format!(
        "atom {name} of residue {component} {} in chain `{chain}` is given twice (before in line {before}); \
         alternative locations need different letters",
        number.trim()
    )
}

/// NH1 is the one nearer to CD; some depositions have the two the other way round.
fn name_arginine(atoms: &mut ResidueAtoms) {
    let [cd, nh1, nh2] = ["CD", "NH1", "NH2"].map(|n| atom37_slot(n).expect("arginine's atoms have atom37 slots"));
    if atoms.mask[cd] * atoms.mask[nh1] * atoms.mask[nh2] == 0.0 {
        return;
    }
    let from_cd = |slot: usize| (0..3).map(|k| (atoms.positions[slot][k] - atoms.positions[cd][k]).powi(2)).sum::<f32>().sqrt();
    if from_cd(nh1) > from_cd(nh2) {
        atoms.positions.swap(nh1, nh2);
        atoms.b_factors.swap(nh1, nh2);
    }
}
