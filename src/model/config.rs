//! The sizes of a model, with AlphaFold's as presets. Unknown keys are refused.

use serde::{Deserialize, Serialize};

use crate::model::structure::StructureConfig;

/// The whole network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels of the alignment's representation.
    pub c_m: usize,
    /// Channels of the pair representation.
    pub c_z: usize,
    /// Channels of the single representation.
    pub c_s: usize,
    /// Channels of the extra alignment's representation.
    pub c_e: usize,
    /// Reach of relative positions to either side.
    pub max_relative: usize,
    /// The Evoformer stack.
    pub evoformer: BlockConfig,
    /// The extra-MSA stack.
    pub extra: BlockConfig,
    /// Templates; models 3 to 5 have none.
    pub template: Option<TemplateConfig>,
    /// The structure module.
    pub structure: StructureConfig,
    /// The heads.
    pub heads: HeadsConfig,
}

/// The heads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeadsConfig {
    /// Bins of the distogram.
    pub distogram_bins: usize,
    /// First and last edge of the distogram's bins, Angstrom.
    pub distogram_edges: [f32; 2],
    /// Kinds of residue that the masked-MSA head tells apart.
    pub masked_msa_classes: usize,
    /// Channels of the pLDDT head.
    pub plddt_channels: usize,
    /// Bins of pLDDT.
    pub plddt_bins: usize,
    /// The predicted aligned error; only the `_ptm` models have it.
    pub pae: Option<PaeConfig>,
}

impl Default for HeadsConfig {
    fn default() -> Self {
        Self {
            distogram_bins: 64,
            distogram_edges: [2.3125, 21.6875],
            masked_msa_classes: 23,
            plddt_channels: 128,
            plddt_bins: 50,
            pae: None,
        }
    }
}

/// The head of the predicted aligned error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PaeConfig {
    /// Bins.
    pub bins: usize,
    /// The last edge, Angstrom.
    pub last_edge: f32,
}

impl Default for PaeConfig {
    fn default() -> Self {
        Self { bins: 64, last_edge: 31.0 }
    }
}

/// The template embedder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateConfig {
    /// Channels of a template's pair representation.
    pub c_t: usize,
    /// Heads of the pointwise attention.
    pub heads: usize,
    /// Channels of all heads of the pointwise attention together.
    pub attention: usize,
    /// Whether unit vectors between backbone frames are features (not in the released monomer models).
    pub unit_vector: bool,
    /// Whether torsion angles become rows of the alignment.
    pub angles: bool,
    /// The template pair stack.
    pub stack: BlockConfig,
}

/// One stack's blocks: the Evoformer, the extra-MSA stack or the template pair stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockConfig {
    /// Blocks in the stack.
    pub blocks: usize,
    /// Heads of row and column attention on the alignment.
    pub msa_heads: usize,
    /// Heads of triangle attention.
    pub pair_heads: usize,
    /// Channels of all heads of triangle attention together; those of the pair representation when absent.
    pub pair_attention: Option<usize>,
    /// Channels between the edges of triangle multiplication.
    pub triangle: usize,
    /// Channels of each side of the outer product.
    pub outer: usize,
    /// Whether the outer product mean comes first in a block.
    pub outer_first: bool,
    /// Widening factor of the alignment's transition.
    pub msa_factor: usize,
    /// Widening factor of the pair's transition.
    pub pair_factor: usize,
    /// Dropout of row attention.
    pub msa_dropout: f32,
    /// Dropout of the pair's modules.
    pub pair_dropout: f32,
}

impl Default for BlockConfig {
    /// The Evoformer of every released model (supplement 1.6).
    fn default() -> Self {
        Self {
            blocks: 48,
            msa_heads: 8,
            pair_heads: 4,
            pair_attention: None,
            triangle: 128,
            outer: 32,
            outer_first: false,
            msa_factor: 4,
            pair_factor: 4,
            msa_dropout: 0.15,
            pair_dropout: 0.25,
        }
    }
}
