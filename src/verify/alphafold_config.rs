//! AlphaFold's own configuration, as golden cases carry it, read as ours.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::loss::total::Weights;
use crate::model::config::{BlockConfig, Config, HeadsConfig, PaeConfig, TemplateConfig};
use crate::model::structure::StructureConfig;
use crate::verify::golden::Golden;

/// A part of a case's configuration.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    case: &'a Golden,
    value: &'a Value,
}

impl<'a> Part<'a> {
    /// The whole configuration.
    pub fn of(case: &'a Golden) -> Self {
        Self { case, value: &case.config }
    }

    fn wrong(&self, key: &str) -> Error {
        Error::format(&self.case.path, format!("configuration `{key}` is missing or of another type"))
    }

    /// The part below `key`.
    pub fn child(&self, key: &str) -> Result<Self> {
        let value = self.value.get(key).ok_or_else(|| self.wrong(key))?;
        Ok(Self { value, ..*self })
    }

    /// What is at `path`, keys joined by slashes.
    fn at<T>(&self, path: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<T> {
        path.split('/').try_fold(self.value, |value, key| value.get(key)).and_then(read).ok_or_else(|| self.wrong(path))
    }

    /// A whole number.
    pub fn size(&self, path: &str) -> Result<usize> {
        self.at(path, |v| v.as_u64().map(|n| n as usize))
    }

    /// A number.
    pub fn number(&self, path: &str) -> Result<f64> {
        self.at(path, Value::as_f64)
    }

    /// A switch.
    pub fn flag(&self, path: &str) -> Result<bool> {
        self.at(path, Value::as_bool)
    }

    /// A text.
    pub fn text(&self, path: &str) -> Result<&'a str> {
        self.at(path, Value::as_str)
    }

    /// One whole number, or a list of them.
    pub fn sizes(&self, path: &str) -> Result<Vec<usize>> {
        let size = |v: &Value| v.as_u64().map(|n| n as usize);
        self.at(path, |v| v.as_array().map_or_else(|| size(v).map(|n| vec![n]), |all| all.iter().map(size).collect()))
    }
}

/// The blocks of a stack; modules that a stack does not have keep their defaults.
pub fn block(part: Part, blocks: usize) -> Result<BlockConfig> {
    let size = |module: &str, key: &str| part.child(module)?.size(key);
    Ok(BlockConfig {
        blocks,
        msa_heads: size("msa_row_attention_with_pair_bias", "num_head").unwrap_or(1),
        pair_heads: size("triangle_attention_starting_node", "num_head")?,
        pair_attention: size("triangle_attention_starting_node", "key_dim").ok(),
        triangle: size("triangle_multiplication_outgoing", "num_intermediate_channel")?,
        outer: size("outer_product_mean", "num_outer_channel").unwrap_or(1),
        outer_first: part.child("outer_product_mean").and_then(|m| m.flag("first")).unwrap_or(false),
        msa_factor: size("msa_transition", "num_intermediate_factor").unwrap_or(1),
        pair_factor: size("pair_transition", "num_intermediate_factor")?,
        ..BlockConfig::default()
    })
}

/// The template embedder.
pub fn template(part: Part) -> Result<TemplateConfig> {
    let stack = part.child("template_pair_stack")?;
    let attention = part.child("attention")?;
    Ok(TemplateConfig {
        c_t: stack.child("triangle_attention_ending_node")?.size("value_dim")?,
        heads: attention.size("num_head")?,
        attention: attention.size("key_dim")?,
        unit_vector: part.flag("use_template_unit_vector")?,
        angles: part.flag("embed_torsion_angles")?,
        stack: block(stack, stack.size("num_block")?)?,
    })
}

/// The trunk: AlphaFold's `embeddings_and_evoformer`. The extra stack has the Evoformer's blocks.
pub fn trunk(part: Part) -> Result<Config> {
    let evoformer = block(part.child("evoformer")?, part.size("evoformer_num_block")?)?;
    let with_templates = part.child("template")?.flag("enabled")?;
    Ok(Config {
        c_m: part.size("msa_channel")?,
        c_z: part.size("pair_channel")?,
        c_s: part.size("seq_channel")?,
        c_e: part.size("extra_msa_channel")?,
        max_relative: part.size("max_relative_feature")?,
        extra: BlockConfig { blocks: part.size("extra_msa_stack_num_block")?, ..evoformer.clone() },
        evoformer,
        template: if with_templates { Some(template(part.child("template")?)?) } else { None },
        structure: StructureConfig::default(),
        heads: HeadsConfig::default(),
    })
}

/// The structure module.
pub fn structure(part: Part) -> Result<StructureConfig> {
    Ok(StructureConfig {
        layers: part.size("num_layer")?,
        heads: part.size("num_head")?,
        scalar_qk: part.size("num_scalar_qk")?,
        scalar_v: part.size("num_scalar_v")?,
        point_qk: part.size("num_point_qk")?,
        point_v: part.size("num_point_v")?,
        channels: part.size("num_channel")?,
        transition_layers: part.size("num_layer_in_transition")?,
        sidechain_channels: part.size("sidechain/num_channel")?,
        sidechain_blocks: part.size("sidechain/num_residual_block")?,
        position_scale: part.number("position_scale")? as f32,
        ..StructureConfig::default()
    })
}

/// The whole network: its trunk and its heads.
pub fn model(part: Part) -> Result<Config> {
    let heads = part.child("heads")?;
    let (s, plddt, distogram) = (heads.child("structure_module")?, heads.child("predicted_lddt")?, heads.child("distogram")?);
    let pae = |h: Part| -> Result<PaeConfig> { Ok(PaeConfig { bins: h.size("num_bins")?, last_edge: h.number("max_error_bin")? as f32 }) };
    let weighted = |h: &Part| h.number("weight").is_ok_and(|w| w != 0.0);
    Ok(Config {
        structure: structure(s)?,
        heads: HeadsConfig {
            distogram_bins: distogram.size("num_bins")?,
            distogram_edges: [distogram.number("first_break")? as f32, distogram.number("last_break")? as f32],
            masked_msa_classes: heads.child("masked_msa")?.size("num_output")?,
            plddt_channels: plddt.size("num_channels")?,
            plddt_bins: plddt.size("num_bins")?,
            pae: heads.child("predicted_aligned_error").ok().filter(weighted).map(pae).transpose()?,
        },
        ..trunk(part.child("embeddings_and_evoformer")?)?
    })
}

/// The weights of all losses. The lengths at which FAPE clamps and counts, and what violates, are AlphaFold's in every case.
pub fn loss(part: Part) -> Result<Weights> {
    let heads = part.child("heads")?;
    let weight = |name: &str| heads.child(name)?.number("weight");
    let s = heads.child("structure_module")?;
    let side = s.child("sidechain")?.number("weight_frac")?;
    Ok(Weights {
        fape: 1.0 - side,
        sidechain_fape: side,
        chi: s.number("chi_weight")?,
        angle_norm: s.number("angle_norm_weight")?,
        distogram: weight("distogram")?,
        masked_msa: weight("masked_msa")?,
        plddt: weight("predicted_lddt")?,
        experimentally_resolved: weight("experimentally_resolved")?,
        violations: s.number("structural_violation_loss_weight")?,
        predicted_aligned_error: weight("predicted_aligned_error").unwrap_or(0.0),
        by_sqrt_length: false,
    })
}
