//! `anyfold bench`: how fast this machine computes.

use clap::{Args, Subcommand};

use crate::bench::{self, cases, rates};
use crate::cli::measure::Measure;
use crate::error::{Error, Result};
use crate::gpu::program::Cache;
use crate::model::presets::preset;
use crate::predict::parameters::features_of;
use crate::tensor::DType;
use crate::verify::fits;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Every operation, forward and backward, against what the adapter can do at best.
    Ops(Ops),
    /// A prediction's passes over length: seconds, device memory, and how they grow.
    Predict(Predict),
    /// A whole training step on an example that is made up: time, memory, work, and which operations take it.
    Step(super::bench_step::Step),
}

/// Measure operations.
#[derive(Debug, Args)]
pub struct Ops {
    /// Only operations whose name fits; `*` stands for anything.
    #[arg(long, value_name = "GLOB")]
    filter: Option<String>,
    /// How activations are stored: f32 or bf16.
    #[arg(long, default_value = "f32", value_name = "TYPE")]
    storage: String,
    #[command(flatten)]
    measure: Measure,
}

/// Measure predictions.
#[derive(Debug, Args)]
pub struct Predict {
    /// The model.
    #[arg(long, default_value = "model_1_ptm", value_name = "MODEL")]
    preset: String,
    /// Lengths in residues; from 64 to what fits when not given.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    lengths: Vec<usize>,
    /// Cluster rows and extra rows, such as 512:1024, instead of the model's own.
    #[arg(long, value_name = "CLUSTERS:EXTRA")]
    max_msa: Option<String>,
    /// Stop before a length whose pass would take longer than this.
    #[arg(long, default_value_t = 600.0, value_name = "SECONDS")]
    max_seconds: f64,
    /// How activations are stored: f32 or bf16.
    #[arg(long, default_value = "f32", value_name = "TYPE")]
    storage: String,
    #[command(flatten)]
    measure: Measure,
}

/// Lengths from 64 on, about as far apart as their pass doubles or triples in time.
const LENGTHS: [usize; 14] = [64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144];

/// Runs the command.
pub fn run(command: &Bench) -> Result<u8> {
    match command {
        Bench::Ops(args) => ops(args),
        Bench::Predict(args) => predict(args),
        Bench::Step(args) => super::bench_step::run(args),
    }
}

fn storage(name: &str) -> Result<DType> {
    match name {
        "f32" => Ok(DType::F32),
        "bf16" => Ok(DType::Bf16),
        other => Err(Error::Config(format!("--storage {other}: f32 or bf16"))),
    }
}

fn predict(args: &Predict) -> Result<u8> {
    let config = preset(&args.preset)?;
    let mut features = features_of(&args.preset).ok_or_else(|| Error::Config(format!("no preset `{}` for predictions", args.preset)))?;
    if let Some(sizes) = &args.max_msa {
        features = super::predict::with_rows(&features, sizes)?;
    }
    let mut lengths = if args.lengths.is_empty() { LENGTHS.to_vec() } else { args.lengths.clone() };
    lengths.sort_unstable();
    lengths.dedup();
    if let Some(wrong) = lengths.iter().find(|n| !(1..=20_000).contains(*n)) {
        return Err(Error::Config(format!("--lengths {wrong}: expected 1 to 20000 residues")));
    }
    let storage = storage(&args.storage)?;
    let gpu = args.measure.open()?;
    let stop = super::stop::flag();
    println!(
        "{} ({} {}), {}, {} cluster and {} extra rows, {} templates",
        gpu.info.name,
        gpu.info.driver,
        gpu.info.driver_info,
        args.preset,
        features.max_clusters,
        features.max_extra,
        features.max_templates
    );
    println!("{}", bench::predict::head());
    let settings = bench::predict::Settings { config, features, storage, lengths, max_seconds: args.max_seconds };
    let stopped = || stop.load(std::sync::atomic::Ordering::Relaxed);
    let curve = bench::predict::run(&gpu, &Cache::default(), &settings, &|row| println!("{}", row.line()), &stopped)?;
    curve.ended.iter().for_each(|why| println!("ended: {why}"));
    let power = |x: Option<f64>| x.map_or("-".into(), |x| format!("{x:.2}"));
    println!(
        "time grows with the power {} of the length ({} over the two longest), memory with {}",
        power(curve.seconds_exponent),
        power(curve.last_seconds_exponent),
        power(curve.bytes_exponent)
    );
    let figures = serde_json::json!({ "preset": args.preset, "storage": args.storage, "features": settings.features, "curve": curve });
    args.measure.write(&gpu, figures)?;
    Ok(u8::from(curve.rows.is_empty()))
}

fn ops(args: &Ops) -> Result<u8> {
    let storage = storage(&args.storage)?;
    let wanted = |name: &str| args.filter.as_ref().is_none_or(|glob| fits(glob, name));
    let cases: Vec<_> = cases::all().into_iter().filter(|c| wanted(c.name)).collect();
    if cases.is_empty() {
        return Err(Error::Config(format!("--filter {}: no operation fits", args.filter.as_deref().unwrap_or_default())));
    }
    let gpu = args.measure.open()?;
    let cache = Cache::default();
    let stop = super::stop::flag();
    let best = rates::measure(&gpu, &cache)?;
    println!("{} ({} {})", gpu.info.name, gpu.info.driver, gpu.info.driver_info);
    println!("{}", best.line());
    if let Some([copy, fma]) = best.a_core {
        println!("for a second of one core: copies {:.2} GB, multiply-adds {:.1} GFLOP", copy / 1e9, fma / 1e9);
    }
    println!("{}", bench::head());
    let mut rows = Vec::new();
    for case in &cases {
        if stop.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        for row in bench::run(&gpu, &cache, case, storage, &best)? {
            println!("{}", row.line());
            rows.push(row);
        }
    }
    args.measure.write(&gpu, serde_json::json!({ "rates": best, "rows": rows }))?;
    Ok(0)
}
