//! Validation: chains predicted with the parameters as they are, scored against their experiments, and kept for the report.
//!
//! Must not know the command line.

use std::path::Path;

use glam::DVec3;

use crate::data::features::{FeatureConfig, Features};
use crate::data::loader::prepare_chain;
use crate::data::policy::Mix;
use crate::error::{Error, Result};
use crate::io::{pdb_write, text};
use crate::protein::letters::letter_of_restype;
use crate::protein::letters::slot37::CA;
use crate::protein::metrics::lddt::alphafold_lddt;
use crate::protein::metrics::superpose::rmsd;
use crate::protein::metrics::{drmsd, tm};
use crate::protein::structure::{Chain, Number, Site};
use crate::protein::tables::TABLES;
use crate::protein::{Mask37, Positions37};
use crate::train::ranks::{Place, Ranks};
use crate::train::step::Step;

/// Number of the first validation example's draws: apart from every training example's.
const FIRST: u64 = 1 << 40;

/// A chain's scores.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Score {
    /// The chain.
    pub chain: String,
    /// lDDT-Cα, 0 to 1.
    pub lddt_ca: f64,
    /// RMSD of CA atoms after superposition, Angstrom.
    pub rmsd_ca: f64,
    /// Root mean square difference of CA distances, Angstrom.
    pub drmsd_ca: f64,
    /// TM-score.
    pub tm: f64,
    /// GDT-TS.
    pub gdt_ts: f64,
}

impl Score {
    /// The scores by the names that logs give them.
    pub fn named(&self) -> [(&'static str, f64); 5] {
        let s = self;
        [("lddt_ca", s.lddt_ca), ("rmsd_ca", s.rmsd_ca), ("drmsd_ca", s.drmsd_ca), ("tm", s.tm), ("gdt_ts", s.gdt_ts)]
    }

    /// A chain's scores from their values, in the order of [`Score::named`].
    fn of(chain: String, [lddt_ca, rmsd_ca, drmsd_ca, tm, gdt_ts]: [f64; 5]) -> Self {
        Self { chain, lddt_ca, rmsd_ca, drmsd_ca, tm, gdt_ts }
    }

    /// The mean of some scores; of none, not numbers.
    pub fn mean(scores: &[Self]) -> Self {
        let mean = |part: fn(&Self) -> f64| scores.iter().map(part).sum::<f64>() / scores.len() as f64;
        Self {
            chain: String::new(),
            lddt_ca: mean(|s| s.lddt_ca),
            rmsd_ca: mean(|s| s.rmsd_ca),
            drmsd_ca: mean(|s| s.drmsd_ca),
            tm: mean(|s| s.tm),
            gdt_ts: mean(|s| s.gdt_ts),
        }
    }
}

/// Scores predicted positions against the example's labels, over the residues whose CA is known.
pub fn score(f: &Features, positions: &[Positions37]) -> Option<Score> {
    let labels = f.labels.as_ref()?;
    let point = |p: &[f32; 3]| DVec3::from(p.map(f64::from));
    let known: Vec<usize> = (0..f.n_crop()).filter(|&i| labels.mask[i][CA] > 0.0).collect();
    if known.len() < 3 {
        return None;
    }
    let predicted: Vec<DVec3> = known.iter().map(|&i| point(&positions[i][CA])).collect();
    let truth: Vec<DVec3> = known.iter().map(|&i| point(&labels.positions[i][CA])).collect();
    let tm = tm::tm_scores(&predicted, &truth, truth.len());
    Some(Score {
        chain: f.id.clone(),
        lddt_ca: alphafold_lddt(&predicted, &truth, &vec![true; truth.len()], 15.0).global,
        rmsd_ca: rmsd(&predicted, &truth),
        drmsd_ca: drmsd(&predicted, &truth),
        tm: tm.tm,
        gdt_ts: tm.gdt_ts,
    })
}

/// Predicts and scores chains of some sets with the parameters as they are: of every `count` that follow each other the one at `rank`.
/// `keep` is given each with its prediction. Scores come with their chains' places.
pub fn scores(
    step: &Step,
    mix: &Mix,
    features: &FeatureConfig,
    (passes, seed): (usize, u64),
    Place { rank, count, .. }: Place,
    mut keep: impl FnMut(&Features, &[Positions37]) -> Result<()>,
) -> Result<Vec<(usize, Score)>> {
    let chains = mix.sets.iter().enumerate().flat_map(|(s, set)| mix.chains(s).iter().map(move |&chain| (set, chain)));
    let mut all = Vec::new();
    for (i, (set, chain)) in chains.enumerate().filter(|(i, _)| i % count == rank) {
        let loaded = prepare_chain(set, chain, features, passes, seed, FIRST + chain as u64)?;
        let positions = step.predict(&loaded.features)?;
        keep(&loaded.features, &positions)?;
        all.extend(score(&loaded.features, &positions).map(|score| (i, score)));
    }
    Ok(all)
}

/// The scores of all processes, in the order of the chains, from those of each.
pub fn gather(ranks: &Ranks, own: &[(usize, Score)]) -> Result<Vec<Score>> {
    // As bits, which no text rounds.
    type Sent = Vec<(usize, String, [u64; 5])>;
    let sent: Sent = own.iter().map(|(i, s)| (*i, s.chain.clone(), s.named().map(|(_, v)| v.to_bits()))).collect();
    let texts = ranks.gather(serde_json::to_string(&sent).expect("plain data is JSON"))?;
    let mut all: Sent = texts.iter().flat_map(|t| serde_json::from_str::<Sent>(t).expect("scores as they are sent")).collect();
    all.sort_by_key(|(i, ..)| *i);
    Ok(all.into_iter().map(|(_, chain, bits)| Score::of(chain, bits.map(f64::from_bits))).collect())
}

/// Writes a prediction and its experiment as `CHAIN.pdb` and `CHAIN.reference.pdb`, in the place of older ones. A prediction that PDB files
/// cannot hold, such as one that is not finite, leaves neither.
pub fn keep(folder: &Path, f: &Features, positions: &[Positions37]) -> Result<()> {
    let Some(labels) = &f.labels else { return Ok(()) };
    let name: String = f.id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    let files = [folder.join(format!("{name}.pdb")), folder.join(format!("{name}.reference.pdb"))];
    let exist: Vec<Mask37> = f.aatype.iter().map(|&t| TABLES.atom37_exists[usize::from(t)]).collect();
    match [pdb_write::to_pdb(&[&chain(f, positions, &exist)]), pdb_write::to_pdb(&[&chain(f, &labels.positions, &labels.mask)])] {
        [Ok(predicted), Ok(reference)] => {
            std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
            files.iter().zip([predicted, reference]).try_for_each(|(path, pdb)| text::write_whole(path, pdb.as_bytes()))
        }
        _ => files.iter().filter(|path| path.exists()).try_for_each(|path| std::fs::remove_file(path).map_err(|e| Error::io(path, e))),
    }
}

/// A chain of these atoms with its middle in the origin.
fn chain(f: &Features, positions: &[Positions37], mask: &[Mask37]) -> Chain {
    let known: Vec<DVec3> = (0..f.n_crop()).filter(|&i| mask[i][CA] > 0.0).map(|i| DVec3::from(positions[i][CA].map(f64::from))).collect();
    let middle = known.iter().sum::<DVec3>() / known.len().max(1) as f64;
    let centred = |p: &[f32; 3]| (DVec3::from(p.map(f64::from)) - middle).to_array().map(|v| v as f32);
    let sites = f.residue_index.iter().zip(mask).map(|(i, mask)| Site {
        name: String::new(),
        number: mask.contains(&1.0).then_some(Number { value: i + 1, insertion: ' ', hetatm: false }),
    });
    Chain {
        id: "A".into(),
        label_id: "A".into(),
        sequence: f.aatype.iter().map(|&t| char::from(letter_of_restype(t.into()))).collect(),
        sites: sites.collect(),
        positions: positions.iter().map(|residue| std::array::from_fn(|a| centred(&residue[a]))).collect(),
        mask: mask.to_vec(),
        b_factors: vec![[0.0; 37]; positions.len()],
        ..Chain::default()
    }
}
