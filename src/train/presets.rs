//! The presets: published initial training and fine-tuning (supplement 1.11), and what small machines can do.

use super::config::{Config, Data, Device, MaskingShares, Model, Optimizer, Run, Start};
use crate::error::{Error, Result};
use crate::loss::total::Weights;

/// All presets: name and what it is for.
pub const PRESETS: [(&str, &str); 4] = [
    ("initial_training", "AlphaFold's initial training (supplement Table 4)"),
    ("fine_tuning", "AlphaFold's fine-tuning, with violations and all confidences; needs `start.from`"),
    ("small", "a reduced model and crop for GPUs of 8 GB"),
    ("tiny", "below a million parameters, every part switched on, for software GPUs"),
];

/// A preset by its name.
pub fn preset(name: &str) -> Result<Config> {
    let mut config = initial_training();
    match name {
        "initial_training" => {}
        "fine_tuning" => fine_tuning(&mut config),
        "small" => small(&mut config),
        "tiny" => tiny(&mut config),
        _ => {
            let known: Vec<&str> = PRESETS.iter().map(|p| p.0).collect();
            return Err(Error::Config(format!("no preset `{name}`; there are `{}`", known.join("`, `"))));
        }
    }
    config.preset = name.into();
    Ok(config)
}

fn initial_training() -> Config {
    Config {
        preset: "initial_training".into(),
        seed: 0,
        model: Model { preset: "model_1".into(), overrides: toml::Table::new() },
        start: Start { from: "random".into(), ema: true },
        data: Data {
            train: Vec::new(),
            validation: Vec::new(),
            crop: 256,
            clusters: 128,
            extra_rows: 1024,
            templates: 4,
            max_passes: 4,
            unclamped_fraction: 0.1,
            deleted_blocks: 5,
            block_fraction: 0.3,
            distillation_rows: 1000,
            masking: MaskingShares { masked: 0.15, uniform: 0.1, profile: 0.1, same: 0.1 },
        },
        loss: Weights::default(),
        optimizer: Optimizer {
            lr: 1e-3,
            b1: 0.9,
            b2: 0.999,
            eps: 1e-6,
            clip: 0.1,
            batch: 128,
            warmup_samples: 128_000,
            decay_after_samples: 6_400_000,
            decay_factor: 0.95,
            ema_decay: 0.999,
            dropout: true,
            rates: Vec::new(),
        },
        run: Run {
            samples: 10_000_000,
            log_every: 1,
            checkpoint_every: 100,
            keep: 3,
            validate_every: 500,
            validation_passes: 4,
            validate_training: false,
            max_bad_steps: 10,
            threads: 4,
            queue: 16,
        },
        device: Device { storage: crate::tensor::DType::F32, recompute: true, memory_gib: 0.0 },
    }
}

fn fine_tuning(c: &mut Config) {
    c.model.preset = "model_1_ptm".into();
    c.start.from = String::new();
    (c.data.crop, c.data.clusters, c.data.extra_rows) = (384, 512, 5120);
    c.loss = Weights::fine_tuning();
    (c.optimizer.lr, c.optimizer.warmup_samples) = (5e-4, 0);
    c.run.samples = 1_500_000;
}

/// A batch of 128 and a warm-up of 1,000 such batches are for millions of samples; the small presets keep the warm-up's length in steps.
fn small(c: &mut Config) {
    c.model.preset = "small".into();
    (c.data.crop, c.data.clusters, c.data.extra_rows) = (128, 64, 256);
    c.optimizer.batch = 16;
    c.optimizer.warmup_samples = 1000 * 16;
    (c.run.samples, c.run.validate_every) = (400_000, 250);
}

fn tiny(c: &mut Config) {
    c.model.preset = "tiny".into();
    (c.data.crop, c.data.clusters, c.data.extra_rows, c.data.templates) = (64, 16, 32, 2);
    (c.optimizer.batch, c.optimizer.warmup_samples) = (4, 400);
    (c.run.samples, c.run.validate_every, c.run.checkpoint_every) = (8000, 100, 50);
    (c.run.threads, c.run.queue) = (1, 4);
}
