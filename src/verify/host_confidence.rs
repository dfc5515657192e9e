//! Runs the golden case of confidence numbers made from logits (`alphafold/common/confidence.py`).

use super::golden::Golden;
use super::host_structure::Outputs;
use crate::error::{Error, Result};
use crate::predict::confidence::{aligned_errors, plddt, probabilities};

/// pLDDT, aligned errors, their probabilities and pTM.
pub fn run(case: &Golden) -> Result<Outputs> {
    let (lddt_logits, logits, breaks) = (case.input("plddt_logits")?, case.input("pae_logits")?, case.input("pae_breaks")?.to_f32());
    let (&[n, lddt_bins], &[rows, columns, bins]) = (&lddt_logits.shape[..], &logits.shape[..]) else {
        return Err(Error::format(&case.path, "logits of pLDDT have two axes and those of aligned errors three"));
    };
    if (rows, columns, bins) != (n, n, breaks.len() + 1) || breaks.len() < 2 {
        return Err(Error::format(&case.path, format!("aligned errors of shape {:?} do not fit {n} residues", logits.shape)));
    }
    let narrow = |v: &[f64]| v.iter().map(|&x| x as f32).collect::<Vec<f32>>();
    let errors = aligned_errors(&logits.to_f32(), &breaks, n);
    let mut out = Outputs::default();
    out.put("plddt", &[n], narrow(&plddt(&lddt_logits.to_f32(), lddt_bins)));
    out.put("aligned_confidence_probs", &[n, n, bins], narrow(&probabilities(&logits.to_f32(), bins)));
    out.put("predicted_aligned_error", &[n, n], narrow(&errors.pae));
    out.put("max_predicted_aligned_error", &[1], vec![errors.max_pae as f32]);
    out.put("ptm", &[1], vec![errors.ptm as f32]);
    Ok(out)
}
