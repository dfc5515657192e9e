//! What `anyfold verify` says of a case: one row, and the same for JSON.

use serde_json::{Value, json};

use super::rules::{Compared, Verdict};

/// The end of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Something was compared and all of it is within its tolerance.
    Pass,
    /// Something is beyond its tolerance, or nothing was compared.
    Fail,
    /// The module is not one of this version's.
    Unknown,
    /// The file is damaged, or does not hold what its module needs.
    Error,
}

/// One case.
#[derive(Debug, serde::Serialize)]
pub struct CaseReport {
    /// Group and case, or the path where the file could not be read.
    pub case: String,
    /// The module's id; empty where the file could not be read.
    pub module: String,
    /// The end.
    pub outcome: Outcome,
    /// Every tensor and string.
    pub compared: Vec<Compared>,
    /// What is wrong with the file, for [`Outcome::Error`].
    pub error: Option<String>,
}

/// Tensors that were not compared and are named below a row.
const SHOWN: usize = 8;

impl CaseReport {
    /// The report of a case whose tensors were judged.
    pub fn judged(case: String, module: String, compared: Vec<Compared>) -> Self {
        let any = compared.iter().any(|c| c.verdict == Verdict::Pass);
        let bad = compared.iter().any(|c| c.verdict == Verdict::Fail);
        let outcome = if any && !bad { Outcome::Pass } else { Outcome::Fail };
        Self { case, module, outcome, compared, error: None }
    }

    /// The tensor furthest beyond its tolerance, or nearest to it.
    pub fn worst(&self) -> Option<&Compared> {
        let judged = self.compared.iter().filter(|c| c.verdict != Verdict::NotCompared);
        judged.max_by(|a, b| a.badness().total_cmp(&b.badness()))
    }

    fn n_compared(&self) -> usize {
        self.compared.iter().filter(|c| c.verdict != Verdict::NotCompared).count()
    }

    /// The row of the table, with a line below it for each tensor that was not compared.
    pub fn row(&self) -> String {
        let worst = self.worst();
        let error = worst.and_then(|w| w.error).map_or("-".into(), |e| format!("{e:.1e}"));
        let tolerance = worst.map_or("-".into(), |w| if w.tolerance == 0.0 { "exact".into() } else { format!("{:.1e}", w.tolerance) });
        let name = worst.map_or("-", |w| w.name.as_str());
        let outcome = match self.outcome {
            Outcome::Pass => "pass",
            Outcome::Fail => "FAIL",
            Outcome::Unknown => "unknown",
            Outcome::Error => "ERROR",
        };
        let n = self.n_compared();
        let mut row = format!("{:<51} {:<33} {n:>4}  {name:<36} {error:>8} {tolerance:>9}  {outcome}", self.case, self.module);
        match worst.and_then(|w| w.why.as_ref()) {
            Some(why) => row += &format!(": {name} {why}"),
            None if self.outcome == Outcome::Fail && n == 0 => row += ": nothing was compared",
            None => {}
        }
        let left: Vec<&Compared> = self.compared.iter().filter(|c| c.verdict == Verdict::NotCompared).collect();
        for one in left.iter().take(SHOWN) {
            row += &format!("\n  not compared: {} (its tolerance would be {:.1e})", one.name, one.tolerance);
        }
        if left.len() > SHOWN {
            row += &format!("\n  not compared: {} more, all of them in --json", left.len() - SHOWN);
        }
        row
    }
}

/// The table's head.
pub fn head() -> String {
    format!("{:<51} {:<33} {:>4}  {:<36} {:>8} {:>9}  result", "case", "module", "n", "worst", "error", "tolerance")
}

/// How many cases passed, and how many did not.
pub fn totals(cases: &[CaseReport]) -> (usize, usize) {
    let passed = cases.iter().filter(|c| c.outcome == Outcome::Pass).count();
    (passed, cases.len() - passed)
}

/// Everything as JSON.
pub fn json(cases: &[CaseReport]) -> Value {
    let (passed, failed) = totals(cases);
    json!({ "passed": passed, "failed": failed, "cases": cases })
}
