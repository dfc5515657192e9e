//! Models by name: AlphaFold's ten (supplement Table 5), and smaller ones of the same architecture.

use crate::error::{Error, Result};
use crate::model::config::{BlockConfig, Config, HeadsConfig, PaeConfig, TemplateConfig};
use crate::model::structure::StructureConfig;

/// All names, and what each is for.
pub const PRESETS: [(&str, &str); 12] = [
    ("model_1", "released; templates, 5,120 extra rows"),
    ("model_2", "released; templates"),
    ("model_3", "released; no templates, 5,120 extra rows"),
    ("model_4", "released; no templates, 5,120 extra rows"),
    ("model_5", "released; no templates"),
    ("model_1_ptm", "model_1 with predicted aligned error"),
    ("model_2_ptm", "model_2 with predicted aligned error"),
    ("model_3_ptm", "model_3 with predicted aligned error"),
    ("model_4_ptm", "model_4 with predicted aligned error"),
    ("model_5_ptm", "model_5 with predicted aligned error"),
    ("small", "between 5 and 10 million parameters, for GPUs of 8 GB"),
    ("tiny", "below a million parameters, for software GPUs and tests"),
];

/// The sizes of a model by its name.
pub fn preset(name: &str) -> Result<Config> {
    match name {
        "small" => return Ok(small()),
        "tiny" => return Ok(tiny()),
        _ => {}
    }
    if !PRESETS.iter().any(|(known, _)| *known == name) {
        let known: Vec<&str> = PRESETS.iter().map(|p| p.0).collect();
        return Err(Error::Config(format!("no model `{name}`; there are `{}`", known.join("`, `"))));
    }
    let mut config = released();
    if !(name.starts_with("model_1") || name.starts_with("model_2")) {
        config.template = None;
    }
    config.heads.pae = name.ends_with("_ptm").then(PaeConfig::default);
    Ok(config)
}

/// Models 1 and 2 without the aligned error.
fn released() -> Config {
    let evoformer = BlockConfig::default();
    let stack = BlockConfig { blocks: 2, pair_attention: Some(64), triangle: 64, pair_factor: 2, ..BlockConfig::default() };
    Config {
        c_m: 256,
        c_z: 128,
        c_s: 384,
        c_e: 64,
        max_relative: 32,
        extra: BlockConfig { blocks: 4, ..evoformer.clone() },
        evoformer,
        template: Some(TemplateConfig { c_t: 64, heads: 4, attention: 64, unit_vector: false, angles: true, stack }),
        structure: StructureConfig::default(),
        heads: HeadsConfig::default(),
    }
}

fn small() -> Config {
    let evoformer = BlockConfig { blocks: 12, triangle: 64, outer: 16, ..BlockConfig::default() };
    let stack = BlockConfig { blocks: 1, pair_attention: Some(32), triangle: 32, pair_factor: 2, ..BlockConfig::default() };
    Config {
        c_m: 128,
        c_z: 64,
        c_s: 192,
        c_e: 32,
        max_relative: 32,
        extra: BlockConfig { blocks: 2, ..evoformer.clone() },
        evoformer,
        template: Some(TemplateConfig { c_t: 32, heads: 4, attention: 32, unit_vector: false, angles: true, stack }),
        structure: StructureConfig { channels: 192, sidechain_channels: 64, ..StructureConfig::default() },
        heads: HeadsConfig { plddt_channels: 64, pae: Some(PaeConfig::default()), ..HeadsConfig::default() },
    }
}

fn tiny() -> Config {
    let evoformer = BlockConfig {
        blocks: 4,
        msa_heads: 4,
        pair_heads: 4,
        triangle: 32,
        outer: 8,
        msa_factor: 2,
        pair_factor: 2,
        ..BlockConfig::default()
    };
    let stack = BlockConfig { blocks: 1, pair_attention: Some(16), triangle: 16, ..evoformer.clone() };
    Config {
        c_m: 64,
        c_z: 32,
        c_s: 96,
        c_e: 16,
        max_relative: 32,
        extra: BlockConfig { blocks: 1, ..evoformer.clone() },
        evoformer,
        template: Some(TemplateConfig { c_t: 16, heads: 4, attention: 16, unit_vector: false, angles: true, stack }),
        structure: StructureConfig { layers: 4, heads: 4, channels: 96, sidechain_channels: 48, ..StructureConfig::default() },
        heads: HeadsConfig { plddt_channels: 32, pae: Some(PaeConfig::default()), ..HeadsConfig::default() },
    }
}
