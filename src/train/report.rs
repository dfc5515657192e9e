//! A run as one HTML page that needs nothing else: curves, validation chains, structures, configuration.
//!
//! Reads the files of a run; what is not there is left out of the page, and said.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use glam::DVec3;
use serde_json::json;

use super::chart::{Series, chart, short};
use super::log::{self, Kind, Record};
use super::validation::AGAINST;
use super::{CONFIG, VALIDATION};
use crate::error::{Error, Result};
use crate::io::{pdb_write, structure, text};
use crate::protein::metrics::compare::{best_pair, pair_residues};
use crate::protein::metrics::superpose::{rmsd, superpose};
use crate::protein::structure::Chain;

const CSS: &str = include_str!("../../assets/training_report/report.css");
const JS: &str = include_str!("../../assets/training_report/report.js");
const VIEWER: &str = include_str!("../../assets/vendor/3dmol/3Dmol-min.js");

/// What lDDT-Cα local geometry alone gives: below it, nothing of the fold has been learned.
const LOCAL_GEOMETRY: f64 = 0.30;

/// A validation chain: the prediction moved onto the experiment.
struct Pair {
    id: String,
    caption: String,
    predicted: String,
    reference: String,
}

/// The page of the run in the folder `run`.
pub fn html(run: &Path) -> Result<String> {
    let path = run.join(log::FILE);
    if !path.exists() {
        return Err(Error::format(run, format!("no run here (no `{}`); give the folder that `anyfold train --out` was given", log::FILE)));
    }
    let records = log::read(&path)?;
    let config = run.join(CONFIG);
    let config = if config.exists() { Some(text::read_string(&config)?) } else { None };
    let pairs = pairs(&run.join(VALIDATION))?;
    let name = run.canonicalize().ok().and_then(|p| Some(p.file_name()?.to_string_lossy().into_owned())).unwrap_or_default();
    let mut page = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    page += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
    let mut put = |part: &str| page.push_str(part);
    put(&format!("<title>{0}</title>\n<style>\n{CSS}</style></head>\n<body>\n<h1>{0}</h1>\n", escaped(&name)));
    put(&summary(&records));
    charts(&records).iter().for_each(|(title, body)| put(&section(title, &format!("<div class=\"charts\">\n{body}</div>"))));
    if let Some(table) = chain_table(&records) {
        put(&section("Validation chains", &table));
    }
    if !pairs.is_empty() {
        put(&section("Validation structures", &structures(&pairs)));
    }
    let shown = config.map_or("<p class=\"note\">The run has no configuration.</p>".into(), |c| format!("<pre>{}</pre>", escaped(&c)));
    put(&section("Configuration", &shown));
    page.push_str("</body></html>\n");
    Ok(page)
}

fn section(title: &str, body: &str) -> String {
    format!("<h2>{title}</h2>\n{body}\n")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Values of a name over the records of a kind.
fn points(records: &[Record], kind: Kind, name: &str) -> Vec<(f64, f64)> {
    let of = |r: &Record| Some((r.step as f64, (*r.values.get(name)?)?));
    records.iter().filter(|r| r.kind == kind).filter_map(of).collect()
}

fn names(records: &[Record], kind: Kind) -> BTreeSet<&str> {
    records.iter().filter(|r| r.kind == kind).flat_map(|r| r.values.keys().map(String::as_str)).collect()
}

fn summary(records: &[Record]) -> String {
    let Some(last) = records.last() else { return "<p class=\"note\">The log is empty.</p>\n".into() };
    let mut out = format!(
        "<p class=\"note\">{} steps, {} samples, {} h {:02} min",
        last.step,
        last.samples,
        last.seconds as u64 / 3600,
        last.seconds as u64 / 60 % 60
    );
    let validated = points(records, Kind::Validation, "lddt_ca");
    if let Some((step, best)) = validated.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)) {
        write!(out, "; best lDDT-Cα {best:.3} at step {step}").expect("writing to a string");
    }
    let validation = records.iter().rfind(|r| r.kind == Kind::Validation);
    let value = |name: &str| validation.and_then(|r| r.values.get(name).copied().flatten());
    for a in &AGAINST {
        if let (Some(network), Some(baseline)) = (value(a.name), value(a.baseline)) {
            write!(out, "; {}", a.verdict(network, baseline)).expect("writing to a string");
        }
    }
    let skipped = records.iter().filter(|r| r.kind == Kind::Train && r.values.values().any(Option::is_none)).count();
    if skipped > 0 {
        write!(out, "; {skipped} steps with a value that is not finite").expect("writing to a string");
    }
    out + "</p>\n"
}

/// Sections of curves, empty ones left out: losses, validation, everything else.
fn charts(records: &[Record]) -> Vec<(&'static str, String)> {
    let (train, validation) = (names(records, Kind::Train), names(records, Kind::Validation));
    let drawn = |name: &str| {
        let of = |kind, label, name| Series { name: label, points: points(records, kind, name) };
        let against = AGAINST.iter().find(|a| a.name == name);
        let baseline = against.map(|a| of(Kind::Validation, "baseline", a.baseline));
        let own = [of(Kind::Train, "train", name), of(Kind::Validation, "validation", name)];
        let series: Vec<Series> = own.into_iter().chain(baseline).filter(|s| !s.points.is_empty()).collect();
        let marks: &[(f64, &str)] = if name == "lddt_ca" { &[(LOCAL_GEOMETRY, "0.30: local geometry alone")] } else { &[] };
        let title = against.map_or(name.to_owned(), |a| format!("{name}, against {}", a.by));
        chart(&escaped(&title), &series, marks)
    };
    let loss = |n: &&&str| n.starts_with("loss");
    let all = |names: Vec<&str>| names.into_iter().map(drawn).collect::<String>();
    let losses: BTreeSet<&str> = train.union(&validation).filter(loss).copied().collect();
    let baseline = |n: &&&str| AGAINST.iter().any(|a| a.baseline == **n);
    let metrics: Vec<&str> = validation.iter().filter(|n| !loss(n) && !baseline(n)).copied().collect();
    let rest: Vec<&str> = train.iter().filter(|n| !loss(n) && !validation.contains(**n)).copied().collect();
    let sections = [("Loss", all(losses.into_iter().collect())), ("Validation", all(metrics)), ("Optimiser and speed", all(rest))];
    sections.into_iter().filter(|s| !s.1.is_empty()).collect()
}

/// The last validation, chain by chain.
fn chain_table(records: &[Record]) -> Option<String> {
    let step = records.iter().filter(|r| r.kind == Kind::Chain).map(|r| r.step).max()?;
    let rows: Vec<&Record> = records.iter().filter(|r| r.kind == Kind::Chain && r.step == step).collect();
    let columns: BTreeSet<&String> = rows.iter().flat_map(|r| r.values.keys()).collect();
    let head: String = columns.iter().map(|c| format!("<th>{}</th>", escaped(c))).collect();
    let mut out = format!("<p class=\"note\">After step {step}, with the averaged parameters.</p>\n<table><tr><th>chain</th>{head}</tr>\n");
    for row in rows {
        let cell = |c: &&String| row.values.get(*c).copied().flatten().map_or("–".into(), short);
        let cells: String = columns.iter().map(|c| format!("<td>{}</td>", cell(c))).collect();
        writeln!(out, "<tr><td>{}</td>{cells}</tr>", escaped(row.chain.as_deref().unwrap_or("")).as_str()).expect("writing to a string");
    }
    Some(out + "</table>")
}

/// Predictions with their experiments: `CHAIN.pdb` and `CHAIN.reference.pdb`.
fn pairs(folder: &Path) -> Result<Vec<Pair>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut files: BTreeMap<String, [bool; 2]> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(stem) = name.strip_suffix(".pdb") else { continue };
        let (id, which) = stem.strip_suffix(".reference").map_or((stem, 0), |id| (id, 1));
        files.entry(id.to_owned()).or_default()[which] = true;
    }
    files.into_iter().filter(|(_, have)| *have == [true; 2]).map(|(id, _)| pair(folder, id)).collect()
}

fn pair(folder: &Path, id: String) -> Result<Pair> {
    let [predicted, reference] = [folder.join(format!("{id}.pdb")), folder.join(format!("{id}.reference.pdb"))];
    let (p, r) = (structure::read(&predicted)?, structure::read(&reference)?);
    let (p, r) = best_pair(&p, &r, None)?;
    let (paired, _) = pair_residues(p, r)?;
    let ca = |c: &Chain, i: usize| DVec3::from_array(c.positions[i][1].map(f64::from));
    let (mobile, fixed): (Vec<DVec3>, Vec<DVec3>) = paired.iter().map(|&(i, j)| (ca(p, i), ca(r, j))).unzip();
    let onto = superpose(&mobile, &fixed);
    let mut moved = p.clone();
    for (at, mask) in moved.positions.iter_mut().zip(&p.mask) {
        for (atom, _) in at.iter_mut().zip(mask).filter(|(_, m)| **m == 1.0) {
            *atom = onto.apply(DVec3::from_array(atom.map(f64::from))).to_array().map(|v| v as f32);
        }
    }
    let caption = format!("{id}: {} residues, Cα RMSD {:.2} Å", paired.len(), rmsd(&mobile, &fixed));
    Ok(Pair { id, caption, predicted: pdb_write::to_pdb(&[&moved])?, reference: pdb_write::to_pdb(&[r])? })
}

fn structures(pairs: &[Pair]) -> String {
    let all: Vec<_> =
        pairs.iter().map(|p| json!({ "id": p.id, "caption": p.caption, "predicted": p.predicted, "reference": p.reference })).collect();
    // A `<` of the data must not end the element that holds it.
    let data = serde_json::to_string(&all).expect("JSON").replace('<', "\\u003c");
    format!(
        "<p><select id=\"choice\"></select> <span id=\"caption\"></span></p>\n<div class=\"viewer\" id=\"viewer\"></div>\n\
         <p class=\"note\">Grey: the experiment. Coloured from its first residue to its last: the prediction, superposed on it.</p>\n\
         <script type=\"application/json\" id=\"structures\">{data}</script>\n<script>{VIEWER}</script>\n<script>\n{JS}</script>"
    )
}

/// Writes the page of a run.
pub fn write(run: &Path, out: &Path) -> Result<()> {
    text::write_whole(out, html(run)?.as_bytes())
}
