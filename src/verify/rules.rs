//! How close is close enough: every rule of `anyfold verify`, and the text that explains them.
//!
//! Knows what a golden case holds and what a module made of it, not how the module made it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::golden::Golden;
use super::host_structure::Outputs;
use crate::error::Result;
use crate::tensor::{Data, HostTensor};

/// Least relative tolerance of module cases: about 250 roundings of single precision.
pub const MODULE: f64 = 3e-5;
/// Least relative tolerance of cases of group `model`, where 48 blocks follow one another.
pub const MODEL: f64 = 1e-4;
/// Relative tolerance of floats of group `data`: one sum in another order.
pub const DATA: f64 = 1e-6;
/// Multiple of AlphaFold's own single-precision error that is allowed.
pub const FLOORS: f64 = 20.0;
/// Tolerance of gradients that are zero, as a share of the case's largest gradient.
pub const ZERO: f64 = 1e-5;
/// A gradient below this share of the case's largest is rounding noise of the double-precision reference, where a sum cancels exactly.
pub const NOISE: f64 = 1e-12;
/// Least tolerance where operands of products are rounded to half precision: eight such roundings, each of 2^-11 of the largest value. The
/// longest path through a module has four products (two forward, two back), and each rounds two operands.
pub const HALF: f64 = 8.0 / 2048.0;
/// A tolerance above this says nothing: the tensor is not compared.
pub const LARGEST: f64 = 1e-2;

/// The rules in words, with the figures that are applied.
pub fn explain() -> String {
    format!(
        "How `anyfold verify` judges a golden case.

error       max|got - reference| / max|reference| over a tensor, without the elements whose value the definition leaves open.
            A reference of zeros alone must be met exactly.
tolerance   group data: integers and strings exactly, floats {DATA:e}.
            group model: max({MODEL:e}, {FLOORS} ref_err). All other groups: max({MODULE:e}, {FLOORS} ref_err). Integers exactly.
ref_err     AlphaFold's own float32 error on that tensor, from the case's metadata; where it is null, the largest of the tensor's
            class (outputs, gradients of inputs, gradients of parameters) in the case.
zeros       gradients listed as `analytic_zero` or `zero_grads` are compared absolutely: {ZERO:e} of the case's largest gradient. So are
            those that a case without measured errors does not list, but whose reference lies below {NOISE:e} of that largest gradient.
trajectories  tensors [step, example] are compared step by step, each with AlphaFold's own error at that step (`ref_err_per_step`).
half        with the family `cooperative` operands of products are rounded to half precision: every tolerance of floats is at least {HALF:.1e},
            eight roundings of 2^-11, because the longest path through a module rounds the operands of four products; gradients that are zero
            are compared at that share of the largest gradient. Products that a ReLU follows are made from both halves of their operands.
measures    cases of full size hold, for every parameter, the norm of its gradient and the product of both instead of gradients. Either is
            compared relatively: max({MODEL:e}, {FLOORS} times AlphaFold's own error of it). Both are compared absolutely, at {ZERO:e} of the
            largest norm, where the norm lies below {NOISE:e} of the largest: a sum that cancels exactly but for rounding.
diagonal    of the predicted aligned error: exact zeros, which two cases of full size hold as rounding. There the labels are the reference's.
padding     outputs over pairs of residues are compared where the mask has both and where it has not, each as a share of its own largest
            reference: where two columns share no sequence, values are a thousand times larger.
not compared  a tensor whose tolerance would exceed {LARGEST:e}. It is named and never counted as passed.
A tensor fails that is missing, of another shape or type, or has a value that is not finite.
A case fails in which nothing was compared, or whose module this version does not know (`unknown`).
Exit status: 0 every case passed; 1 some failed; 2 some could not be judged (a damaged file, an unknown module).
"
    )
}

/// What became of a tensor or string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Within the tolerance.
    Pass,
    /// Beyond the tolerance, missing, misshapen or not finite.
    Fail,
    /// The tolerance would be too large to say anything.
    NotCompared,
}

/// One tensor or string of a case.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Compared {
    /// The golden's name of it: `out:msa`, `gin:x`, `string:header`.
    pub name: String,
    /// Its error in the terms of the rules; `None` when it could not be computed (missing, misshapen, not finite).
    pub error: Option<f64>,
    /// The largest error allowed; 0 where equality is asked.
    pub tolerance: f64,
    /// The outcome.
    pub verdict: Verdict,
    /// Why it failed, where the figures do not say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Compared {
    fn new(name: &str, error: f64, tolerance: f64) -> Self {
        let verdict = if error <= tolerance { Verdict::Pass } else { Verdict::Fail };
        Self { name: name.to_owned(), error: Some(error), tolerance, verdict, why: None }
    }

    fn failed(name: &str, tolerance: f64, why: String) -> Self {
        Self { name: name.to_owned(), error: None, tolerance, verdict: Verdict::Fail, why: Some(why) }
    }

    /// How bad it is, for choosing the worst: error as a multiple of the tolerance.
    pub fn badness(&self) -> f64 {
        match (self.verdict, self.error) {
            (Verdict::NotCompared, _) => -1.0,
            (Verdict::Fail, None) => f64::INFINITY,
            (Verdict::Fail, Some(error)) if self.tolerance == 0.0 => 1.0 + error * f64::MAX.sqrt(),
            (_, error) => error.unwrap_or(0.0) / self.tolerance.max(f64::MIN_POSITIVE),
        }
    }
}

/// Judges every reference of a case: outputs, gradients and strings.
pub fn compare(case: &Golden, got: &Outputs) -> Result<Vec<Compared>> {
    let floors = Floors::new(case)?;
    let mut all = Vec::new();
    for (name, reference) in case.tensors.iter().filter(|(n, _)| class(n).is_some()) {
        match floors.steps.get(name.strip_prefix("out:").unwrap_or_default()).filter(|s| reference.shape.first() == Some(&s.len())) {
            Some(steps) => all.extend(judge_steps(case, got, steps, name, reference)),
            None => all.extend(judge(case, got, &floors, name, reference)),
        }
    }
    if let Value::Object(strings) = case.json("strings")? {
        for (key, reference) in strings {
            let differs = got.strings.get(&key) != Some(&reference);
            all.push(Compared::new(&format!("string:{key}"), f64::from(u8::from(differs)), 0.0));
        }
    }
    all.extend(measures(case, got)?);
    Ok(all)
}

/// The same with the tolerances of operands in half precision; see [`HALF`].
pub fn with_half_operands(case: &Golden, mut all: Vec<Compared>) -> Result<Vec<Compared>> {
    let floors = Floors::new(case)?;
    for c in all.iter_mut().filter(|c| c.tolerance > 0.0 && c.verdict != Verdict::NotCompared) {
        let zero = case.tensors.get(&c.name).is_some_and(|reference| floors.is_zero(&c.name, reference));
        let tolerance = c.tolerance.max(if zero { HALF * floors.largest_gradient } else { HALF });
        if let Some(error) = c.error {
            *c = Compared::new(&c.name, error, tolerance);
        }
    }
    Ok(all)
}

/// Norms of gradients and their products with the parameters, of cases that hold these alone.
fn measures(case: &Golden, got: &Outputs) -> Result<Vec<Compared>> {
    let mut all = Vec::new();
    for (i, (key, floors)) in [("gparam_norms", "gparam_norm_rel_err"), ("gparam_dot_param", "gparam_dot_rel_err")].into_iter().enumerate()
    {
        let (references, floors) = (case.json(key)?, case.json(floors)?);
        let norms = case.json("gparam_norms")?;
        let largest = norms.as_object().into_iter().flatten().filter_map(|(_, n)| n.as_f64()).fold(0.0, f64::max);
        for (name, reference) in references.as_object().into_iter().flatten() {
            let label = format!("{key}:{name}");
            let reference = reference.as_f64().unwrap_or(f64::NAN);
            // Where the reference is the rounding of a sum that cancels, there is nothing to compare but that ours is small too.
            let norm = norms[name].as_f64().unwrap_or(0.0);
            let zero = norm > 0.0 && norm < NOISE * largest;
            let floor = floors[name].as_f64().unwrap_or(0.0);
            let tolerance = if zero { ZERO * largest } else { f64::max(MODEL, FLOORS * floor) };
            let Some(ours) = got.measures.get(name).map(|m| m[i]) else {
                all.push(Compared::failed(&label, tolerance, "was not made".into()));
                continue;
            };
            let off = (ours - reference).abs();
            let error = if off == 0.0 { 0.0 } else { off / if zero { 1.0 } else { reference.abs() } };
            all.push(match (error.is_finite(), !zero && tolerance > LARGEST) {
                (false, _) => Compared::failed(&label, tolerance, format!("is not finite: {ours} for {reference}")),
                (_, true) => Compared { name: label, error: Some(error), tolerance, verdict: Verdict::NotCompared, why: None },
                _ => Compared::new(&label, error, tolerance),
            });
        }
    }
    Ok(all)
}

/// The prefix of a name that is a reference to compare with.
fn class(name: &str) -> Option<&str> {
    name.split_once(':').map(|(class, _)| class).filter(|c| ["out", "gin", "gparam"].contains(c))
}

/// AlphaFold's own error at each step of a trajectory. It was measured for the loss and the norm; the terms take the larger of the two.
fn steps(case: &Golden) -> Result<BTreeMap<String, Vec<f64>>> {
    let per_step = case.json("ref_err_per_step")?;
    let of = |name: &str| per_step[name].as_array().map(|a| a.iter().map(|v| v.as_f64().unwrap_or(f64::INFINITY)).collect::<Vec<f64>>());
    let (Some(loss), Some(norm)) = (of("total_loss"), of("grad_norm")) else { return Ok(BTreeMap::new()) };
    let larger: Vec<f64> = loss.iter().zip(&norm).map(|(a, b)| a.max(*b)).collect();
    let terms = case.with_prefix("out:terms/").map(|(name, _)| (format!("terms/{name}"), larger.clone()));
    Ok(terms.chain([("total_loss".into(), loss), ("grad_norm".into(), norm)]).collect())
}

/// A tensor `[step, ..]`, each step by itself.
fn judge_steps(case: &Golden, got: &Outputs, floors: &[f64], name: &str, reference: &HostTensor) -> Vec<Compared> {
    let ours = name.strip_prefix("out:").and_then(|plain| got.tensors.get(plain));
    let Some(ours) = ours.filter(|o| o.shape == reference.shape) else {
        let why = ours.map_or("was not made".into(), |o| format!("has shape {:?}, not {:?}", o.shape, reference.shape));
        return vec![Compared::failed(name, 0.0, why)];
    };
    let least = if case.group == "model" { MODEL } else { MODULE };
    let step = |(k, floor): (usize, &f64)| {
        let (name, tolerance) = (format!("{name}[{k}]"), f64::max(least, FLOORS * floor));
        let pairs: Vec<(f64, f64)> = ours.rows(k..k + 1).to_f64().into_iter().zip(reference.rows(k..k + 1).to_f64()).collect();
        let off = pairs.iter().fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
        let scale = pairs.iter().fold(0.0_f64, |m, (_, b)| m.max(b.abs()));
        let error = if off == 0.0 { 0.0 } else { off / scale };
        match pairs.iter().all(|(a, _)| a.is_finite()) && error.is_finite() {
            false => Compared::failed(&name, tolerance, "is not finite, or not zero where the reference is".into()),
            true if tolerance > LARGEST => Compared { name, error: Some(error), tolerance, verdict: Verdict::NotCompared, why: None },
            true => Compared::new(&name, error, tolerance),
        }
    };
    floors.iter().enumerate().map(step).collect()
}

/// What the metadata says about a case's tensors.
struct Floors {
    ref_err: Value,
    zeros: Vec<String>,
    largest_gradient: f64,
    /// Of trajectories: AlphaFold's error at each step, by the output's name.
    steps: BTreeMap<String, Vec<f64>>,
}

impl Floors {
    fn new(case: &Golden) -> Result<Self> {
        let mut zeros = Vec::new();
        for key in ["analytic_zero", "zero_grads"] {
            let names = case.json(key)?;
            zeros.extend(names.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
        }
        let gradients = case.tensors.iter().filter(|(n, _)| matches!(class(n), Some("gin" | "gparam")));
        let largest_gradient = gradients.map(|(_, t)| largest(t)).fold(0.0, f64::max);
        Ok(Self { ref_err: case.json("ref_err")?, zeros, largest_gradient, steps: steps(case)? })
    }

    fn is_zero(&self, name: &str, reference: &HostTensor) -> bool {
        let unlisted = || {
            let unmeasured = self.ref_err[name].is_null() && matches!(class(name), Some("gin" | "gparam"));
            unmeasured && largest(reference) > 0.0 && largest(reference) < NOISE * self.largest_gradient
        };
        self.zeros.iter().any(|z| z == name) || unlisted()
    }

    /// AlphaFold's own error on a tensor; the largest of its class where it was not measured.
    fn of(&self, name: &str) -> f64 {
        if let Some(floor) = self.ref_err[name].as_f64() {
            return floor;
        }
        let same = self.ref_err.as_object().into_iter().flatten().filter(|(n, _)| class(n) == class(name));
        same.filter_map(|(_, floor)| floor.as_f64()).fold(0.0, f64::max)
    }
}

fn largest(tensor: &HostTensor) -> f64 {
    tensor.to_f64().into_iter().fold(0.0, |m, x| m.max(x.abs()))
}

/// A tensor; of pairs with padding, each of both regions.
fn judge(case: &Golden, got: &Outputs, floors: &Floors, name: &str, reference: &HostTensor) -> Vec<Compared> {
    let plain = name.strip_prefix("out:");
    let exact = matches!(reference.data, Data::I32(_));
    let least = match case.group.as_str() {
        "data" => DATA,
        "model" => f64::max(MODEL, FLOORS * floors.of(name)),
        _ => f64::max(MODULE, FLOORS * floors.of(name)),
    };
    let (absolute, tolerance) = match floors.is_zero(name, reference) {
        true => (true, ZERO * floors.largest_gradient),
        false => (false, if exact { 0.0 } else { least }),
    };
    let ours = match plain {
        Some(plain) => got.tensors.get(plain),
        None => got.gradients.get(name),
    };
    let Some(ours) = ours else { return vec![Compared::failed(name, tolerance, "was not made".into())] };
    // The goldens store scalars with one axis of one element.
    let scalar = ours.shape.is_empty() && reference.shape == [1];
    if !scalar && ours.shape != reference.shape {
        return vec![Compared::failed(name, tolerance, format!("has shape {:?}, not {:?}", ours.shape, reference.shape))];
    }
    if exact && matches!(ours.data, Data::F32(_)) {
        return vec![Compared::failed(name, tolerance, "is f32, not i32".into())];
    }
    let open = plain.and_then(|p| got.undefined.get(p));
    let pairs = ours.to_f64().into_iter().zip(reference.to_f64()).enumerate();
    let pairs: Vec<(usize, (f64, f64))> = pairs.filter(|(i, _)| open.is_none_or(|o| !o[*i])).collect();
    if let Some((_, (a, b))) = pairs.iter().find(|(_, (a, b))| !a.is_finite() || !b.is_finite()) {
        return vec![Compared::failed(name, tolerance, format!("is not finite: {a} for {b}"))];
    }
    let region = |name: &str, pairs: &[(usize, (f64, f64))]| {
        let off = pairs.iter().fold(0.0_f64, |m, (_, (a, b))| m.max((a - b).abs()));
        let scale = if absolute { 1.0 } else { pairs.iter().fold(0.0_f64, |m, (_, (_, b))| m.max(b.abs())) };
        let error = if off == 0.0 { 0.0 } else { off / scale };
        if !absolute && tolerance > LARGEST {
            return Compared { name: name.to_owned(), error: Some(error), tolerance, verdict: Verdict::NotCompared, why: None };
        }
        match error.is_finite() {
            true => Compared::new(name, error, tolerance),
            false => Compared::failed(name, tolerance, format!("is off by {off:.2e} where the reference is zero")),
        }
    };
    let Some(valid) = plain.and_then(|_| valid_pairs(case, &reference.shape)) else { return vec![region(name, &pairs)] };
    let inner = reference.len() / valid.len();
    let (valid, padding): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(i, _)| valid[i / inner]);
    vec![region(name, &valid), region(&format!("{name} in padding"), &padding)]
}

/// Which pairs of residues a case's masks have, for a tensor `[n, n, ..]`; `None` where they have all, or the case has no mask of pairs.
fn valid_pairs(case: &Golden, shape: &[usize]) -> Option<Vec<bool>> {
    let [n, m, ..] = *shape else { return None };
    let mask = |name: &str| case.tensors.get(&format!("in:{name}")).filter(|t| n == m && t.shape.len() == 2 && t.shape[1] == n);
    let given = ["pair_mask", "left_mask", "mask_2d"].iter().find_map(|name| mask(name)).map(HostTensor::to_f64);
    // Masks of residues, one for each pass, and of an alignment's rows: pairs count that share a row.
    let seq = case.tensors.get("in:seq_mask").filter(|t| n == m && t.shape.last() == Some(&n));
    let common = |rows: &HostTensor| {
        let rows = rows.to_f64();
        (0..n * n).map(|at| rows.chunks(n).map(|row| row[at / n] * row[at % n]).sum()).collect::<Vec<f64>>()
    };
    let valid = given.or_else(|| seq.or_else(|| mask("mask")).map(common)).filter(|v| v.len() == n * n)?;
    let valid: Vec<bool> = valid.iter().map(|&v| v != 0.0).collect();
    (valid.contains(&true) && valid.contains(&false)).then_some(valid)
}
