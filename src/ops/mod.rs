//! The operations: one file each, with its shader under the same stem.
//!
//! Knows recorders and views; must not know graphs' insides or models, nor, outside of `structure` and `loss`, proteins.

/// Embeds a shader file by its stem; a missing file does not compile.
macro_rules! shader {
    ($stem:literal) => {{
        static SOURCE: crate::gpu::shader::Source = crate::gpu::shader::Source {
            name: $stem,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $stem, ".wgsl")),
        };
        &SOURCE
    }};
}

mod axes;
pub mod basic;
pub mod evoformer;
pub mod loss;
mod rows;
pub mod structure;
pub mod train;

use std::rc::Rc;

use crate::graph::{Builtins, Graph};
use crate::tensor::DType;

/// An empty graph with the builtins that it needs.
pub fn graph(storage: DType, param_elements: usize) -> Graph {
    let builtins = Builtins {
        accumulate: basic::copy::accumulate,
        fill: basic::copy::fill,
        sums: basic::sum_parts::record,
        copy: || Rc::new(basic::copy::Copy),
        add: || Rc::new(basic::binary::Binary { mul: false }),
        mul: || Rc::new(basic::binary::Binary { mul: true }),
    };
    Graph::new(builtins, storage, param_elements)
}
