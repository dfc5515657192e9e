//! Predictions of unlabelled sequences as a training set (supplement 1.3): the confident residues of each best prediction become labels.
//!
//! Residues are judged by what stands beside each structure: its distogram's confidence where the batch was given a reference, and else by pLDDT
//! ([`crate::data::distill`]).

use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::data::distill::{Reference, Rules};
use crate::data::layout::{Finder, Unit, Wanted};
use crate::data::prepare::{self, Options, Report};
use crate::error::{Error, Result};
use crate::predict::batch::{Outcome, State, separations_file};
use crate::predict::input::{Source, Target};

/// Adds the best predictions of `out` to the set `set`, under the targets' names; what is not confident enough is in the report. Targets made of
/// features have no alignment file to train with and are left out.
pub fn distill(
    targets: &[Target],
    outcomes: &[Outcome],
    (out, set): (&Path, &Path),
    rules: &Rules,
    progress: &dyn Fn(usize, usize),
    stop: &AtomicBool,
) -> Result<Report> {
    let there = |t: &&Target| outcomes.iter().any(|o| o.name == t.name && matches!(o.state, State::Done | State::Reused));
    let unit = |t: &Target| match &t.source {
        Source::Sequence { alignments, .. } => {
            let wanted = Wanted { id: t.name.clone(), chain: "A".into(), alignments: alignments.clone(), ..Wanted::default() };
            Some(Unit { structure: out.join(&t.name).join("ranked_0.cif"), chains: vec![wanted] })
        }
        Source::Features(_) => None,
    };
    let units: Vec<Unit> = targets.iter().filter(there).filter_map(unit).collect();
    let options = Options { distillation: Some(rules.clone()), ..Options::default() };
    prepare::prepare_units(out, set, &units, Finder::default(), &options, progress, stop)
}

/// The mean distogram by separation over the best predictions of a batch, done now or before, and how many there are.
pub fn reference(outcomes: &[Outcome], out: &Path) -> Result<(Reference, usize)> {
    let mut all: Option<Reference> = None;
    let mut n = 0;
    for outcome in outcomes.iter().filter(|o| matches!(o.state, State::Done | State::Reused)) {
        let Some((label, ..)) = &outcome.best else { continue };
        let one = Reference::read(&out.join(&outcome.name).join(separations_file(label)))?;
        n += 1;
        match &mut all {
            Some(all) => all.merge(&one)?,
            None => all = Some(one),
        }
    }
    all.map(|all| (all, n)).ok_or_else(|| Error::Data("no prediction to make a reference of".into()))
}
