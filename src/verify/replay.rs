//! Recorded random draws in the place of the generator, so that a transform repeats what AlphaFold's did.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::data::draws::{Draws, Purpose};
use crate::error::{Error, Result};
use crate::tensor::HostTensor;
use crate::verify::golden::Golden;

/// Draws by pass and purpose. What a transform asks for and the case does not hold is remembered and reported by [`Replay::finish`].
pub struct Replay<'a> {
    case: &'a Golden,
    draws: BTreeMap<(usize, Purpose), &'a HostTensor>,
    logits: BTreeMap<usize, &'a HostTensor>,
    wrong: RefCell<Option<String>>,
}

impl<'a> Replay<'a> {
    /// No draws yet.
    pub fn new(case: &'a Golden) -> Self {
        Self { case, draws: BTreeMap::new(), logits: BTreeMap::new(), wrong: RefCell::new(None) }
    }

    /// Adds the input `name` as the draws of a purpose.
    pub fn with(mut self, pass: usize, purpose: Purpose, name: &str) -> Result<Self> {
        self.draws.insert((pass, purpose), self.case.input(name)?);
        Ok(self)
    }

    /// Adds the logits that categorical draws were made from; the weights that are asked with must agree with them.
    pub fn with_logits(mut self, pass: usize, name: &str) -> Result<Self> {
        self.logits.insert(pass, self.case.input(name)?);
        Ok(self)
    }

    /// An error if anything was asked that the case does not answer.
    pub fn finish(self) -> Result<()> {
        match self.wrong.into_inner() {
            Some(what) => Err(Error::format(&self.case.path, what)),
            None => Ok(()),
        }
    }

    fn complain(&self, what: String) {
        self.wrong.borrow_mut().get_or_insert(what);
    }

    fn drawn(&self, pass: usize, purpose: Purpose, index: u64) -> f64 {
        let value = self.draws.get(&(pass, purpose)).and_then(|t| match &t.data {
            crate::tensor::Data::F32(v) => v.get(index as usize).map(|&x| f64::from(x)),
            crate::tensor::Data::I32(v) => v.get(index as usize).map(|&x| f64::from(x)),
        });
        value.unwrap_or_else(|| {
            self.complain(format!("no draw {index} of {purpose:?} in pass {pass} is recorded"));
            0.0
        })
    }
}

impl Draws for Replay<'_> {
    fn word(&self, pass: usize, purpose: Purpose, index: u64) -> u64 {
        u64::from(self.drawn(pass, purpose, index) as i32 as u32) << 32
    }

    fn uniform(&self, pass: usize, purpose: Purpose, index: u64) -> f32 {
        self.drawn(pass, purpose, index) as f32
    }

    fn below(&self, pass: usize, purpose: Purpose, index: u64, n: usize) -> usize {
        let value = self.drawn(pass, purpose, index);
        if value < 0.0 || value >= n as f64 {
            self.complain(format!("draw {index} of {purpose:?} is {value}, not below {n}"));
            return 0;
        }
        value as usize
    }

    fn permutation(&self, pass: usize, purpose: Purpose, n: usize) -> Vec<u32> {
        // Centres are drawn from the rows after the query, which the record counts from 1.
        let first = if purpose == Purpose::SampleMsa { 1.0 } else { 0.0 };
        let order: Vec<u32> = (0..n as u64).map(|i| (self.drawn(pass, purpose, i) - first).max(0.0) as u32).collect();
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..n as u32) {
            self.complain(format!("the recorded {purpose:?} of pass {pass} is no order of {n} rows"));
            return (0..n as u32).collect();
        }
        order
    }

    fn categorical(&self, pass: usize, purpose: Purpose, index: u64, weights: &[f32]) -> u8 {
        match self.logits.get(&pass).and_then(|t| t.as_f32().get(index as usize * weights.len()..)) {
            Some(logits) if logits.len() >= weights.len() => {
                let off = weights.iter().zip(logits).map(|(w, l)| ((w + 1e-10).ln() - l).abs()).fold(0.0, f32::max);
                if off > 2e-5 {
                    self.complain(format!(
                        "the probabilities of masked position {index} differ from AlphaFold's by {off} in their logarithm"
                    ));
                }
            }
            _ => self.complain(format!("no logits of masked position {index} in pass {pass} are recorded")),
        }
        self.drawn(pass, purpose, index) as u8
    }
}
