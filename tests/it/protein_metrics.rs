//! Structure metrics against AlphaFold's violation goldens and against the program TMscore.

use anyfold::protein::metrics::violations::{Atoms14, violations};
use anyfold::verify::golden::Golden;

use crate::shared::shared;

/// A golden's flags per residue or per atom, as booleans.
fn flags(case: &Golden, name: &str) -> Vec<bool> {
    case.get(name).unwrap().to_f64().into_iter().map(|x| x != 0.0).collect()
}

fn golden(name: &str) -> Option<Golden> {
    Some(Golden::read(&shared("goldens/structure")?.join(name)).unwrap())
}

struct Case {
    aatype: Vec<usize>,
    positions: Vec<[[f32; 3]; 14]>,
    mask: Vec<[f32; 14]>,
    residue_index: Vec<i32>,
}

impl Case {
    fn atoms(&self) -> Atoms14<'_> {
        Atoms14 { aatype: &self.aatype, positions: &self.positions, mask: &self.mask, residue_index: &self.residue_index }
    }
}

/// A case's inputs; `aatype` is found by the radii or bounds where the case gives those instead.
fn load(case: &Golden, positions: &str, mask: &str) -> Case {
    let numbers = |name: &str| case.input(name).map(|t| t.to_f64());
    let positions = case.input(positions).unwrap().to_f32();
    let mask = case.input(mask).unwrap().to_f32();
    let n = mask.len() / 14;
    Case {
        aatype: numbers("aatype").map_or(vec![0; n], |v| v.into_iter().map(|x| x as usize).collect()),
        residue_index: numbers("residue_index").map_or((0..n as i32).collect(), |v| v.into_iter().map(|x| x as i32).collect()),
        positions: bytemuck::cast_slice(&positions).to_vec(),
        mask: bytemuck::cast_slice(&mask).to_vec(),
    }
}

#[test]
fn bond_violations_are_alphafolds() {
    let Some(case) = golden("between_residue_bond_loss_small.safetensors") else { return };
    let input = load(&case, "pred_atom_positions", "pred_atom_mask");
    let found = violations(&input.atoms());
    let theirs = flags(&case, "out:per_residue_violation_mask");
    assert_eq!(found.bond_residues, theirs);
    assert!(theirs.contains(&true), "the case has no violation to find");
}

#[test]
fn far_ca_atoms_are_alphafolds() {
    let Some(case) = golden("extreme_ca_ca_small.safetensors") else { return };
    let input = load(&case, "pred_atom_positions", "pred_atom_mask");
    let found = violations(&input.atoms());
    let pairs = (1..input.mask.len())
        .filter(|&i| input.residue_index[i] - input.residue_index[i - 1] == 1 && input.mask[i][1] * input.mask[i - 1][1] == 1.0);
    let share = case.get("out:violations").unwrap().to_f64()[0];
    assert!((found.n_ca_ca as f64 / pairs.count() as f64 - share).abs() < 1e-6, "{} far pairs, share {share}", found.n_ca_ca);
}

#[test]
fn clashes_are_alphafolds() {
    let Some(case) = golden("between_residue_clash_loss_small.safetensors") else { return };
    let mut input = load(&case, "atom14_pred_positions", "atom14_atom_exists");
    // The case gives radii instead of types: a type with the same radii in every slot clashes alike.
    let radii = case.input("atom14_atom_radius").unwrap().to_f32();
    let table = &anyfold::protein::tables::TABLES.atom14_radius;
    for (aatype, radii) in input.aatype.iter_mut().zip(radii.chunks_exact(14)) {
        *aatype = table.iter().position(|row| row[..] == *radii).expect("the radii are those of a residue type");
    }
    let found = violations(&input.atoms());
    let theirs = flags(&case, "out:per_atom_clash_mask");
    assert_eq!(found.clash_atoms.as_flattened(), &theirs[..]);
    assert!(theirs.contains(&true), "the case has no clash to find");
}

#[test]
fn distances_within_residues_are_alphafolds() {
    let Some(case) = golden("within_residue_violations_small.safetensors") else { return };
    let mut input = load(&case, "atom14_pred_positions", "atom14_atom_exists");
    let bounds = anyfold::protein::stereo::DistanceBounds::new(1.5, 12.0);
    let lower = case.input("atom14_dists_lower_bound").unwrap().to_f32();
    for (aatype, lower) in input.aatype.iter_mut().zip(lower.chunks_exact(196)) {
        let same = |row: &&[[f32; 14]; 14]| row.as_flattened().iter().zip(lower).all(|(a, b)| (a - b).abs() < 1e-5);
        *aatype = bounds.lower.iter().position(|row| same(&row)).expect("the bounds are those of a residue type");
    }
    let found = violations(&input.atoms());
    let theirs = flags(&case, "out:per_atom_violations");
    assert_eq!(found.within_atoms.as_flattened(), &theirs[..]);
    assert!(theirs.contains(&true), "the case has no violation to find");
}
