//! Runs the golden cases that read structure files: AlphaFold's `mmcif_parsing.parse` and `protein.from_pdb_string`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::golden::Golden;
use super::host_structure::Outputs;
use crate::error::{Error, Result};
use crate::io::{mmcif, pdb, pdb_write, text};
use crate::protein::letters::{atom37_slot, letter_of_restype, restype_of_name};
use crate::protein::structure::{Chain, Number, ResidueAtoms, Site};
use crate::tensor::HostTensor;

/// The outputs of a case, or `None` when its module reads no structure file.
pub fn run(case: &Golden) -> Option<Result<Outputs>> {
    match case.module.as_str() {
        "mmcif" => Some(mmcif_case(case)),
        "pdb" => Some(pdb_case(case)),
        _ => None,
    }
}

/// The case's only input file.
fn input_file(case: &Golden) -> Result<PathBuf> {
    let files = case.json("files")?;
    let name = files[0].as_str().ok_or_else(|| Error::format(&case.path, "the metadata `files` names no file"))?;
    let folder = case.path.parent().unwrap_or(Path::new("."));
    Ok(text::find(folder.join(name)).unwrap_or(folder.join(name)))
}

/// All sequences, and for the first three chains by name the atoms and AlphaFold's map from sequence to structure: name, missing, hetflag,
/// number, insertion code.
fn mmcif_case(case: &Golden) -> Result<Outputs> {
    let structure = mmcif::read(input_file(case)?)?;
    let mut chains: Vec<&Chain> = structure.chains.iter().collect();
    chains.sort_by(|a, b| a.id.cmp(&b.id));
    let mut out = Outputs::default();
    let header = json!({
        "structure_method": structure.method,
        "release_date": structure.release_date,
        "resolution": structure.resolution.unwrap_or(0.0),
    });
    let mut sequences = serde_json::Map::new();
    let mut maps = serde_json::Map::new();
    for (i, chain) in chains.into_iter().enumerate() {
        sequences.insert(chain.id.clone(), Value::String(chain.sequence.clone()));
        if i >= 3 {
            continue;
        }
        let n = chain.len();
        out.put(&format!("{}/all_atom_positions", chain.id), &[n, 37, 3], bytemuck::cast_slice(&chain.positions).to_vec());
        let mask = chain.mask.as_flattened().iter().map(|&m| m as i32).collect();
        out.tensors.insert(format!("{}/all_atom_mask", chain.id), HostTensor::i32(&[n, 37], mask));
        maps.insert(chain.id.clone(), chain.sites.iter().map(residue_row).collect());
    }
    out.strings.insert("header".into(), header);
    out.strings.insert("chain_to_seqres".into(), Value::Object(sequences));
    out.strings.insert("seqres_to_structure".into(), Value::Object(maps));
    Ok(out)
}

fn residue_row(site: &Site) -> Value {
    match site.number {
        None => json!([site.name, 1, " ", null, null]),
        Some(Number { value, insertion, hetatm }) => {
            let flag = if hetatm { format!("H_{}", site.name) } else { " ".to_string() };
            json!([site.name, 0, flag, value, insertion.to_string()])
        }
    }
}

/// AlphaFold's `Protein`: every residue of the file that has an atom with an atom37 name, waters included, the twenty types or X, atoms as named.
fn pdb_case(case: &Golden) -> Result<Outputs> {
    let path = input_file(case)?;
    let bytes = text::read(&path)?;
    let records = pdb::read_records(&bytes, &path)?;
    let wanted = case.case.rsplit_once('_').map(|(_, chain)| chain);
    let mut protein = Chain { id: "A".to_string(), ..Chain::default() };
    for raw in records.chains.iter().filter(|c| wanted.is_none_or(|w| c.id == w)) {
        for place in &raw.places {
            let mut atoms = ResidueAtoms::default();
            let mut occupancy = [f32::NEG_INFINITY; 37];
            for atom in &place.atoms {
                let Some(slot) = atom37_slot(atom.name) else { continue };
                if atom.occupancy > occupancy[slot] {
                    occupancy[slot] = atom.occupancy;
                    atoms.positions[slot] = atom.at;
                    atoms.mask[slot] = 1.0;
                    atoms.b_factors[slot] = atom.b_factor;
                }
            }
            if atoms.mask.contains(&1.0) {
                let first = place.atoms[0];
                let number = Some(Number { value: first.number, insertion: first.insertion, hetatm: first.hetatm });
                let letter = letter_of_restype(restype_of_name(first.component));
                protein.push(letter, Site { name: first.component.to_string(), number }, atoms);
            }
        }
    }
    let n = protein.len();
    let mut out = Outputs::default();
    out.put("atom_positions", &[n, 37, 3], bytemuck::cast_slice(&protein.positions).to_vec());
    out.put("atom_mask", &[n, 37], protein.mask.as_flattened().to_vec());
    out.put("b_factors", &[n, 37], protein.b_factors.as_flattened().to_vec());
    out.tensors.insert("aatype".into(), HostTensor::i32(&[n], protein.aatype().into_iter().map(|t| t as i32).collect()));
    let numbers = protein.sites.iter().map(|s| s.number.map_or(0, |n| n.value)).collect();
    out.tensors.insert("residue_index".into(), HostTensor::i32(&[n], numbers));
    out.strings.insert("to_pdb".into(), Value::String(pdb_write::to_pdb(&[&protein])?));
    Ok(out)
}
