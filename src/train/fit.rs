//! How much of a step is computed again, so that it fits the memory that it may take. No bit of a run depends on it.
//!
//! Must not know the command line.

use super::lists::{self, Lists, Recipe};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::graph::Saving;
use crate::graph::run::Planned;

/// From the least work to the least memory.
pub const SAVINGS: [Saving; 6] = [
    Saving { group: 0, modules: false },
    Saving { group: 1, modules: false },
    Saving { group: 2, modules: false },
    Saving { group: 3, modules: false },
    Saving { group: 2, modules: true },
    Saving { group: 4, modules: true },
];

/// Of the memory that an adapter says is its own, what a step may take: other programs show pictures.
const SHARE: f64 = 0.8;

/// A step that is recorded and planned.
#[derive(Debug)]
pub struct Fitted {
    /// How it is recorded.
    pub recipe: Recipe,
    /// Its command lists.
    pub lists: Lists,
    /// Their memory.
    pub planned: Planned,
}

impl Fitted {
    /// The step exactly as the recipe says.
    pub fn exactly(gpu: &Gpu, recipe: Recipe) -> Result<Self> {
        let lists = lists::training(&recipe);
        let planned = Planned::new(gpu, &lists.graphs())?;
        Ok(Self { recipe, lists, planned })
    }

    /// What is computed again, in words.
    pub fn saves(&self) -> String {
        let Saving { group, modules } = self.recipe.saving;
        let blocks = match group {
            0 => return "nothing is computed again".into(),
            1 => "every block is computed again".to_owned(),
            n => format!("groups of {n} blocks are computed again"),
        };
        if modules { format!("{blocks}, and their modules one by one") } else { blocks }
    }
}

/// What may be taken where the user names no limit: most of what the adapter has, where it tells, or an equal part of that where `processes`
/// of this machine train on fewer adapters.
pub fn limit(gpu: &Gpu, memory_gib: f64, processes: usize) -> Option<u64> {
    let sharers = processes.div_ceil(gpu.alike).max(1);
    match memory_gib {
        0.0 => gpu.memory.map(|have| (have as f64 * SHARE / sharers as f64) as u64),
        gib => Some((gib * (1u64 << 30) as f64) as u64),
    }
}

/// Records the step with as little computed again as `limit` bytes allow; `recompute` says whether anything may be. Where the limit is not
/// known, the recipe stands.
pub fn fit(gpu: &Gpu, recipe: Recipe, limit: Option<u64>, recompute: bool) -> Result<Fitted> {
    let Some(limit) = limit else {
        let saving = if recompute { recipe.saving } else { SAVINGS[0] };
        return Fitted::exactly(gpu, Recipe { saving, ..recipe });
    };
    let mut tried = Vec::new();
    for saving in &SAVINGS[..if recompute { SAVINGS.len() } else { 1 }] {
        let fitted = Fitted::exactly(gpu, Recipe { saving: *saving, ..recipe.clone() })?;
        let peak = fitted.planned.plan.peak_bytes;
        if peak <= limit {
            return Ok(fitted);
        }
        tried.push(format!("{} when {}", gib(peak), fitted.saves()));
    }
    let e = recipe.extents;
    let allow = if recompute { "" } else { "`device.recompute` = true, " };
    Err(Error::Memory(format!(
        "a step at {} residues, {} clusters, {} extra rows and {} templates may take {} and takes {}; try {allow}a smaller `data.crop`, fewer \
         `data.clusters` or `data.extra_rows`, `device.storage` = \"bf16\", or a larger `device.memory_gib`",
        e.n_res,
        e.n_clust,
        e.n_extra,
        e.n_templ,
        gib(limit),
        tried.join(", ")
    )))
}

fn gib(bytes: u64) -> String {
    format!("{:.3} GiB", bytes as f64 / (1u64 << 30) as f64)
}
