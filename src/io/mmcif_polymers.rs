//! The polymer sequences of an mmCIF file and which of them are proteins (`_entity_poly_seq`, `_struct_asym`, `_chem_comp`).

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::cif::Block;
use crate::error::{Error, Result};
use crate::protein::letters::restype_of_name;

/// Components at one place of a sequence; real crystals have up to three.
const MAX_COMPONENTS: usize = 100;

/// The sequence of one polymer entity.
#[derive(Debug, Default)]
pub struct Polymer<'a> {
    /// Places in the order of the file.
    pub places: Vec<SequencePlace<'a>>,
    /// Whether any of its components is a peptide's.
    pub is_protein: bool,
    by_number: HashMap<i64, usize>,
}

/// One place of a sequence.
#[derive(Debug, Default)]
pub struct SequencePlace<'a> {
    /// Its components: more than one where the crystal holds several (microheterogeneity).
    pub components: Vec<&'a str>,
}

impl<'a> Polymer<'a> {
    /// The index of the place that `label_seq_id` names.
    pub fn place(&self, number: i64) -> Option<usize> {
        self.by_number.get(&number).copied()
    }

    /// The first component of every place.
    pub fn components(&self) -> Vec<&'a str> {
        self.places.iter().map(|p| p.components[0]).collect()
    }
}

/// The polymers of a file by entity, and the entities of its chains.
#[derive(Debug, Default)]
pub struct Polymers<'a> {
    by_entity: HashMap<&'a str, Polymer<'a>>,
    entity_of_chain: HashMap<&'a str, &'a str>,
    /// Entities that the file says are no polymers.
    not_polymers: HashSet<&'a str>,
}

/// What a file says of a chain.
#[derive(Debug)]
pub enum ChainKind<'b, 'a> {
    /// A protein with its sequence.
    Protein(&'b Polymer<'a>),
    /// A ligand, a nucleic acid, a sugar.
    Other,
    /// The file has no sequence for it: its atoms must tell.
    Unknown,
}

impl<'a> Polymers<'a> {
    /// Reads the sequences of a block; there may be none.
    pub fn read(block: &Block<'a>, path: &Path) -> Result<Self> {
        let mut all = Self::default();
        if let Some(chains) = block.table("struct_asym") {
            let pairs = (0..chains.len()).filter_map(|r| Some((chains.get(r, "id")?, chains.get(r, "entity_id")?)));
            all.entity_of_chain = pairs.collect();
        }
        if let Some(t) = block.table("entity") {
            let others = (0..t.len()).filter(|&r| t.get(r, "type").is_some_and(|k| !k.eq_ignore_ascii_case("polymer")));
            all.not_polymers = others.filter_map(|r| t.get(r, "id")).collect();
        }
        let Some(table) = block.table("entity_poly_seq") else { return Ok(all) };
        let column = |name: &str| {
            let what = format!("`_entity_poly_seq` has no column `{name}`");
            table.column(name).ok_or_else(|| Error::at_line(path, table.lines[0] as usize, what))
        };
        let (entity, number, component) = (column("entity_id")?, column("num")?, column("mon_id")?);
        for row in 0..table.len() {
            let (text, line) = (table.at(row, number).text, table.lines[row] as usize);
            let wrong = || Error::at_line(path, line, format!("`_entity_poly_seq.num` is `{text}`, not a number"));
            let number: i64 = text.parse().map_err(|_| wrong())?;
            let polymer = all.by_entity.entry(table.at(row, entity).text).or_default();
            let next = polymer.places.len();
            let place = *polymer.by_number.entry(number).or_insert(next);
            if place == next {
                polymer.places.push(SequencePlace::default());
            }
            if polymer.places[place].components.len() >= MAX_COMPONENTS {
                return Err(Error::at_line(path, line, format!("more than {MAX_COMPONENTS} components at place {number} of a sequence")));
            }
            polymer.places[place].components.push(table.at(row, component).text);
        }
        all.find_proteins(block);
        Ok(all)
    }

    /// A polymer is a protein when the dictionary of the file calls any of its components a peptide's. Files without that dictionary
    /// say it of the whole polymer, or show it by one of the twenty names.
    fn find_proteins(&mut self, block: &Block<'a>) {
        let mut component_types: HashMap<&str, bool> = HashMap::new();
        if let Some(t) = block.table("chem_comp") {
            let types = (0..t.len()).filter_map(|r| Some((t.get(r, "id")?, t.get(r, "type")?.to_ascii_lowercase().contains("peptide"))));
            component_types = types.collect();
        }
        let mut polymer_types: HashMap<&str, bool> = HashMap::new();
        if let Some(t) = block.table("entity_poly") {
            let types =
                (0..t.len()).filter_map(|r| Some((t.get(r, "entity_id")?, t.get(r, "type")?.to_ascii_lowercase().contains("polypeptide"))));
            polymer_types = types.collect();
        }
        for (entity, polymer) in &mut self.by_entity {
            let components = || polymer.places.iter().flat_map(|p| &p.components);
            let described: Vec<bool> = components().filter_map(|c| component_types.get(c).copied()).collect();
            polymer.is_protein = match polymer_types.get(entity) {
                _ if !described.is_empty() => described.contains(&true),
                Some(&is_protein) => is_protein,
                None => components().any(|c| restype_of_name(c) < 20),
            };
        }
    }

    /// What the chain of an mmCIF id is; its entity is looked up by the id, or else by what its atoms name.
    pub fn kind_of_chain(&self, label_id: &str, entity_of_atoms: Option<&str>) -> ChainKind<'_, 'a> {
        let Some(entity) = self.entity_of_chain.get(label_id).copied().or(entity_of_atoms) else { return ChainKind::Unknown };
        match self.by_entity.get(entity) {
            Some(polymer) if polymer.is_protein => ChainKind::Protein(polymer),
            Some(_) => ChainKind::Other,
            None if self.not_polymers.contains(entity) || !self.by_entity.is_empty() => ChainKind::Other,
            None => ChainKind::Unknown,
        }
    }
}
