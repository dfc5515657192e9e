//! One chain as files give it: sequence, alignment, templates, and the experiment's atoms where there are any. Integers and coordinates only.

use std::ops::Range;

use crate::data::alignment::Alignment;
use crate::protein::{Mask37, Positions37};

/// What features are made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Example {
    /// Name of the chain, for messages.
    pub id: String,
    /// Our types of the query, 0..=20, `[n_res]`.
    pub aatype: Vec<u8>,
    /// Residue numbers, `[n_res]`; gaps in them matter to the relative positions.
    pub residue_index: Vec<i32>,
    /// Searches, stacked and deduplicated; row 0 is the query.
    pub alignment: Alignment,
    /// Templates in the order of the search, best first.
    pub templates: Vec<Template>,
    /// The experiment, for training.
    pub labels: Option<Labels>,
}

impl Example {
    /// Number of residues.
    pub fn n_res(&self) -> usize {
        self.aatype.len()
    }
}

/// A template in the query's columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Template {
    /// Such as `1enx_A`.
    pub name: String,
    /// Sum of the aligned columns' probabilities.
    pub sum_probs: f32,
    /// Our types 0..=21, gaps where the template has nothing, `[n_res]`.
    pub aatype: Vec<u8>,
    /// atom37 coordinates, Angstrom, `[n_res]`.
    pub positions: Vec<Positions37>,
    /// 1 where an atom has coordinates, `[n_res]`.
    pub mask: Vec<Mask37>,
}

impl Template {
    /// The part of it in the columns `range`.
    pub fn crop(&self, range: Range<usize>) -> Self {
        Self {
            name: self.name.clone(),
            sum_probs: self.sum_probs,
            aatype: self.aatype[range.clone()].to_vec(),
            positions: self.positions[range.clone()].to_vec(),
            mask: self.mask[range].to_vec(),
        }
    }
}

/// What an example is trained towards.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Labels {
    /// atom37 coordinates, Angstrom, `[n_res]`.
    pub positions: Vec<Positions37>,
    /// 1 where an atom has coordinates, `[n_res]`.
    pub mask: Vec<Mask37>,
    /// Angstrom; 0 when there is none (NMR, predictions), which switches the confidence losses off (QUIRKS 47).
    pub resolution: f32,
    /// Whether a network predicted it.
    pub is_distillation: bool,
}

impl Labels {
    /// The part of them in the columns `range`.
    pub fn crop(&self, range: Range<usize>) -> Self {
        Self { positions: self.positions[range.clone()].to_vec(), mask: self.mask[range].to_vec(), ..*self }
    }
}
