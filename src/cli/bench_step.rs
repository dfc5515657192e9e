//! `anyfold bench step`: a training step, measured.

use clap::Args;

use crate::bench::{rates, step};
use crate::cli::measure::Measure;
use crate::error::{Error, Result};
use crate::gpu::program::Cache;
use crate::train::config::Config;
use crate::train::fit;
use crate::train::run::recipe;
use crate::train::step::Step as TrainingStep;

/// Measure a training step.
#[derive(Debug, Args)]
pub struct Step {
    /// Where settings begin: initial_training, fine_tuning, small or tiny.
    #[arg(long, default_value = "tiny", value_name = "NAME")]
    preset: String,
    /// A setting that differs, such as device.memory_gib=8 or model.preset=model_1; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Residues (short for --set data.crop=N).
    #[arg(long, value_name = "N")]
    crop: Option<usize>,
    /// Cluster rows of the alignment.
    #[arg(long, value_name = "N")]
    msa: Option<usize>,
    /// Extra rows of the alignment.
    #[arg(long, value_name = "N")]
    extra: Option<usize>,
    /// Templates.
    #[arg(long, value_name = "N")]
    templates: Option<usize>,
    /// Passes of a step, the last one included; training has 2.5 on average.
    #[arg(long, default_value_t = 2.5, value_name = "N")]
    passes: f64,
    /// Steps that are timed, after one that is not.
    #[arg(long, default_value_t = 5, value_name = "N")]
    repeats: usize,
    /// Rows of each table.
    #[arg(long, default_value_t = 40, value_name = "N")]
    rows: usize,
    #[command(flatten)]
    measure: Measure,
}

/// Runs the command.
pub fn run(args: &Step) -> Result<u8> {
    let short = [("crop", args.crop), ("clusters", args.msa), ("extra_rows", args.extra), ("templates", args.templates)];
    let mut sets: Vec<String> = short.iter().filter_map(|(key, n)| n.map(|n| format!("data.{key}={n}"))).collect();
    sets.extend(args.sets.iter().cloned());
    let config = Config::resolve(Some(&args.preset), None, &sets)?;
    if !(1.0..=1000.0).contains(&args.passes) || !(1..=10_000).contains(&args.repeats) {
        return Err(Error::Config(format!(
            "--passes {} --repeats {}: expected 1 to 1000 passes and 1 to 10000 repeats",
            args.passes, args.repeats
        )));
    }
    let gpu = args.measure.open()?;
    let cache = Cache::default();
    let best = rates::measure(&gpu, &cache)?;
    let info = &gpu.info;
    println!("{} ({} {})", info.name, info.driver, info.driver_info);
    println!("{}", best.line());
    let fitted = fit::fit(&gpu, recipe(&config)?, fit::limit(&gpu, config.device.memory_gib, 1), config.device.recompute)?;
    let (saves, e) = (fitted.saves(), fitted.recipe.extents);
    let training = TrainingStep::fitted(&gpu, &cache, fitted)?;
    println!(
        "{} at {} residues, {} clusters, {} extra rows, {} templates, stored as {}; {saves}",
        config.model.preset, e.n_res, e.n_clust, e.n_extra, e.n_templ, config.device.storage
    );
    let measured = step::measure(&gpu, &training, &config, (args.passes, args.repeats), &best)?;
    step::lines(&measured, args.rows).iter().for_each(|line| println!("{line}"));
    let shape = serde_json::json!({
        "model": config.model.preset, "n_res": e.n_res, "n_clust": e.n_clust, "n_extra": e.n_extra, "n_templ": e.n_templ,
        "storage": config.device.storage.to_string(), "saving": saves,
    });
    let figures =
        serde_json::json!({ "rates": best, "preset": args.preset, "shape": shape, "repeats": args.repeats, "measured": measured });
    args.measure.write(&gpu, figures)?;
    Ok(0)
}
