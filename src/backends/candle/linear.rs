//! A linear layer whose rows do not depend on their neighbours.

use std::fmt;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rten_gemm::{GemmExecutor, GemmInputA, GemmInputB, GemmOptions, PackedBMatrix};
use rten_tensor::NdTensorView;

use super::{
    kernels::int8::Int8Matrix,
    ops::{by_kernel, with_values},
    weights::Product,
};

/// `x W^T + b` for `(rows, in)` inputs.
#[derive(Debug)]
pub(super) struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
}

#[derive(Debug)]
enum Weight {
    /// On the CPU, in F32: laid out once for the kernels of this machine.
    Packed(Packed),
    /// On the CPU, in 8 bits, which holds the biases too.
    Int8(Int8Matrix),
    /// Elsewhere: `(in, out)`, contiguous.
    Tensor(Tensor),
}

impl Linear {
    /// A layer from weights `(out, in)` and biases `(out)`.
    pub(super) fn new(weight: &Tensor, bias: Option<Tensor>) -> Result<Self> {
        let weight = if weight.device().is_cpu() {
            Weight::Packed(Packed::new(weight)?)
        } else {
            Weight::Tensor(weight.t()?.contiguous()?)
        };
        Ok(Self { weight, bias })
    }

    /// The matrix of a layer in 8 bits.
    #[cfg(test)]
    pub(super) fn as_int8(&self) -> Option<&Int8Matrix> {
        match &self.weight {
            Weight::Int8(matrix) => Some(matrix),
            _ => None,
        }
    }

    /// `(rows, in)` to `(rows, out)`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = match &self.weight {
            Weight::Packed(packed) => x.contiguous()?.apply_op1_no_bwd(packed)?,
            Weight::Int8(matrix) => by_kernel(x, matrix.outputs(), |x| matrix.multiply(x))?,
            Weight::Tensor(weight) => x.matmul(weight)?,
        };
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

impl Product for Linear {
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

thread_local! {
    /// The products of this machine's instruction set. Cheap to make, but bound to its thread.
    static EXECUTOR: GemmExecutor = GemmExecutor::new();
}

/// `x W^T` on the CPU. Packed weights take the same kernel for any number of rows, and the blocks in which the sums are made
/// depend on `in` alone, so a row has the same bits alone and in a batch.
struct Packed {
    weight: PackedBMatrix<f32>,
    inputs: usize,
    outputs: usize,
}

impl Packed {
    fn new(weight: &Tensor) -> Result<Self> {
        let (outputs, inputs) = weight.dims2()?;
        let weight: Result<_> = with_values(weight, |values| {
            let view = NdTensorView::try_from_data([outputs, inputs], values)
                .map_err(candle_core::Error::wrap)?;
            Ok(EXECUTOR.with(|executor| executor.prepack_b(view.transposed())))
        })?;
        Ok(Self {
            weight: weight?,
            inputs,
            outputs,
        })
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packed")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}

impl CustomOp1 for Packed {
    fn name(&self) -> &'static str {
        "packed-linear"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, _) = layout.shape().dims2()?;
        let values = storage.as_slice::<f32>()?;
        let values = layout
            .contiguous_offsets()
            .and_then(|(start, end)| values.get(start..end));
        let Some(values) = values else {
            candle_core::bail!("the input of a packed linear layer must be contiguous");
        };
        let x = NdTensorView::try_from_data([rows, self.inputs], values)
            .map_err(candle_core::Error::wrap)?;
        let mut y = vec![0.0; rows * self.outputs];
        let product = EXECUTOR.with(|executor| {
            executor.gemm(
                &mut y,
                GemmInputA::Unpacked(x),
                GemmInputB::Packed(&self.weight),
                GemmOptions::default(),
            )
        });
        product.map_err(candle_core::Error::wrap)?;
        Ok((CpuStorage::F32(y), Shape::from((rows, self.outputs))))
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
