//! AlphaFold's raw features: `make_sequence_features` and `make_msa_features` of its `data/pipeline.py`.
//!
//! These are the arrays of a `features.pkl`, before any transform: HHblits order, one-hot query, lengths repeated for every residue.

use std::collections::BTreeMap;

use crate::data::alignment::Alignment;
use crate::data::alphabet::{self, HHBLITS_TO_OURS, OURS_TO_HHBLITS};
use crate::tensor::{Data, HostTensor};

/// Features of a sequence: `aatype` one-hot `[n_res, 21]`, `between_segment_residues`, `residue_index`, `seq_length` `[n_res]`, all int32.
pub fn sequence_features(sequence: &[u8]) -> BTreeMap<String, HostTensor> {
    let n = sequence.len();
    let mut one_hot = vec![0; n * 21];
    for (i, kind) in alphabet::query(sequence).into_iter().enumerate() {
        one_hot[i * 21 + usize::from(kind)] = 1;
    }
    BTreeMap::from([
        ("aatype".into(), HostTensor::i32(&[n, 21], one_hot)),
        ("between_segment_residues".into(), HostTensor::i32(&[n], vec![0; n])),
        ("residue_index".into(), HostTensor::i32(&[n], (0..n as i32).collect())),
        ("seq_length".into(), HostTensor::i32(&[n], vec![n as i32; n])),
    ])
}

/// Features of an alignment: `msa` in HHblits order and `deletion_matrix_int`, `[n_seq, n_res]`; `num_alignments` `[n_res]`; all int32.
pub fn msa_features(alignment: &Alignment) -> BTreeMap<String, HostTensor> {
    let (n_seq, n_res) = (alignment.n_seq(), alignment.n_res);
    let msa = alignment.rows.iter().map(|&t| i32::from(OURS_TO_HHBLITS[usize::from(t)])).collect();
    let mut deletions = vec![0; n_seq * n_res];
    for i in 0..n_seq {
        for &(column, count) in alignment.deletions.row(i) {
            deletions[i * n_res + usize::from(column)] = i32::from(count);
        }
    }
    BTreeMap::from([
        ("msa".into(), HostTensor::i32(&[n_seq, n_res], msa)),
        ("deletion_matrix_int".into(), HostTensor::i32(&[n_seq, n_res], deletions)),
        ("num_alignments".into(), HostTensor::i32(&[n_res], vec![n_seq as i32; n_res])),
    ])
}

/// HHblits' types in our order (`correct_msa_restypes`), `None` if one is outside its 22.
pub fn to_our_order(hhblits: &[i32]) -> Option<Vec<u8>> {
    hhblits.iter().map(|&t| usize::try_from(t).ok().and_then(|t| HHBLITS_TO_OURS.get(t)).copied()).collect()
}

/// Our types of templates that are one-hot over HHblits' 22 (`fix_templates_aatype`); a row without a maximum is its first type.
pub fn template_types(one_hot: &[f32]) -> Vec<u8> {
    one_hot.chunks_exact(22).map(|row| HHBLITS_TO_OURS[first_maximum(row.iter().copied())]).collect()
}

/// `squeeze_features`: types instead of one-hot rows, no last axis of length 1, lengths once instead of once per residue.
pub fn squeeze(mut features: BTreeMap<String, HostTensor>) -> BTreeMap<String, HostTensor> {
    for (name, tensor) in &mut features {
        if name == "aatype" {
            let width = tensor.shape[1];
            let kinds = tensor.to_f32().chunks_exact(width).map(|row| first_maximum(row.iter().copied()) as i32).collect();
            *tensor = HostTensor::i32(&tensor.shape[..1], kinds);
            continue;
        }
        if SQUEEZED.contains(&name.as_str()) && tensor.shape.last() == Some(&1) {
            tensor.shape.pop();
        }
        if name == "seq_length" || name == "num_alignments" {
            tensor.shape = vec![1];
            match &mut tensor.data {
                Data::F32(v) => v.truncate(1),
                Data::I32(v) => v.truncate(1),
            }
        }
    }
    features
}

/// Features of which `squeeze_features` takes a last axis of length 1.
const SQUEEZED: [&str; 8] = [
    "msa",
    "num_alignments",
    "seq_length",
    "deletion_matrix",
    "resolution",
    "between_segment_residues",
    "residue_index",
    "template_all_atom_masks",
];

fn first_maximum(values: impl Iterator<Item = f32>) -> usize {
    let mut best = (0, f32::NEG_INFINITY);
    for (i, value) in values.enumerate() {
        if value > best.1 {
            best = (i, value);
        }
    }
    best.0
}

/// The species code in a UniProt row name such as `tr|A0A146SKV9|A0A146SKV9_FUNHE/12-90`, empty for any other name.
pub fn species(description: &str) -> &str {
    let id = description.split_whitespace().next().unwrap_or("");
    let id = id.split('/').next().unwrap_or("");
    let mut fields = id.split('|');
    let (Some("tr" | "sp"), Some(accession), Some(entry), None) = (fields.next(), fields.next(), fields.next(), fields.next()) else {
        return "";
    };
    let word =
        |s: &str, lengths: std::ops::RangeInclusive<usize>| lengths.contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric());
    // An isoform may follow the accession as `_0`.
    let accession = match accession.rsplit_once('_') {
        Some((a, isoform)) if isoform.len() == 1 && isoform.as_bytes()[0].is_ascii_digit() => a,
        _ => accession,
    };
    let mut parts = entry.split('_');
    let (Some(name), Some(species), suffix, None) = (parts.next(), parts.next(), parts.next(), parts.next()) else { return "" };
    let suffixed = suffix.is_none_or(|s| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()));
    if word(accession, 6..=10) && word(name, 1..=usize::MAX) && word(species, 1..=5) && suffixed { species } else { "" }
}

#[cfg(test)]
mod tests {
    use super::species;

    #[test]
    fn species_come_from_uniprot_names_only() {
        assert_eq!(species("tr|A0A146SKV9|A0A146SKV9_FUNHE/12-90 more"), "FUNHE");
        assert_eq!(species("sp|P0C2L1_1|A3X1_LOXLA_2"), "LOXLA");
        for other in
            ["", "UniRef90_A0A345WS72/1-69", "tr|A0A|X_HUMAN", "xx|P0C2L1|A3X1_LOXLA", "sp|P0C2L1|A3X1_TOOLONG", "sp|P0C2L1|A3X1_LOXLA_b"]
        {
            assert_eq!(species(other), "", "{other}");
        }
    }
}
