//! Predictions of unlabelled sequences as a training set (supplement 1.3): the confident residues of each best prediction become labels.
//!
//! Residues are judged by pLDDT, the rule that [`crate::data::distill`] has for predictions without a distogram confidence beside them.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::data::distill::Rules;
use crate::data::layout::{Finder, Unit, Wanted};
use crate::data::prepare::{self, Options, Report};
use crate::error::Result;
use crate::predict::batch::{Outcome, State};
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
