//! All metrics of one predicted chain against one reference chain, with residues paired by number or by sequence.

use std::collections::HashMap;

use glam::DVec3;
use serde::Serialize;

use super::drmsd;
use super::lddt::{ResiduePair, all_atom_lddt, point_lddt};
use super::superpose::rmsd;
use super::tm::tm_scores;
use super::violations::{Atoms14, violations};
use crate::error::{Error, Result};
use crate::protein::align::align;
use crate::protein::letters::slot37::CA;
use crate::protein::structure::{Chain, Structure};
use crate::protein::truth::{mask_to_atom14, to_atom14};

/// Agreement of a prediction with a reference, and the prediction's soundness. Lengths in Angstrom, scores in 0..1.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Chain id in the prediction.
    pub predicted_chain: String,
    /// Chain id in the reference.
    pub reference_chain: String,
    /// How residues were paired: `number` or `sequence`.
    pub paired_by: &'static str,
    /// Residues of the reference that have a CA.
    pub n_reference: usize,
    /// Those with a CA in the prediction too.
    pub n_paired: usize,
    /// Share of pairs with the same residue type.
    pub identity: f64,
    /// lDDT over CA atoms.
    pub lddt_ca: f64,
    /// lDDT over all heavy atoms.
    pub lddt: f64,
    /// TM-score, normalised by `n_reference`.
    pub tm_score: f64,
    /// GDT total score.
    pub gdt_ts: f64,
    /// GDT high accuracy.
    pub gdt_ha: f64,
    /// Root mean square deviation of paired CA atoms after superposition.
    pub rmsd_ca: f64,
    /// Root mean square difference of the distances between paired CA atoms.
    pub drmsd_ca: f64,
    /// What is wrong with the prediction's stereochemistry.
    pub violations: ViolationCounts,
    /// One entry per residue of the reference with a CA.
    pub residues: Vec<ResidueScores>,
}

/// Counts of violations (supplement 1.9.11, 12 standard deviations, 1.5 Angstrom overlap).
#[derive(Debug, Clone, Serialize)]
pub struct ViolationCounts {
    /// Peptide bonds of wrong length.
    pub bonds: usize,
    /// Wrong angles at peptide bonds.
    pub angles: usize,
    /// Clashing pairs of atoms of different residues.
    pub clashes: usize,
    /// Pairs of atoms of one residue at a wrong distance.
    pub within_residues: usize,
    /// Consecutive CA atoms too far apart.
    pub ca_ca: usize,
    /// Residues with any of the first four.
    pub residues: usize,
}

/// One residue of the reference.
#[derive(Debug, Clone, Serialize)]
pub struct ResidueScores {
    /// The reference's number with its insertion code.
    pub number: String,
    /// One-letter code in the reference.
    pub letter: char,
    /// One-letter code of the paired residue; absent when unpaired.
    pub predicted_letter: Option<char>,
    /// lDDT over CA; absent without any distance to score.
    pub lddt_ca: Option<f64>,
    /// lDDT over heavy atoms.
    pub lddt: Option<f64>,
    /// Distance of the CA atoms under the TM-score's superposition.
    pub distance: Option<f64>,
    /// The prediction's B-factor at CA: its pLDDT in most models.
    pub b_factor: Option<f64>,
    /// Whether the prediction violates stereochemistry here.
    pub violation: bool,
}

/// The pair of chains with the most identical paired residues, the reference restricted to `chain` when given.
pub fn best_pair<'a>(predicted: &'a Structure, reference: &'a Structure, chain: Option<&str>) -> Result<(&'a Chain, &'a Chain)> {
    let references: Vec<&Chain> = match chain {
        Some(id) => vec![reference.chain(Some(id))?],
        None => reference.chains.iter().collect(),
    };
    let identical = |p: &Chain, r: &Chain| -> Result<usize> {
        let (pairs, _) = pair_residues(p, r)?;
        Ok(pairs.iter().filter(|&&(i, j)| p.sequence.as_bytes()[i] == r.sequence.as_bytes()[j]).count())
    };
    let mut best: Option<(usize, &Chain, &Chain)> = None;
    for p in &predicted.chains {
        for r in &references {
            let score = identical(p, r)?;
            // With equal sequences, chains of the same name belong together.
            let better = best.is_none_or(|(s, bp, br)| score > s || (score == s && p.id == r.id && bp.id != br.id));
            if better {
                best = Some((score, p, r));
            }
        }
    }
    let (_, p, r) = best.ok_or_else(|| Error::Data("one of the structures has no protein chain".into()))?;
    Ok((p, r))
}

/// Pairs (index in the prediction, index in the reference) of observed residues, and how they were found. Numbers serve when every number that
/// both use names the same residue type and most residues share theirs.
pub fn pair_residues(predicted: &Chain, reference: &Chain) -> Result<(Vec<(usize, usize)>, &'static str)> {
    let observed = |c: &Chain| (0..c.len()).filter(|&i| c.mask[i][CA] == 1.0).collect::<Vec<_>>();
    let (of_predicted, of_reference) = (observed(predicted), observed(reference));
    let key = |c: &Chain, i: usize| c.sites[i].number.map(|n| (n.value, n.insertion));
    let by_number: HashMap<_, usize> = of_predicted.iter().filter_map(|&i| Some((key(predicted, i)?, i))).collect();
    let pairs: Vec<(usize, usize)> = of_reference.iter().filter_map(|&j| Some((*by_number.get(&key(reference, j)?)?, j))).collect();
    let letter = |c: &Chain, i: usize| c.sequence.as_bytes()[i];
    let same = pairs.iter().all(|&(i, j)| letter(predicted, i) == letter(reference, j));
    if same && 2 * pairs.len() >= of_predicted.len().min(of_reference.len()) {
        return Ok((pairs, "number"));
    }
    let (a, b) = (predicted.sequence.as_bytes(), reference.sequence.as_bytes());
    let aligned = align(a, b).ok_or_else(|| {
        Error::Data(format!("chains of {} and {} residues are too long to align; give them the same numbering", a.len(), b.len()))
    })?;
    let both = |&(i, j): &(usize, usize)| predicted.mask[i][CA] == 1.0 && reference.mask[j][CA] == 1.0;
    Ok((aligned.into_iter().filter(both).collect(), "sequence"))
}

/// All metrics; an error when no residue can be paired.
pub fn compare(predicted: &Chain, reference: &Chain) -> Result<Comparison> {
    let (pairs, paired_by) = pair_residues(predicted, reference)?;
    if pairs.is_empty() {
        let what = format!("no residue of chain `{}` can be paired with chain `{}`", predicted.id, reference.id);
        return Err(Error::Data(what));
    }
    let partner: HashMap<usize, usize> = pairs.iter().map(|&(i, j)| (j, i)).collect();
    let scored: Vec<usize> = (0..reference.len()).filter(|&j| reference.mask[j][CA] == 1.0).collect();
    let ca = |c: &Chain, i: usize| DVec3::from(c.positions[i][CA].map(f64::from));
    let predicted_ca: Vec<DVec3> = pairs.iter().map(|&(i, _)| ca(predicted, i)).collect();
    let paired_ca: Vec<DVec3> = pairs.iter().map(|&(_, j)| ca(reference, j)).collect();
    let reference_ca: Vec<DVec3> = scored.iter().map(|&j| ca(reference, j)).collect();
    let tm = tm_scores(&predicted_ca, &paired_ca, scored.len());
    let found: Vec<Option<DVec3>> = scored.iter().map(|j| partner.get(j).map(|&i| ca(predicted, i))).collect();
    let lddt_ca = point_lddt(&found, &reference_ca);
    let aatype = reference.aatype();
    let residue_pairs: Vec<ResiduePair> = scored
        .iter()
        .map(|&j| ResiduePair {
            restype: aatype[j],
            predicted: partner.get(&j).map(|&i| (&predicted.positions[i], &predicted.mask[i])),
            reference: (&reference.positions[j], &reference.mask[j]),
        })
        .collect();
    let lddt = all_atom_lddt(&residue_pairs);
    let (counts, violates) = count_violations(predicted);
    let known = |x: f64| x.is_finite().then_some(x);
    let residues = scored.iter().enumerate().map(|(k, &j)| {
        let i = partner.get(&j).copied();
        let site = reference.sites[j].number;
        ResidueScores {
            number: site.map_or_else(String::new, |n| format!("{}{}", n.value, n.insertion).trim().to_string()),
            letter: reference.sequence.as_bytes()[j] as char,
            predicted_letter: i.map(|i| predicted.sequence.as_bytes()[i] as char),
            lddt_ca: known(lddt_ca.per_residue[k]),
            lddt: known(lddt.per_residue[k]),
            distance: i.map(|i| tm.superposition.apply(ca(predicted, i)).distance(ca(reference, j))),
            b_factor: i.map(|i| f64::from(predicted.b_factors[i][CA])),
            violation: i.is_some_and(|i| violates[i]),
        }
    });
    let identical = pairs.iter().filter(|&&(i, j)| predicted.sequence.as_bytes()[i] == reference.sequence.as_bytes()[j]).count();
    Ok(Comparison {
        predicted_chain: predicted.id.clone(),
        reference_chain: reference.id.clone(),
        paired_by,
        n_reference: scored.len(),
        n_paired: pairs.len(),
        identity: identical as f64 / pairs.len() as f64,
        lddt_ca: lddt_ca.global,
        lddt: lddt.global,
        tm_score: tm.tm,
        gdt_ts: tm.gdt_ts,
        gdt_ha: tm.gdt_ha,
        rmsd_ca: rmsd(&predicted_ca, &paired_ca),
        drmsd_ca: drmsd(&predicted_ca, &paired_ca),
        violations: counts,
        residues: residues.collect(),
    })
}

/// Violations of a chain: counts, and which residues have one. Neighbours are residues whose author's numbers follow each other.
pub fn count_violations(chain: &Chain) -> (ViolationCounts, Vec<bool>) {
    let aatype = chain.aatype();
    let n = chain.len();
    let positions: Vec<_> = (0..n).map(|i| to_atom14(aatype[i], &chain.positions[i])).collect();
    let mask: Vec<_> = (0..n).map(|i| mask_to_atom14(aatype[i], &chain.mask[i])).collect();
    let numbers = residue_index(chain);
    let found = violations(&Atoms14 { aatype: &aatype, positions: &positions, mask: &mask, residue_index: &numbers });
    let at: Vec<bool> = (0..n).map(|i| found.at(i)).collect();
    let counts = ViolationCounts {
        bonds: found.n_bonds,
        angles: found.n_angles,
        clashes: found.n_clashes,
        within_residues: found.n_within,
        ca_ca: found.n_ca_ca,
        residues: at.iter().filter(|v| **v).count(),
    };
    (counts, at)
}

/// Rising numbers in which bonded neighbours differ by one. With the whole sequence known that is the place in it; otherwise the author's numbers
/// tell where residues are missing, unless insertion codes or a restart make them fall or repeat: those count as neighbours.
fn residue_index(chain: &Chain) -> Vec<i32> {
    let mut index: Vec<i32> = Vec::with_capacity(chain.len());
    for (i, site) in chain.sites.iter().enumerate() {
        let step = match (i.checked_sub(1).map(|b| &chain.sites[b]), site.number) {
            (Some(before), Some(now)) if !chain.has_full_sequence => {
                before.number.map_or(1, |b| now.value.saturating_sub(b.value)).clamp(1, 1_000)
            }
            _ => 1,
        };
        index.push(index.last().map_or(0, |last| last.saturating_add(step)));
    }
    index
}
