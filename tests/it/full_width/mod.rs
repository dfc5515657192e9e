//! One block of each stack of the trunk, as the network records it, against an f64 implementation of the paper's algorithms: sampled outputs,
//! and for every parameter and input the derivative of a loss along a random direction against central differences.
//!
//! An ordinary run does it at small sizes, and sees that a wrong gradient or output is reported. At the sizes of AlphaFold's initial training
//! (256 residues, 128 and 1,024 sequences, full width) each takes many minutes of a processor:
//! `cargo test --test it -- --ignored --nocapture full_width`.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use anyfold::model::config::BlockConfig;
use anyfold::model::presets::preset;

mod compare;
mod dense;
mod device;
mod reference;

use compare::{Evaluated, judge};
use device::draw;
use reference::{Block, Module};

/// Which stack a block is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Evoformer,
    Extra,
    Template,
}

struct Case {
    kind: Kind,
    n_seq: usize,
    n_res: usize,
    c_m: usize,
    c_z: usize,
    config: BlockConfig,
    /// Whether padding counts in the loss and in what is compared: its values are defined, but no part of the network reads them.
    padding: bool,
    /// Whether it is of full width: progress is told, and the units of transitions are kept from zero.
    long: bool,
}

impl Case {
    /// Small sizes, none of which is another's.
    fn small(kind: Kind, padding: bool) -> Self {
        let evoformer = BlockConfig {
            blocks: 1,
            msa_heads: 2,
            pair_heads: 2,
            triangle: 12,
            outer: 4,
            msa_factor: 3,
            pair_factor: 2,
            ..BlockConfig::default()
        };
        let stack = BlockConfig { pair_attention: Some(16), triangle: 4, ..evoformer.clone() };
        let (n_seq, c_m, c_z, config) = match kind {
            Kind::Evoformer => (6, 16, 8, evoformer),
            Kind::Extra => (9, 8, 12, evoformer),
            Kind::Template => (1, 0, 8, stack),
        };
        Self { kind, n_seq, n_res: 13, c_m, c_z, config, padding, long: false }
    }

    /// The sizes of initial training with `model_1`.
    fn full(kind: Kind) -> Self {
        let model = preset("model_1").expect("a preset");
        let template = model.template.expect("model_1 has templates");
        let (n_seq, c_m, c_z, config) = match kind {
            Kind::Evoformer => (128, model.c_m, model.c_z, model.evoformer),
            Kind::Extra => (1024, model.c_e, model.c_z, model.extra),
            Kind::Template => (1, 0, template.c_t, template.stack),
        };
        Self { kind, n_seq, n_res: 256, c_m, c_z, config: BlockConfig { blocks: 1, ..config }, padding: false, long: true }
    }

    /// The stack's name above its blocks' parameters.
    fn prefix(&self) -> &'static str {
        match self.kind {
            Kind::Evoformer => "evoformer_iteration",
            Kind::Extra => "extra_msa_stack",
            Kind::Template => "template_pair_stack/__layer_stack_no_state",
        }
    }

    /// Algorithm 6, Algorithm 18, and Algorithm 16 in the order of AlphaFold's code (QUIRKS 12).
    fn modules(&self) -> &'static [Module] {
        use Module::{Column, Ending, GlobalColumn, Incoming, MsaTransition, Outer, Outgoing, PairTransition, Row, Starting};
        match self.kind {
            Kind::Evoformer => &[Row, Column, MsaTransition, Outer, Outgoing, Incoming, Starting, Ending, PairTransition],
            Kind::Extra => &[Row, GlobalColumn, MsaTransition, Outer, Outgoing, Incoming, Starting, Ending, PairTransition],
            Kind::Template => &[Starting, Ending, Outgoing, Incoming, PairTransition],
        }
    }

    /// The names of inputs, and of outputs.
    fn representations(&self) -> Vec<&'static str> {
        if self.kind == Kind::Template { vec!["z"] } else { vec!["m", "z"] }
    }

    fn shape(&self, name: &str) -> [usize; 3] {
        if name == "m" { [self.n_seq, self.n_res, self.c_m] } else { [self.n_res, self.n_res, self.c_z] }
    }

    /// Residues, and rows of the alignment, that are no padding.
    fn real(&self) -> [usize; 2] {
        [self.n_res - self.n_res.div_ceil(32), self.n_seq - usize::from(self.n_seq > 1) * self.n_seq.div_ceil(32)]
    }

    /// Whether an element of a representation counts in the loss and is compared.
    fn counts(&self, name: &str, at: usize) -> bool {
        let [_, n, c] = self.shape(name);
        let ([n_res, n_seq], [row, column]) = (self.real(), [at / c / n, at / c % n]);
        self.padding || column < n_res && row < if name == "m" { n_seq } else { n_res }
    }

    /// The block with its masks: padding at the ends, and one in fifty places of the alignment.
    fn block(&self) -> Block {
        let (n, s, [n_res, n_seq]) = (self.n_res, self.n_seq, self.real());
        let gap = draw(3, s * n);
        let bit = |b: bool| f64::from(u8::from(b));
        let msa_mask = (0..s * n).map(|at| bit(at % n < n_res && at / n < n_seq && gap[at] < 0.96)).collect();
        let pair_mask = (0..n * n).map(|at| bit(at % n < n_res && at / n < n_res)).collect();
        Block { config: self.config.clone(), n_seq: s, n_res: n, c_m: self.c_m, c_z: self.c_z, msa_mask, pair_mask }
    }
}

/// Tells what a long case does. Not by `eprintln!`, which the test harness holds back until the end.
fn say(case: &Case, what: &str) {
    if case.long {
        std::io::stderr().write_all(format!("{:?}: {what}\n", case.kind).as_bytes()).expect("standard error");
    }
}

/// The worst of a list.
fn worst(all: &[(String, f64)]) -> &(String, f64) {
    all.iter().max_by(|a, b| a.1.total_cmp(&b.1)).expect("something was compared")
}

/// What exceeds the tolerance, or is no number.
fn wrong(all: &[(String, f64)], tolerance: f64) -> Vec<&(String, f64)> {
    all.iter().filter(|(_, off)| off.is_nan() || *off > tolerance).collect()
}

/// How far outputs and derivatives may be off, as shares.
#[derive(Debug, Clone, Copy)]
struct Tolerance {
    outputs: f64,
    derivatives: f64,
}

/// Through ten modules of short sums single precision keeps six digits of an output, five of a sum of a thousand such.
const SMALL: Tolerance = Tolerance { outputs: 5e-6, derivatives: 1e-4 };

/// Outputs are sums of up to some thousand products in single precision, gradients of up to some hundred thousand.
const FULL: Tolerance = Tolerance { outputs: 1e-5, derivatives: 1e-4 };

fn small(kind: Kind, padding: bool) {
    let case = Case::small(kind, padding);
    let block = case.block();
    let ran = device::run(&case, &block);
    let reference = Evaluated::new(&case, &block, &ran);
    for (name, n, off) in reference.outputs(&ran.outputs) {
        println!("{kind:?} {name}: {n} outputs, {off:.1e}");
        assert!(n >= 500, "{n} outputs");
        assert!(off <= SMALL.outputs, "{kind:?}: output {name} is off by {off:.1e}");
    }
    let derivatives = reference.derivatives();
    let judged = judge(&derivatives, &ran.gradients);
    let (name, off) = worst(&judged);
    println!("{kind:?}: {} derivatives, worst {off:.1e} of {name}", judged.len());
    assert!(wrong(&judged, SMALL.derivatives).is_empty(), "{kind:?}: {:#?}", wrong(&judged, SMALL.derivatives));
    // The check can fail: half a gradient is reported, whichever it is, and so is one output that is off.
    for name in derivatives.iter().map(|d| &d.name).filter(|name| !name.ends_with("feat_2d_norm//offset")) {
        let mut gradients = ran.gradients.clone();
        gradients.get_mut(name).expect("a gradient").iter_mut().for_each(|g| *g *= 0.5);
        let judged = judge(&derivatives, &gradients);
        let reported: Vec<&str> = wrong(&judged, SMALL.derivatives).iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(reported, [name.as_str()], "{kind:?}: half the gradient of {name}");
    }
    let mut outputs = ran.outputs.clone();
    outputs.get_mut("z").expect("an output")[0] += 1e-2;
    assert!(reference.outputs(&outputs).iter().any(|(_, _, off)| *off > SMALL.outputs), "{kind:?}: an output that is off is not reported");
}

#[test]
fn small_blocks_agree_with_the_paper() {
    for kind in [Kind::Evoformer, Kind::Extra, Kind::Template] {
        small(kind, false);
        small(kind, true);
    }
}

/// One of the long tests at a time: each fills the machine.
static ALONE: Mutex<()> = Mutex::new(());

fn full(kind: Kind) {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let start = std::time::Instant::now();
    let case = Case::full(kind);
    let block = case.block();
    let ran = device::run(&case, &block);
    let reference = Evaluated::new(&case, &block, &ran);
    let outputs = reference.outputs(&ran.outputs);
    for (name, n, off) in &outputs {
        say(&case, &format!("{name}: {n} outputs, worst {off:.1e} of the largest"));
    }
    let mut judged = judge(&reference.derivatives(), &ran.gradients);
    judged.sort_by(|a, b| b.1.total_cmp(&a.1));
    for (name, off) in &judged {
        say(&case, &format!("{off:.1e} {name}"));
    }
    let (inputs, minutes) = (case.representations().len(), start.elapsed().as_secs_f64() / 60.0);
    let (name, off) = worst(&judged);
    say(&case, &format!("{} parameters and {inputs} inputs, worst {off:.1e} of {name}; {minutes:.1} minutes", judged.len() - inputs));
    drop(alone);
    assert!(outputs.iter().all(|(_, n, off)| *n >= 1000 && *off <= FULL.outputs), "{kind:?}: {outputs:?}");
    assert!(wrong(&judged, FULL.derivatives).is_empty(), "{kind:?}: {:#?}", wrong(&judged, FULL.derivatives));
}

#[test]
#[ignore = "minutes; `cargo test --test it -- --ignored --nocapture full_width`"]
fn evoformer_block() {
    full(Kind::Evoformer);
}

#[test]
#[ignore = "minutes; `cargo test --test it -- --ignored --nocapture full_width`"]
fn extra_msa_block() {
    full(Kind::Extra);
}

#[test]
#[ignore = "minutes; `cargo test --test it -- --ignored --nocapture full_width`"]
fn template_block() {
    full(Kind::Template);
}
