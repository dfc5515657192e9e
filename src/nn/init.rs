//! AlphaFold's initialisers: truncated normals scaled by fan-in, Glorot uniform, constants.

/// How a parameter begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// All the same value: zeros for final layers and biases, ones for gates and scales.
    Constant(f32),
    /// Truncated normal of variance `1 / fan_in` (LeCun).
    Linear,
    /// Truncated normal of variance `2 / fan_in` (He).
    Relu,
    /// Uniform of variance `1 / mean(fan_in, fan_out)` (Glorot).
    Glorot,
}
