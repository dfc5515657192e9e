//! The files of a target's folder, in AlphaFold's layout and with the field names of AlphaFold, its database and ColabFold.
//!
//! Every file appears only when whole. But for `timings.json` the same prediction gives the same bytes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::io::modelcif::{Prediction, to_modelcif};
use crate::io::pdb_write::to_pdb;
use crate::io::{npz, text};
use crate::predict::confidence::RankBy;
use crate::predict::coverage::Coverage;
use crate::predict::scored::Scored;
use crate::predict::{Raw, plots, report};
use crate::tensor::HostTensor;

/// A target whose predictions are done and ranked.
#[derive(Debug)]
pub struct Finished<'a> {
    /// Its folder, which is there.
    pub folder: &'a Path,
    /// Its name, which files may carry.
    pub name: &'a str,
    /// Its header, as the user gave it: anything.
    pub title: &'a str,
    /// Predictions, best first.
    pub ranked: &'a [&'a Scored],
    /// What they are ranked by.
    pub rank_by: RankBy,
    /// Its alignment's depth, where there is an alignment.
    pub coverage: Option<&'a Coverage>,
    /// Seconds by AlphaFold's names of steps.
    pub timings: &'a [(String, f64)],
    /// Whether PNG plots are wanted.
    pub plots: bool,
}

/// Writes everything but tensors; gives the names of the files, and notes on what could not be written.
pub fn write(f: &Finished) -> Result<(Vec<String>, Vec<String>)> {
    let mut out = Files { folder: f.folder, written: Vec::new() };
    let mut notes = Vec::new();
    for (rank, scored) in f.ranked.iter().enumerate() {
        match to_pdb(&[&scored.chain]) {
            Ok(pdb) => {
                out.put(&format!("ranked_{rank}.pdb"), pdb.as_bytes())?;
                out.put(&format!("unrelaxed_{}.pdb", scored.label), pdb.as_bytes())?;
            }
            Err(e) => notes.push(format!("{}: no PDB file of rank {rank}: {e}", f.name)),
        }
        out.put(&format!("ranked_{rank}.cif"), modelcif(f, scored).as_bytes())?;
        out.put(&format!("confidence_{}.json", scored.label), database_confidence(scored).as_bytes())?;
        if let Some(confidence) = &scored.distogram_confidence {
            // Beside the structure, where `data prepare --distillation` looks for it.
            out.put(
                &format!("ranked_{rank}.confidence.json"),
                format!("{{\"distogram_confidence\":{}}}\n", list(confidence, 4)).as_bytes(),
            )?;
        }
        if let Some(pae) = database_pae(scored) {
            out.put(&format!("pae_{}.json", scored.label), pae.as_bytes())?;
        }
        let name = format!("{}_scores_rank_{:03}_{}_seed_{:03}.json", f.name, rank + 1, scored.model, scored.seed);
        out.put(&name, colabfold_scores(scored).as_bytes())?;
    }
    out.put("ranking_debug.json", ranking(f).as_bytes())?;
    if f.plots {
        out.put(&format!("{}_plddt.png", f.name), &plots::plddt(f.ranked))?;
        if let Some(png) = plots::pae(f.ranked) {
            out.put(&format!("{}_pae.png", f.name), &png)?;
        }
        if let Some(coverage) = f.coverage {
            out.put(&format!("{}_coverage.png", f.name), &plots::coverage(coverage))?;
        }
    }
    out.put("report.html", report::page(f).as_bytes())?;
    let timings: Map<String, Value> = f.timings.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
    out.put("timings.json", pretty(&Value::Object(timings)).as_bytes())?;
    Ok((out.written, notes))
}

struct Files<'a> {
    folder: &'a Path,
    written: Vec<String>,
}

impl Files<'_> {
    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        text::write_whole(self.folder.join(name), bytes)?;
        self.written.push(name.to_owned());
        Ok(())
    }
}

/// JSON for people to read, with a line end.
pub fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// The ModelCIF text of a prediction.
pub fn modelcif(f: &Finished, scored: &Scored) -> String {
    let model_name = format!("{} seed {}", scored.model, scored.seed);
    to_modelcif(&Prediction { id: f.name, title: f.title, model_name: &model_name, chains: &[&scored.chain], ptm: scored.ptm() })
}

/// A number rounded to so many digits after the point.
fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

fn list(values: &[f64], digits: i32) -> String {
    let mut out = String::from("[");
    for (i, &v) in values.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        write!(out, "{comma}{}", rounded(v, digits)).expect("writing to a string cannot fail");
    }
    out + "]"
}

/// A square matrix; text rather than JSON values, which would take 30 times the memory.
fn matrix(values: &[f64], n: usize, digits: i32) -> String {
    let rows: Vec<String> = values.chunks_exact(n).map(|row| list(row, digits)).collect();
    format!("[{}]", rows.join(","))
}

/// `confidence_*.json` of the AlphaFold database: D below 50, L below 70, M below 90, H from there.
fn database_confidence(scored: &Scored) -> String {
    let category = |&p: &f64| match p {
        p if p < 50.0 => "\"D\"",
        p if p < 70.0 => "\"L\"",
        p if p < 90.0 => "\"M\"",
        _ => "\"H\"",
    };
    let numbers: Vec<f64> = (1..=scored.plddt.len()).map(|i| i as f64).collect();
    let categories: Vec<&str> = scored.plddt.iter().map(category).collect();
    format!(
        "{{\"residueNumber\":{},\"confidenceScore\":{},\"confidenceCategory\":[{}]}}\n",
        list(&numbers, 0),
        list(&scored.plddt, 2),
        categories.join(",")
    )
}

/// `pae_*.json` of the AlphaFold database.
fn database_pae(scored: &Scored) -> Option<String> {
    let errors = scored.errors.as_ref()?;
    let pae = matrix(&errors.pae, scored.plddt.len(), 1);
    Some(format!("[{{\"predicted_aligned_error\":{pae},\"max_predicted_aligned_error\":{}}}]\n", rounded(errors.max_pae, 2)))
}

/// ColabFold's scores; there `max_pae` is the matrix's own largest value. Ours besides: violations, since nothing relaxes the structure.
fn colabfold_scores(scored: &Scored) -> String {
    let mut out = format!("{{\"plddt\":{}", list(&scored.plddt, 2));
    if let Some(errors) = &scored.errors {
        let most = errors.pae.iter().copied().fold(0.0, f64::max);
        let pae = matrix(&errors.pae, scored.plddt.len(), 2);
        write!(out, ",\"max_pae\":{},\"pae\":{pae},\"ptm\":{}", rounded(most, 2), rounded(errors.ptm, 4)).expect("writing to a string");
    }
    let violations = serde_json::to_string(&scored.violations).expect("counts are JSON");
    write!(out, ",\"mean_plddt\":{},\"relaxed\":false,\"violations\":{violations}}}", rounded(scored.mean_plddt(), 2))
        .expect("to a string");
    out + "\n"
}

/// `ranking_debug.json`: AlphaFold's `plddts` and `order`; beside them pTM where every model has it.
fn ranking(f: &Finished) -> String {
    let of = |value: &dyn Fn(&Scored) -> Option<f64>| -> Option<Map<String, Value>> {
        f.ranked.iter().map(|s| Some((s.label.clone(), json!(value(s)?)))).collect()
    };
    let mut all = Map::new();
    all.insert("plddts".into(), Value::Object(of(&|s| Some(s.mean_plddt())).unwrap_or_default()));
    if let Some(ptms) = of(&|s| s.ptm()) {
        all.insert("ptms".into(), Value::Object(ptms));
    }
    all.insert("order".into(), f.ranked.iter().map(|s| s.label.clone()).collect());
    all.insert("ranked_by".into(), json!(f.rank_by));
    pretty(&Value::Object(all))
}

/// What the record keeps of each rank.
pub fn summary(ranked: &[&Scored]) -> Value {
    let one = |(rank, s): (usize, &&Scored)| {
        let history = s.history.iter().map(|c| json!({ "plddt": c.plddt, "ptm": c.ptm, "ca_change": c.change }));
        json!({
            "rank": rank, "name": s.label, "model": s.model, "seed": s.seed, "mean_plddt": s.mean_plddt(), "ptm": s.ptm(),
            "violations": s.violations, "passes": history.collect::<Vec<_>>(),
        })
    };
    ranked.iter().enumerate().map(one).collect()
}

/// The file of a prediction's tensors.
pub fn tensors_file(label: &str) -> String {
    format!("result_{label}.npz")
}

/// `result_*.npz`: what AlphaFold keeps in `result_*.pkl`, by its names, `.` between their parts.
pub fn write_tensors(folder: &Path, label: &str, raw: &Raw) -> Result<String> {
    let n = raw.positions.len();
    let line = |values: &[f32]| HostTensor::f32(&[values.len()], values.to_vec());
    let mut all = raw.representations.clone();
    let positions = raw.positions.as_flattened().as_flattened().to_vec();
    all.insert("structure_module/final_atom_positions".into(), HostTensor::f32(&[n, 37, 3], positions));
    all.insert("structure_module/final_atom_mask".into(), HostTensor::f32(&[n, 37], raw.mask.as_flattened().to_vec()));
    all.insert("predicted_lddt/logits".into(), raw.plddt_logits.clone());
    if let Some(pae) = &raw.pae {
        all.insert("predicted_aligned_error/logits".into(), pae.logits.clone());
        all.insert("predicted_aligned_error/breaks".into(), line(&pae.breaks));
    }
    if let Some(distogram) = &raw.distogram {
        all.insert("distogram/logits".into(), distogram.logits.clone());
        all.insert("distogram/bin_edges".into(), line(&distogram.breaks));
    }
    let name = tensors_file(label);
    npz::write(folder.join(&name), &all, &BTreeMap::new())?;
    Ok(name)
}
