//! A small golden set inside the program: with it a user finds out, without any file, whether a GPU and its driver compute correctly.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

macro_rules! case {
    ($name:literal) => {
        ($name, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/goldens/", $name, ".safetensors")))
    };
}

/// Primitives, a block of the trunk, the structure module, and a whole small network with two recyclings, its losses and all gradients.
const CASES: [(&str, &[u8]); 10] = [
    case!("primitives/linear_small"),
    case!("primitives/layer_norm_small"),
    case!("primitives/attention_gated_bias_small"),
    case!("primitives/global_attention_gated_small"),
    case!("primitives/triangle_multiplication_outgoing_small"),
    case!("primitives/outer_product_mean_small"),
    case!("evoformer/evoformer_iteration_small"),
    case!("evoformer/template_embedding_small"),
    case!("structure/structure_module_small"),
    case!("model/alphafold_recycle2"),
];

/// Writes the set below `folder`, and gives its files in order.
pub fn write(folder: &Path) -> Result<Vec<PathBuf>> {
    let one = |(name, bytes): &(&str, &[u8])| {
        let path = folder.join(format!("{name}.safetensors"));
        let parent = path.parent().expect("a case lies in its group's folder");
        std::fs::create_dir_all(parent).and_then(|()| std::fs::write(&path, bytes)).map_err(|e| Error::io(&path, e))?;
        Ok(path)
    };
    CASES.iter().map(one).collect()
}
