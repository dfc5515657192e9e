//! Operations that any network needs.

pub mod binary;
pub mod concat;
pub mod copy;
pub mod dropout;
pub mod embedding;
pub mod gated;
pub mod gemm;
pub mod layer_norm;
pub mod linear;
pub mod one_hot;
pub mod sigmoid_cross_entropy;
pub mod softmax;
pub mod softmax_cross_entropy;
pub mod sum;
pub mod sum_parts;
pub mod transpose;
pub mod unary;
