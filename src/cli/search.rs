//! `anyfold search`: alignments and template hits of sequences.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::error::{Error, Result};
use crate::io::text;
use crate::search::config::SearchConfig;
use crate::search::process::Limits;
use crate::search::run::{self, RunOptions, State};

/// Search sequence and template databases with jackhmmer, hhblits, MMseqs2, hhsearch and hmmsearch.
///
/// Results go to OUT/NAME/: uniref90_hits.sto, mgnify_hits.sto, bfd_uniref_hits.a3m, pdb70_hits.hhr, … Results that are there
/// are kept, so that a run that was stopped goes on where it ended.
#[derive(Debug, Args)]
pub struct Search {
    /// Sequences, one or many.
    fasta: PathBuf,
    /// Databases (TOML): uniref90, mgnify, bfd, small_bfd, mmseqs, pdb70, pdb_seqres; [options]; [programs].
    #[arg(long, value_name = "CONFIG")]
    db: PathBuf,
    /// Folder of the results.
    #[arg(long)]
    out: PathBuf,
    /// Cores to use at one time [default: all].
    #[arg(long)]
    cores: Option<usize>,
    /// Seconds that one program may run.
    #[arg(long, default_value_t = 43200.0, value_name = "SECONDS")]
    timeout: f64,
    /// Search again what is there.
    #[arg(long)]
    overwrite: bool,
    /// Put results into OUT/NAME/msas, as AlphaFold does.
    #[arg(long)]
    msas: bool,
    /// Write the outcome of each search here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs the command. 1 when a sequence could not be searched or a search failed.
pub fn run(args: &Search) -> Result<u8> {
    let limit = Duration::try_from_secs_f64(args.timeout).ok().filter(|l| !l.is_zero());
    let limit = limit.ok_or_else(|| Error::Config(format!("--timeout {}: expected a positive number of seconds", args.timeout)))?;
    let config = SearchConfig::read(&args.db)?;
    let (good, bad): (Vec<_>, Vec<_>) = run::read_queries(&args.fasta)?.into_iter().partition(Result::is_ok);
    let queries: Vec<_> = good.into_iter().flatten().collect();
    let refused: Vec<String> = bad.into_iter().filter_map(Result::err).map(|e| e.to_string()).collect();
    for message in &refused {
        eprintln!("left out: {message}");
    }
    let cores = args.cores.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let options =
        RunOptions { cores, limits: Limits { time: limit, stop: super::stop::flag() }, overwrite: args.overwrite, msas_folder: args.msas };
    let outcomes = run::run(&queries, &config, &args.out, &options)?;
    for o in &outcomes {
        match &o.state {
            State::Failed(_) => println!("{}\tfailed", o.file.display()),
            State::Done => println!("{}\t{}\t{:.1} s", o.file.display(), o.count, o.seconds),
            State::Reused => println!("{}\t{}\treused", o.file.display(), o.count),
        }
    }
    if let Some(path) = &args.json {
        let report = json!({ "searches": outcomes, "left_out": refused });
        text::write_whole(path, format!("{report:#}\n").as_bytes())?;
    }
    let failed = outcomes.iter().filter(|o| matches!(o.state, State::Failed(_))).count();
    if failed + refused.len() > 0 {
        eprintln!("{failed} of {} searches failed, {} sequences left out", outcomes.len(), refused.len());
        return Ok(1);
    }
    Ok(0)
}
