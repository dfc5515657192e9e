//! Operations that any network needs.

pub mod binary;
pub mod copy;
pub mod embedding;
pub mod gemm;
pub mod layer_norm;
pub mod linear;
pub mod one_hot;
pub mod softmax;
pub mod sum;
pub mod unary;
