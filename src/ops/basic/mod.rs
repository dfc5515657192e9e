//! Operations that any network needs.

pub mod binary;
pub mod copy;
pub mod gemm;
pub mod layer_norm;
pub mod linear;
pub mod softmax;
pub mod sum;
pub mod unary;
