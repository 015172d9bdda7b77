//! Walks the tensors of a GGUF file into a [`Graph`].

use std::collections::BTreeSet;

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use super::{
    config::Config,
    gguf::Gguf,
    graph::{Attention, Graph, Layer},
    kernels::{
        attention::Shape,
        hadamard::{self, Orthogonal},
        int8::{self, Int8Matrix},
    },
    linear::Linear,
    ops::{HeadNorms, RmsNorm},
    portable::{TensorAttention, angles},
    precision::Precision,
};
use crate::error::{Error, Result};

/// How a model is to be computed.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) device: Device,
    pub(super) precision: Precision,
    /// Whether to take our kernels where candle has operations of its own; for CPUs alone.
    pub(super) kernels: bool,
    /// Tokens of the longest context.
    pub(super) positions: usize,
}

/// Reads all weights.
///
/// `progress` hears how many layers are read, and how many there are.
///
/// # Errors
/// Fails if a tensor is missing, has another shape, holds what is not a number, or is one that the graph would leave out.
pub(super) fn read(
    gguf: &mut Gguf,
    config: Config,
    plan: &Plan,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Graph> {
    let count = config.num_hidden_layers;
    let (hidden, vocab) = (config.hidden_size, config.vocab_size);
    let rotation = match plan.precision {
        Precision::Int8 => Some(Orthogonal::new(hidden)),
        Precision::F32 => None,
    };
    let mut reader = Reader {
        gguf,
        config: &config,
        device: &plan.device,
        rotation,
        taken: BTreeSet::new(),
    };

    let embedding = reader.tensor("token_embd.weight", &[vocab, hidden])?;
    let mut layers = Vec::new();
    for index in 0..count {
        progress(index, count);
        layers.push(reader.layer(index)?);
    }
    let gain = reader.tensor("output_norm.weight", &[hidden])?;
    let head = if config.tie_word_embeddings {
        embedding.clone()
    } else {
        reader.tensor("output.weight", &[vocab, hidden])?
    };
    let head = reader.reads_stream("output", &head, None, &gain)?;
    let embedding = reader.rotated_embedding(embedding)?;
    let norm = reader.norm(gain);
    let divisors = reader.rope_divisors()?;
    reader.check_nothing_is_left()?;
    progress(count, count);
    let (cos, sin) = angles(&config, divisors.as_deref(), plan.positions);
    let attention = if plan.kernels {
        Attention::Kernels {
            shape: Shape {
                heads: config.num_attention_heads,
                kv_heads: config.num_key_value_heads,
                head_dim: config.head_dim,
                pairs: config.pairs,
            },
            cos,
            sin,
        }
    } else {
        let attention = TensorAttention::new(cos, sin, config.head_dim, &plan.device);
        Attention::Tensors(attention.map_err(|error| reader.failed("attention", &error))?)
    };
    Ok(Graph {
        device: plan.device.clone(),
        embedding,
        layers,
        norm,
        head,
        attention,
        config,
    })
}

struct Reader<'a> {
    gguf: &'a mut Gguf,
    config: &'a Config,
    device: &'a Device,
    /// The rotation of the residual stream, with 8-bit weights.
    rotation: Option<Orthogonal>,
    taken: BTreeSet<String>,
}

impl Reader<'_> {
    fn layer(&mut self, index: usize) -> Result<Layer> {
        let config = self.config;
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let q = config.num_attention_heads * config.head_dim;
        let kv = config.num_key_value_heads * config.head_dim;
        let name = |part: &str| format!("blk.{index}.{part}");

        let attention_gain = self.tensor(&name("attn_norm.weight"), &[hidden])?;
        let qkv = [
            (name("attn_q"), q),
            (name("attn_k"), kv),
            (name("attn_v"), kv),
        ];
        let bias = if config.attention_bias {
            Some(self.stacked(&qkv, "bias", &[])?)
        } else {
            None
        };
        let weight = self.stacked(&qkv, "weight", &[hidden])?;
        let qkv = self.reads_stream(&name("attn_qkv"), &weight, bias, &attention_gain)?;
        let head_norms = if config.head_norms {
            Some(HeadNorms {
                q: self.tensor(&name("attn_q_norm.weight"), &[config.head_dim])?,
                k: self.tensor(&name("attn_k_norm.weight"), &[config.head_dim])?,
                eps: config.rms_norm_eps as f32,
            })
        } else {
            None
        };
        let output = self.writes_stream(&name("attn_output"), q)?;

        let feed_forward_gain = self.tensor(&name("ffn_norm.weight"), &[hidden])?;
        let gate_up = [(name("ffn_gate"), inner), (name("ffn_up"), inner)];
        let weight = self.stacked(&gate_up, "weight", &[hidden])?;
        let gate_up = self.reads_stream(&name("ffn_gate_up"), &weight, None, &feed_forward_gain)?;
        let down = self.writes_stream(&name("ffn_down"), inner)?;
        Ok(Layer {
            attention_norm: self.norm(attention_gain),
            qkv,
            head_norms,
            output,
            feed_forward_norm: self.norm(feed_forward_gain),
            gate_up,
            down,
        })
    }

    /// What the frequencies of the rotation are divided by, `(D / 2)`, if the file says so.
    fn rope_divisors(&mut self) -> Result<Option<Vec<f32>>> {
        let name = "rope_freqs.weight";
        if !self.gguf.has_tensor(name) {
            return Ok(None);
        }
        let divisors = self.tensor(name, &[self.config.head_dim / 2])?;
        let divisors = self.values(name, &divisors)?;
        if divisors.iter().all(|x| x.is_finite() && *x > 0.0) {
            Ok(Some(divisors))
        } else {
            Err(self.gguf.error(format!(
                "the tensor {name} has a value that nothing can be divided by: the file is damaged"
            )))
        }
    }

    /// A layer whose inputs are the normed residual stream: the gain of the norm and the rotation go into its weights.
    fn reads_stream(
        &self,
        name: &str,
        weight: &Tensor,
        bias: Option<Tensor>,
        gain: &Tensor,
    ) -> Result<Linear> {
        let Some(rotation) = &self.rotation else {
            return Linear::new(weight, bias).map_err(|error| self.failed(name, &error));
        };
        let hidden = self.config.hidden_size;
        let gain = self.values(name, gain)?;
        let mut weights = self.values(name, weight)?;
        weights.par_chunks_mut(PART * hidden).for_each(|rows| {
            for row in rows.chunks_exact_mut(hidden) {
                for (weight, gain) in row.iter_mut().zip(&gain) {
                    *weight *= gain;
                }
            }
            rotation.apply(rows);
        });
        let bias = bias.map(|bias| self.values(name, &bias)).transpose()?;
        self.int8(name, weights, hidden, bias, 1)
    }

    /// A layer whose outputs are added to the residual stream: they are rotated, and its inputs, which no other weights can
    /// take a rotation from, are transformed as they come.
    fn writes_stream(&mut self, name: &str, inputs: usize) -> Result<Linear> {
        let hidden = self.config.hidden_size;
        let weight = self.tensor(&format!("{name}.weight"), &[hidden, inputs])?;
        let Some(rotation) = &self.rotation else {
            return Linear::new(&weight, None).map_err(|error| self.failed(name, &error));
        };
        let transposed = |tensor: &Tensor| tensor.t().and_then(|tensor| tensor.contiguous());
        let columns = transposed(&weight).map_err(|error| self.failed(name, &error))?;
        let mut columns = self.values(name, &columns)?;
        columns
            .par_chunks_mut(PART * hidden)
            .for_each(|rows| rotation.apply(rows));
        let weight = Tensor::from_vec(columns, (inputs, hidden), self.device)
            .and_then(|columns| transposed(&columns))
            .map_err(|error| self.failed(name, &error))?;
        let weights = self.values(name, &weight)?;
        self.int8(name, weights, inputs, None, hadamard::block(inputs))
    }

    fn int8(
        &self,
        name: &str,
        weights: Vec<f32>,
        inputs: usize,
        bias: Option<Vec<f32>>,
        hadamard: usize,
    ) -> Result<Linear> {
        if inputs > int8::MAX_INPUTS {
            return Err(self.gguf.error(format!(
                "{name} has {inputs} inputs, more than 8-bit products can sum; load it with Precision::F32"
            )));
        }
        match Int8Matrix::new(weights, inputs, bias, hadamard) {
            Some(matrix) => Ok(Linear::int8(matrix)),
            None => Err(self.gguf.error(format!(
                "{name} holds a weight that is not a number: the file is damaged"
            ))),
        }
    }

    /// The embedding on the rotated residual stream, in 16 bits; or as it is.
    fn rotated_embedding(&self, embedding: Tensor) -> Result<Tensor> {
        let Some(rotation) = &self.rotation else {
            return Ok(embedding);
        };
        let shape = embedding.shape().clone();
        let mut rows = self.values("token_embd", &embedding)?;
        rows.par_chunks_mut(PART * self.config.hidden_size)
            .for_each(|rows| rotation.apply(rows));
        Tensor::from_vec(rows, shape, self.device)
            .and_then(|tensor| tensor.to_dtype(DType::F16))
            .map_err(|error| self.failed("token_embd", &error))
    }

    /// A norm; its gain is in the weights after it if the stream is rotated.
    fn norm(&self, gain: Tensor) -> RmsNorm {
        RmsNorm {
            gain: self.rotation.is_none().then_some(gain),
            eps: self.config.rms_norm_eps as f32,
        }
    }

    /// Several tensors of the same width, given as names and numbers of outputs, one after the other.
    fn stacked(
        &mut self,
        parts: &[(String, usize)],
        kind: &str,
        width: &[usize],
    ) -> Result<Tensor> {
        let tensors = parts
            .iter()
            .map(|(name, outputs)| {
                let shape = [&[*outputs], width].concat();
                self.tensor(&format!("{name}.{kind}"), &shape)
            })
            .collect::<Result<Vec<_>>>()?;
        Tensor::cat(&tensors, 0).map_err(|error| self.failed(kind, &error))
    }

    fn values(&self, name: &str, tensor: &Tensor) -> Result<Vec<f32>> {
        tensor
            .flatten_all()
            .and_then(|tensor| tensor.to_vec1())
            .map_err(|error| self.failed(name, &error))
    }

    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.taken.insert(name.to_owned());
        self.gguf.tensor(name, shape, self.device)
    }

    /// A tensor that the graph does not know, such as a bias or a norm, would change what it computes.
    fn check_nothing_is_left(&self) -> Result<()> {
        match self.gguf.tensor_names().find(|name| !self.taken.contains(*name)) {
            Some(name) => Err(self.gguf.error(format!(
                "has a tensor {name}, which this architecture does not use here: that is not supported"
            ))),
            None => Ok(()),
        }
    }

    fn failed(&self, name: &str, error: &candle_core::Error) -> Error {
        self.gguf
            .error(format!("its weights {name} cannot be prepared: {error}"))
    }
}

/// Rows that one thread transforms at a time.
const PART: usize = 64;
