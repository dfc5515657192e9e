//! The frames of the eight rigid groups from atom37 coordinates: AlphaFold's `atom37_to_frames`.

use glam::{DMat3, DVec3};

use super::rigid::Rigid;
use super::tables::TABLES;
use super::{Mask37, Positions37};

/// Rigid-group frames of a chain; a frame is nine entries of the rotation, row by row, and three of the translation (Angstrom).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupFrames {
    /// Frames by the names of atoms as given.
    pub frames: Vec<[[f32; 12]; 8]>,
    /// Frames under the other naming of ambiguous atoms: the last chi turned by pi about its axis.
    pub alt_frames: Vec<[[f32; 12]; 8]>,
    /// 1 where the three atoms of a frame are known and the type has the group.
    pub exists: Vec<[f32; 8]>,
    /// 1 where the type has the group.
    pub group_exists: Vec<[f32; 8]>,
    /// 1 where the group's frame depends on ambiguous names.
    pub is_ambiguous: Vec<[f32; 8]>,
}

/// The frames of a chain. Types are 0-20.
pub fn group_frames(aatype: &[usize], positions: &[Positions37], mask: &[Mask37]) -> GroupFrames {
    assert!(
        aatype.len() == positions.len() && aatype.len() == mask.len(),
        "frames of {} types, {} positions",
        aatype.len(),
        positions.len()
    );
    // AlphaFold defines the backbone frame from C, CA, N and then mirrors x and z, so that C lies on the positive x axis.
    let old_convention = DMat3::from_diagonal(DVec3::new(-1.0, 1.0, -1.0));
    let half_turn = DMat3::from_diagonal(DVec3::new(1.0, -1.0, -1.0));
    let mut out = GroupFrames::default();
    for (i, &restype) in aatype.iter().enumerate() {
        let (mut frames, mut alt) = ([[0.0; 12]; 8], [[0.0; 12]; 8]);
        let mut exists = [0.0; 8];
        for group in 0..8 {
            let slots = TABLES.group_base_atom37[restype][group].map(|s| s as usize);
            let [neg_x, origin, xy] = slots.map(|s| DVec3::from(positions[i][s].map(f64::from)));
            let mut frame = Rigid::from_3_points(neg_x, origin, xy);
            if group == 0 {
                frame = frame.turned(old_convention);
            }
            let other = if TABLES.group_is_ambiguous[restype][group] == 1.0 { frame.turned(half_turn) } else { frame };
            frames[group] = frame.flat12().map(|x| x as f32);
            alt[group] = other.flat12().map(|x| x as f32);
            exists[group] = slots.iter().map(|&s| mask[i][s]).fold(f32::INFINITY, f32::min) * TABLES.group_exists[restype][group];
        }
        out.frames.push(frames);
        out.alt_frames.push(alt);
        out.exists.push(exists);
        out.group_exists.push(TABLES.group_exists[restype]);
        out.is_ambiguous.push(TABLES.group_is_ambiguous[restype]);
    }
    out
}
