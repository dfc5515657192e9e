//! `anyfold devices`: what this machine can compute on.

use std::path::PathBuf;

use clap::Args;

use crate::error::Result;
use crate::gpu::device::{self, Choice};
use crate::io::text;

/// List adapters and say which would be chosen.
#[derive(Debug, Args)]
pub struct Devices {
    /// Choose as a run would: part of an adapter's name, or its index.
    #[arg(long, value_name = "NAME|INDEX")]
    adapter: Option<String>,
    /// Write the list as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs the command; no adapter at all is an error that says what to install.
pub fn run(args: &Devices) -> Result<u8> {
    let choice = Choice { adapter: args.adapter.clone(), ..Choice::default() };
    let all = device::list(&choice)?;
    for a in &all {
        let mark = if a.chosen { "*" } else { " " };
        println!("{mark} {}: {} ({}, {}, {})", a.index, a.name, a.kind, a.backend, a.driver.trim());
        println!(
            "     binding {} MiB, buffer {} MiB, workgroup memory {} KiB",
            a.max_binding >> 20,
            a.max_buffer >> 20,
            a.workgroup_memory >> 10
        );
        let features = if a.features.is_empty() { "none".into() } else { a.features.join(", ") };
        println!("     subgroups of {} to {}; features used: {features}", a.subgroup[0], a.subgroup[1]);
    }
    if all.iter().any(|a| a.chosen && a.kind == "software") {
        println!("* is a software adapter: everything works on it, slowly");
    }
    if let Some(path) = &args.json {
        text::write_whole(path, format!("{:#}\n", serde_json::json!({ "adapters": all })).as_bytes())?;
    }
    Ok(0)
}
