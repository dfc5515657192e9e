//! `anyfold verify`: whether this machine computes what AlphaFold does.

use std::path::PathBuf;

use clap::Args;

use crate::error::{Error, Result};
use crate::gpu::device::Choice;
use crate::gpu::recorder::Family;
use crate::graph::Saving;
use crate::io::text;
use crate::verify::report::{self, Outcome};
use crate::verify::{self, embedded, rules};

/// Compare golden cases with what this program computes.
#[derive(Debug, Args)]
pub struct Verify {
    /// Golden files, or folders with golden files below them; without any, the small set inside the program.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only cases whose name (`case` or `group/case`) fits; `*` stands for anything.
    #[arg(long, value_name = "GLOB")]
    filter: Option<String>,
    /// Write every comparison as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Part of an adapter's name, or its index in `anyfold devices`.
    #[arg(long, value_name = "NAME|INDEX")]
    adapter: Option<String>,
    /// A family of kernels in place of the one that suits the adapter: subgroup, tiled or cooperative.
    #[arg(long, value_name = "FAMILY", value_parser = family)]
    family: Option<Family>,
    /// Lower limits than the adapter's, such as binding=64KiB,buffer=1MiB: what larger tensors would meet.
    #[arg(long, value_name = "LIMITS")]
    limit: Option<String>,
    /// How much memory to spend: the trainer's usual balance, or as little as possible, computing every module again.
    #[arg(long, value_name = "usual|smallest", default_value = "usual", value_parser = budget)]
    budget: Saving,
    /// Run with full checks in shaders.
    #[arg(long)]
    checked: bool,
    /// Print the rules by which cases are judged.
    #[arg(long)]
    explain: bool,
}

fn family(text: &str) -> std::result::Result<Family, String> {
    let found = Family::NAMES.iter().find(|(name, _)| *name == text);
    found.map(|(_, family)| *family).ok_or_else(|| format!("there are {}", Family::NAMES.map(|(name, _)| name).join(", ")))
}

fn budget(text: &str) -> std::result::Result<Saving, String> {
    match text {
        "usual" => Ok(Saving::default()),
        "smallest" => Ok(Saving::SMALLEST),
        _ => Err("there are `usual` and `smallest`".into()),
    }
}

impl Verify {
    fn choice(&self) -> Result<Choice> {
        let mut choice = Choice { adapter: self.adapter.clone(), family: self.family, checked: self.checked, ..Choice::default() };
        for part in self.limit.iter().flat_map(|l| l.split(',')) {
            let wrong = || Error::Config(format!("--limit {part}: expected binding=BYTES or buffer=BYTES, such as binding=64KiB"));
            let (key, value) = part.split_once('=').ok_or_else(wrong)?;
            let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            let unit = match &value[digits.len()..] {
                "" | "B" => 1,
                "KiB" => 1 << 10,
                "MiB" => 1 << 20,
                "GiB" => 1u64 << 30,
                _ => return Err(wrong()),
            };
            let bytes = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).filter(|n| *n > 0).ok_or_else(wrong)?;
            match key.trim() {
                "binding" => choice.max_binding = Some(bytes),
                "buffer" => choice.max_buffer = Some(bytes),
                _ => return Err(wrong()),
            }
        }
        Ok(choice)
    }
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
    let folder = tempfile::tempdir().map_err(|e| Error::io(std::env::temp_dir(), e))?;
    let found = if args.paths.is_empty() { embedded::write(folder.path())? } else { verify::find(&args.paths)? };
    let files: Vec<PathBuf> = found.into_iter().filter(wanted).collect();
    if files.is_empty() {
        return Err(Error::Config(format!("--filter {}: no case fits", args.filter.as_deref().unwrap_or_default())));
    }
    // A case whose tensors do not fit becomes a row of its own; what Rust says of it besides would only be noise.
    std::panic::set_hook(Box::new(|_| ()));
    let stop = super::stop::flag();
    let context = verify::Context::new(args.choice()?, args.budget);
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
