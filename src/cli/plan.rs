//! `anyfold plan`: what a training step or a prediction will take, without running it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::error::{Error, Result};
use crate::gpu::device::{self, Choice, Found};
use crate::graph::Saving;
use crate::graph::budget::{Budget, Work, budget};
use crate::graph::lists::Lists;
use crate::io::text;
use crate::loss::total::Weights;
use crate::model::features::Extents;
use crate::model::presets::preset;
use crate::tensor::DType;
use crate::train::lists::{self, Recipe};

/// Say what a training step or a prediction will take.
#[derive(Debug, Args)]
pub struct Plan {
    /// The model.
    #[arg(long, value_name = "NAME")]
    preset: String,
    /// Residues.
    #[arg(long, alias = "residues", value_name = "N")]
    crop: usize,
    /// Cluster rows of the alignment.
    #[arg(long, value_name = "N")]
    msa: usize,
    /// Extra rows of the alignment.
    #[arg(long, value_name = "N")]
    extra: usize,
    /// Templates; 4 for models that read them.
    #[arg(long, value_name = "N")]
    templates: Option<usize>,
    /// Passes, the last one included: 2.5 on average in training, 4 in prediction.
    #[arg(long, value_name = "N")]
    passes: Option<f64>,
    /// A prediction in place of a training step.
    #[arg(long)]
    predict: bool,
    /// How activations are stored.
    #[arg(long, value_enum, default_value = "f32")]
    storage: Storage,
    /// Blocks of a stack that keep one set of inputs together: more of them take less memory and compute more again. 0 keeps everything.
    #[arg(long, value_name = "N")]
    group: Option<usize>,
    /// Compute the modules of a block again one by one.
    #[arg(long)]
    modules: bool,
    /// The adapter to plan for, part of its name or its index; `none` plans for a common GPU.
    #[arg(long, value_name = "NAME|INDEX")]
    adapter: Option<String>,
    /// Memory to fit into, in 10^9 bytes, in place of what the adapter has.
    #[arg(long, value_name = "GB")]
    memory: Option<f64>,
    /// Write the plan as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Storage types of activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Storage {
    /// Single precision.
    F32,
    /// bfloat16.
    Bf16,
}

/// What is planned.
#[derive(Debug, Clone, Copy)]
struct Shape {
    extents: Extents,
    storage: DType,
    saving: Saving,
}

fn target(args: &Plan) -> Result<Found> {
    let choice = Choice { adapter: args.adapter.clone(), ..Choice::default() };
    let mut target = match args.adapter.as_deref() {
        Some("none") => device::common(),
        Some(_) => device::find(&choice)?,
        None => device::find(&choice).unwrap_or_else(|_| device::common()),
    };
    if let Some(gb) = args.memory {
        target.memory = Some((gb * 1e9) as u64);
    }
    Ok(target)
}

/// Runs the command: 0, or 1 when the plan does not fit.
pub fn run(args: &Plan) -> Result<u8> {
    let config = preset(&args.preset)?;
    for (name, n) in [("--crop", args.crop), ("--msa", args.msa), ("--extra", args.extra)] {
        if n == 0 || n > 100_000 {
            return Err(Error::Config(format!("{name} {n}: expected 1 to 100000")));
        }
    }
    let n_templ = match (config.template.is_some(), args.templates) {
        (false, Some(n)) if n > 0 => return Err(Error::Config(format!("{} reads no templates; --templates {n} was given", args.preset))),
        (false, _) => 0,
        (true, n) => n.unwrap_or(4),
    };
    let passes = args.passes.unwrap_or(if args.predict { 4.0 } else { 2.5 });
    if !(1.0..=1000.0).contains(&passes) {
        return Err(Error::Config(format!("--passes {passes}: expected 1 or more")));
    }
    let target = target(args)?;
    let storage = if args.storage == Storage::F32 { DType::F32 } else { DType::Bf16 };
    let saving = Saving { group: args.group.unwrap_or(Saving::default().group), modules: args.modules };
    let shape = Shape { extents: Extents { n_res: args.crop, n_clust: args.msa, n_extra: args.extra, n_templ }, storage, saving };
    let plan = |shape: Shape| {
        let recorded = match args.predict {
            true => lists::prediction(&config, shape.extents, shape.storage),
            false => lists::training(&Recipe {
                model: config.clone(),
                extents: shape.extents,
                storage: shape.storage,
                weights: Weights::fine_tuning(),
                dropout: true,
                scaled: false,
                saving: shape.saving,
            }),
        };
        budget(&Lists::of(&target.traits, &recorded.graphs()), &target.traits, target.align)
    };
    let budget = plan(shape)?;
    let step = step(&budget, passes, args.predict);
    print(&budget, &step, passes, args.predict);
    let fits = target.memory.map(|have| budget.peak_bytes <= have);
    let advice = if fits == Some(false) { advice(shape, &target, &plan) } else { None };
    print_fit(&budget, &target, fits, advice.as_deref());
    if let Some(path) = &args.json {
        let out = json!({
            "peak_bytes": budget.peak_bytes, "flops": step.flops, "bytes": step.bytes, "dispatches": step.dispatches,
            "passes": passes, "adapter": target.name, "memory": target.memory, "fits": fits, "advice": advice, "plan": budget,
        });
        text::write_whole(path, format!("{out:#}\n").as_bytes())?;
    }
    Ok(u8::from(fits == Some(false)))
}

/// The work of a step of so many passes, or of a prediction.
fn step(budget: &Budget, passes: f64, predict: bool) -> Work {
    let times = |name: &str| match name {
        "pass" => passes - 1.0,
        "predict" => {
            if predict {
                passes
            } else {
                0.0
            }
        }
        _ => 1.0,
    };
    let mut all = Work::default();
    budget.lists.iter().for_each(|(name, work)| all.add(work, times(name)));
    all
}

/// Bytes as people say them, in powers of ten.
fn gb(bytes: u64) -> String {
    format!("{:.3} GB", bytes as f64 / 1e9)
}

fn print(budget: &Budget, step: &Work, passes: f64, predict: bool) {
    println!("peak {} in {} buffers; fullest at {}", gb(budget.peak_bytes), budget.buffers.len(), budget.fullest);
    let mut kinds: Vec<_> = budget.kinds.iter().filter(|(_, bytes)| **bytes > 0).collect();
    kinds.sort_by_key(|(_, bytes)| std::cmp::Reverse(**bytes));
    kinds.iter().for_each(|(kind, bytes)| println!("  {:>10}  {kind}", gb(**bytes)));
    println!("largest at that moment:");
    budget.largest.iter().take(12).for_each(|s| println!("  {:>10}  {} x {}", gb(s.bytes), s.count, s.name));
    let what = if predict { "prediction" } else { "step" };
    println!(
        "one {what} of {passes} passes: {:.2} TFLOP, {:.1} GB moved, {:.0} dispatches",
        step.flops / 1e12,
        step.bytes / 1e9,
        step.dispatches
    );
    for (name, work) in &budget.lists {
        println!("  {name}: {:.2} TFLOP, {:.1} GB moved, {} dispatches", work.flops / 1e12, work.bytes / 1e9, work.dispatches);
        for (scope, work) in &budget.scopes[name] {
            println!("    {scope}: {:.3} TFLOP, {:.2} GB moved, {} dispatches", work.flops / 1e12, work.bytes / 1e9, work.dispatches);
        }
    }
}

/// The first smaller thing that fits.
fn advice(shape: Shape, target: &Found, plan: &dyn Fn(Shape) -> Result<Budget>) -> Option<String> {
    let e = shape.extents;
    let with = |extents: Extents| Shape { extents, ..shape };
    let modules = |group| Shape { saving: Saving { group, modules: true }, ..shape };
    let candidates = [
        ("--group 2 --modules".to_owned(), modules(2)),
        ("--group 4 --modules".to_owned(), modules(4)),
        ("--storage bf16".to_owned(), Shape { storage: DType::Bf16, ..shape }),
        (format!("--extra {}", e.n_extra.div_ceil(2)), with(Extents { n_extra: e.n_extra.div_ceil(2), ..e })),
        (format!("--msa {}", e.n_clust.div_ceil(2)), with(Extents { n_clust: e.n_clust.div_ceil(2), ..e })),
        (format!("--crop {}", e.n_res * 3 / 4), with(Extents { n_res: (e.n_res * 3 / 4).max(1), ..e })),
        (format!("--crop {}", e.n_res.div_ceil(2)), with(Extents { n_res: e.n_res.div_ceil(2), ..e })),
    ];
    let have = target.memory?;
    let fit = |(option, shape): (String, Shape)| {
        let peak = plan(shape).ok()?.peak_bytes;
        (peak <= have).then(|| format!("{option} takes {}", gb(peak)))
    };
    candidates.into_iter().find_map(fit)
}

fn print_fit(budget: &Budget, target: &Found, fits: Option<bool>, advice: Option<&str>) {
    let need = gb(budget.peak_bytes);
    match (fits, target.memory) {
        (Some(true), Some(have)) => println!("{need} fit {} with {}", target.name, gb(have)),
        (Some(false), Some(have)) => {
            println!("{need} do not fit {} with {}", target.name, gb(have));
            println!("{}", advice.unwrap_or("a much smaller crop or fewer sequences would be needed"));
        }
        _ => println!("planned for {}, whose memory is not known: --memory GB says whether it fits", target.name),
    }
}
