//! `anyfold evaluate`: a predicted structure against a reference.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::error::{Error, Result};
use crate::io::{structure, text};
use crate::protein::metrics::compare::{Comparison, best_pair, compare};

/// Compare a predicted structure with a reference: lDDT, TM-score, GDT, RMSD, dRMSD, clashes and bond violations.
///
/// Residues are paired by their numbers where these agree, and by aligning the sequences otherwise.
#[derive(Debug, Args)]
pub struct Evaluate {
    /// The prediction: PDB or mmCIF, plain or gzip.
    predicted: PathBuf,
    /// The reference: PDB or mmCIF, plain or gzip.
    reference: PathBuf,
    /// Chain of the reference (the author's id); without it the chain that fits the prediction best is taken.
    #[arg(long, value_name = "C")]
    chain: Option<String>,
    /// Write everything, per residue and in total, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Evaluate) -> Result<u8> {
    let predicted = structure::read(&args.predicted)?;
    let reference = structure::read(&args.reference)?;
    for (path, structure) in [(&args.predicted, &predicted), (&args.reference, &reference)] {
        structure.warnings.iter().for_each(|w| eprintln!("warning: {}: {w}", path.display()));
    }
    let (p, r) = best_pair(&predicted, &reference, args.chain.as_deref())
        .map_err(|e| Error::Data(format!("{} and {}: {e}", args.predicted.display(), args.reference.display())))?;
    let result = compare(p, r)?;
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&result).map_err(|e| Error::format(path, e.to_string()))?;
        text::write_whole(path, format!("{json}\n").as_bytes())?;
    }
    // Whoever reads may stop before the end (`| head`): that is no failure.
    match std::io::stdout().write_all(table(&result).as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::io("standard output", e)),
        _ => Ok(0),
    }
}

fn table(c: &Comparison) -> String {
    let v = &c.violations;
    let mut out = format!(
        "chain `{}` of the prediction against chain `{}` of the reference: {} of {} residues paired by {}, {:.1} % identical\n\n",
        c.predicted_chain,
        c.reference_chain,
        c.n_paired,
        c.n_reference,
        c.paired_by,
        100.0 * c.identity
    );
    let totals = [
        ("lDDT-CA", c.lddt_ca, 4),
        ("lDDT", c.lddt, 4),
        ("TM-score", c.tm_score, 4),
        ("GDT-TS", c.gdt_ts, 4),
        ("GDT-HA", c.gdt_ha, 4),
        ("RMSD-CA", c.rmsd_ca, 3),
        ("dRMSD-CA", c.drmsd_ca, 3),
    ];
    for (name, value, digits) in totals {
        out += &format!("{name:<10}{value:>9.digits$}\n");
    }
    out += &format!(
        "violations of the prediction: {} bonds, {} angles, {} clashes, {} within residues, {} CA-CA; {} residues\n\n",
        v.bonds, v.angles, v.clashes, v.within_residues, v.ca_ca, v.residues
    );
    out += "residue      lDDT-CA    lDDT  distance  B-factor\n";
    let number = |x: Option<f64>, digits: usize| x.map_or_else(|| "-".to_string(), |x| format!("{x:.digits$}"));
    for r in &c.residues {
        let other = r.predicted_letter.filter(|l| *l != r.letter).map_or(String::new(), |l| format!(" ({l})"));
        let name = format!("{} {}{other}", r.letter, r.number);
        out += &format!(
            "{name:<12} {:>7} {:>7} {:>9} {:>9}{}\n",
            number(r.lddt_ca, 3),
            number(r.lddt, 3),
            number(r.distance, 2),
            number(r.b_factor, 2),
            if r.violation { "  violation" } else { "" }
        );
    }
    out
}
