//! `anyfold report`: a training run as one page.

use std::path::PathBuf;

use clap::Args;

use crate::error::Result;
use crate::train::report;

/// Make one self-contained HTML page of a training run: curves, validation chains and structures, configuration.
#[derive(Debug, Args)]
pub struct Report {
    /// The run's folder.
    run: PathBuf,
    /// Where the page is written; RUN/report.html when not given.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Report) -> Result<u8> {
    let out = args.out.clone().unwrap_or_else(|| args.run.join("report.html"));
    report::write(&args.run, &out)?;
    println!("{}", out.display());
    Ok(0)
}
