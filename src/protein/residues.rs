//! The twenty amino acids as AlphaFold models them, one entry each: atoms with their rigid groups and idealised positions, side-chain
//! torsions, and the pairs of atoms whose names a half turn exchanges.
//!
//! Supplement 1.8.4, tables 2 and 3. Everything else that depends on the residue type is derived from this list in [`super::tables`]; nothing
//! here knows of files or of tensors.

/// One heavy atom of a residue type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Atom {
    /// PDB name.
    pub name: &'static str,
    /// The rigid group it belongs to: 0 backbone, 1 pre-omega, 2 phi, 3 psi, 4-7 chi1-chi4.
    pub group: u8,
    /// Idealised position in that group's frame, Angstrom. The x axis is the axis of rotation, pointing to the origin, and the atom that defines
    /// the torsion lies in the xy plane at positive y.
    pub at: [f64; 3],
}

/// One amino acid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResidueType {
    /// One-letter code.
    pub letter: u8,
    /// Three-letter code.
    pub name: &'static str,
    /// Heavy atoms in atom14 order.
    pub atoms: &'static [Atom],
    /// The four atoms of chi1, chi2, …
    pub chi: &'static [[&'static str; 4]],
    /// The side-chain torsion, counted from 0, that may be turned by pi without changing the structure.
    pub pi_periodic_chi: Option<usize>,
    /// Atoms that such a turn exchanges (supplement table 3).
    pub swaps: &'static [(&'static str, &'static str)],
}

impl ResidueType {
    /// The atom14 slot of `atom`.
    pub fn slot(&self, atom: &str) -> Option<usize> {
        self.atoms.iter().position(|a| a.name == atom)
    }
}

const fn atom(name: &'static str, group: u8, at: [f64; 3]) -> Atom {
    Atom { name, group, at }
}

/// The twenty types in AlphaFold's order, which is that of the full names' three-letter codes: `ARNDCQEGHILKMFPSTWYV`.
/// Proline's CD is placed so that its angle is 2 degrees wider than the mean, as AlphaFold does.
pub static RESIDUE_TYPES: [ResidueType; 20] = [
    ResidueType {
        letter: b'A',
        name: "ALA",
        atoms: &[
            atom("N", 0, [-0.525, 1.363, 0.000]),
            atom("CA", 0, [0.000, 0.000, 0.000]),
            atom("C", 0, [1.526, 0.000, 0.000]),
            atom("O", 3, [0.627, 1.062, 0.000]),
            atom("CB", 0, [-0.529, -0.774, -1.205]),
        ],
        chi: &[],
        pi_periodic_chi: None,
        swaps: &[],
    },
    ResidueType {
        letter: b'R',
        name: "ARG",
        atoms: &[
            atom("N", 0, [-0.524, 1.362, 0.000]),
            atom("CA", 0, [0.000, 0.000, 0.000]),
            atom("C", 0, [1.525, 0.000, 0.000]),
            atom("O", 3, [0.626, 1.062, 0.000]),
            atom("CB", 0, [-0.524, -0.778, -1.209]),
            atom("CG", 4, [0.616, 1.390, 0.000]),
            atom("CD", 5, [0.564, 1.414, 0.000]),
            atom("NE", 6, [0.539, 1.357, 0.000]),
            atom("CZ", 7, [0.758, 1.093, 0.000]),
            atom("NH1", 7, [0.206, 2.301, 0.000]),
            atom("NH2", 7, [2.078, 0.978, 0.000]),
        ],
        chi: &[["N", "CA", "CB", "CG"], ["CA", "CB", "CG", "CD"], ["CB", "CG", "CD", "NE"], ["CG", "CD", "NE", "CZ"]],
        pi_periodic_chi: None,
        swaps: &[],
    },
    ResidueType {
        letter: b'N',
        name: "ASN",
        atoms: &[
            atom("N", 0, [-0.536, 1.357, 0.000]),
            atom("CA", 0, [0.000, 0.000, 0.000]),
            atom("C", 0, [1.526, 0.000, 0.000]),
            atom("O", 3, [0.625, 1.062, 0.000]),
            atom("CB", 0, [-0.531, -0.787, -1.200]),
            atom("CG", 4, [0.584, 1.399, 0.000]),
            atom("OD1", 5, [0.633, 1.059, 0.000]),
            atom("ND2", 5, [0.593, -1.188, 0.001]),
        ],
        chi: &[["N", "CA", "CB", "CG"], ["CA", "CB", "CG", "OD1"]],
        pi_periodic_chi: None,
        swaps: &[],
    },
    ResidueType {
        letter: b'D',
        name: "ASP",
        atoms: &[
            atom("N", 0, [-0.525, 1.362, 0.000]),
            atom("CA", 0, [0.000, 0.000, 0.000]),
            atom("C", 0, [1.527, 0.000, 0.000]),
            atom("O", 3, [0.626, 1.062, 0.000]),
            atom("CB", 0, [-0.526, -0.778, -1.208]),
            atom("CG", 4, [0.593, 1.398, 0.000]),
            atom("OD1", 5, [0.610, 1.091, 0.000]),
            atom("OD2", 5, [0.592, -1.101, -0.003]),
        ],
        chi: &[["N", "CA", "CB", "CG"], ["CA", "CB", "CG", "OD1"]],
        pi_periodic_chi: Some(1),
        swaps: &[("OD1", "OD2")],
    },
    ResidueType {
        letter: b'C',
        name: "CYS",
        atoms: &[
            atom("N", 0, [-0.522, 1.362, 0.000]),
            atom("CA", 0, [0.000, 0.000, 0.000]),
            atom("C", 0, [1.524, 0.000, 0.000]),
            atom("O", 3, [0.625, 1.062, 0.000]),
            atom("CB", 0, [-0.519, -0.773, -1.212]),
            atom("SG", 4, [0.728, 1.653, 0.000]),
        ],
        chi: &[["N", "CA", "CB", "SG"]],
        pi_periodic_chi: None,
        swaps: &[],
    },
    ResidueType {
        letter: b'Q',
        name: "GLN",
        atoms: &[
            atom("N", 0, [-0.526, 1.361, 0.000]),
            atom("CA", 0, [0.000, 0.000, 0.000]),
            atom("C", 0, [1.526, 0.000, 0.000]),
            atom("O", 3, [0.626, 1.062, 0.000]),
            atom("CB", 0, [-0.525, -0.779, -1.207]),
            atom("CG", 4, [0.615, 1.393, 0.000]),
            atom("CD", 5, [0.587, 1.399, 0.000]),
            atom("OE1", 6, [0.634, 1.060, 0.000]),
            atom("NE2", 6, [0.593, -1.189, -0.001]),
        ],
        chi: &[["N", "CA", "CB", "CG"], ["CA", "CB", "CG", "CD"], ["CB", "CG", "CD", "OE1"]],
        pi_periodic_chi: None,
        swaps: &[],
    },
    ResidueType {
        letter: b'E',
        name: "GLU",
        atoms: &[
            atom("N", 0, [-0.528, 1.361, 0.000]),
            atom("CA", 0, [0.000, 0.000, 0.000]),
            atom("C", 0, [1.526, 0.000, 0.000]),
            atom("O", 3, [0.626, 1.062, 0.000]),
            atom("CB", 0, [-0.526, -0.781, -1.207]),
            atom("CG", 4, [0.615, 1.392, 0.000]),
            atom("CD", 5, [0.600, 1.397, 0.000]),
            atom("OE1", 6, [0.607, 1.095, 0.000]),
            atom("OE2", 6, [0.589, -1.104, -0.001]),
        ],
        chi: &[["N", "CA", "CB", "CG"], ["CA", "CB", "CG", "CD"], ["CB", "CG", "CD", "OE1"]],
        pi_periodic_chi: Some(2),
        swaps: &[("OE1", "OE2")],
    },
    ResidueType {
        letter: b'G',
        name: "GLY",
        atoms: &[
            atom("N", 0, [-0.572, 1.337, 0.000]),
            atom("CA", 0, [0.000, 0.000, 0.000]),
            atom("C", 0, [1.517, 0.000, 0.000]),
            atom("O", 3, [0.626, 1.062, 0.000]),
        ],
        chi: &[],
        pi_periodic_chi: None,
        swaps: &[],
    },
    ResidueType {
        letter: b'H',
        name: "HIS",
        atoms: &[
            atom("N", 0, [-0.527, 1.360, 0.000]),
            atom("CA", 0, [0.000, 0.000, 0.000]),
            atom("C", 0, [1.525, 0.000, 0.000]),
            atom("O", 3, [0.625, 1.063, 0.000]),
            atom("CB", 0, [-0.525, -0.778, -1.208]),
            atom("CG", 4, [0.600, 1.370, 0.000]),
            atom("ND1", 5, [0.744, 1.160, 0.000]),
            atom("CD2", 5, [0.889, -1.021, 0.003]),
            atom("CE1", 5, [2.030, 0.851, 0.002]),
            atom("NE2", 5, [2.145, -0.466, 0.004]),
        ],
        chi: &[["N", "CA", "CB", "CG"], ["CA", "CB", "CG", "ND1"]],
        pi_periodic_chi: None,
        swaps: &[],
    },
    ResidueType {
        letter: b'I',
        name: "ILE",
        atoms: &[
            atom("N", 0, [-0.493, 1.373, 0.000]),
            atom("CA", 0, [0.000, 0.000, 0.000]),
            atom("C", 0, [1.527, 0.000, 0.000]),
            atom("O", 3, [0.627, 1.062, 0.000]),
            atom("CB", 0, [-0.536, -0.793, -1.213]),
            atom("CG1", 4, [0.534, 1.437, 0.000]),
            atom("CG2", 4, [0.540, -0.785, -1.199]),
            atom("CD1", 5, [0.619, 1.391, 0.000]),
        ],
        chi: &[["N", "CA", "CB", "CG1"], ["CA", "CB", "CG1", "CD1"]],
        pi_periodic_chi: None,
        swaps: &[],
    },
    ResidueType {
        letter: b'L',
        name: "LEU",
        atoms: &[
            atom("N", 0, [-0.520, 1.363, 0.000]),
            atom("CA", 0, [0.000, 0.000, 0.000]),
            atom("C", 0, [1.525, 0.000, 0.000]),
            atom("O", 3, [0.625, 1.063, 0.000]),
            atom("CB", 0, [-0.522, -0.773, -1.214]),
            atom("CG", 4, [0.678, 1.371, 0.000]),
            atom("CD1", 5, [0.530, 1.430, 0.000]),
            atom("CD2", 5, [0.535, -0.774, 1.200]),
        ],
        chi: &[["N", "CA", "CB", "CG"], ["CA", "CB", "CG", "CD1"]],
        pi_periodic_chi: None,
        swaps: &[],
    },
    ResidueType {
        letter: b'K',
        name: "LYS",
        atoms: &[
            atom("N", 0, [-0.526, 1.362, 0.000]),
            atom("CA", 0, [0.000, 0.000, 0.000]),
            atom("C", 0, [1.526, 0.000, 0.000]),
            atom("O", 3, [0.626, 1.062, 0.000]),
            atom("CB", 0, [-0.524, -0.778, -1.208]),
            atom("CG", 4, [0.619, 1.390, 0.000]),
            atom("CD", 5, [0.559, 1.417, 0.000]),
            atom("CE", 6, [0.560, 1.416, 0.000]),
            atom("NZ", 7, [0.554, 1.387, 0.000]),
        ],
        chi: &[["N", "CA", "CB", "CG"], ["CA", "CB", "CG", "CD"], ["CB", "CG", "CD", "CE"], ["CG", "CD", "CE", "NZ"]],
        pi_periodic_chi: None,
        swaps: &[],
    },
    ResidueType {
        letter: b'M',
        name: "MET",
        atoms: &[
            atom("N", 0, [-0.521, 1.364, 0.000]),
            atom("CA", 0, [0.000, 0.000, 0.000]),
            atom("C", 0, [1.525, 0.000, 0.000]),
            atom("O", 3, [0.625, 1.062, 0.000]),
            atom("CB", 0, [-0.523, -0.776, -1.210]),
            atom("CG", 4, [0.613, 1.391, 0.000]),
            atom("SD", 5, [0.703, 1.695, 0.000]),
            atom("CE", 6, [0.320, 1.786, 0.000]),
        ],
        chi: &[["N", "CA", "CB", "CG"], ["CA", "CB", "CG", "SD"], ["CB", "CG", "SD", "CE"]],
        pi_periodic_chi: None,
        swaps: &[],
    },
    ResidueType {
        letter: b'F',
        name: "PHE",
        atoms: &[
            atom("N", 0, [-0.518, 1.363, 0.000]),
            atom("CA", 0, [0.000, 0.000, 0.000]),
            atom("C", 0, [1.524, 0.000, 0.000]),
            atom("O", 3, [0.626, 1.062, 0.000]),
            atom("CB", 0, [-0.525, -0.776, -1.212]),
            atom("CG", 4, [0.607, 1.377, 0.000]),
            atom("CD1", 5, [0.709, 1.195, 0.000]),
            atom("CD2", 5, [0.706, -1.196, 0.000]),
            atom("CE1", 5, [2.102, 1.198, 0.000]),
            atom("CE2", 5, [2.098, -1.201, 0.000]),
            atom("CZ", 5, [2.794, -0.003, -0.001]),
        ],
        chi: &[["N", "CA", "CB", "CG"], ["CA", "CB", "CG", "CD1"]],
        pi_periodic_chi: Some(1),
        swaps: &[("CD1", "CD2"), ("CE1", "CE2")],
    },
    ResidueType {
        letter: b'P',
        name: "PRO",
        atoms: &[
            atom("N", 0, [-0.566, 1.351, 0.000]),
            atom("CA", 0, [0.000, 0.000, 0.000]),
            atom("C", 0, [1.527, 0.000, 0.000]),
            atom("O", 3, [0.621, 1.066, 0.000]),
            atom("CB", 0, [-0.546, -0.611, -1.293]),
            atom("CG", 4, [0.382, 1.445, 0.000]),
            atom("CD", 5, [0.477, 1.424, 0.000]),
        ],
        chi: &[["N", "CA", "CB", "CG"], ["CA", "CB", "CG", "CD"]],
        pi_periodic_chi: None,
        swaps: &[],
    },
    ResidueType {
        letter: b'S',
        name: "SER",
        atoms: &[
            atom("N", 0, [-0.529, 1.360, 0.000]),
            atom("CA", 0, [0.000, 0.000, 0.000]),
            atom("C", 0, [1.525, 0.000, 0.000]),
            atom("O", 3, [0.626, 1.062, 0.000]),
            atom("CB", 0, [-0.518, -0.777, -1.211]),
            atom("OG", 4, [0.503, 1.325, 0.000]),
        ],
        chi: &[["N", "CA", "CB", "OG"]],
        pi_periodic_chi: None,
        swaps: &[],
    },
    ResidueType {
        letter: b'T',
        name: "THR",
        atoms: &[
            atom("N", 0, [-0.517, 1.364, 0.000]),
            atom("CA", 0, [0.000, 0.000, 0.000]),
            atom("C", 0, [1.526, 0.000, 0.000]),
            atom("O", 3, [0.626, 1.062, 0.000]),
            atom("CB", 0, [-0.516, -0.793, -1.215]),
            atom("OG1", 4, [0.472, 1.353, 0.000]),
            atom("CG2", 4, [0.550, -0.718, -1.228]),
        ],
        chi: &[["N", "CA", "CB", "OG1"]],
        pi_periodic_chi: None,
        swaps: &[],
    },
    ResidueType {
        letter: b'W',
        name: "TRP",
        atoms: &[
            atom("N", 0, [-0.521, 1.363, 0.000]),
            atom("CA", 0, [0.000, 0.000, 0.000]),
            atom("C", 0, [1.525, 0.000, 0.000]),
            atom("O", 3, [0.627, 1.062, 0.000]),
            atom("CB", 0, [-0.523, -0.776, -1.212]),
            atom("CG", 4, [0.609, 1.370, 0.000]),
            atom("CD1", 5, [0.824, 1.091, 0.000]),
            atom("CD2", 5, [0.854, -1.148, -0.005]),
            atom("NE1", 5, [2.140, 0.690, -0.004]),
            atom("CE2", 5, [2.186, -0.678, -0.007]),
            atom("CE3", 5, [0.622, -2.530, -0.007]),
            atom("CZ2", 5, [3.283, -1.543, -0.011]),
            atom("CZ3", 5, [1.715, -3.389, -0.011]),
            atom("CH2", 5, [3.028, -2.890, -0.013]),
        ],
        chi: &[["N", "CA", "CB", "CG"], ["CA", "CB", "CG", "CD1"]],
        pi_periodic_chi: None,
        swaps: &[],
    },
    ResidueType {
        letter: b'Y',
        name: "TYR",
        atoms: &[
            atom("N", 0, [-0.522, 1.362, 0.000]),
            atom("CA", 0, [0.000, 0.000, 0.000]),
            atom("C", 0, [1.524, 0.000, 0.000]),
            atom("O", 3, [0.627, 1.062, 0.000]),
            atom("CB", 0, [-0.522, -0.776, -1.213]),
            atom("CG", 4, [0.607, 1.382, 0.000]),
            atom("CD1", 5, [0.716, 1.195, 0.000]),
            atom("CD2", 5, [0.713, -1.194, -0.001]),
            atom("CE1", 5, [2.107, 1.200, -0.002]),
            atom("CE2", 5, [2.104, -1.201, -0.003]),
            atom("CZ", 5, [2.791, -0.001, -0.003]),
            atom("OH", 5, [4.168, -0.002, -0.005]),
        ],
        chi: &[["N", "CA", "CB", "CG"], ["CA", "CB", "CG", "CD1"]],
        pi_periodic_chi: Some(1),
        swaps: &[("CD1", "CD2"), ("CE1", "CE2")],
    },
    ResidueType {
        letter: b'V',
        name: "VAL",
        atoms: &[
            atom("N", 0, [-0.494, 1.373, 0.000]),
            atom("CA", 0, [0.000, 0.000, 0.000]),
            atom("C", 0, [1.527, 0.000, 0.000]),
            atom("O", 3, [0.627, 1.062, 0.000]),
            atom("CB", 0, [-0.533, -0.795, -1.213]),
            atom("CG1", 4, [0.540, 1.429, 0.000]),
            atom("CG2", 4, [0.533, -0.776, 1.203]),
        ],
        chi: &[["N", "CA", "CB", "CG1"]],
        pi_periodic_chi: None,
        swaps: &[],
    },
];
