//! Experimental and predicted structures as chains of residues with atom37 coordinates. Knows no file format.

use super::letters::restype_of_letter;
use super::letters::slot37::{C, CA, N, O};
use super::{Mask37, Positions37};
use crate::error::{Error, Result};

/// What a structure file says about its protein chains (first model only).
#[derive(Debug, Clone, Default)]
pub struct Structure {
    /// The entry's name, e.g. the PDB id, as the file has it; may be empty.
    pub id: String,
    /// Experimental methods in lower case, joined by commas; empty when unknown.
    pub method: String,
    /// Earliest revision, `yyyy-mm-dd`.
    pub release_date: Option<String>,
    /// Resolution in Angstrom.
    pub resolution: Option<f64>,
    /// Protein chains with coordinates, in the order of the file.
    pub chains: Vec<Chain>,
    /// Oddities that were tolerated, for the user to see.
    pub warnings: Vec<String>,
}

/// One protein chain. The vectors have one entry per residue of the sequence, observed or not.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    /// The author's chain id, which users know.
    pub id: String,
    /// The mmCIF chain id (`label_asym_id`); the author's in legacy files.
    pub label_id: String,
    /// The mmCIF entity; empty when unknown.
    pub entity: String,
    /// One-letter codes; a modified residue has its parent's letter, X is unknown.
    pub sequence: String,
    /// Whether the sequence was read from the file, or else made up of the observed residues alone.
    pub has_full_sequence: bool,
    /// Residue names and numbers.
    pub sites: Vec<Site>,
    /// Coordinates.
    pub positions: Vec<Positions37>,
    /// Which of them are there.
    pub mask: Vec<Mask37>,
    /// Temperature factors, or confidences in predictions.
    pub b_factors: Vec<[f32; 37]>,
}

/// The name and number of a residue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Site {
    /// Component name, e.g. `MSE`.
    pub name: String,
    /// The author's numbering; `None` where nothing of the residue was observed.
    pub number: Option<Number>,
}

/// The author's number of an observed residue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Number {
    /// The number, which may be negative.
    pub value: i32,
    /// Insertion code, blank when there is none.
    pub insertion: char,
    /// Whether the atoms are HETATM records.
    pub hetatm: bool,
}

impl Structure {
    /// The chain of an author's id, or else of an mmCIF id; `None` asks for the only chain there is. The error lists what there is.
    pub fn chain(&self, id: Option<&str>) -> Result<&Chain> {
        let ids = || self.chains.iter().map(|c| format!("`{}`", c.id)).collect::<Vec<_>>().join(", ");
        match id {
            None if self.chains.len() == 1 => Ok(&self.chains[0]),
            None => Err(Error::Data(format!("`{}` has {} protein chains; choose one of {}", self.id, self.chains.len(), ids()))),
            Some(id) => {
                let found = self.chains.iter().find(|c| c.id == id).or_else(|| self.chains.iter().find(|c| c.label_id == id));
                found.ok_or_else(|| Error::Data(format!("`{}` has no protein chain `{id}`; it has {}", self.id, ids())))
            }
        }
    }
}

impl Chain {
    /// Number of residues in the sequence.
    pub fn len(&self) -> usize {
        self.sites.len()
    }

    /// Whether the sequence is empty.
    pub fn is_empty(&self) -> bool {
        self.sites.is_empty()
    }

    /// Residue types 0-20.
    pub fn aatype(&self) -> Vec<usize> {
        self.sequence.bytes().map(restype_of_letter).collect()
    }

    /// Residues with at least one atom.
    pub fn n_observed(&self) -> usize {
        self.sites.iter().filter(|s| s.number.is_some()).count()
    }

    /// Share of the backbone atoms N, CA, C and O that are there.
    pub fn backbone_observed(&self) -> f64 {
        let there: f32 = self.mask.iter().map(|m| m[N] + m[CA] + m[C] + m[O]).sum();
        f64::from(there) / (4 * self.len().max(1)) as f64
    }

    /// Appends a residue.
    pub fn push(&mut self, letter: u8, site: Site, atoms: ResidueAtoms) {
        self.sequence.push(letter as char);
        self.sites.push(site);
        self.positions.push(atoms.positions);
        self.mask.push(atoms.mask);
        self.b_factors.push(atoms.b_factors);
    }

    /// The first residue whose CA lies further than `limit` Angstrom from the CA before it, with the distance: AlphaFold leaves out templates
    /// with a step of more than 150.
    pub fn ca_gap_beyond(&self, limit: f32) -> Option<(usize, f32)> {
        let mut before: Option<[f32; 3]> = None;
        for (i, (at, mask)) in self.positions.iter().zip(&self.mask).enumerate() {
            if mask[CA] == 0.0 {
                before = None;
                continue;
            }
            if let Some(p) = before {
                let distance = (0..3).map(|k| (at[CA][k] - p[k]).powi(2)).sum::<f32>().sqrt();
                if distance > limit {
                    return Some((i, distance));
                }
            }
            before = Some(at[CA]);
        }
        None
    }
}

/// The atoms of one residue.
#[derive(Debug, Clone, Copy)]
pub struct ResidueAtoms {
    /// Coordinates, Angstrom.
    pub positions: Positions37,
    /// Which of them are there.
    pub mask: Mask37,
    /// Temperature factors.
    pub b_factors: [f32; 37],
}

impl Default for ResidueAtoms {
    fn default() -> Self {
        Self { positions: [[0.0; 3]; 37], mask: [0.0; 37], b_factors: [0.0; 37] }
    }
}
