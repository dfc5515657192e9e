//! Golden cases of template hits and features.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::golden::Golden;
use super::host_structure::Outputs;
use crate::data::templates::{Library, Reason, Rules, Templates, align_by_identity};
use crate::error::{Error, Result};
use crate::io::hhr::{self, TemplateHit};
use crate::io::text;
use crate::protein::letters::{UNKNOWN, hhblits_of_letter};
use crate::tensor::HostTensor;

/// Runs a case; `None` when its module is not one of these. Integers and strings must be equal, floats within 1e-6 of max|reference|.
pub fn run(case: &Golden) -> Option<Result<Outputs>> {
    match case.module.as_str() {
        "parse_hhr" => Some(parse_hhr(case)),
        "template_features" => Some(template_features(case)),
        _ => None,
    }
}

/// The case's report of hits, and the folder of its input files.
fn input(case: &Golden) -> Result<(Vec<TemplateHit>, PathBuf)> {
    let files = case.json("files")?;
    let name = files[0].as_str().ok_or_else(|| Error::format(&case.path, "the metadata `files` names no file"))?;
    let path = case.path.parent().unwrap_or(Path::new(".")).join(name);
    let folder = path.parent().unwrap_or(Path::new(".")).to_path_buf();
    Ok((hhr::read(text::find(&path).unwrap_or(path))?.hits, folder))
}

fn parse_hhr(case: &Golden) -> Result<Outputs> {
    let row = |h: &TemplateHit| {
        json!({
            "index": h.index,
            "name": h.name,
            "aligned_cols": h.aligned_cols,
            "sum_probs": h.sum_probs,
            "query": h.query,
            "hit_sequence": h.hit_sequence,
            "indices_query": h.indices_query,
            "indices_hit": h.indices_hit,
        })
    };
    let mut out = Outputs::default();
    out.strings.insert("hits".into(), input(case)?.0.iter().map(row).collect());
    out.tensors.insert("empty".into(), HostTensor::i32(&[1], vec![0]));
    Ok(out)
}

fn template_features(case: &Golden) -> Result<Outputs> {
    let (hits, folder) = input(case)?;
    let query = case.json("strings")?["query"].as_str().map(str::to_owned);
    let query = query.ok_or_else(|| Error::format(&case.path, "no `query` among the strings"))?;
    let date = case.config["max_template_date"].as_str().map(str::to_owned);
    let most = case.config["max_hits"].as_u64().ok_or_else(|| Error::format(&case.path, "no `max_hits` in the configuration"))?;
    let rules = Rules { max_templates: most as usize, max_date: date, ..Rules::default() };
    let templates = Library::new(&folder, &align_by_identity)?.templates(&query, &hits, &rules)?;
    let mut out = Outputs::default();
    out.strings.insert("query".into(), query.clone().into());
    tensors(&templates, query.len(), &mut out);
    texts(&templates, &hits, &mut out);
    Ok(out)
}

fn tensors(templates: &Templates, n_res: usize, out: &mut Outputs) {
    let n = templates.found.len();
    let all = || templates.found.iter().map(|f| &f.template);
    let letters = templates.found.iter().flat_map(|f| f.sequence.bytes());
    let one_hot = letters.flat_map(|l| {
        let number = hhblits_of_letter(l).unwrap_or(UNKNOWN);
        (0..22).map(move |k| if k == number { 1.0 } else { 0.0 })
    });
    out.put("template_aatype", &[n, n_res, 22], one_hot.collect());
    out.put("template_all_atom_masks", &[n, n_res, 37], all().flat_map(|t| t.mask.as_flattened().iter().copied()).collect());
    let positions = all().flat_map(|t| t.positions.as_flattened().as_flattened().iter().copied());
    out.put("template_all_atom_positions", &[n, n_res, 37, 3], positions.collect());
    out.put("template_sum_probs", &[n, 1], all().map(|t| t.sum_probs).collect());
}

/// The strings in AlphaFold's words. Hits whose file is missing are not in the golden's report.
fn texts(templates: &Templates, hits: &[TemplateHit], out: &mut Outputs) {
    let entry = |ok: bool, warning: String| json!({ "ok": ok, "error": "None", "warning": warning });
    let mut per_hit = serde_json::Map::new();
    let mut used = Vec::new();
    for hit in hits {
        let name = hit.name.split_whitespace().next().unwrap_or("");
        let same = |other: &str| other.eq_ignore_ascii_case(name);
        if templates.found.iter().any(|f| same(&f.template.name)) {
            used.push(Value::from(name));
            per_hit.insert(name.to_owned(), entry(true, "None".into()));
        } else if let Some(left) = templates.left_out.iter().find(|l| same(&l.name) && l.reason != Reason::NoFile) {
            let warning = match &left.reason {
                Reason::NoAtoms(first, last) => format!(
                    "{0} (sum_probs: {1:?}, rank: {2}): feature extracting errors: Template all atom mask was all zeros: {0}. Residue range: {first}-{last}, \
                     mmCIF parsing errors: {{}}",
                    left.name,
                    hit.sum_probs.unwrap_or(0.0),
                    left.index
                ),
                other => other.to_string(),
            };
            per_hit.insert(name.to_owned(), entry(false, warning));
        }
    }
    out.strings.insert("hits_used".into(), used.into());
    out.strings.insert("per_hit".into(), per_hit.into());
    out.strings.insert("template_domain_names".into(), templates.found.iter().map(|f| f.template.name.clone()).collect());
    out.strings.insert("template_sequence".into(), templates.found.iter().map(|f| f.sequence.clone()).collect());
}
