//! Attention in candle's own operations, for every device.

use candle_core::{Device, Result, Tensor};
use candle_nn::{
    ops::softmax_last_dim,
    rotary_emb::{rope, rope_i},
};

use super::{config::Config, kv_cache::Chunk};
use crate::backends::candle::kernels::rows::Pairs;

/// Attention on tensors, each sequence by itself. Letters as in [`architecture`](super::architecture).
#[derive(Debug)]
pub(crate) struct TensorAttention {
    cos: Tensor,
    sin: Tensor,
}

impl TensorAttention {
    /// From the cosines and sines of all positions, each `(positions, D / 2)`.
    pub(crate) fn new(
        cos: Vec<f32>,
        sin: Vec<f32>,
        head_dim: usize,
        device: &Device,
    ) -> Result<Self> {
        let shape = (cos.len() / (head_dim / 2), head_dim / 2);
        Ok(Self {
            cos: Tensor::from_vec(cos, shape, device)?,
            sin: Tensor::from_vec(sin, shape, device)?,
        })
    }

    /// `(T, (H + 2K) D)` to `(T, H D)`.
    pub(crate) fn forward(
        &self,
        config: &Config,
        layer: usize,
        qkv: &Tensor,
        chunks: &mut [Chunk<'_>],
    ) -> Result<Tensor> {
        let total = qkv.dim(0)?;
        let (heads, kv_heads) = (config.num_attention_heads, config.num_key_value_heads);
        let positions: Vec<u32> = chunks
            .iter()
            .flat_map(|chunk| (chunk.cache.len()..).take(chunk.tokens.len()))
            .map(|position| position as u32)
            .collect();
        let positions = Tensor::from_vec(positions, total, qkv.device())?;
        let cos = self.cos.index_select(&positions, 0)?;
        let sin = self.sin.index_select(&positions, 0)?;

        // 1. Heads first: (H + 2K, T, D)
        let qkv = qkv
            .reshape((total, heads + 2 * kv_heads, config.head_dim))?
            .transpose(0, 1)?
            .contiguous()?;
        // 2. Rotate q and k together: (H + K, T, D)
        let qk = qkv.narrow(0, 0, heads + kv_heads)?.unsqueeze(0)?;
        let qk = match config.pairs {
            Pairs::Neighbours => rope_i(&qk, &cos, &sin),
            Pairs::Halves => rope(&qk, &cos, &sin),
        }?
        .squeeze(0)?;
        let (q, k) = (qk.narrow(0, 0, heads)?, qk.narrow(0, heads, kv_heads)?);
        let v = qkv.narrow(0, heads + kv_heads, kv_heads)?;

        let mut outputs = Vec::with_capacity(chunks.len());
        let mut start = 0;
        for chunk in chunks.iter_mut() {
            let n = chunk.tokens.len();
            let past = chunk.cache.len();
            let Some(cache) = chunk.cache.tensors() else {
                candle_core::bail!("the cache is none of tensors");
            };
            // 3. The sequence's keys and values, old and new: (K, L, D)
            let (keys, values) = cache.append(
                layer,
                past,
                &k.narrow(1, start, n)?,
                &v.narrow(1, start, n)?,
            )?;
            let q = q.narrow(1, start, n)?.contiguous()?;
            outputs.push(attend(&q, &keys, &values)?);
            start += n;
        }
        // 4. Rows first again: (T, H D)
        Tensor::cat(&outputs, 1)?
            .transpose(0, 1)?
            .contiguous()?
            .reshape((total, heads * config.head_dim))
    }
}

/// Grouped attention of one sequence: q `(H, n, D)`, keys and values `(K, L, D)`, to `(H, n, D)`.
fn attend(q: &Tensor, keys: &Tensor, values: &Tensor) -> Result<Tensor> {
    let (heads, n, head_dim) = q.dims3()?;
    let (kv_heads, len, _) = keys.dims3()?;
    // The G query heads of a key head are neighbours, so they are G * n rows of one product: (K, G n, L)
    let rows = heads / kv_heads * n;
    let q = (q.reshape((kv_heads, rows, head_dim))? / (head_dim as f64).sqrt())?;
    let mut scores = q.matmul(&keys.transpose(1, 2)?)?;
    if let Some(mask) = causal_mask(n, len - n, q.device())? {
        scores = scores
            .reshape((heads, n, len))?
            .broadcast_add(&mask)?
            .reshape((kv_heads, rows, len))?;
    }
    softmax_last_dim(&scores)?
        .matmul(values)?
        .reshape((heads, n, head_dim))
}

/// `(n, past + n)`: 0 where one of `n` new tokens sees a token, negative infinity where that comes after it.
///
/// `None` for a single new token, which sees everything.
fn causal_mask(n: usize, past: usize, device: &Device) -> Result<Option<Tensor>> {
    if n == 1 {
        return Ok(None);
    }
    let len = past + n;
    let mask: Vec<f32> = (past..len)
        .flat_map(|row| (0..len).map(move |col| if col > row { f32::NEG_INFINITY } else { 0.0 }))
        .collect();
    Tensor::from_vec(mask, (n, len), device).map(Some)
}
