//! Structure metrics against AlphaFold's violation goldens and against the program TMscore.

use std::path::Path;

use anyfold::io::{pdb, pdb_write, structure};
use anyfold::protein::metrics::compare::compare;
use anyfold::protein::metrics::tm::tm_scores;
use anyfold::protein::metrics::violations::{Atoms14, violations};
use anyfold::protein::structure::Chain;
use anyfold::verify::golden::Golden;
use glam::DVec3;

use crate::shared::{left_out, shared};

/// A golden's flags per residue or per atom, as booleans.
fn flags(case: &Golden, name: &str) -> Vec<bool> {
    case.get(name).unwrap().to_f64().into_iter().map(|x| x != 0.0).collect()
}

fn golden(name: &str) -> Golden {
    Golden::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/goldens/structure").join(name)).unwrap()
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
    let case = golden("between_residue_bond_loss_small.safetensors");
    let input = load(&case, "pred_atom_positions", "pred_atom_mask");
    let found = violations(&input.atoms());
    let theirs = flags(&case, "out:per_residue_violation_mask");
    assert_eq!(found.bond_residues, theirs);
    assert!(theirs.contains(&true), "the case has no violation to find");
}

#[test]
fn far_ca_atoms_are_alphafolds() {
    let case = golden("extreme_ca_ca_small.safetensors");
    let input = load(&case, "pred_atom_positions", "pred_atom_mask");
    let found = violations(&input.atoms());
    let pairs = (1..input.mask.len())
        .filter(|&i| input.residue_index[i] - input.residue_index[i - 1] == 1 && input.mask[i][1] * input.mask[i - 1][1] == 1.0);
    let share = case.get("out:violations").unwrap().to_f64()[0];
    assert!((found.n_ca_ca as f64 / pairs.count() as f64 - share).abs() < 1e-6, "{} far pairs, share {share}", found.n_ca_ca);
}

#[test]
fn clashes_are_alphafolds() {
    let case = golden("between_residue_clash_loss_small.safetensors");
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
    let case = golden("within_residue_violations_small.safetensors");
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

/// Pairs of real structures (file, chain) whose residue numbers match: mutants, forms of one protein, predictions, NMR against crystals.
const SAME_PROTEIN: [[(&str, &str); 2]; 13] = [
    [("structures/mmcif/133l.cif.gz", "A"), ("structures/mmcif/1lhh.cif.gz", "A")],
    [("structures/mmcif/1gb5.cif.gz", "A"), ("structures/mmcif/1tdy.cif.gz", "A")],
    [("structures/mmcif/3lhm.cif.gz", "A"), ("structures/from_bcif/2nwd.cif.gz", "X")],
    [("structures/mmcif/101m.cif.gz", "A"), ("structures/mmcif/8f9h.cif.gz", "A")],
    [("structures/mmcif/1ejg.cif.gz", "A"), ("structures/from_bcif/1cbn.cif.gz", "A")],
    [("structures/pdb/pdb1ubi.pdb.gz", "A"), ("structures/pdb/1ubq.pdb.gz", "A")],
    [("predictions/ubiquitin_seed_42_sample_1_model.cif.gz", "A"), ("structures/pdb/1ubq.pdb.gz", "A")],
    [("structures/pdb/pdb2k39_truncated.pdb.gz", "A"), ("structures/pdb/1ubq.pdb.gz", "A")],
    [("predictions/AF-P01112-F1-model_v4.cif.gz", "A"), ("structures/from_bcif/1crr.cif.gz", "A")],
    [("predictions/AF-P01112-F1-model_v4.cif.gz", "A"), ("structures/odd/721p-assembly1.cif.gz", "A")],
    [("structures/mmcif/1a00.cif.gz", "A"), ("structures/mmcif/2hhb.cif.gz", "A")],
    [("structures/mmcif/1a00.cif.gz", "B"), ("structures/mmcif/2hhb.cif.gz", "B")],
    [("predictions/6KWC_1_model_1_ptm_relaxed.pdb.gz", "A"), ("predictions/6KWC_1_model_1_ptm_unrelaxed.pdb.gz", "A")],
];

/// Unrelated proteins, paired by number alone: here the maximum over superpositions is hard to find.
const UNRELATED: [[(&str, &str); 2]; 4] = [
    [("structures/mmcif/133l.cif.gz", "A"), ("structures/pdb/1ubq.pdb.gz", "A")],
    [("structures/mmcif/101m.cif.gz", "A"), ("structures/mmcif/1lhh.cif.gz", "A")],
    [("structures/pdb/1tim.pdb.gz", "A"), ("structures/pdb/1rx1.pdb.gz", "A")],
    [("structures/mmcif/3u8v.cif.gz", "A"), ("structures/mmcif/4i6p.cif.gz", "A")],
];

/// What the program TMscore prints: TM-score, GDT-TS, GDT-HA, RMSD; `None`, said aloud, when it is not installed.
fn tmscore_program(predicted: &Chain, reference: &Chain) -> Option<[f64; 4]> {
    let folder = tempfile::tempdir().unwrap();
    let write = |chain: &Chain, name: &str| {
        let path = folder.path().join(name);
        let renamed = Chain { id: "A".into(), ..chain.clone() };
        std::fs::write(&path, pdb_write::to_pdb(&[&renamed]).unwrap()).unwrap();
        path
    };
    let files = [write(predicted, "p.pdb"), write(reference, "r.pdb")];
    let Ok(output) = std::process::Command::new("TMscore").args(&files).output() else {
        left_out("the program TMscore is not installed (Debian: tm-align)");
        return None;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = |start: &str| -> f64 {
        let line = text.lines().find(|l| l.starts_with(start)).unwrap_or_else(|| panic!("TMscore printed no `{start}`:\n{text}"));
        line.split('=').nth(1).and_then(|x| x.split_whitespace().next()).and_then(|x| x.parse().ok()).unwrap_or_else(|| panic!("{line}"))
    };
    Some([number("TM-score    ="), number("GDT-TS-score="), number("GDT-HA-score="), number("RMSD of  the common residues=")])
}

/// The chain as a PDB file has it: both programs are to see the same three decimals, since GDT counts residues within sharp limits.
fn chain((file, id): (&str, &str)) -> Option<Chain> {
    let structure = structure::read(shared("data")?.join(file)).unwrap();
    let text = pdb_write::to_pdb(&[structure.chain(Some(id)).unwrap()]).unwrap();
    let back = pdb::parse_structure(text.as_bytes(), std::path::Path::new(file)).unwrap();
    Some(back.chain(None).unwrap().clone())
}

#[test]
fn scores_of_one_protein_agree_with_the_program_tmscore() {
    for [p, r] in SAME_PROTEIN {
        let (Some(predicted), Some(reference)) = (chain(p), chain(r)) else { return };
        let ours = compare(&predicted, &reference).unwrap();
        let Some(theirs) = tmscore_program(&predicted, &reference) else { return };
        println!(
            "{} {}: ours {:.4} {:.4} {:.4} {:.3}, TMscore {theirs:?}",
            p.0, r.0, ours.tm_score, ours.gdt_ts, ours.gdt_ha, ours.rmsd_ca
        );
        for (name, a, b, tolerance) in [
            ("TM-score", ours.tm_score, theirs[0], 1e-3),
            ("GDT-TS", ours.gdt_ts, theirs[1], 1e-3),
            ("GDT-HA", ours.gdt_ha, theirs[2], 1e-3),
            ("RMSD", ours.rmsd_ca, theirs[3], 2e-3),
        ] {
            assert!((a - b).abs() <= tolerance, "{} against {}: {name} {a}, TMscore says {b}", p.0, r.0);
        }
    }
}

#[test]
fn scores_of_unrelated_proteins_agree_with_the_program_tmscore() {
    for [p, r] in UNRELATED {
        let (Some(predicted), Some(reference)) = (chain(p), chain(r)) else { return };
        let ca = |c: &Chain, i: usize| DVec3::from(c.positions[i][1].map(f64::from));
        let has_ca = |c: &Chain, i: usize| c.mask[i][1] == 1.0;
        let number = |c: &Chain, i: usize| c.sites[i].number.map(|n| n.value);
        let mut pairs = Vec::new();
        for j in (0..reference.len()).filter(|&j| has_ca(&reference, j)) {
            let i = (0..predicted.len()).find(|&i| has_ca(&predicted, i) && number(&predicted, i) == number(&reference, j));
            pairs.extend(i.map(|i| (ca(&predicted, i), ca(&reference, j))));
        }
        let (a, b): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let ours = tm_scores(&a, &b, (0..reference.len()).filter(|&j| has_ca(&reference, j)).count());
        let Some(theirs) = tmscore_program(&predicted, &reference) else { return };
        println!("{} {}: ours {:.4} {:.4} {:.4}, TMscore {theirs:?}", p.0, r.0, ours.tm, ours.gdt_ts, ours.gdt_ha);
        for (a, b) in [(ours.tm, theirs[0]), (ours.gdt_ts, theirs[1]), (ours.gdt_ha, theirs[2])] {
            assert!((a - b).abs() <= 1e-3, "{} against {}: {ours:?}, TMscore says {theirs:?}", p.0, r.0);
        }
    }
}
