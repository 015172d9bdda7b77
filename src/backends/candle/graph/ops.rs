//! Operations that the graph takes from the kernels on a CPU, and from candle elsewhere.

use candle_core::{Result, Storage, Tensor};
use candle_nn::ops::silu;

use crate::backends::candle::kernels::rows;

/// Calls a kernel on the values of a tensor `(rows, _)` and makes a tensor `(rows, width)` of what it gives.
pub(crate) fn by_kernel(
    x: &Tensor,
    width: usize,
    kernel: impl FnOnce(&[f32]) -> Vec<f32>,
) -> Result<Tensor> {
    let rows = x.dim(0)?;
    let y = with_values(x, kernel)?;
    Tensor::from_vec(y, (rows, width), x.device())
}

/// Shows the values of a tensor on the CPU.
pub(crate) fn with_values<T>(x: &Tensor, look: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        candle_core::bail!("the kernels work on the CPU alone");
    };
    let values = storage.as_slice::<f32>()?;
    let values = layout
        .contiguous_offsets()
        .and_then(|(start, end)| values.get(start..end));
    match values {
        Some(values) => Ok(look(values)),
        None => candle_core::bail!("the input of a kernel must be contiguous"),
    }
}

/// Divides each row `(rows, hidden)` by the root of its mean square, times a gain. A gain that the next weights hold
/// already is `None`.
#[derive(Debug)]
pub(crate) struct RmsNorm {
    pub(crate) gain: Option<Tensor>,
    pub(crate) eps: f32,
}

impl RmsNorm {
    pub(crate) fn forward(&self, x: &Tensor, kernels: bool) -> Result<Tensor> {
        let width = x.dim(1)?;
        match &self.gain {
            Some(gain) if kernels => with_values(gain, |gain| {
                by_kernel(x, width, |x| rows::rms_norm(x, width, Some(gain), self.eps))
            })?,
            None if kernels => by_kernel(x, width, |x| rows::rms_norm(x, width, None, self.eps)),
            Some(gain) => candle_nn::ops::rms_norm(x, gain, self.eps),
            None => {
                candle_nn::ops::rms_norm(x, &Tensor::ones(width, x.dtype(), x.device())?, self.eps)
            }
        }
    }
}

/// Norms of each head of q and k, before the rotation (Qwen 3, arXiv 2505.09388, section 2; arXiv 2302.05442, section
/// 2).
#[derive(Debug)]
pub(crate) struct HeadNorms {
    /// `(D)`
    pub(crate) q: Tensor,
    /// `(D)`
    pub(crate) k: Tensor,
    pub(crate) eps: f32,
}

impl HeadNorms {
    /// Norms `heads` q heads and `kv_heads` k heads of `(rows, (heads + 2 kv_heads) D)`; the v heads stay.
    pub(crate) fn forward(
        &self,
        qkv: &Tensor,
        (heads, kv_heads): (usize, usize),
        kernels: bool,
    ) -> Result<Tensor> {
        let (rows, width) = qkv.dims2()?;
        let head_dim = self.q.dim(0)?;
        if kernels {
            return with_values(&self.q, |q| {
                with_values(&self.k, |k| {
                    let gains = [(heads, q), (kv_heads, k)];
                    by_kernel(qkv, width, |x| rows::head_norms(x, width, gains, self.eps))
                })
            })??;
        }
        let normed = |first: usize, count: usize, gain: &Tensor| {
            let heads = qkv.narrow(1, first * head_dim, count * head_dim)?;
            let heads = heads.reshape((rows * count, head_dim))?.contiguous()?;
            candle_nn::ops::rms_norm(&heads, gain, self.eps)?.reshape((rows, count * head_dim))
        };
        let q = normed(0, heads, &self.q)?;
        let k = normed(heads, kv_heads, &self.k)?;
        let first_v = (heads + kv_heads) * head_dim;
        Tensor::cat(&[q, k, qkv.narrow(1, first_v, width - first_v)?], 1)
    }
}

/// `silu(gate) * up`: `(rows, 2 width)` to `(rows, width)`.
pub(crate) fn swiglu(gate_up: &Tensor, width: usize, kernels: bool) -> Result<Tensor> {
    if kernels {
        return by_kernel(gate_up, width, |x| rows::swiglu(x, width));
    }
    let gate = gate_up.narrow(1, 0, width)?.contiguous()?;
    silu(&gate)? * gate_up.narrow(1, width, width)?
}

/// `x + y`, `(rows, width)` each.
pub(crate) fn add(x: &Tensor, y: &Tensor, kernels: bool) -> Result<Tensor> {
    if kernels {
        // Candle would start threads of its own for it.
        return with_values(y, |y| by_kernel(x, x.dim(1)?, |x| rows::add(x, y)))?;
    }
    x + y
}
