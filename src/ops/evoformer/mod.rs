//! Operations of the Evoformer: sums over triangles, outer products, gates under masks.

pub mod gated;
pub mod triangle_product;
