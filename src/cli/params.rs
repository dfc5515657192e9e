//! `anyfold params`: files of parameters.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::error::{Error, Result};
use crate::io::text;
use crate::model::network::Network;
use crate::model::parameters::{self, Differences, Shapes};
use crate::model::presets::preset;
use crate::train::checkpoint;

/// Look into, make and convert files of parameters.
#[derive(Debug, Subcommand)]
pub enum Params {
    /// List names and shapes, and how they differ from a model's.
    Show(Show),
    /// Make the parameters with which training begins.
    Init(Init),
    /// Rewrite a file in the form that the new name asks for: .npz as AlphaFold releases them, or .safetensors.
    Convert(Convert),
}

/// List names and shapes, and how they differ from a model's.
#[derive(Debug, Args)]
pub struct Show {
    /// The file: .npz or .safetensors.
    file: PathBuf,
    /// Compare with this model; without it the models that fit are named.
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Write everything as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Make the parameters with which training begins.
#[derive(Debug, Args)]
pub struct Init {
    /// The model.
    #[arg(long, value_name = "NAME")]
    preset: String,
    /// What all values are drawn from.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The file: .npz or .safetensors.
    out: PathBuf,
}

/// Rewrite a file in the form that the new name asks for.
#[derive(Debug, Args)]
pub struct Convert {
    /// What to read: .npz, .safetensors, or a training run's checkpoint (.ckpt).
    input: PathBuf,
    /// Of a checkpoint, the averaged parameters, which are the ones to predict with; so it is when nothing is said.
    #[arg(long, conflicts_with = "raw")]
    ema: bool,
    /// Of a checkpoint, the parameters as the optimiser left them.
    #[arg(long)]
    raw: bool,
    /// What to write.
    output: PathBuf,
}

/// Runs the command. `show` gives 1 when the file differs from the model it is compared with.
pub fn run(command: &Params) -> Result<u8> {
    match command {
        Params::Show(args) => show(args),
        Params::Init(args) => init(args),
        Params::Convert(args) => convert(args),
    }
}

fn convert(args: &Convert) -> Result<u8> {
    let tensors = match (super::checkpoint::is(&args.input), args.raw || args.ema) {
        (true, _) => checkpoint::read(&args.input)?.parameters(&args.input, !args.raw)?.1,
        (false, false) => parameters::read(&args.input)?,
        (false, true) => {
            let input = args.input.display();
            return Err(Error::Config(format!("--raw and --ema choose between a checkpoint's parameters, and {input} is no .ckpt file")));
        }
    };
    parameters::write(&args.output, &tensors)?;
    println!("{}: {} parameters", args.output.display(), tensors.len());
    Ok(0)
}

fn count(shapes: &Shapes) -> usize {
    shapes.values().map(|s| s.iter().product::<usize>()).sum()
}

fn show(args: &Show) -> Result<u8> {
    let config = args.preset.as_deref().map(preset).transpose()?;
    let shapes = parameters::shapes(&parameters::read(&args.file)?);
    for (name, shape) in &shapes {
        println!("{name} {shape:?}");
    }
    println!("{} parameters, {} values", shapes.len(), count(&shapes));
    let mut out = json!({ "file": args.file, "parameters": shapes, "tensors": shapes.len(), "values": count(&shapes) });
    let status = match (&args.preset, config) {
        (Some(name), Some(config)) => {
            let differences = Differences::of(&shapes, &Network::parameters(&config).official());
            print_differences(&differences, name);
            out["preset"] = json!(name);
            out["differences"] = json!(differences);
            u8::from(!differences.is_empty())
        }
        _ => {
            let fitting = parameters::fitting(&shapes);
            match fitting.is_empty() {
                true => println!("no preset has exactly these; --preset NAME lists the differences"),
                false => println!("fits {}", fitting.join(", ")),
            }
            out["fits"] = json!(fitting);
            0
        }
    };
    write_json(args.json.as_deref(), &out)?;
    Ok(status)
}

fn print_differences(d: &Differences, name: &str) {
    if d.is_empty() {
        println!("exactly the parameters of {name}");
    }
    d.missing.iter().for_each(|(name, shape)| println!("missing: {name} {shape:?}"));
    d.extra.iter().for_each(|(name, shape)| println!("extra: {name} {shape:?}"));
    d.misshapen.iter().for_each(|(name, is, want)| println!("misshapen: {name} is {is:?}, expected {want:?}"));
}

fn init(args: &Init) -> Result<u8> {
    let params = Network::parameters(&preset(&args.preset)?);
    let tensors = params.unpack(&params.initial(args.seed));
    parameters::write(&args.out, &tensors)?;
    println!("{}: {} parameters, {} values", args.out.display(), tensors.len(), count(&params.official()));
    Ok(0)
}

fn write_json(path: Option<&Path>, out: &serde_json::Value) -> Result<()> {
    path.map_or(Ok(()), |path| text::write_whole(path, format!("{out:#}\n").as_bytes()))
}
