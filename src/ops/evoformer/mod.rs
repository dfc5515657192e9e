//! Operations of the Evoformer: sums over triangles, outer products, gates and means under masks, attention.

pub mod attention;
mod attention_backward;
pub mod distance_bins;
pub mod gated;
pub mod masked_mean;
pub mod outer_product_mean;
pub mod triangle_product;
