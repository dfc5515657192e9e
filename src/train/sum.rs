//! The sum of a step's clipped gradients, over its examples and over processes, with what each example gave.
//!
//! One process lets the device add up. Of several, each takes every example's clipped gradient from its device and gives it to the link, which
//! adds it to the others' while the next example runs; only the last one is waited for. The order of additions is that of the examples' numbers
//! in both cases, and both round to single precision after each, so that the bits are the same (a device that flushes denormal numbers excepted,
//! for sums below 1.2e-38).

use serde::{Deserialize, Serialize};

use super::optimizer::STATUS_STATE;
use super::ranks::Ranks;
use super::step::Step;
use crate::error::Result;
use crate::ops::train::Status;
use crate::tensor::HostTensor;

/// The state that gradients are added to.
const TOTAL: &str = "total";

/// What an example gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Its losses by name.
    pub losses: Vec<(&'static str, f64)>,
    /// What its device said after it.
    pub status: Status,
    /// Where what is not finite came from, when that was looked for.
    pub cause: Option<String>,
}

/// An outcome on its way; numbers as their bits, which no text rounds.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    losses: Vec<u64>,
    bad: bool,
    norm: u32,
    scale: u32,
    cause: Option<String>,
}

impl Outcome {
    fn pack(&self) -> String {
        let Status { bad, norm, scale, .. } = self.status;
        let losses = self.losses.iter().map(|(_, x)| x.to_bits()).collect();
        let record = Record { losses, bad, norm: norm.to_bits(), scale: scale.to_bits(), cause: self.cause.clone() };
        serde_json::to_string(&record).expect("plain data is JSON")
    }

    /// Another process's outcome; the losses have the same names in all of them.
    fn unpack(&self, text: &str) -> Self {
        let r: Record = serde_json::from_str(text).expect("a record as `pack` writes it");
        let losses = self.losses.iter().zip(r.losses).map(|((name, _), bits)| (*name, f64::from_bits(bits))).collect();
        let status = Status { bad: r.bad, norm: f32::from_bits(r.norm), scale: f32::from_bits(r.scale), ..self.status };
        Self { losses, status, cause: r.cause }
    }
}

/// The sum of a step that is under way.
#[derive(Debug)]
pub struct Sum<'a> {
    ranks: &'a Ranks,
    own: Vec<Outcome>,
}

impl<'a> Sum<'a> {
    /// Of no examples yet.
    pub fn new(ranks: &'a Ranks) -> Self {
        Self { ranks, own: Vec::new() }
    }

    /// Adds the example that has just run on the device.
    pub fn add(&mut self, step: &Step, outcome: Outcome) -> Result<()> {
        if let Some(link) = self.ranks.link() {
            let gradient = step.session.get(TOTAL)?.to_f32();
            step.session.clear(TOTAL);
            link.give(outcome.pack(), gradient).map_err(|f| self.ranks.heard(&f))?;
        }
        self.own.push(outcome);
        Ok(())
    }

    /// Leaves on the device what one process with all examples would have there, and gives all outcomes, in the order of the examples.
    pub fn finish(self, step: &Step) -> Result<Vec<Outcome>> {
        let (Some(link), Some(own)) = (self.ranks.link(), self.own.first()) else { return Ok(self.own) };
        let taken = link.take().map_err(|f| self.ranks.heard(&f))?;
        let all: Vec<Outcome> = taken.records.iter().map(|text| own.unpack(text)).collect();
        step.session.set(TOTAL, &HostTensor::f32(&[taken.sum.len()], taken.sum));
        let mut status = step.session.get(STATUS_STATE)?.to_f32();
        let last = all.last().expect("every process gives an example").status;
        Status { bad: all.iter().any(|o| o.status.bad), ..last }.put(&mut status);
        step.session.set(STATUS_STATE, &HostTensor::f32(&[status.len()], status));
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_travel_without_rounding() {
        let of = |losses: [f64; 2], status, cause| Outcome { losses: vec![("loss", losses[0]), ("fape", losses[1])], status, cause };
        let own = of([1.0, 2.0], Status::default(), None);
        let status = Status { bad: true, norm: f32::MIN_POSITIVE / 3.0, scale: 0.1, ..Status::default() };
        let other = of([0.1 + 0.2, f64::INFINITY], status, Some("chain \"A\"\n".into()));
        assert_eq!(own.unpack(&other.pack()), other);
    }
}
