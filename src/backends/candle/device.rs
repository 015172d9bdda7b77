//! Where a model runs.

use crate::error::{Error, Result};

/// Where a model runs. By default on the CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Device {
    /// The CPU.
    #[default]
    Cpu,
    /// The CUDA device of this number; needs the feature `cuda`.
    Cuda(usize),
    /// The Metal device of this number; needs the feature `metal`.
    Metal(usize),
}

impl Device {
    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::Config`] if this build or this machine does not have it.
    pub(super) fn open(self) -> Result<candle_core::Device> {
        let device = match self {
            Self::Cpu => Ok(candle_core::Device::Cpu),
            Self::Cuda(number) => candle_core::Device::new_cuda(number),
            Self::Metal(number) => candle_core::Device::new_metal(number),
        };
        device.map_err(|error| Error::config("device", format!("{self:?} cannot be used: {error}")))
    }
}
