//! mmCIF structures with AlphaFold's meaning (`data/mmcif_parsing.py`, QUIRKS 58): the first model, protein chains by the author's ids, the
//! whole polymer sequence with what was observed of it, resolution, release date and method.
//!
//! [`super::cif`] knows the syntax, [`super::mmcif_polymers`] the sequences. Files that lack the categories of a deposition (software's
//! output, stripped files) are read as far as their atoms go.

use std::collections::HashMap;
use std::path::Path;

use super::atoms::{Place, RawAtom, Twice};
use super::cif::{Block, Table, Value, parse};
use super::mmcif_polymers::{ChainKind, Polymer, Polymers};
use super::seqres::chain_of_places;
use super::text;
use crate::error::{Error, Result};
use crate::protein::structure::{Chain, Structure};

/// Reads an mmCIF file, plain or gzip.
pub fn read(path: impl AsRef<Path>) -> Result<Structure> {
    let path = path.as_ref();
    parse_structure(&text::read_string(path)?, path)
}

/// The structure in an mmCIF text; `path` is for messages.
pub fn parse_structure(text: &str, path: &Path) -> Result<Structure> {
    let blocks = parse(text, path)?;
    let end = text.lines().count().max(1);
    let found = blocks.iter().find(|b| b.table("atom_site").is_some());
    let block = found.ok_or_else(|| Error::at_line(path, end, "the file ends without atoms (`_atom_site`): not a structure"))?;
    let sites = block.table("atom_site").expect("the block was chosen for its atoms");
    let mut structure = header(block);
    if structure.id.is_empty() {
        structure.id = text::plain_name(path);
    }
    if blocks.len() > 1 {
        structure.warnings.push(format!("{} data blocks; only `{}` is read", blocks.len(), block.name));
    }
    let polymers = Polymers::read(block, path)?;
    for group in group_atoms(sites, path)? {
        let warnings = &mut structure.warnings;
        let chain = match polymers.kind_of_chain(group.label_id, group.entity) {
            ChainKind::Other => continue,
            ChainKind::Protein(polymer) => chain_with_sequence(&group, polymer, path, warnings)?,
            ChainKind::Unknown => chain_of_places(places_in_order(&group), None, &group.ids(), path, &mut Twice::Refuse, warnings)?,
        };
        if chain.n_observed() > 0 {
            structure.chains.push(chain);
        }
    }
    if structure.chains.is_empty() {
        return Err(Error::at_line(path, sites.lines[0] as usize, "no protein chain among the atoms that begin here"));
    }
    Ok(structure)
}

/// Method, resolution and release date, from whichever category has them.
fn header(block: &Block) -> Structure {
    let methods = block.table("exptl").map_or_else(Vec::new, |t| (0..t.len()).filter_map(|r| t.get(r, "method")).collect());
    // The earliest revision; files from before 2014 keep theirs in a category of the legacy format's name.
    let revisions = [("pdbx_audit_revision_history", "revision_date"), ("database_pdb_rev", "date")];
    let earliest = |(category, item): (&str, &str)| block.table(category).and_then(|t| (0..t.len()).filter_map(|r| t.get(r, item)).min());
    let resolution = [("refine", "ls_d_res_high"), ("em_3d_reconstruction", "resolution"), ("reflns", "d_resolution_high")];
    let parsed = |(category, item)| block.first(category, item).and_then(|x| x.parse::<f64>().ok()).filter(|x| x.is_finite());
    Structure {
        id: block.first("entry", "id").unwrap_or(block.name).to_string(),
        method: methods.join(",").to_lowercase(),
        release_date: revisions.into_iter().find_map(earliest).map(str::to_string),
        resolution: resolution.into_iter().find_map(parsed),
        ..Structure::default()
    }
}

/// Atoms of one `label_asym_id` in the first model.
struct AtomGroup<'a> {
    label_id: &'a str,
    author_id: &'a str,
    entity: Option<&'a str>,
    /// With each atom, its `label_seq_id`.
    atoms: Vec<(RawAtom<'a>, Option<i64>)>,
}

impl AtomGroup<'_> {
    fn ids(&self) -> Chain {
        let entity = self.entity.unwrap_or_default().to_string();
        Chain { id: self.author_id.to_string(), label_id: self.label_id.to_string(), entity, ..Chain::default() }
    }
}

/// Where the items of interest stand among `_atom_site`'s columns. Author items stand in for missing label items and the other way round.
struct Columns {
    position: [usize; 3],
    group: Option<usize>,
    name: usize,
    component: usize,
    label_chain: usize,
    author_chain: usize,
    label_number: Option<usize>,
    author_number: Option<usize>,
    insertion: Option<usize>,
    altloc: Option<usize>,
    entity: Option<usize>,
    occupancy: Option<usize>,
    b_factor: Option<usize>,
    model: Option<usize>,
}

impl Columns {
    fn find(table: &Table, path: &Path) -> Result<Self> {
        let need = |names: &[&str]| {
            names.iter().find_map(|n| table.column(n)).ok_or_else(|| {
                let line = table.lines[0] as usize;
                Error::at_line(path, line, format!("`_atom_site` has no column `{}`", names.join("` or `")))
            })
        };
        let label_number = table.column("label_seq_id");
        let author_number = table.column("auth_seq_id").or(label_number);
        if author_number.is_none() {
            need(&["label_seq_id", "auth_seq_id"])?;
        }
        Ok(Self {
            position: [need(&["cartn_x"])?, need(&["cartn_y"])?, need(&["cartn_z"])?],
            group: table.column("group_pdb"),
            name: need(&["label_atom_id", "auth_atom_id"])?,
            component: need(&["label_comp_id", "auth_comp_id"])?,
            label_chain: need(&["label_asym_id", "auth_asym_id"])?,
            author_chain: need(&["auth_asym_id", "label_asym_id"])?,
            label_number,
            author_number,
            insertion: table.column("pdbx_pdb_ins_code"),
            altloc: table.column("label_alt_id"),
            entity: table.column("label_entity_id"),
            occupancy: table.column("occupancy"),
            b_factor: table.column("b_iso_or_equiv"),
            model: table.column("pdbx_pdb_model_num"),
        })
    }
}

/// The atoms of the first model by chain, in the order of the file. Waters belong to no chain.
fn group_atoms<'a>(table: &'a Table<'a>, path: &Path) -> Result<Vec<AtomGroup<'a>>> {
    let columns = Columns::find(table, path)?;
    let first_model = columns.model.map(|c| table.at(0, c).text);
    let mut groups: Vec<AtomGroup> = Vec::new();
    let mut by_id: HashMap<(&str, &str), usize> = HashMap::new();
    for row in 0..table.len() {
        if columns.model.map(|c| table.at(row, c).text) != first_model {
            continue;
        }
        let component = table.at(row, columns.component).text;
        if matches!(component, "HOH" | "DOD" | "WAT") {
            continue;
        }
        // Where one of the two ids is left open, the other stands in for it.
        let (label, author) = (table.at(row, columns.label_chain), table.at(row, columns.author_chain));
        let key = (label.known().or(author.known()).unwrap_or("."), author.known().or(label.known()).unwrap_or("."));
        let group = *by_id.entry(key).or_insert_with(|| {
            let entity = columns.entity.and_then(|c| table.at(row, c).known());
            groups.push(AtomGroup { label_id: key.0, author_id: key.1, entity, atoms: Vec::new() });
            groups.len() - 1
        });
        let label_number = columns.label_number.and_then(|c| table.at(row, c).known()?.parse().ok());
        let atom = read_atom(table, row, &columns, component, label_number, path)?;
        groups[group].atoms.push((atom, label_number));
    }
    Ok(groups)
}

fn read_atom<'a>(
    table: &Table<'a>,
    row: usize,
    columns: &Columns,
    component: &'a str,
    label_number: Option<i64>,
    path: &Path,
) -> Result<RawAtom<'a>> {
    let line = table.lines[row];
    let number = |column: usize, what: &str| -> Result<f32> {
        let value = table.at(row, column).text;
        // Through f64, as AlphaFold reads them: the last bit can differ otherwise.
        value
            .parse::<f64>()
            .ok()
            .filter(|x| x.is_finite())
            .map(|x| x as f32)
            .ok_or_else(|| Error::at_line(path, line as usize, format!("the {what} of an atom is `{value}`, not a number")))
    };
    let optional = |column: Option<usize>, what: &str, default: f32| match column.filter(|&c| table.at(row, c).known().is_some()) {
        Some(c) => number(c, what),
        None => Ok(default),
    };
    let text = |column: Option<usize>| column.map_or("", |c| Value::known(table.at(row, c)).unwrap_or(""));
    // Authors may number with anything; what is no number takes the place in the sequence instead.
    let author = text(columns.author_number).parse::<i32>().ok();
    let [x, y, z] = columns.position;
    Ok(RawAtom {
        name: table.at(row, columns.name).text,
        altloc: text(columns.altloc),
        component,
        number: author.or(label_number.and_then(|n| i32::try_from(n).ok())).unwrap_or(0),
        insertion: text(columns.insertion).chars().next().unwrap_or(' '),
        hetatm: text(columns.group) == "HETATM",
        at: [number(x, "x coordinate")?, number(y, "y coordinate")?, number(z, "z coordinate")?],
        occupancy: optional(columns.occupancy, "occupancy", 1.0)?,
        b_factor: optional(columns.b_factor, "temperature factor", 0.0)?,
        line,
    })
}

/// A chain whose sequence the file has: atoms go where their `label_seq_id` says.
fn chain_with_sequence(group: &AtomGroup, polymer: &Polymer, path: &Path, warnings: &mut Vec<String>) -> Result<Chain> {
    if group.atoms.iter().all(|(_, number)| number.is_none()) {
        let places = places_in_order(group);
        return chain_of_places(places, Some(&polymer.components()), &group.ids(), path, &mut Twice::Refuse, warnings);
    }
    let mut places: Vec<Place> = polymer.places.iter().map(|p| Place { listed: p.components.clone(), atoms: Vec::new() }).collect();
    for (atom, number) in &group.atoms {
        // Ligands that share the chain's id have no place in the sequence.
        let Some(number) = number else { continue };
        let Some(place) = polymer.place(*number) else {
            let what = format!(
                "residue {} {} of chain `{}` has label_seq_id {number}, but the sequence of its entity (`_entity_poly_seq`) has no such number",
                atom.component, atom.number, group.author_id
            );
            return Err(Error::at_line(path, atom.line as usize, what));
        };
        places[place].atoms.push(*atom);
    }
    let mut chain = Chain { has_full_sequence: true, ..group.ids() };
    for place in &places {
        if let Some(atom) = place.atoms.first().filter(|_| !place.listed.contains(&place.component())) {
            let what = "is not what the sequence lists there";
            warnings.push(format!("line {}: residue {} {} of chain `{}` {what}", atom.line, atom.component, atom.number, chain.id));
        }
        place.push_to(&mut chain, path, &mut Twice::Refuse)?;
    }
    Ok(chain)
}

/// The residues of a chain in the order of their first atoms, known by number and insertion code.
fn places_in_order<'a>(group: &AtomGroup<'a>) -> Vec<Place<'a>> {
    let mut places: Vec<Place> = Vec::new();
    let mut by_number: HashMap<(i32, char), usize> = HashMap::new();
    for (atom, _) in &group.atoms {
        let at = *by_number.entry((atom.number, atom.insertion)).or_insert_with(|| {
            places.push(Place::default());
            places.len() - 1
        });
        places[at].atoms.push(*atom);
    }
    places
}
