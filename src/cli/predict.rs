//! `anyfold predict`: sequences, alignments or features in, ranked structures out.

use std::cell::{OnceCell, RefCell};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;

use super::checkpoint;
use super::templates::TemplateArgs;
use crate::data::distill::{Reference, Rules};
use crate::data::features::FeatureConfig;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::gpu::device::Choice;
use crate::gpu::program::Cache;
use crate::io::text;
use crate::predict::batch::{self, Distograms, Event, Options, Outcome, State};
use crate::predict::confidence::RankBy;
use crate::predict::distill as distillation;
use crate::predict::input::{self, Files, Refused, Source, Target};
use crate::predict::network;
use crate::predict::parameters::{self, Found};
use crate::predict::weights::Weights;
use crate::predict::{Model, Run};
use crate::search::config::SearchConfig;
use crate::search::process::Limits;
use crate::search::run::{self as searches, RunOptions};
use crate::search::steps::Query;
use crate::tensor::DType;

/// Predict structures: ranked PDB and ModelCIF files, confidences, plots and a page, in a folder for each target.
///
/// A batch that was stopped goes on where it ended: what is done is kept.
#[derive(Debug, Args)]
pub struct Predict {
    /// FASTA files (one or many records), alignments (A3M, Stockholm), folders of them or of searches (AlphaFold's, OpenFold's or ColabFold's
    /// layout), features (.npz, raw or as `data features` writes them).
    input: Vec<PathBuf>,
    /// Where the targets' folders go.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Parameters (released .npz, .safetensors, a checkpoint), a folder of them, or a training run's folder, whose best checkpoint is taken; may be
    /// given several times.
    #[arg(long, value_name = "FILE|DIR", required = true)]
    params: Vec<PathBuf>,
    /// What parameters are for whose file names do not say.
    #[arg(long, value_name = "MODEL")]
    preset: Option<String>,
    /// Use only these models of the parameters.
    #[arg(long, value_name = "MODEL", value_delimiter = ',')]
    models: Vec<String>,
    /// An alignment of the only sequence; several are stacked in this order and repeated rows dropped.
    #[arg(long, value_name = "FILE")]
    msa: Vec<PathBuf>,
    /// A folder in which sequences find their alignments by name.
    #[arg(long, value_name = "DIR")]
    alignments: Vec<PathBuf>,
    /// Predict from sequences alone.
    #[arg(long, conflicts_with_all = ["msa", "alignments", "search"])]
    single_sequence: bool,
    /// Search for alignments and templates first, into OUT/TARGET/msas.
    #[arg(long, requires = "db")]
    search: bool,
    /// Databases to search (see `anyfold search`).
    #[arg(long, value_name = "CONFIG", requires = "search")]
    db: Option<PathBuf>,
    /// Cores of the searches [default: all].
    #[arg(long)]
    cores: Option<usize>,
    /// Seconds that one search program may run.
    #[arg(long, default_value_t = 43200.0, value_name = "SECONDS")]
    timeout: f64,
    #[command(flatten)]
    found: TemplateArgs,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Seeds, counted from the first: a prediction of each model for each.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Passes after the first [default: 3, or what a features file has].
    #[arg(long, value_parser = clap::value_parser!(u16).range(0..=1000))]
    recycles: Option<u16>,
    /// Stop recycling when CA distances change by no more than this many Angstrom; 0 never stops.
    #[arg(long, default_value_t = 0.0, value_name = "ANGSTROM")]
    tolerance: f64,
    /// Members of the ensemble of each pass (CASP14 used 8).
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    ensemble: u16,
    /// Cluster rows and extra rows, such as 512:1024, instead of the model's own.
    #[arg(long, value_name = "CLUSTERS:EXTRA")]
    max_msa: Option<String>,
    /// Rank by plddt or ptm.
    #[arg(long, default_value = "plddt", value_parser = ["plddt", "ptm"])]
    rank_by: String,
    /// Add confident predictions to this data set, as examples of self-distillation.
    #[arg(long, value_name = "SET")]
    distill: Option<PathBuf>,
    /// Judge residues for --distill by their distograms against this reference, as published; by pLDDT without one.
    #[arg(long, value_name = "FILE", requires = "distill")]
    reference: Option<PathBuf>,
    /// Write the mean distogram by separation of all these predictions, the reference that --distill needs: published with 1,000 random sequences.
    #[arg(long, value_name = "FILE", conflicts_with = "reference")]
    make_reference: Option<PathBuf>,
    /// Residues of a distillation example below this distogram confidence are masked.
    #[arg(long, default_value_t = Rules::default().min_confidence, requires = "reference")]
    min_confidence: f64,
    /// Fewest residues of a distillation example.
    #[arg(long, default_value_t = Rules::default().min_length, requires = "distill")]
    min_length: usize,
    /// Fewest alignment rows of a distillation example.
    #[arg(long, default_value_t = Rules::default().min_rows, requires = "distill")]
    min_rows: usize,
    /// Lowest mean pLDDT of a distillation example that no distogram judges.
    #[arg(long, default_value_t = Rules::default().min_mean_plddt, requires = "distill")]
    min_mean_plddt: f64,
    /// Residues below this pLDDT are masked in a distillation example that no distogram judges.
    #[arg(long, default_value_t = Rules::default().min_residue_plddt, requires = "distill")]
    min_residue_plddt: f64,
    /// Keep the distogram, representations and logits as npz.
    #[arg(long)]
    tensors: bool,
    /// Draw no PNG plots.
    #[arg(long)]
    no_plots: bool,
    /// Predict again what is there.
    #[arg(long)]
    overwrite: bool,
    /// Not here yet.
    #[arg(long, hide = true)]
    relax: bool,
    /// How activations are stored: f32 or bf16.
    #[arg(long, default_value = "f32", value_parser = ["f32", "bf16"], value_name = "TYPE")]
    storage: String,
    /// Part of an adapter's name, or its index in `anyfold devices`.
    #[arg(long, value_name = "NAME|INDEX")]
    adapter: Option<String>,
    /// Write the outcomes as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Opens the network with these parameters; tests put another in its place.
type Open<'a> = dyn Fn(&[Found]) -> Result<Box<Run<'a>>> + 'a;

/// Runs the command on the chosen adapter. 1 when a target could not be predicted.
pub fn on_device(args: &Predict) -> Result<u8> {
    let (gpu, cache) = (OnceCell::new(), Cache::default());
    let storage = if args.storage == "bf16" { DType::Bf16 } else { DType::F32 };
    run(args, &|models| {
        let read = |m: &Found| if checkpoint::is(&m.path) { checkpoint::weights(&m.path) } else { Weights::read(m) };
        let weights = models.iter().map(|m| Ok((m.model.name.clone(), read(m)?))).collect::<Result<_>>()?;
        let opened = Gpu::open(&Choice { adapter: args.adapter.clone(), ..Choice::default() })?;
        Ok(network::open(gpu.get_or_init(|| opened), &cache, storage, weights))
    })
}

/// Runs the command with a network. 1 when a target could not be predicted.
pub fn run<'a>(args: &Predict, open: &Open<'a>) -> Result<u8> {
    if args.relax {
        return Err(Error::Config(
            "--relax: Amber relaxation is an issue of its own, next; until then structures are not relaxed, and the violations in every output show it".into(),
        ));
    }
    if !(args.tolerance >= 0.0 && args.tolerance.is_finite()) {
        return Err(Error::Config(format!("--tolerance {}: expected a distance in Angstrom, 0 or more", args.tolerance)));
    }
    let models = models(args)?;
    let files = Files { msa: args.msa.clone(), alignments: args.alignments.clone(), single_sequence: args.single_sequence };
    let mut targets = input::targets(&args.input, &files)?;
    if args.search {
        search(args, &mut targets)?;
    }
    if !args.single_sequence {
        input::require_alignments(&mut targets);
    }
    let stop = super::stop::flag();
    let reference = args.reference.as_deref().map(Reference::read).transpose()?;
    let options = Options {
        out: args.out.clone(),
        seeds: (0..args.seeds).map(|k| args.seed.wrapping_add(k)).collect(),
        n_recycle: args.recycles.map(usize::from),
        n_ensemble: usize::from(args.ensemble),
        tolerance: args.tolerance,
        rank_by: if args.rank_by == "ptm" { RankBy::Ptm } else { RankBy::Plddt },
        overwrite: args.overwrite,
        tensors: args.tensors,
        plots: !args.no_plots,
        distograms: match &reference {
            Some(reference) => Distograms::Judged(reference),
            None if args.make_reference.is_some() => Distograms::Averaged,
            None => Distograms::Unused,
        },
        templates: &|query, hits| args.found.read_with(query, hits),
        stop: &stop,
    };
    let mut network = open(&models)?;
    let bars = Bars::new();
    let plain: Vec<_> = models.iter().map(|f| f.model.clone()).collect();
    let known: Vec<Target> = targets.iter().flatten().cloned().collect();
    let outcomes = batch::run(targets, &plain, &options, &mut *network, &|event| bars.show(event));
    bars.finish();
    let outcomes = outcomes?;
    let status = report(&outcomes, args)?;
    if let Some(path) = &args.make_reference {
        let (made, n) = distillation::reference(&outcomes, &args.out)?;
        made.write(path)?;
        println!("{}: the mean distogram by separation of {n} predictions", path.display());
    }
    if let Some(set) = &args.distill {
        distill(args, &known, &outcomes, set)?;
    }
    Ok(status)
}

/// Makes the training set; what is not confident enough is said and is no failure.
fn distill(args: &Predict, targets: &[Target], outcomes: &[Outcome], set: &Path) -> Result<()> {
    let rules = Rules {
        min_length: args.min_length,
        min_rows: args.min_rows,
        min_confidence: args.min_confidence,
        min_mean_plddt: args.min_mean_plddt,
        min_residue_plddt: args.min_residue_plddt,
        ..Rules::default()
    };
    let made = distillation::distill(targets, outcomes, (&args.out, set), &rules, &|_, _| (), &super::stop::flag())?;
    made.skipped.iter().for_each(|s| println!("no example: {}: {}", s.what, s.why));
    let rule = match &args.reference {
        Some(_) => format!("residues count by distogram confidence from {} (supplement 1.3)", args.min_confidence),
        None => format!(
            "residues count by pLDDT from {}, chains from a mean of {}, a rule of our own: --reference judges by distograms, as published",
            args.min_residue_plddt, args.min_mean_plddt
        ),
    };
    println!("{rule}");
    println!("{}: {} examples added, {} there already, {} left out", set.display(), made.added, made.kept, made.skipped.len());
    if made.stopped { Err(Error::Interrupted) } else { Ok(()) }
}

/// The parameters, with the alignment's sizes as the user wants them.
fn models(args: &Predict) -> Result<Vec<Found>> {
    let (mut checkpoints, mut files) = (Vec::new(), Vec::new());
    for path in &args.params {
        let found = checkpoint::of_path(path)?;
        if found.is_empty() || parameters::any(path) {
            files.push(path.clone());
        }
        checkpoints.extend(found);
    }
    let mut models = match (files.is_empty(), checkpoints.is_empty()) {
        (true, false) => Vec::new(),
        _ => parameters::find(&files, args.preset.as_deref(), &args.models)?,
    };
    for (k, path) in checkpoints.into_iter().enumerate() {
        let (preset, features) = checkpoint::described(&path)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = if models.iter().any(|m| m.model.name == stem) { format!("{stem}_{}", k + 1) } else { stem };
        models.push(Found { model: Model { name, identity: parameters::checksum(&path)?, features }, preset, path });
    }
    if args.storage != "f32" {
        // Results differ, and a batch that resumes must not mix them.
        models.iter_mut().for_each(|m| m.model.identity += &format!(", {}", args.storage));
    }
    if let Some(sizes) = &args.max_msa {
        for found in &mut models {
            found.model.features = with_rows(&found.model.features, sizes)?;
        }
    }
    Ok(models)
}

/// Features with other numbers of rows, given as `CLUSTERS:EXTRA`.
pub fn with_rows(features: &FeatureConfig, sizes: &str) -> Result<FeatureConfig> {
    let wrong = || Error::Config(format!("--max-msa {sizes}: expected cluster rows and extra rows, such as 512:1024"));
    let (clusters, extra) = sizes.split_once(':').ok_or_else(wrong)?;
    let (clusters, extra): (usize, usize) = (clusters.parse().map_err(|_| wrong())?, extra.parse().map_err(|_| wrong())?);
    if !(1..=65_535).contains(&clusters) || !(1..=65_535).contains(&extra) {
        return Err(wrong());
    }
    Ok(FeatureConfig::prediction(clusters, extra, features.max_templates))
}

/// Searches for every sequence that has no alignment yet; a target whose search fails is refused.
fn search(args: &Predict, targets: &mut [Result<Target, Refused>]) -> Result<()> {
    let Some(db) = &args.db else { return Ok(()) };
    let limit = Duration::try_from_secs_f64(args.timeout).ok().filter(|l| !l.is_zero());
    let limit = limit.ok_or_else(|| Error::Config(format!("--timeout {}: expected a positive number of seconds", args.timeout)))?;
    let config = SearchConfig::read(db)?;
    let wanted = |t: &Target| match &t.source {
        Source::Sequence { sequence, alignments, .. } if alignments.is_empty() => {
            Some(Query { id: t.name.clone(), sequence: sequence.clone() })
        }
        _ => None,
    };
    let queries: Vec<Query> = targets.iter().flatten().filter_map(wanted).collect();
    let cores = args.cores.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let limits = Limits { time: limit, stop: super::stop::flag() };
    let outcomes = searches::run(&queries, &config, &args.out, &RunOptions { cores, limits, overwrite: false, msas_folder: true })?;
    for target in targets.iter_mut() {
        let Ok(good) = target else { continue };
        let failed = outcomes.iter().filter(|o| o.query == good.name).find_map(|o| match &o.state {
            searches::State::Failed(why) => Some(format!("{}: the search failed: {why}", o.file.display())),
            _ => None,
        });
        match failed {
            Some(why) => *target = Err(Refused { name: good.name.clone(), error: Error::Data(why) }),
            None => input::attach_searches(good, &args.out.join(&good.name))?,
        }
    }
    Ok(())
}

fn report(outcomes: &[Outcome], args: &Predict) -> Result<u8> {
    for o in outcomes {
        let best = o.best.as_ref().map_or(String::new(), |(name, plddt, ptm)| {
            format!("\t{name}\tpLDDT {plddt:.1}{}", ptm.map_or(String::new(), |p| format!("\tpTM {p:.3}")))
        });
        match &o.state {
            State::Done => println!("{}\tdone\t{:.1} s{best}", o.name, o.seconds),
            State::Reused => println!("{}\treused\t-{best}", o.name),
            State::Failed(why) => println!("{}\tfailed\t{why}", o.name),
        }
    }
    if let Some(path) = &args.json {
        text::write_whole(path, format!("{:#}\n", json!({ "targets": outcomes })).as_bytes())?;
    }
    let failed = outcomes.iter().filter(|o| matches!(o.state, State::Failed(_))).count();
    if failed > 0 {
        eprintln!("{failed} of {} targets could not be predicted", outcomes.len());
    }
    Ok(u8::from(failed > 0))
}

/// Progress: targets, predictions of the target, passes. Nothing is drawn where standard error is no terminal.
struct Bars {
    all: MultiProgress,
    targets: ProgressBar,
    predictions: ProgressBar,
    passes: ProgressBar,
    name: RefCell<String>,
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::new();
        let bar = |unit: &str| {
            let template = format!("{{msg:30!}} {{wide_bar}} {{pos}}/{{len}} {unit}");
            all.add(ProgressBar::new(0).with_style(ProgressStyle::with_template(&template).expect("the template is constant")))
        };
        let (targets, predictions, passes) = (bar("targets"), bar("predictions"), bar("passes"));
        Self { targets, predictions, passes, all, name: RefCell::default() }
    }

    fn show(&self, event: Event) {
        let set = |bar: &ProgressBar, at: usize, of: usize, message: String| {
            bar.set_length(of as u64);
            bar.set_position(at as u64);
            bar.set_message(message);
        };
        match event {
            Event::Target(at, of, target) => {
                *self.name.borrow_mut() = target.name.clone();
                set(&self.targets, at, of, format!("{} ({} residues)", target.name, target.n_res));
            }
            Event::Prediction(at, of, label) => set(&self.predictions, at, of, label.to_owned()),
            Event::Pass(at, of) => set(&self.passes, at, of, String::new()),
            Event::Note(text) => self.all.suspend(|| eprintln!("note: {text}")),
            Event::Ended(Outcome { name, state: State::Failed(why), .. }) => self.all.suspend(|| eprintln!("{name}: {why}")),
            Event::Ended(_) => self.targets.inc(1),
        }
    }

    fn finish(&self) {
        [&self.passes, &self.predictions, &self.targets].iter().for_each(|b| b.finish_and_clear());
    }
}
