//! `anyfold bench predict`: seconds and bytes of a prediction's pass over length, through the path that predictions take.
//!
//! Sequences and alignments are drawn at random and parameters are AlphaFold's initial ones: what a pass costs depends on neither.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Instant;

use crate::data::alignment::Alignment;
use crate::data::draws::{Draws, Keyed, Purpose};
use crate::data::example::{Example, Template};
use crate::data::features::{self, FeatureConfig};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::gpu::program::Cache;
use crate::model::config::Config;
use crate::model::network::Network;
use crate::predict::estimate::Estimate;
use crate::predict::weights::Weights;
use crate::predict::{Inputs, Model, Request, network};
use crate::tensor::DType;

/// Passes that are timed, after one in which drivers compile.
const TIMED: usize = 2;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The model's sizes.
    pub config: Config,
    /// How its features are drawn.
    pub features: FeatureConfig,
    /// How activations are stored.
    pub storage: DType,
    /// Lengths, ascending.
    pub lengths: Vec<usize>,
    /// A length whose pass would take longer, as far as the lengths before tell, is not run, nor those after it.
    pub max_seconds: f64,
}

/// One length.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Row {
    /// Residues.
    pub length: usize,
    /// Seconds of a pass, the least of two.
    pub seconds: f64,
    /// Seconds until the first pass was done, with planning, compilation and memory.
    pub first: f64,
    /// Device memory at its fullest.
    pub peak_bytes: u64,
    /// Operations of a pass.
    pub flops: f64,
}

/// All lengths, with how time and memory grow.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Curve {
    /// Lengths that ran.
    pub rows: Vec<Row>,
    /// Why longer ones did not.
    pub ended: Option<String>,
    /// Exponent of time over length, fitted to all rows.
    pub seconds_exponent: Option<f64>,
    /// The same of the two longest alone.
    pub last_seconds_exponent: Option<f64>,
    /// Exponent of memory over length, parameters and all, fitted to all rows.
    pub bytes_exponent: Option<f64>,
}

/// Slope of the line through the logarithms, by least squares; `None` with fewer than two points.
pub fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let n = logs.len() as f64;
    let (mx, my) = (logs.iter().map(|p| p.0).sum::<f64>() / n, logs.iter().map(|p| p.1).sum::<f64>() / n);
    let (xy, xx) = logs.iter().fold((0.0, 0.0), |(xy, xx), (x, y)| (xy + (x - mx) * (y - my), xx + (x - mx).powi(2)));
    (xx > 0.0).then(|| xy / xx)
}

impl Curve {
    fn fit(&mut self) {
        let of = |value: fn(&Row) -> f64| self.rows.iter().map(|r| (r.length as f64, value(r))).collect::<Vec<_>>();
        let (seconds, bytes) = (of(|r| r.seconds), of(|r| r.peak_bytes as f64));
        self.seconds_exponent = exponent(&seconds);
        self.last_seconds_exponent = exponent(&seconds[seconds.len().saturating_sub(2)..]);
        self.bytes_exponent = exponent(&bytes);
    }

    /// Seconds of a pass at another length, from the newest rows; nothing is known before the first.
    fn expected(&self, length: usize) -> Option<f64> {
        let last = self.rows.last()?;
        // Between the work of alignments, which grows linearly, and that of pairs, which grows with the cube.
        let power = self.last_seconds_exponent.unwrap_or(2.0).clamp(1.0, 3.0);
        Some(last.seconds * (length as f64 / last.length as f64).powf(power))
    }
}

/// Measures lengths until one does not fit or would take too long. `watch` is told each row; `stop` ends it.
pub fn run(gpu: &Gpu, cache: &Cache, settings: &Settings, watch: &dyn Fn(&Row), stop: &dyn Fn() -> bool) -> Result<Curve> {
    let params = Network::parameters(&settings.config);
    let weights = Weights::new(settings.config.clone(), params.unpack(&params.initial(0)))?;
    let model = Model { name: "bench".into(), identity: String::new(), features: settings.features.clone() };
    let mut curve = Curve::default();
    let mut network = network::open(gpu, cache, settings.storage, BTreeMap::from([(model.name.clone(), weights)]));
    for &length in &settings.lengths {
        if stop() {
            return Err(Error::Interrupted);
        }
        if let Some(seconds) = curve.expected(length).filter(|s| *s > settings.max_seconds) {
            curve.ended = Some(format!(
                "a pass over {length} residues would take about {seconds:.0} s, more than --max-seconds {}",
                settings.max_seconds
            ));
            break;
        }
        match one(&mut *network, &model, length, stop) {
            Ok(row) => {
                watch(&row);
                curve.rows.push(row);
                curve.fit();
            }
            Err(Error::Memory(what)) => {
                curve.ended = Some(what);
                break;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(curve)
}

fn one(network: &mut crate::predict::Run, model: &Model, length: usize, stop: &dyn Fn() -> bool) -> Result<Row> {
    let made = features::make(&example(length, &model.features), &model.features, TIMED + 1, &Keyed::new(0, length as u64));
    let (began, starts, told) = (Instant::now(), RefCell::new(Vec::new()), Cell::new((0, 0.0)));
    let request = Request {
        model,
        n_res: length,
        n_recycle: TIMED,
        n_ensemble: 1,
        tolerance: 0.0,
        tensors: false,
        distogram: false,
        pass: &|_| {
            starts.borrow_mut().push(began.elapsed().as_secs_f64());
            if stop() { Err(Error::Interrupted) } else { Ok(()) }
        },
        estimate: &|e: &Estimate| told.set((e.bytes, e.flops)),
    };
    network(Inputs::Features(&made), &request)?;
    let mut at = starts.take();
    at.push(began.elapsed().as_secs_f64());
    let seconds = (1..=TIMED).map(|k| at[k + 1] - at[k]).fold(f64::INFINITY, f64::min);
    let (peak_bytes, flops) = told.get();
    Ok(Row { length, seconds, first: at[1], peak_bytes, flops })
}

/// A random sequence with as many different rows as all cluster and extra rows, and all templates.
fn example(n_res: usize, config: &FeatureConfig) -> Example {
    let draws = Keyed::new(0, n_res as u64);
    let draw = |i: usize, n: usize| draws.below(0, Purpose::Chain, i as u64, n) as u8;
    let n_seq = config.max_clusters + config.max_extra + 1;
    let mut alignment = Alignment { n_res, ..Alignment::default() };
    for row in 0..n_seq {
        alignment.rows.extend((0..n_res).map(|i| draw(row * n_res + i, 20)));
        alignment.deletions.push_dense(&vec![0; n_res]);
    }
    let aatype = alignment.row(0).to_vec();
    let line = |i: usize| [[3.8 * i as f32, 1.0, -1.0]; 37];
    let template = Template {
        name: "made up".into(),
        aatype: aatype.clone(),
        positions: (0..n_res).map(line).collect(),
        mask: vec![[1.0; 37]; n_res],
        ..Template::default()
    };
    let residue_index = (0..n_res as i32).collect();
    Example { id: "bench".into(), aatype, residue_index, alignment, templates: vec![template; config.max_templates], labels: None }
}

/// The heading of the table.
pub fn head() -> String {
    format!("{:>7} {:>12} {:>12} {:>11} {:>10} {:>10}", "length", "s a pass", "first pass", "peak", "TFLOP", "TFLOP/s")
}

impl Row {
    /// The row of the table.
    pub fn line(&self) -> String {
        let (peak, tflop) = (self.peak_bytes as f64 / 1e9, self.flops / 1e12);
        format!(
            "{:>7} {:>12.3} {:>12.3} {peak:>8.3} GB {tflop:>10.4} {:>10.4}",
            self.length,
            self.seconds,
            self.first,
            tflop / self.seconds
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_law_gives_its_exponent() {
        let points: Vec<(f64, f64)> = [64.0, 128.0, 256.0].map(|x: f64| (x, 3.0 * x.powf(2.5))).to_vec();
        assert!((exponent(&points).unwrap() - 2.5).abs() < 1e-9);
        assert_eq!(exponent(&points[..1]), None);
    }
}
