//! The model: one decoder of the Llama family, whose sizes come from the file.
//!
//! It takes a *ragged batch*: the new tokens of several sequences, one after the other, without padding. Linears, norms
//! and rotations work on all rows at once; attention works on one sequence at a time, over that sequence's own cache. So a
//! sequence's result depends on its own tokens and on how they are cut into pieces, never on its neighbours:
//! `tests/candle_model.rs` compares the bits. Only tensor operations of candle are used, which run on CPU, CUDA and Metal.

use candle_core::{D, Device, Result, Tensor};
use candle_nn::{ops, rotary_emb};

use super::{
    cache::KvCache,
    config::{Config, RopeStyle},
    gguf::Gguf,
};
use crate::error::Result as CrateResult;

/// Weights and constants. Shapes: T rows of all sequences together, H hidden size, D head size, N query heads, K key heads.
pub(super) struct Graph {
    pub(super) config: Config,
    /// (vocab, H)
    embedding: Tensor,
    layers: Vec<Layer>,
    norm: Tensor,
    head: Linear,
    /// (context, D / 2)
    cos: Tensor,
    sin: Tensor,
    device: Device,
}

struct Layer {
    attention_norm: Tensor,
    /// q, k and v in one product: (T, H) -> (T, (N + 2 K) D)
    qkv: Linear,
    output: Linear,
    feed_forward_norm: Tensor,
    /// gate and up in one product: (T, H) -> (T, 2 F)
    gate_up: Linear,
    down: Linear,
}

/// The new tokens of one sequence.
pub(super) struct Piece<'a> {
    pub(super) tokens: &'a [u32],
    pub(super) cache: &'a mut KvCache,
    /// Whether logits are wanted for all rows or for the last one only.
    pub(super) all_logits: bool,
}

impl Graph {
    /// Reads and dequantises all weights. `context` is the longest sequence in tokens.
    pub(super) fn load(
        gguf: &mut Gguf,
        config: Config,
        context: usize,
        device: &Device,
        mut progress: impl FnMut(usize, usize),
    ) -> CrateResult<Self> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let q_size = config.num_attention_heads * config.head_dim;
        let kv_size = config.num_key_value_heads * config.head_dim;
        let embedding = gguf.tensor("token_embd.weight", &[config.vocab_size, hidden], device)?;
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for index in 0..config.num_hidden_layers {
            progress(index, config.num_hidden_layers);
            let name = |part: &str| format!("blk.{index}.{part}");
            let mut weights = |parts: &[(&str, usize)], inputs: usize, bias: bool| {
                let mut weight = Vec::with_capacity(parts.len());
                let mut biases = Vec::new();
                for (part, outputs) in parts {
                    let tensor = name(&format!("{part}.weight"));
                    weight.push(gguf.tensor(&tensor, &[*outputs, inputs], device)?);
                    if bias {
                        biases.push(gguf.tensor(
                            &name(&format!("{part}.bias")),
                            &[*outputs],
                            device,
                        )?);
                    }
                }
                Linear::joined(&weight, &biases).map_err(|error| gguf.error(error.to_string()))
            };
            let q_k_v = [("attn_q", q_size), ("attn_k", kv_size), ("attn_v", kv_size)];
            let qkv = weights(&q_k_v, hidden, config.attention_bias)?;
            let output = weights(&[("attn_output", hidden)], q_size, false)?;
            let gate_up = weights(&[("ffn_gate", inner), ("ffn_up", inner)], hidden, false)?;
            let down = weights(&[("ffn_down", hidden)], inner, false)?;
            layers.push(Layer {
                attention_norm: gguf.tensor(&name("attn_norm.weight"), &[hidden], device)?,
                qkv,
                output,
                feed_forward_norm: gguf.tensor(&name("ffn_norm.weight"), &[hidden], device)?,
                gate_up,
                down,
            });
        }
        let norm = gguf.tensor("output_norm.weight", &[hidden], device)?;
        let head = if config.tie_word_embeddings {
            embedding.clone()
        } else {
            gguf.tensor("output.weight", &[config.vocab_size, hidden], device)?
        };
        let (cos, sin) = rotation_table(&config, context, device)
            .map_err(|error| gguf.error(error.to_string()))?;
        let head = Linear {
            weight: head,
            bias: None,
        };
        Ok(Self {
            config,
            embedding,
            layers,
            norm,
            head,
            cos,
            sin,
            device: device.clone(),
        })
    }

    /// An empty cache for one sequence.
    pub(super) fn cache(&self) -> KvCache {
        KvCache::new(&self.config, &self.device)
    }

    /// Runs the new tokens of several sequences and gives the wanted logits, (rows, vocab), in the order of the pieces.
    ///
    /// The caller sees to it that every piece has a token and that no sequence outgrows the context.
    pub(super) fn forward(&self, pieces: &mut [Piece<'_>]) -> Result<Vec<Vec<f32>>> {
        // 1. Embed. (T) -> (T, H)
        let mut tokens = Vec::new();
        let mut positions = Vec::new();
        let mut wanted = Vec::new();
        for piece in pieces.iter() {
            let start = tokens.len() as u32;
            let rows = piece.tokens.len() as u32;
            let position = piece.cache.len() as u32;
            tokens.extend_from_slice(piece.tokens);
            positions.extend(position..position + rows);
            let first = if piece.all_logits {
                start
            } else {
                start + rows - 1
            };
            wanted.extend(first..start + rows);
        }
        let index = |list: Vec<u32>| {
            let length = list.len();
            Tensor::from_vec(list, length, &self.device)
        };
        let mut x = self.embedding.index_select(&index(tokens)?, 0)?;
        let positions = index(positions)?;
        let cos = self.cos.index_select(&positions, 0)?;
        let sin = self.sin.index_select(&positions, 0)?;

        for (number, layer) in self.layers.iter().enumerate() {
            // 2. Attention, and back onto the residual stream.
            let h = self.rms_norm(&x, &layer.attention_norm)?;
            let h = self.attention(number, layer, &h, &cos, &sin, pieces)?;
            x = (x + layer.output.forward(&h)?)?;
            // 3. Feed-forward: down(silu(gate(h)) * up(h)).
            let h = self.rms_norm(&x, &layer.feed_forward_norm)?;
            let gate_up = layer.gate_up.forward(&h)?;
            let inner = self.config.intermediate_size;
            let gate = gate_up.narrow(D::Minus1, 0, inner)?.contiguous()?;
            let up = gate_up.narrow(D::Minus1, inner, inner)?;
            x = (x + layer.down.forward(&(ops::silu(&gate)? * up)?)?)?;
        }
        for piece in pieces.iter_mut() {
            piece.cache.advance(piece.tokens.len());
        }

        // 4. Logits of the rows that somebody reads. (rows, H) -> (rows, vocab)
        let x = x.index_select(&index(wanted)?, 0)?;
        let x = self.rms_norm(&x, &self.norm)?;
        self.head.forward(&x)?.to_vec2()
    }

    /// Grouped-query attention over each sequence's cache. (T, H) -> (T, N D)
    fn attention(
        &self,
        number: usize,
        layer: &Layer,
        h: &Tensor,
        cos: &Tensor,
        sin: &Tensor,
        pieces: &mut [Piece<'_>],
    ) -> Result<Tensor> {
        let config = &self.config;
        let (heads, kv_heads, size) = (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        );
        let rows = h.dim(0)?;
        // q and k are rotated together: (T, (N + K) D) -> (1, N + K, T, D); v: (K, T, D).
        let qkv = layer.qkv.forward(h)?;
        let both = heads + kv_heads;
        let qk = qkv
            .narrow(1, 0, both * size)?
            .reshape((1, rows, both, size))?
            .transpose(1, 2)?
            .contiguous()?;
        let qk = match config.rope {
            RopeStyle::Interleaved => rotary_emb::rope_i(&qk, cos, sin)?,
            RopeStyle::Halves => rotary_emb::rope(&qk, cos, sin)?,
        }
        .squeeze(0)?;
        let v = qkv
            .narrow(1, both * size, kv_heads * size)?
            .reshape((rows, kv_heads, size))?
            .transpose(0, 1)?
            .contiguous()?;

        let mut start = 0;
        let mut outputs = Vec::with_capacity(pieces.len());
        for piece in pieces.iter_mut() {
            let new = piece.tokens.len();
            let q = qk
                .narrow(0, 0, heads)?
                .narrow(1, start, new)?
                .contiguous()?;
            let k = qk
                .narrow(0, heads, kv_heads)?
                .narrow(1, start, new)?
                .contiguous()?;
            let v = v.narrow(1, start, new)?.contiguous()?;
            start += new;
            let (k, v) = piece.cache.append(number, &k, &v)?;
            let length = k.dim(1)?;
            // The query heads that share a key head are neighbours: (N, n, D) is (K, (N / K) n, D).
            let q = q.reshape((kv_heads, heads / kv_heads * new, size))?;
            let scale = 1.0 / (size as f64).sqrt();
            let mut scores = (q.matmul(&k.transpose(1, 2)?)? * scale)?;
            if new > 1 {
                let mask = causal_mask(new, length, &self.device)?;
                scores = scores
                    .reshape((heads, new, length))?
                    .broadcast_add(&mask)?
                    .reshape((kv_heads, heads / kv_heads * new, length))?;
            }
            let mixed = ops::softmax_last_dim(&scores)?.matmul(&v)?;
            let mixed = mixed.reshape((heads, new, size))?.transpose(0, 1)?;
            outputs.push(mixed.reshape((new, heads * size))?);
        }
        Tensor::cat(&outputs, 0)
    }

    fn rms_norm(&self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        ops::rms_norm(x, weight, self.config.rms_norm_eps as f32)
    }
}

/// y = x W^T + b
struct Linear {
    /// (outputs, inputs)
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Several linears on the same input as one.
    fn joined(weights: &[Tensor], biases: &[Tensor]) -> Result<Self> {
        let bias = if biases.is_empty() {
            None
        } else {
            Some(Tensor::cat(biases, 0)?)
        };
        Ok(Self {
            weight: Tensor::cat(weights, 0)?,
            bias,
        })
    }

    /// (T, inputs) -> (T, outputs). A row's bits do not depend on the other rows: the matrix product of the CPU keeps the order of
    /// its sums for every number of rows but one, where it takes another way, so a single row is computed twice.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let weight = self.weight.t()?;
        let y = if x.dim(0)? == 1 {
            Tensor::cat(&[x, x], 0)?.matmul(&weight)?.narrow(0, 0, 1)?
        } else {
            x.matmul(&weight)?
        };
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

/// cos and sin of position x theta^(-2 i / D), (context, D / 2) each (arXiv 2104.09864, equation 15).
fn rotation_table(config: &Config, context: usize, device: &Device) -> Result<(Tensor, Tensor)> {
    let size = config.head_dim;
    let angles: Vec<f32> = (0..context)
        .flat_map(|position| {
            (0..size / 2).map(move |i| {
                let frequency = config.rope_theta.powf(-2.0 * i as f64 / size as f64);
                (position as f64 * frequency) as f32
            })
        })
        .collect();
    let angles = Tensor::from_vec(angles, (context, size / 2), device)?;
    Ok((angles.cos()?, angles.sin()?))
}

/// 0 where a new token may look, minus infinity where it may not, (new, length).
fn causal_mask(new: usize, length: usize, device: &Device) -> Result<Tensor> {
    let before = length - new;
    let mask: Vec<f32> = (0..new)
        .flat_map(|row| {
            (0..length).map(move |column| {
                if column <= before + row {
                    0.0
                } else {
                    f32::NEG_INFINITY
                }
            })
        })
        .collect();
    Tensor::from_vec(mask, (new, length), device)
}
