//! What every measurement takes and leaves: the adapter, a note, and the figures as JSON.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use crate::error::Result;
use crate::gpu::Gpu;
use crate::gpu::device::Choice;
use crate::io::text;

/// Options of every measurement.
#[derive(Debug, Args)]
pub struct Measure {
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

impl Measure {
    /// Opens the adapter.
    pub fn open(&self) -> Result<Gpu> {
        Gpu::open(&Choice { adapter: self.adapter.clone(), ..Choice::default() })
    }

    /// Writes what was measured, an object, with what it was measured on, where the user wants it.
    pub fn write(&self, gpu: &Gpu, figures: Value) -> Result<()> {
        let Some(path) = &self.json else { return Ok(()) };
        let info = &gpu.info;
        let mut report = serde_json::json!({
            "adapter": info.name, "backend": info.backend.to_string(), "driver": format!("{} {}", info.driver, info.driver_info),
            "traits": gpu.traits, "version": env!("CARGO_PKG_VERSION"), "note": self.note,
        });
        let (Value::Object(all), Value::Object(more)) = (&mut report, figures) else { panic!("figures are an object") };
        all.extend(more);
        text::write_whole(path, format!("{report:#}\n").as_bytes())
    }
}
