//! A linear layer whose rows do not depend on their neighbours.

use candle_core::{Error, Result, Tensor};

use super::{
    architecture::FromWeights,
    ops::{by_kernel, with_values},
};
use crate::backends::candle::kernels::{
    gemm::{Packed, View, Write, product},
    int8::Int8Matrix,
};

/// `x W^T + b` for `(rows, in)` inputs.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
}

#[derive(Debug)]
enum Weight {
    /// On the CPU, in F32: `W^T` `(in, out)`, laid out once for the kernels of this machine. Such a product takes the
    /// same kernel for any number of rows, and the blocks in which its sums are made depend on `in` alone, so a row has
    /// the same bits alone and in a batch.
    Packed(Packed),
    /// On the CPU, in 8 bits, which holds the biases too.
    Int8(Int8Matrix),
    /// Elsewhere: `(in, out)`, contiguous.
    Tensor(Tensor),
}

impl Linear {
    /// A layer from weights `(out, in)` and biases `(out)`.
    pub(crate) fn new(weight: &Tensor, bias: Option<Tensor>) -> Result<Self> {
        let weight = if weight.device().is_cpu() {
            let (_, inputs) = weight.dims2()?;
            let packed = with_values(weight, |values| Packed::new(View::rows(values, inputs).t()))?;
            Weight::Packed(packed.map_err(Error::wrap)?)
        } else {
            Weight::Tensor(weight.t()?.contiguous()?)
        };
        Ok(Self { weight, bias })
    }

    /// The matrix of a layer in 8 bits.
    #[cfg(test)]
    pub(crate) fn as_int8(&self) -> Option<&Int8Matrix> {
        match &self.weight {
            Weight::Int8(matrix) => Some(matrix),
            _ => None,
        }
    }

    /// `(rows, in)` to `(rows, out)`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = match &self.weight {
            Weight::Packed(packed) => {
                let (rows, inputs) = x.dims2()?;
                let mut y = vec![0.0; rows * packed.columns()];
                with_values(x, |x| {
                    product(&mut y, Write::Over, 1.0, View::rows(x, inputs), packed)
                })?
                .map_err(Error::wrap)?;
                Tensor::from_vec(y, (rows, packed.columns()), x.device())?
            }
            Weight::Int8(matrix) => by_kernel(x, matrix.outputs(), |x| matrix.multiply(x))?,
            Weight::Tensor(weight) => x.matmul(weight)?,
        };
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

impl FromWeights for Linear {
    fn exact(_: &str, weight: &Tensor, bias: Option<Tensor>, _: &[usize]) -> Result<Self> {
        Self::new(weight, bias)
    }

    fn int8(matrix: Int8Matrix) -> Result<Self> {
        Ok(Self {
            weight: Weight::Int8(matrix),
            bias: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn bits(tensor: &Tensor) -> Vec<u32> {
        let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn a_row_is_the_same_bits_in_any_batch() {
        let device = Device::Cpu;
        // Shapes of SmolLM2-135M and of the output widths of a 1.5B model.
        for (inputs, outputs) in [(576, 960), (576, 3072), (1536, 576), (1536, 2048)] {
            let weight = Tensor::randn(0f32, 0.05, (outputs, inputs), &device).unwrap();
            let bias = Tensor::randn(0f32, 1.0, outputs, &device).unwrap();
            let linear = Linear::new(&weight, Some(bias)).unwrap();
            let x = Tensor::randn(0f32, 1.0, (256, inputs), &device).unwrap();
            let whole = bits(&linear.forward(&x).unwrap());
            for rows in [1, 2, 3, 7, 8, 16, 33, 64, 129, 255] {
                for first in [0, 1] {
                    let part = x.narrow(0, first, rows).unwrap();
                    let part = bits(&linear.forward(&part).unwrap());
                    assert!(
                        part == whole[first * outputs..(first + rows) * outputs],
                        "{rows} rows of {inputs} x {outputs} from row {first}"
                    );
                }
            }
        }
    }
}
