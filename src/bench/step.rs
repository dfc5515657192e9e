//! `anyfold bench step`: a whole training step at any shape, on an example that is made up: time, memory, work, and which operations take it.
//!
//! Values do not matter to the time; the example is a helix with an alignment and templates of itself, and goes the way of every other one.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::bench::rates::Rates;
use crate::data::alignment::Alignment;
use crate::data::draws::Keyed;
use crate::data::example::{Example, Labels, Template};
use crate::data::features::{self, FeatureConfig};
use crate::data::ship;
use crate::error::Result;
use crate::gpu::Gpu;
use crate::graph::budget::Work;
use crate::protein::letters::slot37::{C, CA, N, O};
use crate::protein::{Mask37, Positions37};
use crate::train::config::Config;
use crate::train::step::Step;
use crate::train::{optimizer, schedule};

/// A time over repeats, seconds.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Timing {
    /// The median.
    pub median: f64,
    /// The least and the most.
    pub range: [f64; 2],
}

impl Timing {
    fn of(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        let middle = all.len() / 2;
        let median = if all.len().is_multiple_of(2) { (all[middle - 1] + all[middle]) / 2.0 } else { all[middle] };
        Self { median, range: [all[0], all[all.len() - 1]] }
    }
}

/// A part of the step: an operation in one direction, a part of the network, a list, or all of it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Seconds in a step.
    pub seconds: f64,
    /// Work in a step.
    pub work: Work,
    /// Seconds that the adapter's rates would take at least, for each command by itself.
    pub ideal: f64,
}

impl Part {
    /// The share of what the adapter can do at best.
    pub fn roofline(&self) -> f64 {
        self.ideal / self.seconds.max(1e-12)
    }
}

/// What was measured.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Measured {
    /// How the operations were timed.
    pub clock: &'static str,
    /// Passes of a step, the last one included.
    pub passes: f64,
    /// The whole step.
    pub step: Timing,
    /// Its parts: bringing an example's arrays to the device, for one pass; each list, once.
    pub parts: BTreeMap<String, Timing>,
    /// All memory of the plan, bytes.
    pub peak_bytes: u64,
    /// The largest sum of tensors that live at one moment.
    pub live_bytes: u64,
    /// What the allocator holds on the device.
    pub allocated_bytes: Option<u64>,
    /// Work of a step.
    pub work: Work,
    /// The share of what the adapter can do at best, over the whole step.
    pub roofline: f64,
    /// Seconds of a step by operation and direction, longest first.
    pub operations: Vec<Part>,
    /// The same by part of the network.
    pub scopes: Vec<Part>,
}

/// What a list is done in a step of so many passes.
fn times(list: &str, passes: f64) -> f64 {
    if list == "pass" { passes - 1.0 } else { 1.0 }
}

/// The lists of a step, in order.
const LISTS: [&str; 3] = ["pass", "example", "update"];

/// Measures steps of `passes` passes: one for warming up, then `repeats`.
pub fn measure(gpu: &Gpu, step: &Step, config: &Config, (passes, repeats): (f64, usize), rates: &Rates) -> Result<Measured> {
    let features = features::make(&example(config), &features_of(config), 1, &Keyed::new(1, 0));
    let arrays = step.passes(&features)?.remove(0);
    let labels = ship::labels(&features, config.data.crop).expect("the example has a structure");
    optimizer::begin(&step.session, &step.params.initial(1));
    optimizer::steer(&step.session, &schedule::control(&config.optimizer, 0));
    let mut seconds: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for repeat in 0..=repeats {
        let mut took = |name: &'static str, body: &dyn Fn() -> Result<()>| -> Result<()> {
            let start = Instant::now();
            body()?;
            gpu.wait()?;
            if repeat > 0 {
                seconds.entry(name).or_default().push(start.elapsed().as_secs_f64());
            }
            Ok(())
        };
        took("upload", &|| {
            step.forget();
            step.feed(arrays.clone(), true);
            step.label(labels.clone());
            Ok(())
        })?;
        for list in LISTS.into_iter().filter(|list| times(list, passes) > 0.0) {
            took(list, &|| step.session.replay_list(list))?;
        }
    }
    let lists: Vec<&str> = LISTS.into_iter().filter(|list| times(list, passes) > 0.0).collect();
    let total = |i: usize| passes * seconds["upload"][i] + lists.iter().map(|l| times(l, passes) * seconds[l][i]).sum::<f64>();
    let whole = Timing::of((0..repeats).map(total).collect());
    let (clock, commands) = commands(gpu, step, &lists, (passes, repeats), rates)?;
    let mut work = Work::default();
    commands.iter().for_each(|(_, part)| work.add(&part.work, 1.0));
    Ok(Measured {
        clock,
        passes,
        roofline: commands.iter().map(|(_, part)| part.ideal).sum::<f64>() / whole.median,
        step: whole,
        parts: seconds.into_iter().map(|(name, all)| (name.to_owned(), Timing::of(all))).collect(),
        peak_bytes: step.session.plan.peak_bytes,
        live_bytes: step.session.plan.live_bytes,
        allocated_bytes: gpu.allocated(),
        work,
        operations: joined(&commands, |label| label.rsplit('/').next().unwrap_or(label).to_owned()),
        scopes: joined(&commands, scope),
    })
}

/// Every command of a step with its label, the median of its seconds, and its work.
fn commands(
    gpu: &Gpu,
    step: &Step,
    lists: &[&str],
    (passes, repeats): (f64, usize),
    rates: &Rates,
) -> Result<(&'static str, Vec<(String, Part)>)> {
    let (mut clock, mut all) = ("", Vec::new());
    for list in lists {
        let range = step.session.list(list);
        let mut seconds: Vec<Vec<f64>> = vec![Vec::new(); range.len()];
        for _ in 0..repeats {
            // Of a software adapter, whose dispatches end where they are waited for, the wall clock tells more.
            let stamped = if gpu.traits.cpu { None } else { step.session.stamped(range.clone())? };
            clock = if stamped.is_some() { "timestamps around every dispatch" } else { "wall clock, every command waited for" };
            let once = stamped.map_or_else(|| step.session.waited(range.clone()), Ok)?;
            seconds.iter_mut().zip(once).for_each(|(all, s)| all.push(s));
        }
        for (at, seconds) in range.zip(seconds) {
            let mut work = Work::default();
            work.add(&step.session.work(at..at + 1)?, times(list, passes));
            let ideal = (work.flops / rates.fma).max(work.bytes / rates.copy);
            let seconds = Timing::of(seconds).median * times(list, passes);
            all.push((step.session.label(at).to_owned(), Part { name: String::new(), seconds, work, ideal }));
        }
    }
    Ok((clock, all))
}

/// The first part of a label's scope, with the direction.
fn scope(label: &str) -> String {
    let first = label.split('/').next().filter(|_| label.contains('/')).unwrap_or_default();
    let first = if first.is_empty() { "others" } else { first };
    if label.ends_with(" backward") { format!("{first} backward") } else { first.to_owned() }
}

fn joined(commands: &[(String, Part)], name: impl Fn(&str) -> String) -> Vec<Part> {
    let mut by_name: BTreeMap<String, Part> = BTreeMap::new();
    for (label, part) in commands {
        let name = name(label);
        let whole = by_name.entry(name.clone()).or_insert(Part { name, seconds: 0.0, work: Work::default(), ideal: 0.0 });
        whole.seconds += part.seconds;
        whole.ideal += part.ideal;
        whole.work.add(&part.work, 1.0);
    }
    let mut all: Vec<Part> = by_name.into_values().collect();
    all.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    all
}

/// The features of training, without what leaves rows out: the shape is to be full.
fn features_of(config: &Config) -> FeatureConfig {
    FeatureConfig { training: None, ..config.features() }
}

/// A helix as long as the crop, with as many rows and templates as there is room for.
fn example(config: &Config) -> Example {
    let d = &config.data;
    let n = d.crop;
    let draw = |i: usize, below: u64| ((i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) % below;
    let aatype: Vec<u8> = (0..n).map(|i| draw(i, 20) as u8).collect();
    let mut alignment = Alignment { n_res: n, ..Alignment::default() };
    for row in 0..d.clusters + d.extra_rows {
        // Half of a row's residues are the query's.
        let residue = |i: usize| if row == 0 || draw(row * n + i, 2) == 0 { aatype[i] } else { draw(row * n + i, 7919) as u8 % 20 };
        alignment.rows.extend((0..n).map(residue));
        alignment.deletions.push_dense(&vec![0; n]);
    }
    let positions: Vec<Positions37> = (0..n).map(residue_of_helix).collect();
    let mask: Vec<Mask37> = vec![std::array::from_fn(|slot| f32::from(u8::from([N, CA, C, O].contains(&slot)))); n];
    let template =
        Template { aatype: aatype.clone(), positions: positions.clone(), mask: mask.clone(), sum_probs: 1.0, ..Template::default() };
    Example {
        id: "helix".into(),
        aatype,
        residue_index: (0..n as i32).collect(),
        alignment,
        templates: vec![template; d.templates],
        labels: Some(Labels { positions, mask, resolution: 1.5, is_distillation: false }),
    }
}

/// Backbone atoms of residue `i` of an alpha helix: radius and angle about its axis, and height above the CA.
fn residue_of_helix(i: usize) -> Positions37 {
    let mut atoms = [[0.0; 3]; 37];
    for (slot, radius, angle, height) in [(N, 1.55, -27.7, -0.87), (CA, 2.28, 0.0, 0.0), (C, 1.66, 26.4, 1.14), (O, 2.0, 23.7, 2.35)] {
        let turn = (100.0 * i as f32 + angle).to_radians();
        atoms[slot] = [radius * turn.cos(), radius * turn.sin(), 1.5 * i as f32 + height];
    }
    atoms
}

/// Lines that say what was measured.
pub fn lines(m: &Measured, rows: usize) -> Vec<String> {
    let gib = |bytes: u64| format!("{:.3} GiB", bytes as f64 / (1u64 << 30) as f64);
    let ms = |t: &Timing| format!("{:.2} ms ({:.2} to {:.2})", t.median * 1e3, t.range[0] * 1e3, t.range[1] * 1e3);
    let held = m.allocated_bytes.map_or(String::new(), |b| format!("; the allocator holds {}", gib(b)));
    let mut out = vec![
        format!("a step of {} passes: median {}", m.passes, ms(&m.step)),
        format!("memory: {} ({} of tensors at the fullest moment{held})", gib(m.peak_bytes), gib(m.live_bytes)),
        format!(
            "work: {:.3} GFLOP, {:.2} GB, {:.0} dispatches; {:.1} % of the roofline",
            m.work.flops / 1e9,
            m.work.bytes / 1e9,
            m.work.dispatches,
            m.roofline * 100.0
        ),
    ];
    out.extend(m.parts.iter().map(|(name, t)| format!("  {name}, once: median {}", ms(t))));
    out.push(format!("operations by {}:", m.clock));
    let heads = ["of all", "GFLOP/s", "GB/s", "roofline"];
    let [share, gflops, gbs, roofline] = heads;
    let head = |what: &str| format!("{what:<40} {:>12} {share:>7} {:>8} {gflops:>9} {gbs:>8} {roofline:>9}", "time", "launches");
    for (what, parts) in [("part", &m.scopes), ("operation", &m.operations)] {
        out.push(head(what));
        let all: f64 = parts.iter().map(|p| p.seconds).sum();
        out.extend(parts.iter().take(rows).map(|p| {
            let rate = |x: f64| x / p.seconds.max(1e-12) / 1e9;
            format!(
                "{:<40} {:>9.3} ms {:>5.1} % {:>8.0} {:>9.1} {:>8.2} {:>7.1} %",
                p.name,
                p.seconds * 1e3,
                p.seconds / all * 100.0,
                p.work.dispatches,
                rate(p.work.flops),
                rate(p.work.bytes),
                p.roofline() * 100.0
            )
        }));
    }
    out
}
