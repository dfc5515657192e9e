//! `anyfold bench`: how fast this machine computes.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::bench::{self, cases, rates};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::gpu::device::Choice;
use crate::gpu::program::Cache;
use crate::io::text;
use crate::tensor::DType;
use crate::verify::fits;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Every operation, forward and backward, against what the adapter can do at best.
    Ops(Ops),
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
    /// Part of an adapter's name, or its index in `anyfold devices`.
    #[arg(long, value_name = "NAME|INDEX")]
    adapter: Option<String>,
    /// A note to be kept with the figures, such as the version that was measured.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs the command.
pub fn run(command: &Bench) -> Result<u8> {
    let Bench::Ops(args) = command;
    let storage = match args.storage.as_str() {
        "f32" => DType::F32,
        "bf16" => DType::Bf16,
        other => return Err(Error::Config(format!("--storage {other}: f32 or bf16"))),
    };
    let wanted = |name: &str| args.filter.as_ref().is_none_or(|glob| fits(glob, name));
    let cases: Vec<_> = cases::all().into_iter().filter(|c| wanted(c.name)).collect();
    if cases.is_empty() {
        return Err(Error::Config(format!("--filter {}: no operation fits", args.filter.as_deref().unwrap_or_default())));
    }
    let gpu = Gpu::open(&Choice { adapter: args.adapter.clone(), ..Choice::default() })?;
    let cache = Cache::default();
    let stop = super::stop::flag();
    let best = rates::measure(&gpu, &cache)?;
    println!("{} ({} {})", gpu.info.name, gpu.info.driver, gpu.info.driver_info);
    println!("copies {:.2} GB/s, multiply-adds {:.1} GFLOP/s", best.copy / 1e9, best.fma / 1e9);
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
    if let Some(path) = &args.json {
        let info = &gpu.info;
        let report = serde_json::json!({
            "adapter": info.name, "backend": info.backend.to_string(), "driver": format!("{} {}", info.driver, info.driver_info),
            "traits": gpu.traits, "version": env!("CARGO_PKG_VERSION"), "note": args.note, "rates": best, "rows": rows,
        });
        text::write_whole(path, format!("{report:#}\n").as_bytes())?;
    }
    Ok(0)
}
