//! Operations of the Evoformer: sums over triangles, outer products, gates and means under masks, attention.

pub mod attention;
mod attention_backward;
pub mod distance_bins;
pub mod extra_msa_feat;
pub mod masked_mean;
pub mod outer_product_mean;
pub mod pair_mask;
pub mod pseudo_beta;
pub mod shared_rows;
pub mod template_pair_feat;
pub mod triangle_product;
