//! Names and numbers of residues and atoms: one-letter codes, three-letter codes, HHblits' order, parents of modified residues, atom37.
//!
//! Knows names only, no coordinates.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::residues::RESIDUE_TYPES;

/// One-letter codes in AlphaFold's order; 20 is X.
pub const RESTYPES_WITH_X: &[u8; 21] = b"ARNDCQEGHILKMFPSTWYVX";
/// Number of the type "unknown".
pub const UNKNOWN: usize = 20;
/// Number of the gap in alignments.
pub const GAP: usize = 21;
/// Number of the mask token that BERT masking writes.
pub const MASK_TOKEN: usize = 22;

/// HHblits' letters by their numbers: the twenty alphabetically, then X and the gap.
pub const HHBLITS_LETTERS: &[u8; 22] = b"ACDEFGHIKLMNPQRSTVWYX-";

/// Names of the atom37 slots.
pub const ATOM37: [&str; 37] = [
    "N", "CA", "C", "CB", "O", "CG", "CG1", "CG2", "OG", "OG1", "SG", "CD", "CD1", "CD2", "ND1", "ND2", "OD1", "OD2", "SD", "CE", "CE1",
    "CE2", "CE3", "NE", "NE1", "NE2", "OE1", "OE2", "CH2", "NH1", "NH2", "OH", "CZ", "CZ2", "CZ3", "NZ", "OXT",
];

/// atom37 slots that many places name.
pub mod slot37 {
    /// Backbone nitrogen.
    pub const N: usize = 0;
    /// Alpha carbon.
    pub const CA: usize = 1;
    /// Carbonyl carbon.
    pub const C: usize = 2;
    /// Beta carbon.
    pub const CB: usize = 3;
    /// Carbonyl oxygen.
    pub const O: usize = 4;
}

/// The atom37 slot of an atom's name.
pub fn atom37_slot(name: &str) -> Option<usize> {
    static SLOTS: LazyLock<HashMap<&'static str, usize>> = LazyLock::new(|| ATOM37.iter().enumerate().map(|(i, n)| (*n, i)).collect());
    SLOTS.get(name).copied()
}

/// The number of a one-letter code; [`UNKNOWN`] for every letter that is not one of the twenty.
pub fn restype_of_letter(letter: u8) -> usize {
    RESTYPES_WITH_X.iter().position(|&l| l == letter).unwrap_or(UNKNOWN)
}

/// The one-letter code of a number; numbers above 20 are X as well.
pub fn letter_of_restype(restype: usize) -> u8 {
    RESTYPES_WITH_X[restype.min(UNKNOWN)]
}

/// The three-letter code of a number, `UNK` beyond the twenty.
pub fn name_of_restype(restype: usize) -> &'static str {
    RESIDUE_TYPES.get(restype).map_or("UNK", |r| r.name)
}

/// The number of a three-letter code of one of the twenty, without regard to modified residues (those are [`UNKNOWN`]).
pub fn restype_of_name(name: &str) -> usize {
    RESIDUE_TYPES.iter().position(|r| r.name == name).unwrap_or(UNKNOWN)
}

/// The number in HHblits' order: B is read as D, U as C, Z as E, J and O as X. `None` for anything that is neither a capital letter nor `-`.
pub fn hhblits_of_letter(letter: u8) -> Option<usize> {
    let read_as = match letter {
        b'B' => b'D',
        b'U' => b'C',
        b'Z' => b'E',
        b'J' | b'O' => b'X',
        other => other,
    };
    HHBLITS_LETTERS.iter().position(|&l| l == read_as)
}

/// AlphaFold's number for each of HHblits' 22.
pub static HHBLITS_TO_RESTYPE: LazyLock<[usize; 22]> =
    LazyLock::new(|| std::array::from_fn(|i| if i == GAP { GAP } else { restype_of_letter(HHBLITS_LETTERS[i]) }));

/// The one-letter code of a residue name of the Chemical Component Dictionary: a modified residue has its parent's letter, and what the
/// dictionary of AlphaFold does not list is `X`. B, Z and U are possible, as AlphaFold has them.
pub fn letter_of_component(name: &str) -> u8 {
    static MODIFIED: LazyLock<HashMap<&'static str, u8>> = LazyLock::new(|| {
        let mut map: HashMap<&'static str, u8> = RESIDUE_TYPES.iter().map(|r| (r.name, r.letter)).collect();
        for line in include_str!("../../assets/modified_residues.tsv").lines().filter(|l| !l.starts_with('#')) {
            let (letter, names) = line.split_once('\t').expect("a row of modified_residues.tsv has a letter, a tab and names");
            map.extend(names.split(' ').map(|n| (n, letter.as_bytes()[0])));
        }
        map
    });
    MODIFIED.get(name).copied().unwrap_or(b'X')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_follow_the_residue_list() {
        for (i, r) in RESIDUE_TYPES.iter().enumerate() {
            assert_eq!(RESTYPES_WITH_X[i], r.letter);
            assert_eq!(restype_of_name(r.name), i);
            assert_eq!(letter_of_component(r.name), r.letter);
        }
    }

    #[test]
    fn hhblits_letters_map_as_quirk_54_says() {
        let as_letter = |l: u8| HHBLITS_LETTERS[hhblits_of_letter(l).unwrap()];
        assert_eq!([b'B', b'Z', b'U', b'J', b'O', b'-', b'W'].map(as_letter), [b'D', b'E', b'C', b'X', b'X', b'-', b'W']);
        assert_eq!(hhblits_of_letter(b'a'), None);
        assert_eq!(HHBLITS_TO_RESTYPE[1], 4); // C
        assert_eq!(HHBLITS_TO_RESTYPE[20], 20);
        assert_eq!(HHBLITS_TO_RESTYPE[21], 21);
    }

    #[test]
    fn modified_residues_have_parents() {
        assert_eq!(letter_of_component("MSE"), b'M');
        assert_eq!(letter_of_component("TYS"), b'Y');
        assert_eq!(letter_of_component("PCA"), b'E');
        assert_eq!(letter_of_component("NO SUCH"), b'X');
    }
}
