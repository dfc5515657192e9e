//! A made-up network: helices whose confidences are drawn from seed, model and residue. Deterministic, and fast.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use anyfold::data::features::FeatureConfig;
use anyfold::error::Result;
use anyfold::predict::batch::{Distograms, Event, Options, Outcome, State, run};
use anyfold::predict::confidence::RankBy;
use anyfold::predict::input::{Files, targets};
use anyfold::predict::{Binned, Cycle, Inputs, Model, Raw, Request};
use anyfold::tensor::HostTensor;

/// Never set.
pub static GO_ON: AtomicBool = AtomicBool::new(false);

pub fn model(name: &str) -> Model {
    Model { name: name.into(), identity: format!("made up {name}"), features: FeatureConfig::prediction(8, 8, 0) }
}

pub fn options(out: PathBuf) -> Options<'static> {
    Options {
        out,
        seeds: vec![0],
        n_recycle: Some(1),
        n_ensemble: 1,
        tolerance: 0.0,
        rank_by: RankBy::Plddt,
        overwrite: false,
        tensors: false,
        plots: false,
        distograms: Distograms::Unused,
        templates: &|_, _| Ok(Vec::new()),
        stop: &GO_ON,
    }
}

/// A number in [0, 1) for some words.
fn chance(words: &[u64]) -> f32 {
    let mixed = words.iter().fold(0x9e37_79b9_7f4a_7c15_u64, |h, w| {
        let z = (h ^ w).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (z ^ (z >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb)
    });
    (mixed >> 40) as f32 / (1u32 << 24) as f32
}

/// Radius, angle and height of the backbone's atoms on an alpha helix: N, CA, C, CB, O by their atom37 slots.
const HELIX: [(usize, f32, f32, f32); 5] =
    [(0, 1.55, -28.3, -0.88), (1, 2.28, 0.0, 0.0), (2, 1.68, 26.3, 1.09), (3, 3.29, -18.5, -0.9), (4, 2.04, 23.6, 2.3)];

/// The made-up network.
pub fn network(inputs: Inputs, request: &Request) -> Result<Raw> {
    let n = request.n_res;
    let aatype: Vec<usize> = match inputs {
        Inputs::Features(f) => {
            assert_eq!((f.passes.len(), f.n_crop()), ((request.n_recycle + 1) * request.n_ensemble, n));
            f.aatype.iter().map(|&t| usize::from(t)).collect()
        }
        Inputs::Arrays(arrays) => arrays["aatype"].to_f64()[..n].iter().map(|&t| t as usize).collect(),
    };
    let mut history = Vec::new();
    for pass in 0..=request.n_recycle {
        (request.pass)(pass)?;
        history.push(Cycle { plddt: Some(60.0 + pass as f64), ptm: None, change: (pass > 0).then_some(1.0 / pass as f64) });
    }
    let name = request.model.name.bytes().map(u64::from).fold(7, |h: u64, b| h.wrapping_mul(31).wrapping_add(b));
    let seed = match inputs {
        // The passes are drawn by the seed, so that what is masked tells two seeds apart.
        Inputs::Features(f) => f.passes[0].bert_mask.iter().fold(name, |h, &b| h.wrapping_mul(31).wrapping_add(u64::from(b))),
        Inputs::Arrays(_) => name,
    };
    let mut raw = Raw {
        positions: vec![[[0.0; 3]; 37]; n],
        mask: vec![[0.0; 37]; n],
        plddt_logits: HostTensor::f32(&[n, 50], (0..n * 50).map(|k| logit(seed, k / 50, k % 50)).collect()),
        pae: None,
        distogram: request.distogram.then(|| distogram(n, &request.model.name)),
        representations: Default::default(),
        history,
    };
    for (i, kind) in aatype.iter().enumerate() {
        for (slot, radius, angle, height) in HELIX.into_iter().filter(|a| a.0 != 3 || *kind != 7) {
            let turn = (100.0 * i as f32 + angle).to_radians();
            raw.positions[i][slot] = [radius * turn.cos(), radius * turn.sin(), 1.5 * i as f32 + height];
            raw.mask[i][slot] = 1.0;
        }
    }
    if request.model.name.ends_with("_ptm") {
        let near = |i: usize, j: usize, b: usize| -0.2 * (b as f32 - (i.abs_diff(j) as f32 / 3.0).min(60.0)).abs();
        let logits = (0..n * n * 64).map(|k| near(k / 64 / n, k / 64 % n, k % 64)).collect();
        let breaks = (0..63).map(|b| 0.5 * b as f32).collect();
        raw.pae = Some(Binned { logits: HostTensor::f32(&[n, n, 64], logits), breaks });
    }
    if request.tensors {
        raw.distogram = Some(distogram(n, &request.model.name));
        raw.representations.insert("representations/single".into(), HostTensor::zeros(&[n, 4]));
    }
    Ok(raw)
}

/// Says nothing of any pair, or, of models whose names begin with `sharp`, places the first half of the residues exactly.
fn distogram(n: usize, model: &str) -> Binned {
    let breaks = (0..63).map(|b| 2.3125 + 0.3125 * b as f32).collect();
    let sharp = |k: usize| model.starts_with("sharp") && k / n < n / 2 && k % n < n / 2;
    let logits = (0..n * n * 64).map(|k| if sharp(k / 64) && k % 64 == (k / 64) % 60 { 12.0 } else { 0.0 }).collect();
    Binned { logits: HostTensor::f32(&[n, n, 64], logits), breaks }
}

/// Peaks at a bin that depends on the residue.
fn logit(seed: u64, residue: usize, bin: usize) -> f32 {
    let wave = 36.0 + 12.0 * (residue as f32 / 9.0).sin() + 4.0 * (chance(&[seed, residue as u64]) - 0.5);
    -0.5 * (bin as f32 - wave).abs()
}

/// Predicts files with the made-up network; the outcomes, and how often the network ran.
pub fn predict(inputs: &[PathBuf], files: &Files, models: &[Model], options: &Options) -> Result<(Vec<Outcome>, usize)> {
    let mut runs = 0;
    let mut counted = |inputs: Inputs, request: &Request| {
        runs += 1;
        network(inputs, request)
    };
    let outcomes = run(targets(inputs, files)?, models, options, &mut counted, &|_: Event| ())?;
    Ok((outcomes, runs))
}

pub fn single() -> Files {
    Files { single_sequence: true, ..Files::default() }
}

/// The message of a failure.
pub fn failure(outcome: &Outcome) -> &str {
    match &outcome.state {
        State::Failed(why) => why,
        other => panic!("{}: {other:?}", outcome.name),
    }
}
