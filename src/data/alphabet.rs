//! Residue types as bytes, for rows of alignments: the tables of [`crate::protein::letters`] made fast to look up.
//!
//! Types are in AlphaFold's order, with X, gap and mask token after the twenty. Raw features (`msa`, `template_aatype`) are in HHblits' order,
//! everything after `correct_msa_restypes` is in AlphaFold's.

use std::sync::LazyLock;

use crate::protein::letters::{self, HHBLITS_TO_RESTYPE};

/// Unknown residue.
pub const X: u8 = letters::UNKNOWN as u8;
/// Gap.
pub const GAP: u8 = letters::GAP as u8;
/// BERT mask token; only in masked alignments.
pub const MASK: u8 = letters::MASK_TOKEN as u8;

/// From an HHblits type to ours (`MAP_HHBLITS_AATYPE_TO_OUR_AATYPE`).
pub static HHBLITS_TO_OURS: LazyLock<[u8; 22]> = LazyLock::new(|| HHBLITS_TO_RESTYPE.map(|t| t as u8));

/// From our type to HHblits'.
pub static OURS_TO_HHBLITS: LazyLock<[u8; 22]> = LazyLock::new(|| {
    let mut map = [0; 22];
    HHBLITS_TO_OURS.iter().enumerate().for_each(|(i, &ours)| map[usize::from(ours)] = i as u8);
    map
});

/// Our type of an alignment letter (upper case or `-`), `None` for any other byte. B is D, Z is E, U is C, J and O are X (QUIRKS 54).
pub fn aligned(letter: u8) -> Option<u8> {
    static TYPES: LazyLock<[Option<u8>; 256]> =
        LazyLock::new(|| std::array::from_fn(|b| letters::hhblits_of_letter(b as u8).map(|t| HHBLITS_TO_OURS[t])));
    TYPES[usize::from(letter)]
}

/// Our types of a query sequence, 0..=20. Unlike in alignments every unusual letter, B and Z too, is X (`sequence_to_onehot`).
pub fn query(sequence: &[u8]) -> Vec<u8> {
    sequence.iter().map(|&b| letters::restype_of_letter(b) as u8).collect()
}

/// Letters of our types: `-` for a gap, `*` for the mask token.
pub fn to_letters(types: &[u8]) -> String {
    let letter = |&t: &u8| match t {
        GAP => '-',
        MASK => '*',
        _ => letters::letter_of_restype(usize::from(t)) as char,
    };
    types.iter().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_ambiguity_codes() {
        assert_eq!(aligned(b'B'), aligned(b'D'));
        assert_eq!((aligned(b'J'), aligned(b'O'), aligned(b'-'), aligned(b'a'), aligned(b'*')), (Some(X), Some(X), Some(GAP), None, None));
        assert_eq!(query(b"AB-V"), [0, X, X, 19]);
        assert_eq!(to_letters(&[0, X, GAP, MASK]), "AX-*");
        for i in 0..22 {
            assert_eq!(usize::from(OURS_TO_HHBLITS[usize::from(HHBLITS_TO_OURS[i])]), i);
        }
    }
}
