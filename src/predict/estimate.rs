//! What a prediction will take, told before it begins: memory from the plan, time from the plan's operations and a rate.
//!
//! The rate is that of the passes before; before the first one it is measured on one block of each stack at a modest size, which a device does
//! less well than a large one: the time told is rather too long.

use std::fmt;
use std::time::Instant;

use crate::error::Result;
use crate::gpu::Gpu;
use crate::gpu::program::Cache;
use crate::graph::run::{Planned, Session};
use crate::model::config::Config;
use crate::model::features::Extents;
use crate::model::network::Network;
use crate::ops;
use crate::tensor::DType;

/// Largest sizes of the measurement.
const SAMPLE: Extents = Extents { n_res: 96, n_clust: 32, n_extra: 64, n_templ: 1 };

/// What one prediction will take.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Estimate {
    /// The model's name.
    pub model: String,
    /// Residues of the target.
    pub n_res: usize,
    /// The sizes that its passes are recorded for.
    #[serde(skip)]
    pub extents: Extents,
    /// Device memory.
    pub bytes: u64,
    /// Operations of a pass.
    pub flops: f64,
    /// Most passes.
    pub passes: usize,
    /// Operations a second.
    pub rate: f64,
}

impl Estimate {
    /// Seconds of all passes.
    pub fn seconds(&self) -> f64 {
        self.flops * self.passes as f64 / self.rate
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let e = self.extents;
        write!(
            f,
            "{}: {} residues as {}, {} cluster rows, {} extra rows, {} templates: {:.2} GiB of device memory; {} {} of {:.3} TFLOP, about {} at {:.3} \
             TFLOP/s",
            self.model,
            self.n_res,
            e.n_res,
            e.n_clust,
            e.n_extra,
            e.n_templ,
            self.bytes as f64 / (1u64 << 30) as f64,
            self.passes,
            if self.passes == 1 { "pass" } else { "passes" },
            self.flops / 1e12,
            duration(self.seconds()),
            self.rate / 1e12
        )
    }
}

/// Seconds as people say them.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => "a second".into(),
        s if s < 100.0 => format!("{s:.0} s"),
        s if s < 6000.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// Operations a second of passes of this model, measured on a small one with one block of each stack.
pub fn measure(gpu: &Gpu, cache: &Cache, config: &Config, storage: DType, of: Extents) -> Result<f64> {
    let mut small = config.clone();
    small.evoformer.blocks = 1;
    small.extra.blocks = 1;
    if let Some(template) = &mut small.template {
        template.stack.blocks = 1;
    }
    let e = Extents {
        n_res: of.n_res.min(SAMPLE.n_res),
        n_clust: of.n_clust.min(SAMPLE.n_clust),
        n_extra: of.n_extra.min(SAMPLE.n_extra),
        n_templ: of.n_templ.min(SAMPLE.n_templ),
    };
    let (network, graph) = (Network::new(small, storage), ops::graph(storage, 0));
    network.recycling_pass(&graph, e, 1, None);
    let planned = Planned::new(gpu, &[("sample", &graph)])?;
    let flops = planned.flops();
    let session = Session::planned(gpu, cache, planned)?;
    session.replay()?;
    gpu.wait()?;
    let began = Instant::now();
    session.replay()?;
    gpu.wait()?;
    Ok(flops / began.elapsed().as_secs_f64().max(1e-6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_says_memory_and_time() {
        let estimate = Estimate {
            model: "model_1".into(),
            n_res: 190,
            extents: Extents { n_res: 192, n_clust: 508, n_extra: 5120, n_templ: 4 },
            bytes: 3 << 29,
            flops: 2e12,
            passes: 4,
            rate: 4e10,
        };
        assert_eq!(estimate.seconds(), 200.0);
        let said = estimate.to_string();
        assert!(
            said.contains("190 residues as 192") && said.contains("1.50 GiB") && said.contains("about 3 min at 0.040 TFLOP/s"),
            "{said}"
        );
        assert_eq!([0.2, 42.4, 3700.0, 9000.0].map(duration), ["a second", "42 s", "62 min", "2.5 h"]);
    }
}
