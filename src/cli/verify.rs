//! `anyfold verify`: whether this machine computes what AlphaFold does.

use std::path::PathBuf;

use clap::Args;

use crate::error::{Error, Result};
use crate::io::text;
use crate::verify::report::{self, Outcome};
use crate::verify::{self, rules};

/// Compare golden cases with what this program computes.
#[derive(Debug, Args)]
pub struct Verify {
    /// Golden files, or folders with golden files below them.
    #[arg(required_unless_present = "explain", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only cases whose name (`case` or `group/case`) fits; `*` stands for anything.
    #[arg(long, value_name = "GLOB")]
    filter: Option<String>,
    /// Write every comparison as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print the rules by which cases are judged.
    #[arg(long)]
    explain: bool,
}

/// Runs the command: 0 all passed, 1 some failed, 2 some could not be judged.
pub fn run(args: &Verify) -> Result<u8> {
    if args.explain {
        print!("{}", rules::explain());
        if args.paths.is_empty() {
            return Ok(0);
        }
    }
    let wanted = |path: &PathBuf| {
        let name = verify::case_name(path);
        let case = name.rsplit('/').next().unwrap_or(&name);
        args.filter.as_ref().is_none_or(|glob| verify::fits(glob, &name) || verify::fits(glob, case))
    };
    let files: Vec<PathBuf> = verify::find(&args.paths)?.into_iter().filter(wanted).collect();
    if files.is_empty() {
        return Err(Error::Config(format!("--filter {}: no case fits", args.filter.as_deref().unwrap_or_default())));
    }
    // A case whose tensors do not fit becomes a row of its own; what Rust says of it besides would only be noise.
    std::panic::set_hook(Box::new(|_| ()));
    let stop = super::stop::flag();
    let context = verify::Context::default();
    let mut cases = Vec::new();
    println!("{}", report::head());
    for file in &files {
        if stop.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let case = verify::run_file(&context, file);
        println!("{}", case.row());
        case.error.iter().for_each(|e| eprintln!("error: {e}"));
        cases.push(case);
    }
    drop(std::panic::take_hook());
    if let Some(path) = &args.json {
        text::write_whole(path, format!("{:#}\n", report::json(&cases)).as_bytes())?;
    }
    let mut unknown: Vec<&str> = cases.iter().filter(|c| c.outcome == Outcome::Unknown).map(|c| c.module.as_str()).collect();
    unknown.sort_unstable();
    unknown.dedup();
    if !unknown.is_empty() {
        eprintln!("error: modules that this version does not know: {}; try --filter or a newer version", unknown.join(", "));
    }
    let (passed, failed) = report::totals(&cases);
    println!("{passed} passed, {failed} failed");
    Ok(match () {
        _ if failed == 0 => 0,
        _ if cases.iter().any(|c| matches!(c.outcome, Outcome::Error | Outcome::Unknown)) => 2,
        _ => 1,
    })
}
