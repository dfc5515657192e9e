//! The learning rate (supplement 1.11.3), and what a step's `control` state holds.

use super::config::Optimizer;
use super::settings;
use crate::error::{Error, Result};
use crate::nn::params::Params;
use crate::ops::train::Control;

/// The learning rate of step number `step`, from 0 on: it rises linearly until `warmup_samples` have been seen, this step's among them, and
/// is multiplied by `decay_factor` once `decay_after_samples` have been.
pub fn learning_rate(o: &Optimizer, step: u64) -> f64 {
    let (before, after) = (step * o.batch as u64, (step + 1) * o.batch as u64);
    let warm = if o.warmup_samples == 0 { 1.0 } else { (after as f64 / o.warmup_samples as f64).min(1.0) };
    let decayed = o.decay_after_samples != 0 && before >= o.decay_after_samples;
    o.lr * warm * if decayed { o.decay_factor } else { 1.0 }
}

/// What the device is told before step number `step`.
pub fn control(o: &Optimizer, step: u64) -> Control {
    let lr = learning_rate(o, step);
    Control { lr, eps: o.eps, clip: o.clip, batch: o.batch, b1: o.b1, b2: o.b2, decay: o.ema_decay }
}

/// The factor on the learning rate of every element of an arena of `len` elements, by the first pattern that fits the parameter's name;
/// `None` when there are no patterns. A pattern that decides nothing is refused: what should have been frozen would not be.
pub fn factors(o: &Optimizer, params: &Params) -> Result<Option<Vec<f32>>> {
    if o.rates.is_empty() {
        return Ok(None);
    }
    let mut used = vec![false; o.rates.len()];
    let mut all = vec![1.0f32; params.len()];
    for entry in params.entries() {
        let Some(found) = o.rates.iter().position(|r| fits(&r.pattern, &entry.name)) else { continue };
        used[found] = true;
        entry.places().for_each(|at| all[at] = o.rates[found].factor as f32);
    }
    match used.iter().position(|used| !used) {
        None => Ok(Some(all)),
        Some(i) => Err(idle(o, i, params)),
    }
}

/// Why pattern `i` decides nothing.
fn idle(o: &Optimizer, i: usize, params: &Params) -> Error {
    let pattern = &o.rates[i].pattern;
    let (field, names) = (format!("optimizer.rates.{i}.pattern"), || params.entries().iter().map(|e| e.name.as_str()));
    if let Some(name) = names().find(|name| fits(pattern, name)) {
        let before = o.rates.iter().find(|r| fits(&r.pattern, name)).map_or("", |r| &r.pattern);
        return Error::Config(format!("`{field}` is `{pattern}`, and all it fits is decided by patterns before it, such as `{before}`"));
    }
    let mut near: Vec<(usize, &str)> = names().map(|name| (settings::distance_within(&pattern.replace('*', ""), name), name)).collect();
    near.sort_unstable();
    near.dedup_by_key(|n| n.1);
    let near: Vec<String> = near.iter().take(3).map(|n| format!("`{}`", n.1)).collect();
    Error::Config(format!("`{field}` is `{pattern}`, which is part of no parameter's name; near are {}", near.join(", ")))
}

/// Whether a pattern's parts between `*` stand in the name, in order and apart.
pub fn fits(pattern: &str, name: &str) -> bool {
    let mut rest = name;
    pattern.split('*').all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::presets::preset;

    #[test]
    fn the_published_rates() {
        let o = preset("initial_training").expect("a preset").optimizer;
        // 128,000 samples are 1,000 steps of 128; 6.4 million are 50,000.
        assert_eq!(learning_rate(&o, 0), 1e-6);
        assert!((learning_rate(&o, 499) - 5e-4).abs() < 1e-18);
        assert_eq!(learning_rate(&o, 999), 1e-3);
        assert_eq!(learning_rate(&o, 49_999), 1e-3);
        assert_eq!(learning_rate(&o, 50_000), 0.95e-3);
        assert_eq!(learning_rate(&o, 78_124), 0.95e-3, "once only");
        let o = preset("fine_tuning").expect("a preset").optimizer;
        assert_eq!(learning_rate(&o, 0), 5e-4, "no warm-up");
    }

    #[test]
    fn patterns_fit_parts_of_names() {
        let name = "alphafold/alphafold_iteration/evoformer/evoformer_iteration/msa_transition//weights";
        for fit in ["*", "evoformer", "evoformer/*transition", "msa_transition//weights", "//"] {
            assert!(fits(fit, name), "{fit}");
        }
        for miss in ["template", "transition*evoformer_iteration", "Evoformer"] {
            assert!(!fits(miss, name), "{miss}");
        }
    }
}
