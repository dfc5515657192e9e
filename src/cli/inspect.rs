//! `anyfold inspect`: what runs on the adapter.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::error::{Error, Result};
use crate::gpu::shader::{self, Source, Variant};
use crate::io::text;
use crate::tensor::DType;

/// What to look into.
#[derive(Debug, Subcommand)]
pub enum Inspect {
    /// Write every shader as it is assembled, in the dialect of browsers.
    Shaders(Shaders),
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
        Inspect::Shaders(args) => shaders(&args.out),
    }
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
