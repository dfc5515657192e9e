//! `anyfold inspect`: what runs on the adapter.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::gpu::device::Choice;
use crate::gpu::program::Cache;
use crate::gpu::shader::{self, Source, Variant};
use crate::graph::Saving;
use crate::graph::inspect::times;
use crate::graph::run::Session;
use crate::io::{npz, text};
use crate::loss::total::Weights;
use crate::model::features::Extents;
use crate::model::presets::preset;
use crate::tensor::DType;
use crate::train::lists::{Recipe, training};
use crate::verify::golden::Golden;
use crate::verify::{self, Context};

/// What to look into.
#[derive(Debug, Subcommand)]
pub enum Inspect {
    /// Run a golden case of the network and look at it: its commands, memory, times, any tensor by name.
    Case(Case),
    /// Look at the command lists of a training step: commands, memory planned and taken, times. Inputs are zeros.
    Step(Step),
    /// Write every shader as it is assembled, in the dialect of browsers.
    Shaders(Shaders),
}

/// What is shown of command lists.
#[derive(Debug, Clone, Args)]
struct Show {
    /// Print every command with its operands.
    #[arg(long)]
    print: bool,
    /// Write the commands as a graph in DOT.
    #[arg(long, value_name = "FILE")]
    dot: Option<PathBuf>,
    /// Print the tensors that live at the fullest moment.
    #[arg(long)]
    memory: bool,
    /// Print time, GFLOP/s and GB/s of every operation.
    #[arg(long)]
    times: bool,
    /// Run command by command until one makes a value that is not finite, and print that operation with what it read.
    #[arg(long)]
    finite: bool,
    /// Write what is printed as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Look at a golden case.
#[derive(Debug, Args)]
pub struct Case {
    /// The golden file.
    #[arg(value_name = "FILE")]
    path: PathBuf,
    /// Write the tensors whose names fit into the file of `--out`; `*` stands for anything. Operations' outputs are named by scope and
    /// operation, gradients begin with `d `.
    #[arg(long, value_name = "GLOB", requires = "out")]
    dump: Option<String>,
    /// The npz file of `--dump`.
    #[arg(long, value_name = "FILE", requires = "dump")]
    out: Option<PathBuf>,
    /// Part of an adapter's name, or its index in `anyfold devices`.
    #[arg(long, value_name = "NAME|INDEX")]
    adapter: Option<String>,
    #[command(flatten)]
    show: Show,
}

/// Look at a training step.
#[derive(Debug, Args)]
pub struct Step {
    /// The model.
    #[arg(long, default_value = "tiny", value_name = "NAME")]
    preset: String,
    /// Residues.
    #[arg(long, default_value_t = 32, value_name = "N")]
    crop: usize,
    /// Cluster rows of the alignment.
    #[arg(long, default_value_t = 8, value_name = "N")]
    msa: usize,
    /// Extra rows of the alignment.
    #[arg(long, default_value_t = 16, value_name = "N")]
    extra: usize,
    /// Part of an adapter's name, or its index in `anyfold devices`.
    #[arg(long, value_name = "NAME|INDEX")]
    adapter: Option<String>,
    #[command(flatten)]
    show: Show,
}

/// Write every shader.
#[derive(Debug, Args)]
pub struct Shaders {
    /// The folder to write `GROUP/OPERATION.TYPE.wgsl` into.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Runs the command.
pub fn run(command: &Inspect) -> Result<u8> {
    match command {
        Inspect::Case(args) => case(args),
        Inspect::Step(args) => step(args),
        Inspect::Shaders(args) => shaders(&args.out),
    }
}

impl Show {
    /// Prints what is asked for; `also` goes into the JSON file.
    fn show(&self, session: &Session, also: serde_json::Value) -> Result<()> {
        let mut report = also;
        if self.print {
            print!("{}", session.print());
        }
        if let Some(path) = &self.dot {
            text::write_whole(path, session.dot().as_bytes())?;
        }
        if self.memory {
            let (step, all) = session.at_peak();
            println!("fullest at {step}: {} tensors", all.len());
            println!("{:>12}  {:>6} {:>12}  tensor (made by .. last read by)", "bytes", "buffer", "offset");
            for t in &all {
                let span = if t.span.0.is_empty() { "kept between replays".into() } else { format!("{} .. {}", t.span.0, t.span.1) };
                println!("{:>12}  {:>6} {:>12}  {} ({span})", t.bytes, t.at.0, t.at.1, t.name);
            }
            report["fullest"] = json!(step);
            report["tensors"] = json!(all);
        }
        if self.times {
            let (clock, all) = session.times()?;
            let whole: f64 = all.iter().map(|t| t.seconds).sum();
            println!(
                "{:.3} ms by the {} clock",
                whole * 1e3,
                if clock == crate::gpu::timing::Clock::Adapter { "adapter's" } else { "host's" }
            );
            println!("{}", times::head());
            all.iter().for_each(|t| println!("{}", t.line(whole)));
            report["clock"] = json!(clock);
            report["times"] = json!(all);
        }
        if self.finite {
            let mut found = None;
            for list in session.names() {
                found = session.first_non_finite(list)?.map(|what| (list, what));
                if found.is_some() {
                    break;
                }
            }
            match &found {
                Some((list, what)) => println!("list `{list}`: not finite; first {what}"),
                None => println!("every value is finite"),
            }
            report["not_finite"] = json!(found);
        }
        match &self.json {
            Some(path) => text::write_whole(path, format!("{report:#}\n").as_bytes()),
            None => Ok(()),
        }
    }
}

fn case(args: &Case) -> Result<u8> {
    let golden = Golden::read(&args.path)?;
    let choice = Choice { adapter: args.adapter.clone(), ..Choice::default() };
    let context = Context::new(choice, Saving::default());
    let (show, dump) = (args.show.clone(), args.dump.clone().zip(args.out.clone()));
    context.look(move |session| {
        show.show(session, json!({}))?;
        let Some((glob, out)) = &dump else { return Ok(()) };
        let found = session.dump(&|name| verify::fits(glob, name))?;
        if found.is_empty() {
            return Err(Error::Config(format!("--dump {glob}: no tensor's name fits; `--print` shows scopes and operations")));
        }
        println!("{} tensors in {}", found.len(), out.display());
        npz::write_plain(out, &found)
    });
    let report = verify::run_case(&context, &golden)?;
    if context.waits() {
        let what = format!("module `{}` is not run by one session of its own; look at one of its parts", golden.module);
        return Err(Error::format(&args.path, what));
    }
    println!("{}", report.row());
    Ok(0)
}

fn step(args: &Step) -> Result<u8> {
    let model = preset(&args.preset)?;
    for (name, n) in [("--crop", args.crop), ("--msa", args.msa), ("--extra", args.extra)] {
        if n == 0 || n > 100_000 {
            return Err(Error::Config(format!("{name} {n}: expected 1 to 100000")));
        }
    }
    let n_templ = if model.template.is_some() { 4 } else { 0 };
    let recipe = |n_res, n_clust, n_extra| Recipe {
        model: model.clone(),
        extents: Extents { n_res, n_clust, n_extra, n_templ },
        storage: DType::F32,
        weights: Weights::fine_tuning(),
        dropout: true,
        scaled: false,
        saving: Saving::default(),
    };
    let gpu = Gpu::open(&Choice { adapter: args.adapter.clone(), ..Choice::default() })?;
    let cache = Cache::default();
    // Kernels do not depend on lengths: a small step has them compiled, so that what the step itself takes is memory for tensors.
    let run = |recipe: &Recipe| -> Result<Session> {
        let lists = training(recipe);
        let session = Session::of(&gpu, &cache, &lists.graphs())?;
        session.set_params(&lists.params.initial(0));
        session.replay()?;
        gpu.wait()?;
        Ok(session)
    };
    drop(run(&recipe(args.crop.min(16), args.msa.min(4), args.extra.min(4)))?);
    gpu.wait()?;
    let before = (allocated(&gpu), resident());
    let session = run(&recipe(args.crop, args.msa, args.extra))?;
    let after = (allocated(&gpu), resident());
    let (planned, live) = (session.plan.peak_bytes, session.plan.live_bytes);
    let grown = |a: Option<u64>, b: Option<u64>| a.zip(b).map(|(a, b)| b.saturating_sub(a));
    let taken = grown(before.0, after.0);
    // Only on a software adapter do tensors lie in the process's own memory.
    let own = if gpu.traits.cpu { grown(before.1, after.1) } else { None };
    println!("planned {planned} bytes, of which {live} live at the fullest moment");
    let said = |n: Option<u64>| n.map_or("not told".into(), |n| format!("{n} bytes"));
    println!("taken: {} by wgpu's allocator, {} of the process's memory", said(taken), said(own));
    args.show.show(&session, json!({ "planned": planned, "live": live, "allocated": taken, "resident": own }))?;
    Ok(0)
}

/// Bytes that the device's allocator has handed out, where it tells.
fn allocated(gpu: &Gpu) -> Option<u64> {
    gpu.device.generate_allocator_report().map(|r| r.total_allocated_bytes)
}

/// Bytes of this process that are in memory, where Linux tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
}

/// One file for every shader and storage type; shaders that store integers alone have one.
fn shaders(out: &Path) -> Result<u8> {
    let mut written = 0;
    for source in shader::sources() {
        for dtype in types(source) {
            let path = out.join(format!("{}.{dtype}.wgsl", source.name));
            let folder = path.parent().expect("a file is in a folder");
            std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
            text::write_whole(&path, shader::assemble(source, &Variant::plain(source, dtype)).as_bytes())?;
            written += 1;
        }
    }
    println!("{written} sources of {} shaders in {}", shader::sources().len(), out.display());
    Ok(0)
}

/// The storage types in which a shader makes different sources.
fn types(source: &'static Source) -> Vec<DType> {
    let integers = Variant::plain(source, DType::F32).types.is_empty();
    if integers { vec![DType::I32] } else { vec![DType::F32, DType::Bf16, DType::F16] }
}
