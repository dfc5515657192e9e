//! Legacy PDB structures: fixed columns, the first model, SEQRES where there is one.
//!
//! The format's guide 3.3, and what real files make of it: five-digit residue numbers, blank chain ids, no header, short lines.

use std::collections::HashMap;
use std::path::Path;

use super::atoms::{Place, RawAtom, Twice};
use super::seqres::chain_of_places;
use super::text;
use crate::error::{Error, Result};
use crate::protein::structure::{Chain, Structure};

/// Reads a PDB file, plain or gzip.
pub fn read(path: impl AsRef<Path>) -> Result<Structure> {
    let path = path.as_ref();
    parse_structure(&text::read(path)?, path)
}

/// Residues of one chain id in the first model, in the order of the file; waters, ligands and nucleotides among them.
#[derive(Debug, Default)]
pub struct RawChain<'a> {
    /// The chain id.
    pub id: &'a str,
    /// Its residues; those of a HETATM component are apart from those of ATOM records with the same number.
    pub places: Vec<Place<'a>>,
    /// How many of them come before the chain's TER record; all when there is none.
    pub n_polymer: usize,
}

/// What is in a file's records, before it is known what is protein.
#[derive(Debug, Default)]
pub struct Records<'a> {
    /// Chains of the first model.
    pub chains: Vec<RawChain<'a>>,
    /// SEQRES components by chain id.
    pub seqres: Vec<(&'a str, Vec<&'a str>)>,
    /// Title-section items.
    pub header: Structure,
    /// How many models the file has.
    pub n_models: usize,
}

/// The protein chains of a PDB text; `path` is for messages.
pub fn parse_structure(bytes: &[u8], path: &Path) -> Result<Structure> {
    let records = read_records(bytes, path)?;
    let mut structure = records.header;
    if structure.id.is_empty() {
        structure.id = text::plain_name(path);
    }
    let end = text::lines(bytes).count().max(1);
    let n_atoms: usize = records.chains.iter().map(|c| c.places.len()).sum();
    if n_atoms == 0 {
        return Err(Error::at_line(path, end, "the file ends without an ATOM record: not a structure"));
    }
    let first_line = records.chains[0].places[0].atoms[0].line;
    for mut raw in records.chains {
        let ids = Chain { id: raw.id.to_string(), label_id: raw.id.to_string(), ..Chain::default() };
        let components = records.seqres.iter().find(|(id, _)| *id == raw.id).map(|(_, c)| &c[..]);
        raw.places.truncate(raw.n_polymer);
        // Free amino acids among the ligands are no chain.
        if raw.places.iter().all(|p| p.atoms[0].hetatm) && raw.places.len() < 2 {
            continue;
        }
        let mut repeated = Vec::new();
        let chain = chain_of_places(raw.places, components, &ids, path, &mut Twice::Warn(&mut repeated), &mut structure.warnings)?;
        if let Some(first) = repeated.first() {
            structure.warnings.push(format!("{} atoms are given twice, the first of them in {first}", repeated.len()));
        }
        if chain.n_observed() > 0 {
            structure.chains.push(chain);
        }
    }
    if structure.chains.is_empty() {
        return Err(Error::at_line(path, first_line as usize, "no protein chain among the atoms that begin here"));
    }
    Ok(structure)
}

/// The records of the first model; `path` is for messages.
pub fn read_records<'a>(bytes: &'a [u8], path: &Path) -> Result<Records<'a>> {
    let mut reader = Reader { records: Records::default(), places: HashMap::new(), path };
    let mut model_is_over = false;
    for (number, line) in text::lines(bytes) {
        let kind = line.get(..6).unwrap_or(line).trim_ascii_end();
        match kind {
            b"MODEL" => {
                reader.records.n_models += 1;
                model_is_over = reader.records.n_models > 1;
            }
            b"ENDMDL" => model_is_over = true,
            b"ATOM" | b"HETATM" if !model_is_over => reader.atom(number, line, kind == b"HETATM")?,
            b"TER" if !model_is_over => reader.chain_end(line),
            b"SEQRES" => reader.seqres(line),
            b"HEADER" | b"EXPDTA" | b"REMARK" | b"REVDAT" => reader.title(kind, line),
            _ => {}
        }
    }
    reader.records.n_models = reader.records.n_models.max(usize::from(!reader.records.chains.is_empty()));
    Ok(reader.records)
}

struct Reader<'a, 'p> {
    records: Records<'a>,
    /// Chain, number, insertion code, HETATM component -> place.
    places: HashMap<(usize, i32, char, &'a str), usize>,
    path: &'p Path,
}

/// The columns `range` (counted from 0) as trimmed text; blank past the line's end, and for bytes that are not text.
fn field(line: &[u8], range: std::ops::Range<usize>) -> &str {
    let end = range.end.min(line.len());
    line.get(range.start..end).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or("").trim()
}

impl<'a> Reader<'a, '_> {
    fn atom(&mut self, number: usize, line: &'a [u8], hetatm: bool) -> Result<()> {
        let path = self.path;
        let wrong = |what: String| Error::at_line(path, number, what);
        if line.len() < 54 {
            return Err(wrong(format!("an atom record of {} characters; coordinates end in column 54. Is the file cut off?", line.len())));
        }
        if let Some(at) = line.iter().position(|b| *b == 0) {
            return Err(wrong(format!("a NUL byte in column {}: the file is damaged or not text", at + 1)));
        }
        let coordinate = |start: usize, axis: char| {
            let text = field(line, start..start + 8);
            let value = text.parse::<f64>().ok().filter(|x| x.is_finite()).map(|x| x as f32);
            value.ok_or_else(|| wrong(format!("the {axis} coordinate (columns {}-{}) is `{text}`, not a number", start + 1, start + 8)))
        };
        let optional = |range: std::ops::Range<usize>, what: &str, default: f32| match field(line, range) {
            "" => Ok(default),
            text => {
                text.parse::<f32>().ok().filter(|x| x.is_finite()).ok_or_else(|| wrong(format!("the {what} is `{text}`, not a number")))
            }
        };
        // Five-digit numbers of simulation packages run into the column of the insertion code, which is never a digit.
        let fifth = line[26].is_ascii_digit();
        let text = field(line, 22..if fifth { 27 } else { 26 });
        let value: i32 = text.parse().map_err(|_| wrong(format!("the residue number (columns 23-26) is `{text}`, not a number")))?;
        let atom = RawAtom {
            name: field(line, 12..16),
            altloc: field(line, 16..17),
            component: field(line, 17..21),
            number: value,
            insertion: if fifth || !line[26].is_ascii_graphic() { ' ' } else { line[26] as char },
            hetatm,
            at: [coordinate(30, 'x')?, coordinate(38, 'y')?, coordinate(46, 'z')?],
            occupancy: optional(54..60, "occupancy", 1.0)?,
            b_factor: optional(60..66, "temperature factor", 0.0)?,
            line: number as u32,
        };
        self.add(std::str::from_utf8(&line[21..22]).unwrap_or(" "), atom);
        Ok(())
    }

    fn add(&mut self, chain_id: &'a str, atom: RawAtom<'a>) {
        let chains = &mut self.records.chains;
        let chain = chains.iter().position(|c| c.id == chain_id).unwrap_or_else(|| {
            chains.push(RawChain { id: chain_id, places: Vec::new(), n_polymer: usize::MAX });
            chains.len() - 1
        });
        let component = if atom.hetatm { atom.component } else { "" };
        if !atom.hetatm {
            // A polymer that goes on after TER was not over.
            chains[chain].n_polymer = usize::MAX;
        }
        let places = &mut chains[chain].places;
        let place = *self.places.entry((chain, atom.number, atom.insertion, component)).or_insert_with(|| {
            places.push(Place::default());
            places.len() - 1
        });
        places[place].atoms.push(atom);
    }

    /// TER names its chain; a bare one ends the chain of the last atom.
    fn chain_end(&mut self, line: &'a [u8]) {
        let id = line.get(21..22).and_then(|b| std::str::from_utf8(b).ok());
        let named = id.and_then(|id| self.records.chains.iter().position(|c| c.id == id));
        let last = self.records.chains.len().checked_sub(1);
        if let Some(chain) = named.or(last).map(|c| &mut self.records.chains[c]) {
            // Some programs write TER at every break: the last one counts.
            chain.n_polymer = chain.places.len();
        }
    }

    fn seqres(&mut self, line: &'a [u8]) {
        let id = line.get(11..12).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or(" ");
        let components = field(line, 19..70).split_ascii_whitespace();
        match self.records.seqres.iter_mut().find(|(known, _)| *known == id) {
            Some((_, all)) => all.extend(components),
            None => self.records.seqres.push((id, components.collect())),
        }
    }

    fn title(&mut self, kind: &[u8], line: &[u8]) {
        let header = &mut self.records.header;
        match kind {
            b"HEADER" => header.id = field(line, 62..66).to_string(),
            b"EXPDTA" => {
                let methods: Vec<&str> = field(line, 10..79).split(';').map(str::trim).filter(|m| !m.is_empty()).collect();
                header.method = methods.join(",").to_lowercase();
            }
            b"REMARK" if field(line, 6..10) == "2" && field(line, 11..22) == "RESOLUTION." => {
                header.resolution = field(line, 23..30).parse().ok();
            }
            b"REVDAT" => {
                let date = iso_date(field(line, 13..22));
                header.release_date = [header.release_date.take(), date].into_iter().flatten().min();
            }
            _ => {}
        }
    }
}

/// `31-JUL-94` as `1994-07-31`; the PDB began in 1971.
fn iso_date(text: &str) -> Option<String> {
    const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
    let mut parts = text.split('-');
    let (day, month, year): (u32, &str, u32) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?.parse().ok()?);
    let month = MONTHS.iter().position(|m| m.eq_ignore_ascii_case(month))? + 1;
    Some(format!("{}-{month:02}-{day:02}", if year < 71 { 2000 + year } else { 1900 + year }))
}
