//! Validation: chains predicted with the parameters as they are, scored against their experiments, and kept for the report.
//!
//! Must not know the command line.

use std::path::Path;

use glam::DVec3;

use crate::data::draws::Keyed;
use crate::data::example::Example;
use crate::data::features::{self, FeatureConfig, Features};
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
use crate::train::baseline::{self, Baselines, Bins, Columns};
use crate::train::config::{Config, SetPart};
use crate::train::ranks::{Place, Ranks};
use crate::train::sampler::check_apart;
use crate::train::step::{Predicted, Step};

/// Number of the first validation example's draws: apart from every training example's.
const FIRST: u64 = 1 << 40;

/// What a chain is measured by, in the names of the logs: lDDT-Cα (0 to 1), RMSD of CA atoms after superposition (Angstrom), root mean square
/// difference of CA distances (Angstrom), TM-score and GDT-TS; then the cross entropies of [`AGAINST`], each before its baseline's.
pub const NAMES: [&str; 11] = [
    "lddt_ca",
    "rmsd_ca",
    "drmsd_ca",
    "tm",
    "gdt_ts",
    "masked_msa",
    "masked_msa_profile",
    "masked_msa_relatives",
    "masked_msa_relatives_profile",
    "distogram",
    "distogram_separation",
];

/// A cross entropy of the network and the same of a predictor that knows next to nothing.
pub struct Against {
    /// The network's name in the logs.
    pub name: &'static str,
    /// The baseline's.
    pub baseline: &'static str,
    /// What is predicted, in words.
    pub what: &'static str,
    /// The baseline in words.
    pub by: &'static str,
}

/// What the network is held against: masked letters (supplement 1.9.9) against their column's profile, and the distogram (1.9.8) against
/// what separation in the chain alone says. The query's own letters are given to the network beside the alignment, so that it can copy them:
/// without them, over chains that have relatives, masked letters are measured a second time.
pub const AGAINST: [Against; 3] = [
    Against { name: NAMES[5], baseline: NAMES[6], what: "masked MSA", by: "the column profile" },
    Against { name: NAMES[7], baseline: NAMES[8], what: "masked MSA without the query", by: "the column profile" },
    Against { name: NAMES[9], baseline: NAMES[10], what: "distogram", by: "separation alone" },
];

impl Against {
    /// Which one is better, in words.
    pub fn verdict(&self, network: f64, baseline: f64) -> String {
        let below = if network < baseline { "below" } else { "not below" };
        format!("{} {network:.3}, {below} {baseline:.3} of {}", self.what, self.by)
    }
}

/// A chain's scores.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// The chain.
    pub chain: String,
    /// In the order of [`NAMES`]; `None` for what the chain has nothing of, such as masked letters.
    pub values: [Option<f64>; NAMES.len()],
}

impl Score {
    /// The values that there are, by their names.
    pub fn named(&self) -> Vec<(&'static str, f64)> {
        NAMES.into_iter().zip(self.values).filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values[NAMES.iter().position(|n| *n == name)?]
    }

    /// The mean of some scores, of each value over the chains that have it.
    pub fn mean(scores: &[Self]) -> Self {
        let mean = |k: usize| {
            let there: Vec<f64> = scores.iter().filter_map(|s| s.values[k]).collect();
            (!there.is_empty()).then(|| there.iter().sum::<f64>() / there.len() as f64)
        };
        Self { chain: String::new(), values: std::array::from_fn(mean) }
    }

    /// What it says after a step, for people.
    pub fn said(&self, step: u64) -> String {
        let lddt = self.get("lddt_ca").map(|x| format!("lDDT-Cα {x:.3}"));
        let against = AGAINST.iter().filter_map(|a| Some(a.verdict(self.get(a.name)?, self.get(a.baseline)?)));
        format!("validation after step {step}: {}", lddt.into_iter().chain(against).collect::<Vec<_>>().join("; "))
    }
}

/// Chains that validate, how their features are made, and what the network is held against.
pub struct Validation {
    mix: Mix,
    features: FeatureConfig,
    passes: usize,
    seed: u64,
    bins: Bins,
    /// Counted on the training chains.
    pub baselines: Baselines,
}

impl Validation {
    /// Opens the validation sets of a run that trains on `train`, which must not have a chain near theirs; `None` where nothing validates.
    pub fn open(config: &Config, train: &Mix) -> Result<Option<Self>> {
        let open = |parts: &[SetPart]| Mix::open(&parts.iter().map(SetPart::part).collect::<Vec<_>>());
        let mix = match (config.run.validate_training, config.data.validation.as_slice()) {
            (true, _) => open(&config.data.train)?,
            (false, []) => return Ok(None),
            (false, parts) => {
                let mix = open(parts)?;
                check_apart(train, &mix)?;
                mix
            }
        };
        if config.run.validate_every == 0 {
            return Ok(None);
        }
        let heads = config.sizes()?.heads;
        let bins = Bins { edges: heads.distogram_edges.map(f64::from), count: heads.distogram_bins };
        let features = FeatureConfig { training: None, ..config.features() };
        let baselines = Baselines::count(train, config.data.crop, bins)?;
        Ok(Some(Self { mix, features, passes: config.run.validation_passes, seed: config.seed, bins, baselines }))
    }

    /// Predicts and scores chains with the parameters as they are: of every `count` that follow each other the one at `rank`. `keep` is given
    /// each with its prediction. Scores come with their chains' places.
    pub fn scores(
        &self,
        step: &Step,
        Place { rank, count, .. }: Place,
        mut keep: impl FnMut(&Features, &[Positions37]) -> Result<()>,
    ) -> Result<Vec<(usize, Score)>> {
        let chains = self.mix.sets.iter().enumerate().flat_map(|(s, set)| self.mix.chains(s).iter().map(move |&chain| (set, chain)));
        let mut all = Vec::new();
        for (i, (set, chain)) in chains.enumerate().filter(|(i, _)| i % count == rank) {
            let example = set.example(chain)?;
            let f = features::make(&example, &self.features, self.passes, &Keyed::new(self.seed, FIRST + chain as u64));
            let predicted = step.predict(&f)?;
            keep(&f, &predicted.positions)?;
            let [lddt_ca, rmsd_ca, drmsd_ca, tm, gdt_ts] = match structure(&f, &predicted.positions) {
                Some(values) => values.map(Some),
                None => continue,
            };
            let [letters, relatives] = self.masked_msa(&example, &f, &predicted);
            let pairs = [letters, relatives, self.distogram(&f, &predicted)];
            let [a, b, c, d, e, g] = std::array::from_fn(|k| pairs[k / 2].map(|pair| pair[k % 2]));
            all.push((i, Score { chain: f.id.clone(), values: [lddt_ca, rmsd_ca, drmsd_ca, tm, gdt_ts, a, b, c, d, e, g] }));
        }
        Ok(all)
    }

    /// Cross entropies of the network and of the profile over the masked letters of the last pass, and over those that are not the query's.
    fn masked_msa(&self, example: &Example, f: &Features, predicted: &Predicted) -> [Option<[f64; 2]>; 2] {
        let columns = Columns::of(&example.alignment, f.crop.clone());
        let Some(pass) = f.passes.last() else { return [None; 2] };
        let (n, [_, n_res, classes]) = (f.n_crop(), three(&predicted.masked_msa.shape));
        let logits = predicted.masked_msa.as_f32();
        let error = |at: usize| {
            let (row, column, letter) = (at / n, at % n, pass.true_msa[at]);
            let network = cross_entropy(&logits[(row * n_res + column) * classes..][..classes], letter.into());
            [network, self.baselines.profile.error(&columns, column, letter)]
        };
        let over = |first: usize| mean((first..pass.bert_mask.len()).filter(|&at| pass.bert_mask[at] == 1).map(error));
        [over(0), over(n)]
    }

    /// Cross entropies of the network and of separations over the pairs whose distance is known.
    fn distogram(&self, f: &Features, predicted: &Predicted) -> Option<[f64; 2]> {
        let points = baseline::points(&f.aatype, f.labels.as_ref()?);
        let [_, n_res, bins] = three(&predicted.distogram.shape);
        let logits = predicted.distogram.as_f32();
        let known: Vec<(usize, DVec3)> = points.into_iter().enumerate().filter_map(|(i, p)| Some((i, p?))).collect();
        let pairs = known.iter().flat_map(|a| known.iter().map(move |b| (a, b)));
        mean(pairs.map(|(&(i, a), &(j, b))| {
            let distance = a.distance(b);
            let network = cross_entropy(&logits[(i * n_res + j) * bins..][..bins], self.bins.of(distance));
            [network, self.baselines.separations.error(f.residue_index[i].abs_diff(f.residue_index[j]), distance)]
        }))
    }
}

fn three(shape: &[usize]) -> [usize; 3] {
    shape.try_into().expect("logits have three axes")
}

/// What the softmax of `logits` lacks of certainty about a class: −ln of its probability.
fn cross_entropy(logits: &[f32], class: usize) -> f64 {
    let top = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&l| (f64::from(l) - top).exp()).sum();
    top + sum.ln() - f64::from(logits[class])
}

/// The means of pairs; of none, nothing.
fn mean(pairs: impl Iterator<Item = [f64; 2]>) -> Option<[f64; 2]> {
    let (n, sums) = pairs.fold((0usize, [0.0; 2]), |(n, [a, b]), pair| (n + 1, [a + pair[0], b + pair[1]]));
    (n > 0).then(|| sums.map(|sum| sum / n as f64))
}

/// The first five of [`NAMES`] for predicted positions against the example's labels, over the residues whose CA is known; `None` where less
/// than three are.
fn structure(f: &Features, positions: &[Positions37]) -> Option<[f64; 5]> {
    let labels = f.labels.as_ref()?;
    let point = |p: &[f32; 3]| DVec3::from(p.map(f64::from));
    let known: Vec<usize> = (0..f.n_crop()).filter(|&i| labels.mask[i][CA] > 0.0).collect();
    if known.len() < 3 {
        return None;
    }
    let predicted: Vec<DVec3> = known.iter().map(|&i| point(&positions[i][CA])).collect();
    let truth: Vec<DVec3> = known.iter().map(|&i| point(&labels.positions[i][CA])).collect();
    let lddt = alphafold_lddt(&predicted, &truth, &vec![true; truth.len()], 15.0).global;
    let tm = tm::tm_scores(&predicted, &truth, truth.len());
    Some([lddt, rmsd(&predicted, &truth), drmsd(&predicted, &truth), tm.tm, tm.gdt_ts])
}

/// The scores of all processes, in the order of the chains, from those of each.
pub fn gather(ranks: &Ranks, own: &[(usize, Score)]) -> Result<Vec<Score>> {
    // As bits, which no text rounds.
    type Sent = Vec<(usize, String, [Option<u64>; NAMES.len()])>;
    let sent: Sent = own.iter().map(|(i, s)| (*i, s.chain.clone(), s.values.map(|v| v.map(f64::to_bits)))).collect();
    let texts = ranks.gather(serde_json::to_string(&sent).expect("plain data is JSON"))?;
    let mut all: Sent = texts.iter().flat_map(|t| serde_json::from_str::<Sent>(t).expect("scores as they are sent")).collect();
    all.sort_by_key(|(i, ..)| *i);
    Ok(all.into_iter().map(|(_, chain, bits)| Score { chain, values: bits.map(|b| b.map(f64::from_bits)) }).collect())
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
