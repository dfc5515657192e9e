//! `anyfold data`: make data sets, look into them, write the features of one example.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::{Args, Subcommand};
use serde_json::json;

use super::templates::TemplateArgs;
use crate::bench;
use crate::data::alignment::Alignment;
use crate::data::alphabet;
use crate::data::distill::Rules;
use crate::data::draws::{Draws, Keyed, Purpose};
use crate::data::example::{Example, Labels, Template};
use crate::data::features::{self, FeatureConfig};
use crate::data::full::{self, Size};
use crate::data::loader::{Loader, LoaderConfig};
use crate::data::policy::{Filter, Mix, Part};
use crate::data::prepare::{self, Options};
use crate::data::raw_example;
use crate::data::set::index::Entry;
use crate::data::set::writer::Writer;
use crate::data::set::{Set, codec};
use crate::data::ship;
use crate::error::{Error, Result};
use crate::io::{fasta, msa, npz, text};

/// Data sets and features.
#[derive(Debug, Subcommand)]
pub enum Data {
    /// Make or extend a data set from structures and alignments.
    Prepare(Prepare),
    /// Show what a data set holds.
    Inspect(Inspect),
    /// Write the features of one example as npz.
    Features(Features),
    /// Measure how fast examples are prepared from a set.
    Bench(Bench),
}

/// Options of `data prepare`.
#[derive(Debug, Args)]
pub struct Prepare {
    /// Folder with structures (.cif, .pdb, gzip or plain), or with a `train_set.json`.
    dir: PathBuf,
    /// The data set: made, or extended by what is new or has changed.
    #[arg(long)]
    out: PathBuf,
    /// JSON list of chains (`chains[]` with `id`, `file`, `chain_auth`, `msa`, …).
    #[arg(long)]
    list: Option<PathBuf>,
    /// Folders with alignments, in AlphaFold's, OpenFold's or ColabFold's layout; DIR when none is given.
    #[arg(long)]
    alignments: Vec<PathBuf>,
    /// Folder with the mmCIF files of template hits; without one the set has no templates.
    #[arg(long)]
    templates: Option<PathBuf>,
    /// Clusters of chains, which sampling weights need: a line each with its chains, MMseqs2's pairs (`_cluster.tsv`), or a JSON list. Without
    /// them, and without clusters in the list, only equal sequences are a cluster.
    #[arg(long, value_name = "FILE")]
    clusters: Option<PathBuf>,
    /// Structures are predictions, to be examples of self-distillation.
    #[arg(long)]
    distillation: bool,
    /// Mask residues of predictions below this distogram confidence (where `NAME.confidence.json` lies beside the structure).
    #[arg(long, default_value_t = Rules::default().min_confidence)]
    min_confidence: f64,
    /// Mask residues of predictions below this pLDDT (where there is no distogram confidence).
    #[arg(long, default_value_t = Rules::default().min_residue_plddt)]
    min_residue_plddt: f64,
    /// Leave out predictions below this mean pLDDT (where there is no distogram confidence).
    #[arg(long, default_value_t = Rules::default().min_mean_plddt)]
    min_mean_plddt: f64,
    /// Fewest alignment rows of a prediction.
    #[arg(long, default_value_t = Rules::default().min_rows)]
    min_rows: usize,
    /// Fewest residues of a prediction.
    #[arg(long, default_value_t = Rules::default().min_length)]
    min_length: usize,
    /// Write the outcome as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Options of `data inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// The data set.
    set: PathBuf,
    /// One chain of it; read whole, which checks its checksum.
    chain: Option<String>,
    /// Write the sequences of all chains as FASTA, to be clustered.
    #[arg(long, value_name = "FILE", conflicts_with = "chain")]
    fasta: Option<PathBuf>,
    /// Write what is shown as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Options of `data features`.
#[derive(Debug, Args)]
pub struct Features {
    /// The data set to take the chain from.
    #[arg(long, requires = "chain", conflicts_with = "fasta")]
    set: Option<PathBuf>,
    /// The chain.
    #[arg(long)]
    chain: Option<String>,
    /// A sequence instead of a chain of a set.
    #[arg(long)]
    fasta: Option<PathBuf>,
    /// AlphaFold's raw features (npz) instead of a chain of a set.
    #[arg(long, conflicts_with_all = ["set", "fasta"])]
    raw: Option<PathBuf>,
    /// The sequence's alignments, in stacking order.
    #[arg(long)]
    msa: Vec<PathBuf>,
    /// The npz file to write.
    #[arg(long)]
    out: PathBuf,
    /// Crop and sample as training does, to this many residues.
    #[arg(long)]
    crop: Option<usize>,
    /// Cluster centres, template rows included.
    #[arg(long, default_value_t = 512)]
    clusters: usize,
    /// Extra rows.
    #[arg(long, default_value_t = 5120)]
    extra: usize,
    /// Templates.
    #[arg(long, default_value_t = 4)]
    templates: usize,
    /// Passes: the leading axis.
    #[arg(long, default_value_t = 4)]
    passes: usize,
    /// Seed of all that is random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The compact form that the loader ships, pass 0, instead of AlphaFold's arrays.
    #[arg(long)]
    compact: bool,
    #[command(flatten)]
    found: TemplateArgs,
}

/// Options of `data bench`.
#[derive(Debug, Args)]
pub struct Bench {
    /// The data set; without one a made-up set of 8 chains of 384 residues with 4,000 rows and 4 templates each.
    set: Option<PathBuf>,
    /// Examples to prepare.
    #[arg(long, default_value_t = 100)]
    examples: u64,
    /// Worker threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Crop, centres and extra rows.
    #[arg(long, num_args = 3, default_values_t = [256, 128, 1024])]
    size: Vec<usize>,
    /// Keep all rows: without block deletion every example clusters its whole alignment.
    #[arg(long)]
    all_rows: bool,
    /// Fewest alignment rows of the chains that are used.
    #[arg(long, default_value_t = 0)]
    min_rows: usize,
    /// Seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Runs a subcommand; 1 when some chains could not be used.
pub fn run(command: Data) -> Result<u8> {
    match command {
        Data::Prepare(args) => run_prepare(args),
        Data::Inspect(args) => run_inspect(args),
        Data::Features(args) => run_features(args),
        Data::Bench(args) => run_bench(args),
    }
}

fn write_json(path: Option<&PathBuf>, value: &serde_json::Value) -> Result<()> {
    path.map_or(Ok(()), |p| text::write_whole(p, &serde_json::to_vec_pretty(value).expect("figures are JSON")))
}

fn run_prepare(args: Prepare) -> Result<u8> {
    let rules = Rules {
        min_confidence: args.min_confidence,
        min_residue_plddt: args.min_residue_plddt,
        min_mean_plddt: args.min_mean_plddt,
        min_rows: args.min_rows,
        min_length: args.min_length,
        ..Rules::default()
    };
    let options = Options {
        list: args.list,
        alignments: args.alignments,
        templates: args.templates,
        clusters: args.clusters,
        distillation: args.distillation.then_some(rules),
        ..Options::default()
    };
    let bar = indicatif::ProgressBar::new(0);
    let progress = |done: usize, all: usize| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    };
    let report = prepare::prepare(&args.dir, &args.out, &options, &progress, &super::stop::flag())?;
    bar.finish_and_clear();
    for skipped in &report.skipped {
        println!("skipped {}: {}", skipped.what, skipped.why);
    }
    let n = Set::open(&args.out)?.entries().len();
    println!("{}: {n} chains ({} new, {} unchanged, {} skipped)", args.out.display(), report.added, report.kept, report.skipped.len());
    println!(
        "{} clusters{}",
        report.clustering.clusters,
        match report.clustering.by_sequence {
            0 => String::new(),
            k => format!(
                "; of {k} chains only equal sequences are one, so that relatives count as often as there are structures of them: cluster them at \
             40 % identity, as published (`anyfold data inspect SET --fasta chains.fasta`, `mmseqs easy-cluster chains.fasta OUT TMP --min-seq-id \
             0.4`), and prepare again with --clusters OUT_cluster.tsv"
            ),
        }
    );
    write_json(args.json.as_ref(), &json!({ "chains": n, "report": report }))?;
    if report.stopped { Err(Error::Interrupted) } else { Ok(u8::from(!report.skipped.is_empty())) }
}

fn run_inspect(args: Inspect) -> Result<u8> {
    let set = Set::open(&args.set)?;
    let Some(chain) = args.chain else {
        let filter = Filter::default();
        println!(
            "{:<12} {:>6} {:>8} {:>6} {:>7} {:>6}  {:<11} {:<10} cluster",
            "chain", "length", "observed", "rows", "templ.", "res.", "released", "split"
        );
        for e in set.entries() {
            let resolution = e.resolution.map_or("-".into(), |r| format!("{r:.2}"));
            let left_out = filter.refuses(e).map_or(String::new(), |why| format!("  (not trained on: {why})"));
            let date = e.release_date.as_deref().unwrap_or("-");
            println!(
                "{:<12} {:>6} {:>8} {:>6} {:>7} {:>6}  {:<11} {:<10} {}{left_out}",
                e.id, e.length, e.observed, e.n_seq, e.n_templates, resolution, date, e.split, e.cluster
            );
        }
        set.skipped().iter().for_each(|s| println!("skipped {}: {}", s.what, s.why));
        if let Some(path) = &args.fasta {
            let records: String = set.entries().iter().map(|e| format!(">{}\n{}\n", e.id, e.sequence)).collect();
            text::write_whole(path, records.as_bytes())?;
        }
        println!("{} chains, {} skipped in the last run", set.entries().len(), set.skipped().len());
        write_json(args.json.as_ref(), &json!({ "entries": set.entries(), "skipped": set.skipped() }))?;
        return Ok(0);
    };
    let i = set.find(&chain)?;
    let (entry, example) = (&set.entries()[i], set.example(i)?);
    let observed: String = match &example.labels {
        Some(l) => entry.sequence.chars().zip(&l.mask).map(|(c, m)| if m.contains(&1.0) { c } else { c.to_ascii_lowercase() }).collect(),
        None => entry.sequence.clone(),
    };
    println!("{}", serde_json::to_string_pretty(entry).expect("an entry is JSON"));
    println!("sequence (lower case: not observed): {observed}");
    example.templates.iter().for_each(|t| println!("template {} sum of probabilities {}", t.name, t.sum_probs));
    write_json(args.json.as_ref(), &json!({ "entry": entry, "observed": observed }))?;
    Ok(0)
}

fn run_features(args: Features) -> Result<u8> {
    let example = match (&args.set, &args.fasta, &args.raw) {
        (Some(set), ..) => {
            let set = Set::open(set)?;
            set.example(set.find(args.chain.as_deref().unwrap_or_default())?)?
        }
        (_, Some(path), _) => read_example(path, &args.msa)?,
        (.., Some(path)) => raw_example::read(path)?,
        (None, None, None) => return Err(Error::Config("give --set and --chain, or --fasta, or --raw".into())),
    };
    let example = match args.found.read(&alphabet::to_letters(&example.aatype))? {
        templates if templates.is_empty() => example,
        templates => Example { templates, ..example },
    };
    let config = match args.crop {
        Some(crop) => FeatureConfig { max_templates: args.templates, ..FeatureConfig::training(crop, args.clusters, args.extra) },
        None => FeatureConfig::prediction(args.clusters, args.extra, args.templates),
    };
    let made = features::make(&example, &config, args.passes.max(1), &Keyed::new(args.seed, 0));
    let size = Size::of(&made);
    let mut tensors = if args.compact {
        let mut all = ship::shared(&made, size);
        all.extend(ship::pass(&made, 0, size));
        all
    } else {
        full::full(&made, size)
    };
    tensors.extend(ship::labels(&made, size.n_res).unwrap_or_default());
    let strings = BTreeMap::from([
        ("sequence".to_owned(), vec![alphabet::to_letters(&made.aatype)]),
        ("template_names".to_owned(), made.templates.iter().map(|t| t.name.clone()).collect()),
    ]);
    npz::write(&args.out, &tensors, &strings)?;
    println!("{}: {} arrays, residues {}..{} of {}", args.out.display(), tensors.len(), made.crop.start, made.crop.end, made.n_res);
    Ok(0)
}

/// A sequence with its alignments.
fn read_example(path: &PathBuf, msas: &[PathBuf]) -> Result<Example> {
    let records = fasta::read(path)?;
    let [record] = records.as_slice() else {
        return Err(Error::format(path, format!("{} sequences where one was expected", records.len())));
    };
    let sequence = record.sequence.to_ascii_uppercase().into_bytes();
    let alignment = if msas.is_empty() {
        Alignment::of_query(&sequence)?
    } else {
        Alignment::stack(&msas.iter().map(|m| msa::read_for(m, &sequence)).collect::<Result<Vec<_>>>()?)?.0
    };
    let mut example = Example { id: record.id().to_owned(), aatype: alphabet::query(&sequence), alignment, ..Example::default() };
    example.residue_index = (0..sequence.len() as i32).collect();
    Ok(example)
}

fn run_bench(args: Bench) -> Result<u8> {
    let made_up = tempfile::tempdir().map_err(|e| Error::io(std::env::temp_dir(), e))?;
    let set = match args.set {
        Some(set) => set,
        None => {
            made_up_set(made_up.path())?;
            made_up.path().to_path_buf()
        }
    };
    let part = Part { set, share: 1.0, filter: Filter { min_rows: args.min_rows, ..Filter::default() } };
    let mix = Arc::new(Mix::open(&[part])?);
    let mut features = FeatureConfig::training(args.size[0], args.size[1], args.size[2]);
    if let Some(rules) = features.training.as_mut().filter(|_| args.all_rows) {
        rules.deleted_blocks = 0;
    }
    let threads = args.threads.max(1);
    let config = LoaderConfig { features, seed: args.seed, first: 0, stride: 1, batch: 1, max_passes: 4, threads, queue: 2 * threads };
    let stop = super::stop::flag();
    let mut loader = Loader::new(mix.clone(), config)?;
    let (mut passes, mut bytes, began, ran) = (0, 0, Instant::now(), bench::ran());
    for _ in 0..args.examples {
        if stop.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let loaded = loader.next()?;
        passes += loaded.features.passes.len();
        let size = Size::of(&loaded.features);
        // Making the tensors is part of an example's cost.
        let shared = ship::shared(&loaded.features, size).values().map(crate::tensor::HostTensor::len).sum::<usize>();
        let each = (0..loaded.features.passes.len()).flat_map(|r| ship::pass(&loaded.features, r, size).into_values()).map(|t| t.len());
        bytes += 4 * (shared + each.sum::<usize>());
    }
    let seconds = began.elapsed().as_secs_f64();
    let per_core = args.examples as f64 / seconds / threads as f64;
    // On a machine with other work the clock tells little; what cores spent on it tells the same as ever.
    let core_seconds = bench::ran().zip(ran).map(|(after, before)| (after - before) / 1e9);
    let report = loader.report();
    println!(
        "{} examples of {} chains in {seconds:.2} s on {threads} workers: {per_core:.1} a second and worker; {:.2} passes and {:.1} MB each",
        args.examples,
        mix.n_chains(),
        passes as f64 / args.examples as f64,
        bytes as f64 / args.examples as f64 / 1e6
    );
    if let Some(spent) = core_seconds {
        println!("{spent:.2} s of cores: {:.1} examples a second of one core", args.examples as f64 / spent);
    }
    println!("peak memory of the process: {}", peak_memory().map_or("unknown".into(), |b| format!("{:.0} MB", b as f64 / 1e6)));
    write_json(
        args.json.as_ref(),
        &json!({ "examples": args.examples, "threads": threads, "seconds": seconds, "per_second_and_worker": per_core, "core_seconds": core_seconds,
                 "passes": passes, "bytes": bytes, "peak_memory": peak_memory(), "waited_s": report.waited_s }),
    )?;
    Ok(0)
}

/// Chains as large as training's usual ones, of random residues: rows keep a residue of the query at 2 of 3 places.
fn made_up_set(folder: &Path) -> Result<()> {
    const N_RES: usize = 384;
    const N_SEQ: usize = 4000;
    let mut writer = Writer::open(folder)?;
    for chain in 0..8 {
        let draws = Keyed::new(0, chain);
        let draw = |purpose, i: usize, n| draws.below(0, purpose, i as u64, n) as u8;
        let aatype: Vec<u8> = (0..N_RES).map(|i| draw(Purpose::Chain, i, 20)).collect();
        let mut alignment = Alignment { n_res: N_RES, ..Alignment::default() };
        for row in 0..N_SEQ {
            let kind = |i: usize| if row == 0 || draw(Purpose::Clamp, i, 3) > 0 { aatype[i % N_RES] } else { draw(Purpose::Chain, i, 22) };
            alignment.rows.extend((row * N_RES..(row + 1) * N_RES).map(kind));
            let deletions: Vec<u16> = (0..N_RES).map(|i| u16::from(row > 0 && draw(Purpose::Passes, row * N_RES + i, 30) == 0)).collect();
            alignment.deletions.push_dense(&deletions);
        }
        let (positions, mask) = (vec![[[1.0; 3]; 37]; N_RES], vec![[1.0; 37]; N_RES]);
        let template = Template { aatype: aatype.clone(), positions: positions.clone(), mask: mask.clone(), ..Template::default() };
        let labels = Some(Labels { positions, mask, resolution: 2.0, is_distillation: false });
        let residue_index = (0..N_RES as i32).collect();
        let example = Example { id: String::new(), aatype, residue_index, alignment, templates: vec![template; 4], labels };
        let id = format!("chain{chain}");
        let entry = Entry { cluster: id.clone(), id, length: N_RES, n_seq: N_SEQ, resolution: Some(2.0), ..Entry::default() };
        writer.add(entry, &codec::encode(&example))?;
    }
    writer.close_shard()
}

/// Bytes, where the system tells (Linux).
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
