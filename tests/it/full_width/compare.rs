//! What the device gave against the f64 reference: sampled outputs, and one directional derivative of every parameter and input.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::dense::dot;
use super::device::{Ran, draw};
use super::reference::{Block, State, Weights};
use super::{Case, say};

/// Outputs that are compared of each representation.
const SAMPLES: usize = 1000;

/// The step of central differences, as a share of the parameter. The loss is linear in the outputs, and smooth but where a unit of a transition
/// changes sides: the smaller the step, the fewer do. At this one f64 still keeps seven digits of what an output changes by.
const STEP: f64 = 1e-7;

/// A parameter whose gradient is zero, for its effect is the same on all keys of a query (QUIRKS 9), and the one beside it that
/// says how large the terms are that cancel.
const CANCELS: (&str, &str) = ("feat_2d_norm//offset", "feat_2d_norm//scale");

/// The reference, evaluated once: what the device's numbers are compared with.
pub struct Evaluated<'a> {
    case: &'a Case,
    block: &'a Block,
    ran: &'a Ran,
    weights: Weights,
    /// The inputs of every module, and the outputs of the last.
    states: Vec<State>,
}

/// The derivative of the loss along a direction of one parameter or input.
pub struct Derivative {
    pub name: String,
    direction: Vec<f64>,
    /// Central differences of the reference.
    pub difference: f64,
}

fn double(x: &[f32]) -> Vec<f64> {
    x.iter().map(|v| f64::from(*v)).collect()
}

fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

/// `x`, moved by `step` along a direction.
fn moved(x: &[f32], direction: &[f64], step: f64) -> Arc<Vec<f64>> {
    Arc::new(x.iter().zip(direction).map(|(x, d)| f64::from(*x) + step * d).collect())
}

impl<'a> Evaluated<'a> {
    /// Evaluates the block, module by module.
    pub fn new(case: &'a Case, block: &'a Block, ran: &'a Ran) -> Self {
        let weights: Weights = ran.params.iter().map(|(name, x)| (name.clone(), Arc::new(double(x)))).collect();
        let input = |name: &str| Arc::new(ran.inputs.get(name).map_or_else(Vec::new, |x| double(x)));
        let mut states = vec![State { m: input("m"), z: input("z") }];
        for module in case.modules() {
            let start = Instant::now();
            let next = block.forward(*module, &weights, states.last().expect("the inputs"));
            states.push(next);
            say(case, &format!("reference of {}: {:.1} s", module.name(), start.elapsed().as_secs_f64()));
        }
        Self { case, block, ran, weights, states }
    }

    fn output(&self, name: &str) -> &[f64] {
        let last = self.states.last().expect("the outputs");
        if name == "m" { &last.m } else { &last.z }
    }

    /// Sampled outputs: their number, and the worst error as a share of the largest, which is not a number where one is not.
    pub fn outputs(&self, outputs: &BTreeMap<&'static str, Vec<f32>>) -> Vec<(&'static str, usize, f64)> {
        let one = |name: &'static str| {
            let (got, want) = (&outputs[name], self.output(name));
            assert_eq!(got.len(), want.len());
            let places = places(want.len(), |at| self.case.counts(name, at));
            let most = places.iter().fold(0.0_f64, |most, &at| most.max(want[at].abs()));
            let worst = places.iter().map(|&at| (f64::from(got[at]) - want[at]).abs() / most);
            (name, places.len(), worst.fold(0.0, |worst: f64, off| if off <= worst { worst } else { off }))
        };
        self.case.representations().into_iter().map(one).collect()
    }

    /// The outputs of the block when it goes on from module `first`.
    fn onwards(&self, first: usize, weights: &Weights, state: State) -> State {
        self.case.modules()[first..].iter().fold(state, |state, module| self.block.forward(*module, weights, &state))
    }

    /// The difference of the loss between two evaluations.
    fn difference(&self, up: &State, down: &State) -> f64 {
        let part = |name: &str, up: &[f64], down: &[f64]| {
            let Some(w) = self.ran.cotangents.get(name) else { return 0.0 };
            let apart: Vec<f64> = up.iter().zip(down).map(|(up, down)| up - down).collect();
            dot(&double(w), &apart)
        };
        part("m", &up.m, &down.m) + part("z", &up.z, &down.z)
    }

    /// One derivative of every parameter and of every input.
    pub fn derivatives(&self) -> Vec<Derivative> {
        let mut all = Vec::new();
        for (k, module) in self.case.modules().iter().enumerate() {
            let start = Instant::now();
            let below = format!("{}/", module.name());
            let names: Vec<&String> = self.ran.params.keys().filter(|name| name.starts_with(&below)).collect();
            for name in &names {
                let direction = self.direction(name, &self.ran.params[*name]);
                let at = |step: f64| {
                    let mut weights = self.weights.clone();
                    weights.insert((*name).clone(), moved(&self.ran.params[*name], &direction, step));
                    self.onwards(k, &weights, self.states[k].clone())
                };
                let difference = self.difference(&at(STEP), &at(-STEP)) / (2.0 * STEP);
                all.push(Derivative { name: (*name).clone(), direction, difference });
            }
            say(
                self.case,
                &format!("differences of {}, {} parameters: {:.1} s", module.name(), names.len(), start.elapsed().as_secs_f64()),
            );
        }
        assert_eq!(all.len(), self.ran.params.len(), "every parameter belongs to a module");
        for name in self.case.representations() {
            let x = &self.ran.inputs[name];
            let direction = self.direction(name, x);
            let at = |step: f64| {
                let mut state = self.states[0].clone();
                *(if name == "m" { &mut state.m } else { &mut state.z }) = moved(x, &direction, step);
                self.onwards(0, &self.weights, state)
            };
            let difference = self.difference(&at(STEP), &at(-STEP)) / (2.0 * STEP);
            all.push(Derivative { name: name.into(), direction, difference });
        }
        all
    }

    /// A random direction as large as `x`, one along which the gradient does not happen to cancel: the first of a few.
    fn direction(&self, name: &str, x: &[f32]) -> Vec<f64> {
        let gradient = double(&self.ran.gradients[name]);
        let size = norm(&double(x)) / (x.len() as f64).sqrt();
        let draws = (0..8).map(|i| double(&draw(5000 + i, x.len())).iter().map(|v| v * size).collect::<Vec<f64>>());
        let mut draws = draws.collect::<Vec<_>>();
        let tells = |d: &Vec<f64>| dot(&gradient, d).abs() >= 0.5 * usual(&gradient, d);
        let chosen = draws.iter().position(tells).unwrap_or(0);
        draws.swap_remove(chosen)
    }
}

/// How large the derivative along a random direction usually is.
fn usual(gradient: &[f64], direction: &[f64]) -> f64 {
    norm(gradient) * norm(direction) / (gradient.len() as f64).sqrt()
}

/// How far the device's gradients are from the differences: of each parameter or input, as a share of the derivative or of what it
/// usually is along a random direction, whichever is larger.
pub fn judge(derivatives: &[Derivative], gradients: &BTreeMap<String, Vec<f32>>) -> Vec<(String, f64)> {
    let along = |d: &Derivative| {
        let gradient = double(&gradients[&d.name]);
        (dot(&gradient, &d.direction), usual(&gradient, &d.direction))
    };
    let one = |d: &Derivative| {
        let (got, usual) = along(d);
        let off = match d.name.strip_suffix(CANCELS.0) {
            None => (got - d.difference).abs() / usual.max(d.difference.abs()),
            Some(scope) => {
                let beside = derivatives.iter().find(|d| d.name == format!("{scope}{}", CANCELS.1)).expect("a norm has both");
                got.abs().max(d.difference.abs()) / beside.difference.abs()
            }
        };
        (d.name.clone(), off)
    };
    derivatives.iter().map(one).collect()
}

/// Places of a tensor that count: all where they are few, both ends and random ones otherwise.
fn places(n: usize, counts: impl Fn(usize) -> bool) -> Vec<usize> {
    let all: Vec<usize> = (0..n).filter(|at| counts(*at)).collect();
    if all.len() <= SAMPLES {
        return all;
    }
    let random = draw(7, 4 * SAMPLES).into_iter().map(|v| ((f64::from(v) + 1.0) / 2.0 * all.len() as f64) as usize);
    let mut some: Vec<usize> = [0, all.len() - 1].into_iter().chain(random).collect();
    // The first thousand that differ.
    let mut seen = std::collections::BTreeSet::new();
    some.retain(|at| seen.insert(*at));
    some.truncate(SAMPLES);
    some.into_iter().map(|at| all[at]).collect()
}
