//! Proteins on the host: residue and atom tables, rigid geometry in double precision, ground truth for training, structure metrics.
//!
//! Has AlphaFold's numbers and meanings (supplement 1.8 and 1.9; `common/residue_constants.py`, `model/all_atom.py`). It knows no file format,
//! no GPU and no network.

pub mod align;
pub mod frames;
pub mod letters;
pub mod metrics;
pub mod residues;
pub mod rigid;
pub mod stereo;
pub mod structure;
pub mod tables;
pub mod torsions;
pub mod truth;

/// Coordinates of one residue in the atom37 layout, Angstrom; zeros where the mask is 0.
pub type Positions37 = [[f32; 3]; 37];
/// 1 where an atom of the atom37 layout has coordinates.
pub type Mask37 = [f32; 37];
