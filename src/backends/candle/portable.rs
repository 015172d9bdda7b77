//! Attention in candle's own operations, for every device.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{
    ops::softmax_last_dim,
    rotary_emb::{rope, rope_i},
};

use super::{config::Config, graph::Chunk, kernels::rows::Pairs};

/// Tokens that a cache grows by: often enough to waste little, seldom enough that copying does not count.
const BLOCK: usize = 256;

/// Attention on tensors, each sequence by itself. Letters as in [`graph`](super::graph).
#[derive(Debug)]
pub(super) struct TensorAttention {
    cos: Tensor,
    sin: Tensor,
}

impl TensorAttention {
    /// From the cosines and sines of all positions, each `(positions, D / 2)`.
    pub(super) fn new(
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
    pub(super) fn forward(
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

/// Keys and values of one sequence, for each layer `(K, capacity, D)`.
#[derive(Debug)]
pub(super) struct TensorCache(Vec<(Tensor, Tensor)>);

impl TensorCache {
    /// An empty cache.
    pub(super) fn new(config: &Config, device: &Device) -> Result<Self> {
        let shape = (config.num_key_value_heads, BLOCK, config.head_dim);
        let zeros = || Tensor::zeros(shape, DType::F32, device);
        (0..config.num_hidden_layers)
            .map(|_| Ok((zeros()?, zeros()?)))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// A copy that goes its own way.
    pub(super) fn fork(&self) -> Result<Self> {
        // `clone` would share the storage that `slice_set` writes to.
        self.0
            .iter()
            .map(|(keys, values)| Ok((keys.copy()?, values.copy()?)))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Writes the keys and values of new tokens, `(K, n, D)`, behind the `past` ones of a layer, and gives all of them back,
    /// `(K, past + n, D)`.
    fn append(
        &mut self,
        layer: usize,
        past: usize,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let Some((old_keys, old_values)) = self.0.get_mut(layer) else {
            candle_core::bail!("the cache has no layer {layer}");
        };
        Ok((push(old_keys, past, keys)?, push(old_values, past, values)?))
    }
}

fn push(store: &mut Tensor, start: usize, new: &Tensor) -> Result<Tensor> {
    let (heads, capacity, width) = store.dims3()?;
    let end = start + new.dim(1)?;
    if end > capacity {
        let shape = (heads, end.next_multiple_of(BLOCK), width);
        let grown = Tensor::zeros(shape, store.dtype(), store.device())?;
        grown.slice_set(store, 1, 0)?;
        *store = grown;
    }
    store.slice_set(&new.contiguous()?, 1, start)?;
    store.narrow(1, 0, end)
}

/// `(positions, D / 2)` cosines and sines of all angles (RoFormer, arXiv 2104.09864, section 3.2.2).
///
/// The angle of pair `i` at position `p` is `p / factor * theta^(-2i / D) / divisor_i`, as in ggml (`ggml_rope_ext`, its
/// `freq_scale` and `freq_factors`); the divisors, `(D / 2)`, are those of Llama 3.1 (`rope_freqs.weight`), or none.
pub(super) fn angles(
    config: &Config,
    divisors: Option<&[f32]>,
    positions: usize,
) -> (Vec<f32>, Vec<f32>) {
    let half = config.head_dim / 2;
    let divisors = divisors.unwrap_or_default().iter().copied();
    let frequencies: Vec<f32> = (0..half)
        .zip(divisors.chain(std::iter::repeat(1.0)))
        .map(|(i, divisor)| {
            let frequency = config
                .rope_theta
                .powf(-2.0 * i as f64 / config.head_dim as f64);
            (frequency / config.rope_factor / f64::from(divisor)) as f32
        })
        .collect();
    (0..positions)
        .flat_map(|position| {
            frequencies
                .iter()
                .map(move |frequency| f64::from(position as f32 * frequency))
        })
        .map(|angle| (angle.cos() as f32, angle.sin() as f32))
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::candle::graph::tests::config as sample;

    #[test]
    fn positions_and_frequencies_are_divided() {
        let config = Config {
            head_dim: 4,
            rope_factor: 1.0,
            ..sample(Pairs::Halves)
        };
        let at = |table: (Vec<f32>, Vec<f32>), position: usize| -> Vec<f32> {
            (0..2).map(|i| table.1[2 * position + i].asin()).collect()
        };
        let close = |ours: Vec<f32>, right: [f32; 2]| {
            assert!(
                ours.iter().zip(right).all(|(a, b)| (a - b).abs() < 1e-6),
                "{ours:?} {right:?}"
            );
        };
        close(at(angles(&config, None, 2), 1), [1.0, 0.01]);
        close(at(angles(&config, Some(&[2.0, 8.0]), 2), 1), [0.5, 0.00125]);
        let linear = Config {
            rope_factor: 4.0,
            ..config
        };
        close(at(angles(&linear, None, 4), 3), [0.75, 0.0075]);
        close(at(angles(&linear, Some(&[2.0, 1.0]), 4), 2), [0.25, 0.005]);
    }
}
