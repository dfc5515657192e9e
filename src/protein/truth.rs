//! Ground truth for training from the atoms of an experiment: what the losses and the structure module's targets need, in AlphaFold's names.
//!
//! Also the conversions between the atom14 and atom37 layouts and the pseudo-beta positions.

use glam::DVec3;

use super::frames::{GroupFrames, group_frames};
use super::letters::restype_of_letter;
use super::letters::slot37::{C, CA, CB, N};
use super::rigid::Rigid;
use super::tables::TABLES;
use super::torsions::{Torsions, torsions};
use super::{Mask37, Positions37};

/// Coordinates of one residue in the atom14 layout, Angstrom.
pub type Positions14 = [[f32; 3]; 14];
/// 1 where an atom of the atom14 layout has coordinates.
pub type Mask14 = [f32; 14];

/// atom37 coordinates in the atom14 layout; zero where the type has no atom.
pub fn to_atom14(restype: usize, positions: &Positions37) -> Positions14 {
    std::array::from_fn(|slot| {
        let exists = TABLES.atom14_exists[restype][slot];
        positions[TABLES.atom14_to_atom37[restype][slot] as usize].map(|x| x * exists)
    })
}

/// An atom37 mask in the atom14 layout; zero where the type has no atom.
pub fn mask_to_atom14(restype: usize, mask: &Mask37) -> Mask14 {
    std::array::from_fn(|slot| TABLES.atom14_exists[restype][slot] * mask[TABLES.atom14_to_atom37[restype][slot] as usize])
}

/// atom14 coordinates in the atom37 layout; zero where the type has no atom.
pub fn to_atom37(restype: usize, positions: &Positions14) -> Positions37 {
    std::array::from_fn(|slot| {
        let exists = TABLES.atom37_exists[restype][slot];
        positions[TABLES.atom37_to_atom14[restype][slot] as usize].map(|x| x * exists)
    })
}

/// CB, or CA for glycine, with its mask.
pub fn pseudo_beta(restype: usize, positions: &Positions37, mask: &Mask37) -> ([f32; 3], f32) {
    let slot = if restype == restype_of_letter(b'G') { CA } else { CB };
    (positions[slot], mask[slot])
}

/// Everything that training compares a prediction with. One entry per residue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroundTruth {
    /// Atom positions, Angstrom.
    pub atom14_gt_positions: Vec<Positions14>,
    /// 1 where they are known.
    pub atom14_gt_exists: Vec<Mask14>,
    /// Positions under the other naming of ambiguous atoms.
    pub atom14_alt_gt_positions: Vec<Positions14>,
    /// 1 where those are known; differs where only one atom of a pair is.
    pub atom14_alt_gt_exists: Vec<Mask14>,
    /// 1 for atoms with ambiguous names.
    pub atom14_atom_is_ambiguous: Vec<Mask14>,
    /// Pseudo-beta positions, Angstrom.
    pub pseudo_beta: Vec<[f32; 3]>,
    /// 1 where they are known.
    pub pseudo_beta_mask: Vec<f32>,
    /// Backbone frames: quaternion (w, x, y, z; w >= 0) and translation, Angstrom; no rotation where N, CA and C are not all known.
    pub backbone_affine_tensor: Vec<[f32; 7]>,
    /// 1 where N, CA and C are known.
    pub backbone_affine_mask: Vec<f32>,
    /// Side-chain torsions, radians; 0 where unknown.
    pub chi_angles: Vec<[f32; 4]>,
    /// 1 where they are known.
    pub chi_mask: Vec<[f32; 4]>,
    /// All seven torsions.
    pub torsions: Torsions,
    /// Frames of the eight rigid groups.
    pub groups: GroupFrames,
}

/// Ground truth of a chain; types are 0-20.
pub fn ground_truth(aatype: &[usize], positions: &[Positions37], mask: &[Mask37]) -> GroundTruth {
    let mut truth = GroundTruth {
        torsions: torsions(aatype, positions, mask, false),
        groups: group_frames(aatype, positions, mask),
        ..Default::default()
    };
    for (i, &restype) in aatype.iter().enumerate() {
        let from = TABLES.atom14_renamed_from[restype].map(|s| s as usize);
        let (at, known) = (to_atom14(restype, &positions[i]), mask_to_atom14(restype, &mask[i]));
        truth.atom14_gt_positions.push(at);
        truth.atom14_gt_exists.push(known);
        truth.atom14_alt_gt_positions.push(from.map(|s| at[s]));
        truth.atom14_alt_gt_exists.push(from.map(|s| known[s]));
        truth.atom14_atom_is_ambiguous.push(TABLES.atom14_is_ambiguous[restype]);
        let (beta, beta_mask) = pseudo_beta(restype, &positions[i], &mask[i]);
        truth.pseudo_beta.push(beta);
        truth.pseudo_beta_mask.push(beta_mask);
        let (affine, affine_mask) = backbone_affine(&positions[i], &mask[i]);
        truth.backbone_affine_tensor.push(affine);
        truth.backbone_affine_mask.push(affine_mask);
        let chi_mask: [f32; 4] = std::array::from_fn(|k| truth.torsions.mask[i][3 + k]);
        let chi = |k: usize| {
            let [sin, cos] = truth.torsions.sin_cos[i][3 + k];
            f64::from(sin).atan2(f64::from(cos)) as f32 * chi_mask[k]
        };
        truth.chi_angles.push(std::array::from_fn(chi));
        truth.chi_mask.push(chi_mask);
    }
    truth
}

fn backbone_affine(positions: &Positions37, mask: &Mask37) -> ([f32; 7], f32) {
    let known = mask[N] * mask[CA] * mask[C];
    let at = |slot: usize| DVec3::from(positions[slot].map(f64::from));
    let frame = if known == 0.0 { Rigid { trans: at(CA), ..Rigid::IDENTITY } } else { Rigid::from_reference(at(N), at(CA), at(C)) };
    let [w, x, y, z] = frame.quaternion();
    ([w, x, y, z, frame.trans.x, frame.trans.y, frame.trans.z].map(|v| v as f32), known)
}
