//! In what numbers a model computes.

/// In what numbers the products of a model are computed.
///
/// ```
/// use safer_instruct::backends::candle::{Device, Precision};
///
/// assert_eq!(Precision::default_on(Device::Cpu), Precision::Int8);
/// assert_eq!(Precision::default_on(Device::Cuda(0)), Precision::F32);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// Weights in 8 bits with one scale for each output, activations in 8 bits with one scale for each row, on a
    /// rotated residual stream (QuaRot, arXiv 2404.00456); about one byte a weight. The fastest on a CPU, and for CPUs
    /// alone.
    Int8,
    /// 32-bit floating point, whatever the file holds: four bytes a weight. The reference.
    F32,
}

impl Precision {
    /// [`Int8`](Self::Int8) on a CPU, [`F32`](Self::F32) elsewhere.
    #[must_use]
    pub fn default_on(device: super::Device) -> Self {
        match device {
            super::Device::Cpu => Self::Int8,
            _ => Self::F32,
        }
    }
}
