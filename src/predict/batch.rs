//! Many targets, one after the other: each in a folder of its own, none ending the others, none done twice.
//!
//! A folder's `prediction.json` is written first, unfinished, and last, finished: what it says decides what a second start does.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};

use crate::data::alphabet;
use crate::data::distill::{Reference, distogram_confidence};
use crate::data::draws::Keyed;
use crate::data::features;
use crate::data::set::codec;
use crate::error::{Error, Result};
use crate::io::text;
use crate::predict::confidence::{self, RankBy, rank};
use crate::predict::coverage::Coverage;
use crate::predict::input::{Given, Refused, Target, Templates};
use crate::predict::output::{self, Finished};
use crate::predict::partial;
use crate::predict::scored::Scored;
use crate::predict::{Inputs, Model, Raw, Request, Run};
use crate::tensor::{Data, HostTensor};

/// The record of a folder.
pub const RECORD: &str = "prediction.json";
/// Rows of the alignment's picture.
const PICTURE_ROWS: usize = 200;
/// Passes after the first, as published.
const RECYCLES: usize = 3;

/// How targets are predicted.
pub struct Options<'a> {
    /// Where the targets' folders go.
    pub out: PathBuf,
    /// A prediction of each model for each seed.
    pub seeds: Vec<u64>,
    /// Passes after the first; 3, or what a features file has, when not given.
    pub n_recycle: Option<usize>,
    /// Members of an ensemble.
    pub n_ensemble: usize,
    /// Early stop of recycling, Angstrom; 0 for none.
    pub tolerance: f64,
    /// What predictions are ranked by.
    pub rank_by: RankBy,
    /// Predicts again what is there.
    pub overwrite: bool,
    /// Writes distogram, representations and logits as npz.
    pub tensors: bool,
    /// Draws PNG plots.
    pub plots: bool,
    /// What distograms are used for.
    pub distograms: Distograms<'a>,
    /// Templates of a sequence.
    pub templates: &'a Templates<'a>,
    /// The user's wish to stop.
    pub stop: &'a AtomicBool,
}

/// What is made of distograms, for self-distillation (supplement 1.3).
#[derive(Debug, Clone, Copy, Default)]
pub enum Distograms<'a> {
    /// Nothing.
    #[default]
    Unused,
    /// Each prediction's mean by separation is kept, of which a reference can be made.
    Averaged,
    /// Residues are judged by how far theirs are from a reference.
    Judged(&'a Reference),
}

/// The file of a prediction's mean distogram by separation.
pub fn separations_file(label: &str) -> String {
    format!("separations_{label}.npz")
}

/// How a target ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Predicted now.
    Done,
    /// Its results were there.
    Reused,
    /// It could not be predicted.
    Failed(String),
}

/// One target's outcome.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Its folder's name.
    pub name: String,
    /// Residues; 0 when it was refused before they were counted.
    pub n_res: usize,
    /// How it ended.
    pub state: State,
    /// The best prediction's name, mean pLDDT and pTM.
    pub best: Option<(String, f64, Option<f64>)>,
    /// Seconds that it took.
    pub seconds: f64,
}

/// What happens, for whoever shows it.
#[derive(Debug)]
pub enum Event<'a> {
    /// A target begins: its number from 0, of how many.
    Target(usize, usize, &'a Target),
    /// A prediction of the target begins: its number, of how many, its name.
    Prediction(usize, usize, &'a str),
    /// A pass of the prediction begins: its number, of how many.
    Pass(usize, usize),
    /// Something that the user should know.
    Note(&'a str),
    /// A target ended.
    Ended(&'a Outcome),
}

/// Predicts all targets, the shortest first so that plans of one size follow each other. Fails as a whole only when the folder cannot be written
/// or the user stops; everything else is in the outcomes, refusals first.
pub fn run(
    targets: Vec<Result<Target, Refused>>,
    models: &[Model],
    options: &Options,
    network: &mut Run,
    watch: &dyn Fn(Event),
) -> Result<Vec<Outcome>> {
    assert!(!models.is_empty() && !options.seeds.is_empty() && options.n_ensemble > 0, "something to run");
    std::fs::create_dir_all(&options.out).map_err(|e| Error::io(&options.out, e))?;
    text::temporary_in(&options.out).map_err(|e| Error::io(&options.out, e))?;
    let mut outcomes = Vec::new();
    let mut good = Vec::new();
    for target in targets {
        match target {
            Ok(target) => good.push(target),
            Err(Refused { name, error }) => {
                outcomes.push(Outcome { name, n_res: 0, state: State::Failed(error.to_string()), best: None, seconds: 0.0 });
                watch(Event::Ended(&outcomes[outcomes.len() - 1]));
            }
        }
    }
    good.sort_by_key(|t| t.n_res);
    let n = good.len();
    for (at, target) in good.iter().enumerate() {
        if options.stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        watch(Event::Target(at, n, target));
        let began = Instant::now();
        let ended = one(target, models, options, network, watch);
        let (state, best) = match ended {
            Ok(done) => done,
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(e) => (State::Failed(e.to_string()), None),
        };
        let outcome = Outcome { name: target.name.clone(), n_res: target.n_res, state, best, seconds: began.elapsed().as_secs_f64() };
        watch(Event::Ended(&outcome));
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

type Best = Option<(String, f64, Option<f64>)>;

/// One target, from its files to its folder.
fn one(target: &Target, models: &[Model], options: &Options, network: &mut Run, watch: &dyn Fn(Event)) -> Result<(State, Best)> {
    let began = Instant::now();
    let given = target.load(options.templates)?;
    let n_recycle = recycles(&given, options)?;
    let mut timings = vec![("features".to_owned(), began.elapsed().as_secs_f64())];
    let unknown: Vec<usize> =
        given.residues(target.n_res).0.iter().enumerate().filter(|(_, t)| **t == alphabet::X).map(|(i, _)| i + 1).collect();
    if let Some(first) = unknown.first() {
        let (name, n) = (&target.name, unknown.len());
        watch(Event::Note(&format!(
            "{name}: {n} residues are none of the twenty, the first at {first}: they are predicted as X, without side chains"
        )));
    }
    let folder = options.out.join(&target.name);
    let mut record = record(target, &given, models, options, n_recycle);
    if let Some(best) = reuse(&folder, &record, options.overwrite)? {
        return Ok((State::Reused, best));
    }
    std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
    // A folder without a record may hold anything of the user's.
    if options.overwrite || folder.join(RECORD).exists() {
        clear(&folder, &target.name, same(&folder, &record) && !options.overwrite)?;
    }
    text::write_whole(folder.join(RECORD), output::pretty(&record).as_bytes())?;

    let (mut all, mut files) = (Vec::new(), Vec::new());
    let n_runs = models.len() * options.seeds.len();
    for (model, (k, &seed)) in models.iter().flat_map(|m| options.seeds.iter().enumerate().map(move |s| (m, s))) {
        let label = format!("{}_pred_{k}", model.name);
        watch(Event::Prediction(all.len(), n_runs, &label));
        let (scored, file) = predict(
            target,
            &given,
            (model, seed, &label),
            (options, n_recycle, all.len() + 1 < n_runs),
            network,
            (&folder, &mut timings),
            watch,
        )?;
        files.extend(file);
        all.push(scored);
    }
    let scores: Vec<f64> = all.iter().map(|s| s.score(options.rank_by)).collect::<Result<_>>()?;
    let ranked: Vec<&Scored> = rank(&scores).into_iter().map(|i| &all[i]).collect();
    let coverage = given.alignment().map(|a| Coverage::of(a, PICTURE_ROWS));
    let finished = Finished {
        folder: &folder,
        name: &target.name,
        title: &target.title,
        ranked: &ranked,
        rank_by: options.rank_by,
        coverage: coverage.as_ref(),
        timings: &timings,
        plots: options.plots,
    };
    let (written, notes) = output::write(&finished)?;
    notes.iter().for_each(|n| watch(Event::Note(n)));
    files.extend(written);
    remove(&folder, &|file| file.starts_with(partial::PREFIX))?;
    record["finished"] = json!(true);
    record["ranking"] = output::summary(&ranked);
    record["files"] = json!(files);
    text::write_whole(folder.join(RECORD), output::pretty(&record).as_bytes())?;
    Ok((State::Done, Some((ranked[0].label.clone(), ranked[0].mean_plddt(), ranked[0].ptm()))))
}

/// One model with one seed; `more` of them will follow, so that this one is kept by itself.
fn predict(
    target: &Target,
    given: &Given,
    (model, seed, label): (&Model, u64, &str),
    (options, n_recycle, more): (&Options, usize, bool),
    network: &mut Run,
    (folder, timings): (&Path, &mut Vec<(String, f64)>),
    watch: &dyn Fn(Event),
) -> Result<(Scored, Vec<String>)> {
    let began = Instant::now();
    let (aatype, residue_index) = given.residues(target.n_res);
    let score = |raw: &Raw| Scored::new(raw, (&model.name, seed, label), &aatype, &residue_index);
    if let Some((raw, confidence)) = partial::read(folder, label, target.n_res) {
        let distogram_confidence = confidence;
        let there = |f: &String| folder.join(f).is_file();
        let files = [output::tensors_file(label), separations_file(label)].into_iter().filter(there).collect();
        return Ok((Scored { distogram_confidence, ..score(&raw)? }, files));
    }
    let made;
    let inputs = match given {
        Given::Arrays(arrays) => Inputs::Arrays(arrays),
        Given::Example(example) => {
            // The example's number is always 0: a target's result must not depend on its place in the batch.
            made = features::make(example, &model.features, (n_recycle + 1) * options.n_ensemble, &Keyed::new(seed, 0));
            Inputs::Features(&made)
        }
    };
    timings.push((format!("process_features_{label}"), began.elapsed().as_secs_f64()));
    let pass = |r: usize| {
        watch(Event::Pass(r, n_recycle + 1));
        if options.stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    };
    let request = Request {
        model,
        n_res: target.n_res,
        n_recycle,
        n_ensemble: options.n_ensemble,
        tolerance: options.tolerance,
        tensors: options.tensors,
        distogram: !matches!(options.distograms, Distograms::Unused),
        pass: &pass,
        estimate: &|e| watch(Event::Note(&e.to_string())),
    };
    let began = Instant::now();
    let mut raw = network(inputs, &request)?;
    timings.push((format!("predict_and_compile_{label}"), began.elapsed().as_secs_f64()));
    let mut scored = score(&raw)?;
    let mut files = Vec::new();
    if options.tensors {
        files.push(output::write_tensors(folder, label, &raw)?);
    }
    files.extend(distogram(&mut raw, options.distograms, &mut scored, folder)?);
    if more {
        partial::write(folder, label, &raw, scored.distogram_confidence.as_deref())?;
    }
    Ok((scored, files))
}

/// What is made of the distogram: a file, or the residues' confidences.
fn distogram(raw: &mut Raw, wanted: Distograms, scored: &mut Scored, folder: &Path) -> Result<Option<String>> {
    let (n, Some(distogram)) = (raw.positions.len(), raw.distogram.as_mut()) else { return Ok(None) };
    let n_bins = distogram.breaks.len() + 1;
    let Data::F32(values) = &mut distogram.logits.data else { panic!("a distogram of integers") };
    match wanted {
        Distograms::Unused => Ok(None),
        Distograms::Averaged => {
            confidence::to_probabilities(values, n_bins);
            let name = separations_file(&scored.label);
            Reference::of(values, n, n_bins).write(&folder.join(&name))?;
            Ok(Some(name))
        }
        Distograms::Judged(reference) if reference.n_bins() != n_bins => {
            Err(Error::Config(format!("the reference is of distograms of {} bins, and {} has {n_bins}", reference.n_bins(), scored.model)))
        }
        Distograms::Judged(reference) => {
            confidence::to_probabilities(values, n_bins);
            scored.distogram_confidence = Some(distogram_confidence(values, reference, n));
            Ok(None)
        }
    }
}

/// Passes after the first. A features file has so many and no more.
fn recycles(given: &Given, options: &Options) -> Result<usize> {
    let Given::Arrays(arrays) = given else { return Ok(options.n_recycle.unwrap_or(RECYCLES)) };
    let passes = arrays["aatype"].shape[0];
    let wanted = options.n_recycle.unwrap_or((passes / options.n_ensemble).max(1) - 1);
    match (wanted + 1) * options.n_ensemble {
        needed if needed > passes => Err(Error::Config(format!(
            "the features file holds {passes} passes, and {wanted} recycles of {} ensemble members need {needed}",
            options.n_ensemble
        ))),
        _ => Ok(wanted),
    }
}

/// What the folder's record says before the prediction. Its fingerprint covers everything that the result depends on.
fn record(target: &Target, given: &Given, models: &[Model], options: &Options, n_recycle: usize) -> Value {
    let settings = json!({
        "models": models.iter().map(|m| json!({ "name": m.name, "identity": m.identity, "features": m.features })).collect::<Vec<_>>(),
        "seeds": options.seeds, "recycles": n_recycle, "ensemble": options.n_ensemble, "tolerance": options.tolerance,
        "rank_by": options.rank_by, "tensors": options.tensors, "plots": options.plots,
        "distograms": match options.distograms {
            Distograms::Unused => Value::Null,
            Distograms::Averaged => json!("averaged"),
            Distograms::Judged(reference) => json!(reference.identity()),
        },
    });
    let mut digest = crc32fast::Hasher::new();
    digest.update(settings.to_string().as_bytes());
    digest.update(target.title.as_bytes());
    match given {
        Given::Example(example) => digest.update(&codec::encode(example)),
        Given::Arrays(arrays) => arrays.iter().for_each(|(name, tensor)| digest_tensor(&mut digest, name, tensor)),
    }
    let (aatype, _) = given.residues(target.n_res);
    json!({
        "finished": false,
        "software": { "name": "anyfold", "version": env!("CARGO_PKG_VERSION") },
        "target": { "name": target.name, "title": target.title, "residues": target.n_res,
                    "sequence": alphabet::to_letters(&aatype),
                    "alignment_rows": given.alignment().map(|a| a.n_seq()) },
        "settings": settings,
        "relaxed": false,
        "fingerprint": format!("{:08x}", digest.finalize()),
    })
}

fn digest_tensor(digest: &mut crc32fast::Hasher, name: &str, tensor: &HostTensor) {
    digest.update(name.as_bytes());
    tensor.shape.iter().for_each(|d| digest.update(&d.to_le_bytes()));
    match &tensor.data {
        Data::F32(v) => digest.update(bytemuck::cast_slice(v)),
        Data::I32(v) => digest.update(bytemuck::cast_slice(v)),
    }
}

/// The best prediction of a folder that is done; `None` when there is work. A folder of other results is not touched.
fn reuse(folder: &Path, record: &Value, overwrite: bool) -> Result<Option<Best>> {
    let path = folder.join(RECORD);
    if overwrite {
        return Ok(None);
    }
    let other = |what: &str| {
        let advice = "choose another output folder, or predict again with --overwrite";
        Err(Error::Data(format!("{} holds {what}: {advice}", folder.display())))
    };
    let Ok(bytes) = std::fs::read(&path) else {
        let theirs = ["ranking_debug.json", "ranked_0.pdb", "ranked_0.cif"].iter().any(|f| folder.join(f).exists());
        return if theirs { other("another program's prediction") } else { Ok(None) };
    };
    // A record that cannot be read is not finished.
    let there: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if there["finished"] != json!(true) {
        return Ok(None);
    }
    if there["fingerprint"] != record["fingerprint"] {
        return other("a prediction from other inputs, parameters or options");
    }
    let files = there["files"].as_array();
    if files.is_none_or(|all| all.iter().any(|f| f.as_str().is_none_or(|f| !folder.join(f).is_file()))) {
        return Ok(None);
    }
    let first = &there["ranking"][0];
    let best = first["name"].as_str().zip(first["mean_plddt"].as_f64());
    Ok(Some(best.map(|(name, plddt)| (name.to_owned(), plddt, first["ptm"].as_f64()))))
}

/// Whether an unfinished record is of the same prediction.
fn same(folder: &Path, record: &Value) -> bool {
    let there: Option<Value> = std::fs::read(folder.join(RECORD)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    there.is_some_and(|r| r["fingerprint"] == record["fingerprint"])
}

/// Takes out what an earlier or interrupted run left, so that no rank of another run stays beside this one's. With `go_on`, predictions of the
/// target that are whole stay, with their own files.
fn clear(folder: &Path, name: &str, go_on: bool) -> Result<()> {
    let scores = format!("{name}_scores_rank_");
    let begins = ["ranked_", "unrelaxed_", "confidence_", "pae_", "ranking_debug.json", "timings.json", "report.html", RECORD];
    let of_prediction = ["result_", "separations_", partial::PREFIX];
    let plots = ["plddt", "pae", "coverage"].map(|p| format!("{name}_{p}.png"));
    let is_whole = |file: &str| {
        let label = of_prediction.iter().find_map(|b| file.strip_prefix(b)?.strip_suffix(".npz"));
        go_on && label.is_some_and(|l| folder.join(partial::file(l)).is_file())
    };
    remove(folder, &|file| {
        let ours = file.starts_with(&scores) || plots.iter().any(|p| p == file) || begins.iter().any(|b| file.starts_with(b));
        ours || (of_prediction.iter().any(|b| file.starts_with(b)) && !is_whole(file))
    })
}

/// Removes files of a folder by their names.
fn remove(folder: &Path, which: &dyn Fn(&str) -> bool) -> Result<()> {
    let listed = std::fs::read_dir(folder).and_then(|all| all.collect::<std::io::Result<Vec<_>>>()).map_err(|e| Error::io(folder, e))?;
    for entry in listed {
        if which(&entry.file_name().to_string_lossy()) && entry.file_type().is_ok_and(|t| t.is_file()) {
            std::fs::remove_file(entry.path()).map_err(|e| Error::io(entry.path(), e))?;
        }
    }
    Ok(())
}
