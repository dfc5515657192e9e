//! Predictions as ModelCIF (mmCIF with the `ma_*` categories of mmcif_ma.dic 1.4): coordinates, sequences, confidences, the software's name.
//!
//! Holds no date and no path, so that the same prediction gives the same bytes.

use std::fmt::Write;

use crate::protein::letters::{ATOM37, name_of_restype, restype_of_letter};
use crate::protein::structure::Chain;

/// One predicted model.
#[derive(Debug, Clone)]
pub struct Prediction<'a> {
    /// The entry's name; anything, it is quoted and cut as CIF needs.
    pub id: &'a str,
    /// A line about the target, e.g. its FASTA header.
    pub title: &'a str,
    /// The model's name, e.g. `model_1_ptm seed 0`.
    pub model_name: &'a str,
    /// Chains; B-factors are pLDDT, 0-100.
    pub chains: &'a [&'a Chain],
    /// Predicted TM-score, where the parameters give one.
    pub ptm: Option<f64>,
}

/// Mean pLDDT over residues (their CA, or else their first atom).
pub fn mean_plddt(chains: &[&Chain]) -> f64 {
    let all: Vec<f64> = chains.iter().flat_map(|c| (0..c.len()).filter_map(|i| residue_plddt(c, i))).collect();
    if all.is_empty() { 0.0 } else { all.iter().sum::<f64>() / all.len() as f64 }
}

fn residue_name(chain: &Chain, i: usize) -> &'static str {
    name_of_restype(restype_of_letter(chain.sequence.as_bytes()[i]))
}

fn residue_plddt(chain: &Chain, i: usize) -> Option<f64> {
    let slot = [1].into_iter().chain(0..37).find(|&s| chain.mask[i][s] == 1.0)?;
    Some(f64::from(chain.b_factors[i][slot]))
}

/// The text of the ModelCIF file.
pub fn to_modelcif(prediction: &Prediction) -> String {
    let mut entities: Vec<&str> = Vec::new();
    let of_chain: Vec<usize> = prediction
        .chains
        .iter()
        .map(|chain| {
            entities.iter().position(|s| *s == chain.sequence).unwrap_or_else(|| {
                entities.push(&chain.sequence);
                entities.len() - 1
            })
        })
        .collect();
    let mut cif = Cif(String::new());
    let id = quote(&short(prediction.id));
    let block: String =
        short(prediction.id).chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '_' }).collect();
    writeln!(cif.0, "data_{}\n#", if block.is_empty() { "model" } else { &block }).expect("writing to a string cannot fail");
    cif.items("entry", &[("id", &id)]);
    let title = quote(&short(prediction.title));
    cif.items("struct", &[("entry_id", &id), ("title", &title)]);
    let location = "https://raw.githubusercontent.com/ihmwg/ModelCIF/master/dist/mmcif_ma.dic";
    cif.items("audit_conform", &[("dict_name", "mmcif_ma.dic"), ("dict_version", "1.4.6"), ("dict_location", location)]);
    sequences(&mut cif, prediction.chains, &entities, &of_chain);
    software(&mut cif);
    model_records(&mut cif, prediction, &entities, &of_chain);
    confidences(&mut cif, prediction);
    atoms(&mut cif, prediction.chains, &of_chain);
    cif.0
}

struct Cif(String);

impl Cif {
    /// A category of one row.
    fn items(&mut self, category: &str, items: &[(&str, &str)]) {
        for (item, value) in items {
            let separator = if value.starts_with(';') { "\n" } else { " " };
            writeln!(self.0, "_{category}.{item}{separator}{value}").expect("writing to a string cannot fail");
        }
        self.0.push_str("#\n");
    }

    /// A category of many rows; a row holds its values, already quoted, between blanks.
    fn rows(&mut self, category: &str, items: &[&str], rows: impl IntoIterator<Item = String>) {
        self.0.push_str("loop_\n");
        for item in items {
            writeln!(self.0, "_{category}.{item}").expect("writing to a string cannot fail");
        }
        for row in rows {
            self.0.push_str(&row);
            self.0.push('\n');
        }
        self.0.push_str("#\n");
    }
}

/// The first 200 printable ASCII characters; others become `?`.
fn short(text: &str) -> String {
    text.chars().take(200).map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
}

/// A one-line text as a CIF value.
fn quote(text: &str) -> String {
    let reserved = |w: &str| ["data_", "save_", "loop_", "stop_", "global_"].iter().any(|r| w.to_ascii_lowercase().starts_with(r));
    let plain = !text.is_empty()
        && !matches!(text, "." | "?")
        && text.bytes().all(|b| b.is_ascii_graphic())
        && !text.starts_with(['_', '#', '$', '\'', '"', '[', ']', ';'])
        && !reserved(text);
    match () {
        () if plain => text.to_string(),
        () if !text.contains('\'') => format!("'{text}'"),
        () if !text.contains('"') => format!("\"{text}\""),
        () => format!(";{text}\n;"),
    }
}

fn sequences(cif: &mut Cif, chains: &[&Chain], entities: &[&str], of_chain: &[usize]) {
    let names = |sequence: &str| -> Vec<&'static str> { sequence.bytes().map(|l| name_of_restype(restype_of_letter(l))).collect() };
    let ids =
        |entity: usize| -> Vec<String> { chains.iter().zip(of_chain).filter(|(_, e)| **e == entity).map(|(c, _)| c.id.clone()).collect() };
    let mut used: Vec<&str> = entities.iter().flat_map(|s| names(s)).collect();
    used.sort_unstable();
    used.dedup();
    let kind = |name: &str| if name == "GLY" { "'peptide linking'" } else { "'L-peptide linking'" };
    cif.rows("chem_comp", &["id", "type"], used.iter().map(|n| format!("{n} {}", kind(n))));
    let numbered = || entities.iter().enumerate();
    cif.rows("entity", &["id", "type", "src_method", "pdbx_description"], numbered().map(|(e, _)| format!("{} polymer man .", e + 1)));
    let items =
        ["entity_id", "type", "nstd_linkage", "nstd_monomer", "pdbx_strand_id", "pdbx_seq_one_letter_code", "pdbx_seq_one_letter_code_can"];
    let wrapped = |s: &str| s.as_bytes().chunks(80).map(|l| String::from_utf8_lossy(l).into_owned()).collect::<Vec<_>>().join("\n");
    let poly = numbered().map(|(e, s)| {
        let text = wrapped(s);
        format!("{} polypeptide(L) no no {}\n;{text}\n;\n;{text}\n;", e + 1, quote(&ids(e).join(",")))
    });
    cif.rows("entity_poly", &items, poly);
    let seq = numbered().flat_map(|(e, s)| names(s).into_iter().enumerate().map(move |(i, n)| format!("{} {} {n} n", e + 1, i + 1)));
    cif.rows("entity_poly_seq", &["entity_id", "num", "mon_id", "hetero"], seq);
    let asym = chains.iter().zip(of_chain).map(|(c, e)| format!("{} {} .", quote(&c.id), e + 1));
    cif.rows("struct_asym", &["id", "entity_id", "details"], asym);
    let items = [
        "asym_id",
        "entity_id",
        "seq_id",
        "mon_id",
        "pdb_seq_num",
        "auth_seq_num",
        "pdb_mon_id",
        "auth_mon_id",
        "pdb_strand_id",
        "pdb_ins_code",
        "hetero",
    ];
    let scheme = chains.iter().zip(of_chain).flat_map(|(c, e)| {
        let id = quote(&c.id);
        names(&c.sequence).into_iter().enumerate().map(move |(i, n)| {
            let number = author_number(c, i);
            format!("{id} {} {} {n} {number} {number} {n} {n} {id} . n", e + 1, i + 1)
        })
    });
    cif.rows("pdbx_poly_seq_scheme", &items, scheme);
}

fn author_number(chain: &Chain, i: usize) -> String {
    chain.sites[i].number.map_or_else(|| "?".to_string(), |n| n.value.to_string())
}

fn software(cif: &mut Cif) {
    let version = quote(env!("CARGO_PKG_VERSION"));
    let items = [
        ("pdbx_ordinal", "1"),
        ("name", "anyfold"),
        ("version", version.as_str()),
        ("type", "program"),
        ("classification", "'model building'"),
        ("description", "'AlphaFold 2 structure prediction on any GPU'"),
        ("citation_id", "1"),
    ];
    cif.items("software", &items);
    let citation = [
        ("id", "1"),
        ("title", "'Highly accurate protein structure prediction with AlphaFold'"),
        ("journal_abbrev", "Nature"),
        ("journal_volume", "596"),
        ("page_first", "583"),
        ("page_last", "589"),
        ("year", "2021"),
        ("pdbx_database_id_DOI", "10.1038/s41586-021-03819-2"),
    ];
    cif.items("citation", &citation);
    cif.items("ma_software_group", &[("ordinal_id", "1"), ("group_id", "1"), ("software_id", "1")]);
}

fn model_records(cif: &mut Cif, prediction: &Prediction, entities: &[&str], of_chain: &[usize]) {
    let numbered = || entities.iter().enumerate();
    let data = numbered().map(|(e, _)| format!("{} 'target sequence {}' target", e + 1, e + 1));
    let last = entities.len() + 1;
    cif.rows("ma_data", &["id", "name", "content_type"], data.chain([format!("{last} 'predicted model' 'model coordinates'")]));
    // "designed" is ModelCIF's word for a sequence that the user gives and no database vouches for.
    let target = numbered().map(|(e, _)| format!("{} {} designed", e + 1, e + 1));
    cif.rows("ma_target_entity", &["entity_id", "data_id", "origin"], target);
    let instances = prediction.chains.iter().zip(of_chain).map(|(c, e)| format!("{} {} .", quote(&c.id), e + 1));
    cif.rows("ma_target_entity_instance", &["asym_id", "entity_id", "details"], instances);
    let data_ids: Vec<String> = (1..last).map(|i| format!("{i} 1 {i}")).collect();
    cif.rows("ma_data_group", &["ordinal_id", "group_id", "data_id"], data_ids.into_iter().chain([format!("{last} 2 {last}")]));
    let step = [
        ("ordinal_id", "1"),
        ("protocol_id", "1"),
        ("step_id", "1"),
        ("method_type", "modeling"),
        ("step_name", "'structure prediction'"),
        ("software_group_id", "1"),
        ("input_data_group_id", "1"),
        ("output_data_group_id", "2"),
    ];
    cif.items("ma_protocol_step", &step);
    let (name, data) = (quote(&short(prediction.model_name)), last.to_string());
    let model = [
        ("ordinal_id", "1"),
        ("model_id", "1"),
        ("model_group_id", "1"),
        ("model_name", name.as_str()),
        ("model_group_name", "'All models'"),
        ("data_id", data.as_str()),
        ("model_type", "'Ab initio model'"),
    ];
    cif.items("ma_model_list", &model);
}

fn confidences(cif: &mut Cif, prediction: &Prediction) {
    let mut metrics = vec![
        "1 pLDDT 'Predicted accuracy by lDDT-CA' pLDDT global 1".to_string(),
        "2 pLDDT 'Predicted accuracy by lDDT-CA' pLDDT local 1".to_string(),
    ];
    let mut values = vec![format!("1 1 1 {:.2}", mean_plddt(prediction.chains))];
    if let Some(ptm) = prediction.ptm {
        metrics.push("3 pTM 'Predicted TM-score' pTM global 1".to_string());
        values.push(format!("2 1 3 {ptm:.4}"));
    }
    cif.rows("ma_qa_metric", &["id", "name", "description", "type", "mode", "software_group_id"], metrics);
    cif.rows("ma_qa_metric_global", &["ordinal_id", "model_id", "metric_id", "metric_value"], values);
    let items = ["ordinal_id", "model_id", "label_asym_id", "label_seq_id", "label_comp_id", "metric_id", "metric_value"];
    let residues = prediction.chains.iter().flat_map(|c| (0..c.len()).filter_map(move |i| Some((*c, i, residue_plddt(c, i)?))));
    let local = residues.enumerate().map(|(k, (chain, i, plddt))| {
        let name = residue_name(chain, i);
        format!("{} 1 {} {} {name} 2 {plddt:.2}", k + 1, quote(&chain.id), i + 1)
    });
    cif.rows("ma_qa_metric_local", &items, local);
}

fn atoms(cif: &mut Cif, chains: &[&Chain], of_chain: &[usize]) {
    let mut elements: Vec<&str> =
        chains.iter().flat_map(|c| c.mask.iter()).flat_map(|m| (0..37).filter(|&s| m[s] == 1.0)).map(|s| &ATOM37[s][..1]).collect();
    elements.sort_unstable();
    elements.dedup();
    cif.rows("atom_type", &["symbol"], elements.into_iter().map(str::to_string));
    let items = [
        "group_PDB",
        "id",
        "type_symbol",
        "label_atom_id",
        "label_alt_id",
        "label_comp_id",
        "label_asym_id",
        "label_entity_id",
        "label_seq_id",
        "pdbx_PDB_ins_code",
        "Cartn_x",
        "Cartn_y",
        "Cartn_z",
        "occupancy",
        "B_iso_or_equiv",
        "auth_seq_id",
        "auth_comp_id",
        "auth_asym_id",
        "auth_atom_id",
        "pdbx_PDB_model_num",
    ];
    let mut rows = Vec::new();
    for (chain, entity) in chains.iter().zip(of_chain) {
        let id = quote(&chain.id);
        for i in 0..chain.len() {
            let (name, number) = (residue_name(chain, i), author_number(chain, i));
            for slot in (0..37).filter(|&s| chain.mask[i][s] == 1.0) {
                let ([x, y, z], b, atom) = (chain.positions[i][slot], chain.b_factors[i][slot], ATOM37[slot]);
                rows.push(format!(
                    "ATOM {} {} {atom} . {name} {id} {} {} ? {x:.3} {y:.3} {z:.3} 1.00 {b:.2} {number} {name} {id} {atom} 1",
                    rows.len() + 1,
                    &atom[..1],
                    entity + 1,
                    i + 1
                ));
            }
        }
    }
    cif.rows("atom_site", &items, rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_single_values() {
        for text in ["", ".", "plain", "two words", "it's", "a 'b' \"c\" d", "data_x", "_tag", ";x", "#no", "\"'"] {
            let quoted = quote(&short(text));
            let cif = format!("data_t\n_a.b\n{quoted}\n_a.c last\n");
            let blocks = super::super::cif::parse(&cif, std::path::Path::new("t")).unwrap();
            assert_eq!((blocks.len(), blocks[0].first("a", "b"), blocks[0].first("a", "c")), (1, Some(text), Some("last")), "{text}");
        }
        assert_eq!(short("a\nb\u{1F600}<"), "a?b?<");
    }
}
