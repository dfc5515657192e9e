//! Shapes, storage types and tensors in host memory. Knows nothing of GPUs, graphs or proteins.

use std::fmt;

/// How an element is stored in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// IEEE single precision: the reference, and always available.
    F32,
    /// bfloat16, packed two to a 32-bit word: single precision's range in half the memory.
    Bf16,
    /// IEEE half precision, packed two to a word: operands of cooperative matrices.
    F16,
    /// Signed 32-bit integers: residue types, indices.
    I32,
}

impl DType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            DType::F32 | DType::I32 => 4,
            DType::Bf16 | DType::F16 => 2,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::Bf16 => "bf16",
            DType::F16 => "f16",
            DType::I32 => "i32",
        })
    }
}

/// Elements of a host tensor.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// Single precision.
    F32(Vec<f32>),
    /// 32-bit integers.
    I32(Vec<i32>),
}

/// A dense row-major tensor in host memory.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Extent of each axis; empty for a scalar.
    pub shape: Vec<usize>,
    /// The elements, row-major.
    pub data: Data,
}

impl HostTensor {
    /// A tensor of f32 values; panics when the count does not fit the shape.
    pub fn f32(shape: &[usize], data: Vec<f32>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "{} values for shape {shape:?}", data.len());
        Self { shape: shape.to_vec(), data: Data::F32(data) }
    }

    /// A tensor of i32 values; panics when the count does not fit the shape.
    pub fn i32(shape: &[usize], data: Vec<i32>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "{} values for shape {shape:?}", data.len());
        Self { shape: shape.to_vec(), data: Data::I32(data) }
    }

    /// Zeros.
    pub fn zeros(shape: &[usize]) -> Self {
        Self::f32(shape, vec![0.0; shape.iter().product()])
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The f32 elements; panics on an integer tensor.
    pub fn as_f32(&self) -> &[f32] {
        match &self.data {
            Data::F32(v) => v,
            Data::I32(_) => panic!("an i32 tensor of shape {:?} was read as f32", self.shape),
        }
    }

    /// The i32 elements; panics on a float tensor.
    pub fn as_i32(&self) -> &[i32] {
        match &self.data {
            Data::I32(v) => v,
            Data::F32(_) => panic!("an f32 tensor of shape {:?} was read as i32", self.shape),
        }
    }

    /// All elements as f64, whatever their type.
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.data {
            Data::F32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Data::I32(v) => v.iter().map(|&x| f64::from(x)).collect(),
        }
    }

    /// All elements as f32, integers converted.
    pub fn to_f32(&self) -> Vec<f32> {
        match &self.data {
            Data::F32(v) => v.clone(),
            Data::I32(v) => v.iter().map(|&x| x as f32).collect(),
        }
    }

    /// The same elements under another shape of the same size.
    pub fn reshape(mut self, shape: &[usize]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), self.len(), "cannot reshape {:?} to {shape:?}", self.shape);
        self.shape = shape.to_vec();
        self
    }

    /// The part `range` of the first axis.
    pub fn rows(&self, range: std::ops::Range<usize>) -> Self {
        let width: usize = self.shape[1..].iter().product();
        let mut shape = self.shape.clone();
        shape[0] = range.len();
        let part = range.start * width..range.end * width;
        match &self.data {
            Data::F32(v) => Self::f32(&shape, v[part].to_vec()),
            Data::I32(v) => Self::i32(&shape, v[part].to_vec()),
        }
    }
}
