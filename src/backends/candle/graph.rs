//! The model: a decoder of the Llama family on candle tensors.
//!
//! ```text
//!   tokens ─▶ embedding ─▶ ┌ norm ─▶ q k v ─▶ rotate ─▶ attention ─▶ o ─▶ + ┐ x layers ─▶ norm ─▶ head ─▶ logits
//!                          └ norm ─▶ silu(gate) · up ─▶ down ─────────────▶ + ┘
//! ```
//!
//! One pass takes a *ragged batch*: the new tokens of several sequences, one after the other and without padding. All
//! layers but attention work on rows, so they see one matrix `(T, hidden)`; attention runs for each sequence over its own
//! cache. Letters in shapes: `T` new tokens of all sequences, `n` new tokens of one, `L` all its tokens, `H` query heads,
//! `K` key and value heads, `G = H / K`, `D` head dimension.

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::{
    ops::{rms_norm, silu, softmax_last_dim},
    rotary_emb::{rope, rope_i},
};

use super::{
    cache::KvCache,
    config::{Config, RopeStyle},
    linear::Linear,
};

/// New tokens of one sequence, and which logits are wanted of it.
#[derive(Debug)]
pub(super) struct Chunk<'a> {
    /// The new tokens; at least one.
    pub(super) tokens: &'a [u32],
    /// What came before them.
    pub(super) cache: &'a mut KvCache,
    /// Tokens at the end of the chunk whose logits are wanted.
    pub(super) wanted: usize,
}

/// The weights of a model.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) config: Config,
    pub(super) device: Device,
    /// `(vocab, hidden)`
    pub(super) embedding: Tensor,
    pub(super) layers: Vec<Layer>,
    pub(super) norm: Tensor,
    pub(super) head: Linear,
    pub(super) rotation: Rotation,
}

/// The weights of one layer.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) attention_norm: Tensor,
    /// `hidden` to `(H + 2K) D`: q, k and v in one product.
    pub(super) qkv: Linear,
    pub(super) output: Linear,
    pub(super) feed_forward_norm: Tensor,
    /// `hidden` to `2 * intermediate`: gate and up in one product.
    pub(super) gate_up: Linear,
    pub(super) down: Linear,
}

impl Graph {
    /// Runs the new tokens of all chunks: `(wanted rows of all chunks, vocab)` logits, in the order of the chunks.
    ///
    /// `None` if no chunk wants any.
    pub(super) fn forward(&self, chunks: &mut [Chunk<'_>]) -> Result<Option<Tensor>> {
        let tokens: Vec<u32> = chunks
            .iter()
            .flat_map(|chunk| chunk.tokens)
            .copied()
            .collect();
        let positions: Vec<u32> = chunks
            .iter()
            .flat_map(|chunk| (chunk.cache.len()..).take(chunk.tokens.len()))
            .map(|position| position as u32)
            .collect();
        let total = tokens.len();
        let (cos, sin) = self
            .rotation
            .at(&Tensor::from_vec(positions, total, &self.device)?)?;

        let masks = chunks
            .iter()
            .map(|chunk| causal_mask(chunk.tokens.len(), chunk.cache.len(), &self.device))
            .collect::<Result<Vec<_>>>()?;

        // 1. Embedding: (T, hidden)
        let mut x = self
            .embedding
            .index_select(&Tensor::from_vec(tokens, total, &self.device)?, 0)?;
        for (index, layer) in self.layers.iter().enumerate() {
            // 2. Attention, added to the residual stream: (T, hidden)
            let h = self.rms_norm(&x, &layer.attention_norm)?;
            let h = self.attention(index, &layer.qkv.forward(&h)?, (&cos, &sin), &masks, chunks)?;
            x = (x + layer.output.forward(&h)?)?;
            // 3. Feed-forward, added likewise: (T, hidden)
            let h = self.rms_norm(&x, &layer.feed_forward_norm)?;
            let gate_up = layer.gate_up.forward(&h)?;
            let width = self.config.intermediate_size;
            let gate = gate_up.narrow(1, 0, width)?;
            let up = gate_up.narrow(1, width, width)?;
            x = (x + layer.down.forward(&(silu(&gate.contiguous()?)? * up)?)?)?;
        }
        for chunk in chunks.iter_mut() {
            chunk.cache.advance(chunk.tokens.len());
        }

        // 4. Output head, for the wanted rows alone: (wanted, vocab)
        let mut rows = Vec::new();
        let mut end = 0u32;
        for chunk in chunks.iter() {
            end += chunk.tokens.len() as u32;
            rows.extend(end - chunk.wanted.min(chunk.tokens.len()) as u32..end);
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let count = rows.len();
        let x = x.index_select(&Tensor::from_vec(rows, count, &self.device)?, 0)?;
        let x = self.rms_norm(&x, &self.norm)?;
        self.head.forward(&x).map(Some)
    }

    /// `(T, (H + 2K) D)` to `(T, H D)`, every sequence by itself.
    fn attention(
        &self,
        layer: usize,
        qkv: &Tensor,
        (cos, sin): (&Tensor, &Tensor),
        masks: &[Option<Tensor>],
        chunks: &mut [Chunk<'_>],
    ) -> Result<Tensor> {
        let config = &self.config;
        let total = qkv.dim(0)?;
        let (heads, kv_heads) = (config.num_attention_heads, config.num_key_value_heads);

        // 1. Heads first: (H + 2K, T, D)
        let qkv = qkv
            .reshape((total, heads + 2 * kv_heads, config.head_dim))?
            .transpose(0, 1)?
            .contiguous()?;
        // 2. Rotate q and k together: (H + K, T, D)
        let qk = self.rotate(&qkv.narrow(0, 0, heads + kv_heads)?, cos, sin)?;
        let (q, k) = (qk.narrow(0, 0, heads)?, qk.narrow(0, heads, kv_heads)?);
        let v = qkv.narrow(0, heads + kv_heads, kv_heads)?;

        let mut outputs = Vec::with_capacity(chunks.len());
        let mut start = 0;
        for (chunk, mask) in chunks.iter_mut().zip(masks) {
            let n = chunk.tokens.len();
            // 3. The sequence's keys and values, old and new: (K, L, D)
            let (keys, values) =
                chunk
                    .cache
                    .append(layer, &k.narrow(1, start, n)?, &v.narrow(1, start, n)?)?;
            let q = q.narrow(1, start, n)?.contiguous()?;
            outputs.push(self.attend(&q, &keys, &values, mask.as_ref())?);
            start += n;
        }
        // 4. Rows first again: (T, H D)
        Tensor::cat(&outputs, 1)?
            .transpose(0, 1)?
            .contiguous()?
            .reshape((total, heads * config.head_dim))
    }

    /// Grouped attention of one sequence: q `(H, n, D)`, keys and values `(K, L, D)`, to `(H, n, D)`.
    fn attend(
        &self,
        q: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        mask: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (heads, n, head_dim) = q.dims3()?;
        let (kv_heads, len, _) = keys.dims3()?;
        // The G query heads of a key head are neighbours, so they are G * n rows of one product: (K, G n, L)
        let rows = heads / kv_heads * n;
        let q = (q.reshape((kv_heads, rows, head_dim))? / (head_dim as f64).sqrt())?;
        let mut scores = q.matmul(&keys.transpose(1, 2)?)?;
        if let Some(mask) = mask {
            scores = scores
                .reshape((heads, n, len))?
                .broadcast_add(mask)?
                .reshape((kv_heads, rows, len))?;
        }
        softmax_last_dim(&scores)?
            .matmul(values)?
            .reshape((heads, n, head_dim))
    }

    fn rotate(&self, x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
        let x = x.unsqueeze(0)?;
        let rotated = match self.config.rope {
            RopeStyle::Interleaved => rope_i(&x, cos, sin),
            RopeStyle::Halves => rope(&x, cos, sin),
        };
        rotated?.squeeze(0)
    }

    fn rms_norm(&self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        rms_norm(x, weight, self.config.rms_norm_eps as f32)
    }
}

/// Cosines and sines of all angles, each `(positions, D / 2)` (RoFormer, arXiv 2104.09864, section 3.2.2).
#[derive(Debug)]
pub(super) struct Rotation {
    cos: Tensor,
    sin: Tensor,
}

impl Rotation {
    /// The angles of the positions `0..positions`.
    pub(super) fn new(config: &Config, positions: usize, device: &Device) -> Result<Self> {
        let frequencies: Vec<f32> = (0..config.head_dim)
            .step_by(2)
            .map(|i| config.rope_theta.powf(-(i as f64) / config.head_dim as f64) as f32)
            .collect();
        let frequencies = Tensor::from_vec(frequencies, (1, config.head_dim / 2), device)?;
        let angles = Tensor::arange(0u32, positions as u32, device)?
            .to_dtype(DType::F32)?
            .unsqueeze(D::Minus1)?
            .matmul(&frequencies)?;
        Ok(Self {
            cos: angles.cos()?,
            sin: angles.sin()?,
        })
    }

    fn at(&self, positions: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok((
            self.cos.index_select(positions, 0)?,
            self.sin.index_select(positions, 0)?,
        ))
    }
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
