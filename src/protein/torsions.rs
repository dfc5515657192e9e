//! The seven torsion angles of each residue from atom37 coordinates: AlphaFold's `atom37_to_torsion_angles`.

use glam::DVec3;

use super::letters::UNKNOWN;
use super::letters::slot37::{C, CA, N, O};
use super::rigid::Rigid;
use super::tables::TABLES;
use super::{Mask37, Positions37};

/// Torsions of a chain in the order pre-omega, phi, psi, chi1-chi4.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Torsions {
    /// (sin, cos). Where the mask is 0 the values mean nothing unless placeholders were asked for; before the first residue they are
    /// pure rounding noise, in AlphaFold too.
    pub sin_cos: Vec<[[f32; 2]; 7]>,
    /// The same with every chi turned by pi that the naming of atoms leaves open.
    pub alt_sin_cos: Vec<[[f32; 2]; 7]>,
    /// 1 where all four atoms are known.
    pub mask: Vec<[f32; 7]>,
}

/// (sin, cos) of the torsion about the bond from `b` to `c`: the (z, y) of `d` in the frame of `a`, `b`, `c`, over `sqrt(y^2 + z^2 + 1e-8)`.
pub fn torsion_sin_cos([a, b, c, d]: [DVec3; 4]) -> [f64; 2] {
    let local = Rigid::from_3_points(b, c, a).apply_inverse(d);
    let norm = (local.z * local.z + local.y * local.y + 1e-8).sqrt();
    [local.z / norm, local.y / norm]
}

/// The torsions of a chain of `aatype.len()` residues. With `placeholder`, undefined torsions become (1, 0); real models do without
/// (`placeholder_for_undefined` is false in AlphaFold's configuration). Types above 20 count as unknown.
pub fn torsions(aatype: &[usize], positions: &[Positions37], mask: &[Mask37], placeholder: bool) -> Torsions {
    assert!(
        aatype.len() == positions.len() && aatype.len() == mask.len(),
        "torsions of {} types, {} positions",
        aatype.len(),
        positions.len()
    );
    let mut out = Torsions::default();
    for (i, &restype) in aatype.iter().enumerate() {
        let restype = restype.min(UNKNOWN);
        let quads = atoms_of_torsions(restype, i);
        let mut row = [[0.0; 2]; 7];
        let mut alt = [[0.0; 2]; 7];
        let mut exists = [0.0; 7];
        for (t, quad) in quads.iter().enumerate() {
            // An atom of the residue before the first one is a masked zero, as AlphaFold pads.
            let point = |k: usize| quad[k].0.map_or(DVec3::ZERO, |r| DVec3::from(positions[r][quad[k].1].map(f64::from)));
            let known = |k: usize| quad[k].0.map_or(0.0, |r| mask[r][quad[k].1]);
            let defined = if t < 3 { 1.0 } else { TABLES.chi_exists[restype][t - 3] };
            exists[t] = defined * (0..4).map(known).product::<f32>();
            // Psi is measured with O, which lies opposite to the next N.
            let sign = if t == 2 { -1.0 } else { 1.0 };
            let mirror = if t < 3 { 1.0 } else { 1.0 - 2.0 * TABLES.chi_pi_periodic[restype][t - 3] };
            row[t] = torsion_sin_cos(std::array::from_fn(point)).map(|x| (sign * x) as f32);
            alt[t] = row[t].map(|x| x * mirror);
            if placeholder {
                row[t] = [row[t][0] * exists[t] + (1.0 - exists[t]), row[t][1] * exists[t]];
                alt[t] = [alt[t][0] * exists[t] + (1.0 - exists[t]), alt[t][1] * exists[t]];
            }
        }
        out.sin_cos.push(row);
        out.alt_sin_cos.push(alt);
        out.mask.push(exists);
    }
    out
}

/// Residue and atom37 slot of the four atoms of each torsion of residue `i`; the residue is `None` before the chain.
fn atoms_of_torsions(restype: usize, i: usize) -> [[(Option<usize>, usize); 4]; 7] {
    let (before, this) = (i.checked_sub(1), Some(i));
    let chi = |k: usize| TABLES.chi_atom37[restype][k].map(|slot| (this, slot as usize));
    [
        [(before, CA), (before, C), (this, N), (this, CA)],
        [(before, C), (this, N), (this, CA), (this, C)],
        [(this, N), (this, CA), (this, C), (this, O)],
        chi(0),
        chi(1),
        chi(2),
        chi(3),
    ]
}
