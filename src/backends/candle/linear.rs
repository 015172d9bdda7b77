//! A linear layer whose rows do not depend on their neighbours.

use candle_core::{Result, Tensor};

/// `x W^T + b` for `(rows, in)` inputs.
#[derive(Debug)]
pub(super) struct Linear {
    /// `(in, out)`, contiguous: the CPU product then reads it as it lies instead of packing it anew for each call, which is
    /// four times as fast for few rows.
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// A layer from weights `(out, in)` and biases `(out)`.
    pub(super) fn new(weight: &Tensor, bias: Option<Tensor>) -> Result<Self> {
        Ok(Self {
            weight: weight.t()?.contiguous()?,
            bias,
        })
    }

    /// `(rows, in)` to `(rows, out)`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let rows = x.dim(0)?;
        // The product of one row takes another path, with sums in another order, than that of two and more rows.
        // Those agree bit for bit, so a lone row gets a companion of zeros.
        let y = if rows == 1 {
            x.pad_with_zeros(0, 0, 1)?
                .matmul(&self.weight)?
                .narrow(0, 0, 1)?
        } else {
            x.matmul(&self.weight)?
        };
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
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
