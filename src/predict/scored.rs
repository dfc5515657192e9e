//! One prediction with its confidences: the network's raw output, checked, reduced to what files and rankings need.

use crate::error::{Error, Result};
use crate::predict::confidence::{AlignedErrors, RankBy, aligned_errors, finite, plddt};
use crate::predict::{Cycle, Raw};
use crate::protein::letters::{letter_of_restype, name_of_restype};
use crate::protein::metrics::compare::{ViolationCounts, count_violations};
use crate::protein::structure::{Chain, Number, ResidueAtoms, Site};

/// A structure and how far to trust it.
#[derive(Debug, Clone)]
pub struct Scored {
    /// The model's name.
    pub model: String,
    /// The seed.
    pub seed: u64,
    /// Its name in files: `model_1_ptm_pred_0`, with the number of the seed in the run's list, as AlphaFold counts.
    pub label: String,
    /// Chain A; B-factors are pLDDT.
    pub chain: Chain,
    /// 0 to 100, `[n_res]`.
    pub plddt: Vec<f64>,
    /// Of models with the aligned error head.
    pub errors: Option<AlignedErrors>,
    /// Breaches of stereochemistry: nothing relaxes the structure.
    pub violations: ViolationCounts,
    /// Residues with a breach, `[n_res]`.
    pub violating: Vec<bool>,
    /// The passes that were done.
    pub history: Vec<Cycle>,
    /// How far distances are from what separation alone would give (supplement 1.3), where that was asked for, `[n_res]`.
    pub distogram_confidence: Option<Vec<f64>>,
}

impl Scored {
    /// Checks and reduces `raw`. `aatype` is 0..=20 and `residue_index` counts from 0.
    pub fn new(raw: &Raw, (model, seed, label): (&str, u64, &str), aatype: &[u8], residue_index: &[i32]) -> Result<Self> {
        let n = aatype.len();
        assert!(
            raw.positions.len() == n && raw.mask.len() == n && residue_index.len() == n,
            "{} positions of {n} residues",
            raw.positions.len()
        );
        let &[rows, n_bins] = &raw.plddt_logits.shape[..] else { panic!("pLDDT logits of shape {:?}", raw.plddt_logits.shape) };
        assert_eq!(rows, n, "pLDDT logits");
        finite("coordinates", raw.positions.as_flattened().as_flattened().iter().copied())?;
        finite("pLDDT logits", raw.plddt_logits.as_f32().iter().copied())?;
        if let Some(pae) = &raw.pae {
            assert_eq!(pae.logits.shape, [n, n, pae.breaks.len() + 1], "logits of aligned errors");
            finite("aligned error logits", pae.logits.as_f32().iter().copied())?;
        }
        let plddt = plddt(raw.plddt_logits.as_f32(), n_bins);
        let chain = chain(raw, aatype, residue_index, &plddt);
        let (violations, violating) = count_violations(&chain);
        Ok(Self {
            model: model.to_owned(),
            seed,
            label: label.to_owned(),
            errors: raw.pae.as_ref().map(|p| aligned_errors(p.logits.as_f32(), &p.breaks, n)),
            chain,
            plddt,
            violations,
            violating,
            history: raw.history.clone(),
            distogram_confidence: None,
        })
    }

    /// Mean pLDDT, 0 to 100.
    pub fn mean_plddt(&self) -> f64 {
        self.plddt.iter().sum::<f64>() / self.plddt.len().max(1) as f64
    }

    /// Predicted TM-score, of models that have it.
    pub fn ptm(&self) -> Option<f64> {
        self.errors.as_ref().map(|e| e.ptm)
    }

    /// The number that it is ranked by.
    pub fn score(&self, by: RankBy) -> Result<f64> {
        match by {
            RankBy::Plddt => Ok(self.mean_plddt()),
            RankBy::Ptm => self.ptm().ok_or_else(|| {
                Error::Config(format!(
                    "`{}` predicts no TM-score to rank by: use models whose names end in _ptm, or rank by plddt",
                    self.model
                ))
            }),
        }
    }
}

/// Numbers count from 1 where the index counts from 0, as AlphaFold writes them.
fn chain(raw: &Raw, aatype: &[u8], residue_index: &[i32], plddt: &[f64]) -> Chain {
    let mut chain = Chain { id: "A".into(), label_id: "A".into(), entity: "1".into(), has_full_sequence: true, ..Chain::default() };
    for (i, &kind) in aatype.iter().enumerate() {
        let kind = usize::from(kind);
        let number = Number { value: residue_index[i].saturating_add(1), insertion: ' ', hetatm: false };
        let site = Site { name: name_of_restype(kind).into(), number: Some(number) };
        let atoms = ResidueAtoms { positions: raw.positions[i], mask: raw.mask[i], b_factors: [plddt[i] as f32; 37] };
        chain.push(letter_of_restype(kind), site, atoms);
    }
    chain
}
