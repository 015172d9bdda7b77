//! Reads the tensors of a GGUF file into a [`Graph`].

use std::collections::BTreeSet;

use candle_core::{Device, Tensor};
use half::{f16, slice::HalfFloatSliceExt};
use rayon::{ThreadPool, prelude::*};

use super::{
    adapter::Adapter,
    matrix::{Matrix, Part},
};
use crate::{
    backends::candle::{
        Precision,
        gguf::{Gguf, Rows},
        graph::{
            Graph,
            architecture::{FromWeights, Layer, Weights},
            config::Config,
            forward::Attention,
            linear::Linear,
            ops::{HeadNorms, RmsNorm},
            rope::{AngleTables, angles},
            tensor_attention::TensorAttention,
        },
        kernels::{
            blocks::{Blocks, Form},
            hadamard::{self, Orthogonal},
            int8::{self, Int8Matrix},
        },
    },
    error::{Error, Result},
};

/// How a model is to be computed.
pub(crate) struct Plan {
    pub(crate) device: Device,
    pub(crate) precision: Precision,
    /// Whether to take our kernels where candle has operations of its own; for CPUs alone.
    pub(crate) kernels: bool,
    /// Tokens of the longest context.
    pub(crate) positions: usize,
    /// What is added to the weights.
    pub(crate) adapter: Option<Adapter>,
}

/// Reads all weights of a model that is to be run, with the threads of `pool`.
///
/// `progress` is called on the caller's thread with how many layers are read, and how many there are. Its error ends
/// the reading.
///
/// # Errors
/// As [`read_weights`].
pub(crate) fn read(
    gguf: &Gguf,
    config: Config,
    plan: &Plan,
    pool: &ThreadPool,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<Graph> {
    let (weights, angles) = read_weights::<Linear>(gguf, config, plan, pool, progress)?;
    let (cos, sin) = angles;
    let config = &weights.config;
    let attention = if plan.kernels {
        let shape = config.shape();
        let form = match plan.precision {
            Precision::Int8 => Form::F16,
            Precision::F32 => Form::F32,
        };
        Attention::Kernels {
            blocks: Blocks::new(&shape, config.num_hidden_layers, form),
            shape,
            cos,
            sin,
        }
    } else {
        let attention = TensorAttention::new(cos, sin, config.head_dim, &plan.device);
        let failed = |error| gguf.error(format!("its attention cannot be prepared: {error}"));
        Attention::Tensors(attention.map_err(failed)?)
    };
    Ok(Graph {
        weights,
        device: plan.device.clone(),
        attention,
    })
}

/// Reads all weights, and makes the cosines and sines of the plan's positions, each `(positions, D / 2)`.
///
/// # Errors
/// Fails if a tensor is missing, has another shape, holds what is not a number, or is one that the graph would leave
/// out; and with the error of `progress`.
pub(crate) fn read_weights<L: FromWeights + Send>(
    gguf: &Gguf,
    config: Config,
    plan: &Plan,
    pool: &ThreadPool,
    progress: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<(Weights<L>, AngleTables)> {
    let count = config.num_hidden_layers;
    let (hidden, vocab) = (config.hidden_size, config.vocab_size);
    let mut reader = Reader {
        gguf,
        config: &config,
        device: &plan.device,
        adapter: plan.adapter.as_ref(),
        rotation: None,
        taken: BTreeSet::new(),
    };
    let embedding = reader.matrix(&[("token_embd".to_owned(), vocab)], hidden)?;
    if plan.precision == Precision::Int8 {
        reader.rotation = Some(reader.new_rotation()?);
    }

    let mut layers = Vec::new();
    for index in 0..count {
        progress(index, count)?;
        layers.push(pool.install(|| reader.layer(index))?);
    }
    let gain = reader.vector("output_norm.weight", hidden)?;
    let output = if config.tie_word_embeddings {
        None
    } else {
        Some(reader.matrix(&[("output".to_owned(), vocab)], hidden)?)
    };
    let head = output.as_ref().unwrap_or(&embedding);
    let head = pool.install(|| reader.reads_stream("output", head, None, &gain))?;
    let embedding = pool.install(|| reader.embedding(&embedding))?;
    let norm = reader.norm(gain)?;
    let divisors = reader.rope_divisors()?;
    reader.check_nothing_is_left()?;
    progress(count, count)?;
    let angles = angles(&config, divisors.as_deref(), plan.positions);
    let weights = Weights {
        embedding,
        layers,
        norm,
        head,
        config,
    };
    Ok((weights, angles))
}

struct Reader<'a> {
    gguf: &'a Gguf,
    config: &'a Config,
    device: &'a Device,
    adapter: Option<&'a Adapter>,
    /// The rotation of the residual stream, with 8-bit weights.
    rotation: Option<Orthogonal>,
    taken: BTreeSet<String>,
}

impl<'a> Reader<'a> {
    fn layer<L: FromWeights>(&mut self, index: usize) -> Result<Layer<L>> {
        let config = self.config;
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let q = config.num_attention_heads * config.head_dim;
        let kv = config.num_key_value_heads * config.head_dim;
        let name = |part: &str| format!("blk.{index}.{part}");

        let attention_gain = self.vector(&name("attn_norm.weight"), hidden)?;
        let qkv = [
            (name("attn_q"), q),
            (name("attn_k"), kv),
            (name("attn_v"), kv),
        ];
        let bias = if config.attention_bias {
            Some(self.biases(&qkv)?)
        } else {
            None
        };
        let weight = self.matrix(&qkv, hidden)?;
        let qkv = self.reads_stream(&name("attn_qkv"), &weight, bias, &attention_gain)?;
        let head_norms = if config.head_norms {
            Some(HeadNorms {
                q: self.gain(&name("attn_q_norm.weight"), config.head_dim)?,
                k: self.gain(&name("attn_k_norm.weight"), config.head_dim)?,
                eps: config.rms_norm_eps as f32,
            })
        } else {
            None
        };
        let output = self.writes_stream(&name("attn_output"), q)?;

        let feed_forward_gain = self.vector(&name("ffn_norm.weight"), hidden)?;
        let gate_up = [(name("ffn_gate"), inner), (name("ffn_up"), inner)];
        let weight = self.matrix(&gate_up, hidden)?;
        let gate_up = self.reads_stream(&name("ffn_gate_up"), &weight, None, &feed_forward_gain)?;
        let down = self.writes_stream(&name("ffn_down"), inner)?;
        Ok(Layer {
            attention_norm: self.norm(attention_gain)?,
            qkv,
            head_norms,
            output,
            feed_forward_norm: self.norm(feed_forward_gain)?,
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
        let divisors = self.vector(name, self.config.head_dim / 2)?;
        if divisors.iter().all(|x| x.is_finite() && *x > 0.0) {
            Ok(Some(divisors))
        } else {
            Err(self.gguf.error(format!(
                "the tensor {name} has a value that nothing can be divided by: the file is damaged"
            )))
        }
    }

    /// A layer whose inputs are the normed residual stream: the gain of the norm and the rotation go into its weights.
    fn reads_stream<L: FromWeights>(
        &self,
        name: &str,
        weight: &Matrix<'_>,
        bias: Option<Vec<f32>>,
        gain: &[f32],
    ) -> Result<L> {
        let Some(rotation) = &self.rotation else {
            return self.exact(name, weight, bias);
        };
        let hidden = self.config.hidden_size;
        self.int8(name, (weight.outputs(), hidden), bias, 1, |first, rows| {
            weight.read(first, rows);
            for row in rows.chunks_exact_mut(hidden) {
                for (weight, gain) in row.iter_mut().zip(gain) {
                    *weight *= gain;
                }
            }
            rotation.apply(rows);
        })
    }

    /// A layer whose outputs are added to the residual stream: they are rotated, and its inputs, which no other weights
    /// can take a rotation from, are transformed as they come.
    fn writes_stream<L: FromWeights>(&mut self, name: &str, inputs: usize) -> Result<L> {
        let hidden = self.config.hidden_size;
        let weight = self.matrix(&[(name.to_owned(), hidden)], inputs)?;
        let Some(rotation) = &self.rotation else {
            return self.exact(name, &weight, None);
        };
        // The rotation is along the columns, so they are made rows: (inputs, hidden).
        let strip = weight.block().max(PART);
        let mut columns = vec![0.0; inputs * hidden];
        columns
            .par_chunks_mut(strip * hidden)
            .enumerate()
            .for_each(|(at, columns)| {
                let mut values = vec![0.0; columns.len() / hidden];
                for row in 0..hidden {
                    weight.read_part(row, at * strip, &mut values);
                    let places = columns.iter_mut().skip(row).step_by(hidden);
                    for (place, value) in places.zip(&values) {
                        *place = *value;
                    }
                }
                rotation.apply(columns);
            });
        let hadamard = hadamard::block(inputs);
        self.int8(name, (hidden, inputs), None, hadamard, |first, rows| {
            for (at, column) in columns.chunks_exact(hidden).enumerate() {
                let places = rows.iter_mut().skip(at).step_by(inputs);
                for (place, value) in places.zip(column.iter().skip(first)) {
                    *place = *value;
                }
            }
        })
    }

    /// A layer in the numbers of the file, widened to F32.
    fn exact<L: FromWeights>(
        &self,
        name: &str,
        weight: &Matrix<'_>,
        bias: Option<Vec<f32>>,
    ) -> Result<L> {
        let tensor = self.tensor(name, weight)?;
        let bias = bias.map(|bias| {
            let count = bias.len();
            Tensor::from_vec(bias, count, self.device)
        });
        bias.transpose()
            .and_then(|bias| L::exact(name, &tensor, bias, &weight.parts()))
            .map_err(|error| self.failed(name, &error))
    }

    /// A layer `(outputs, inputs)` in 8 bits. `fill` writes rows of weights, from a first one on.
    fn int8<L: FromWeights>(
        &self,
        name: &str,
        (outputs, inputs): (usize, usize),
        bias: Option<Vec<f32>>,
        hadamard: usize,
        fill: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Result<L> {
        if inputs > int8::MAX_INPUTS {
            return Err(self.gguf.error(format!(
                "{name} has {inputs} inputs, more than 8-bit products can sum; load it with Precision::F32"
            )));
        }
        match Int8Matrix::new((outputs, inputs), bias, hadamard, fill) {
            Some(matrix) => L::int8(matrix).map_err(|error| self.failed(name, &error)),
            None => Err(self.not_a_number(name)),
        }
    }

    fn new_rotation(&self) -> Result<Orthogonal> {
        let hidden = self.config.hidden_size;
        Orthogonal::new(hidden).ok_or_else(|| {
            self.gguf.error(format!(
                "a residual stream of {hidden} values cannot be rotated; load it with Precision::F32"
            ))
        })
    }

    /// The embedding on the rotated residual stream, in 16 bits; or as it is.
    fn embedding(&self, embedding: &Matrix<'_>) -> Result<Tensor> {
        let name = "token_embd";
        let Some(rotation) = &self.rotation else {
            return self.tensor(name, embedding);
        };
        let (outputs, hidden) = (embedding.outputs(), embedding.width());
        let mut rounded = vec![f16::ZERO; outputs * hidden];
        rounded
            .par_chunks_mut(PART * hidden)
            .enumerate()
            .for_each(|(at, rounded)| {
                let mut rows = vec![0.0; rounded.len()];
                embedding.read(at * PART, &mut rows);
                rotation.apply(&mut rows);
                rounded.convert_from_f32_slice(&rows);
            });
        Tensor::from_vec(rounded, (outputs, hidden), self.device)
            .map_err(|error| self.failed(name, &error))
    }

    /// A norm; its gain is in the weights after it if the stream is rotated.
    fn norm(&self, gain: Vec<f32>) -> Result<RmsNorm> {
        let count = gain.len();
        let gain = match self.rotation {
            Some(_) => None,
            None => Some(
                Tensor::from_vec(gain, count, self.device)
                    .map_err(|error| self.failed("norm", &error))?,
            ),
        };
        Ok(RmsNorm {
            gain,
            eps: self.config.rms_norm_eps as f32,
        })
    }

    /// Tensors of the same width, given as names and numbers of outputs, one under the other.
    fn matrix(&mut self, parts: &[(String, usize)], width: usize) -> Result<Matrix<'a>> {
        let parts = parts.iter().map(|(name, outputs)| {
            Ok(Part {
                rows: self.rows(&format!("{name}.weight"), &[*outputs, width])?,
                outputs: *outputs,
                update: self.adapter.and_then(|adapter| adapter.update(name)),
            })
        });
        Ok(Matrix::new(parts.collect::<Result<_>>()?, width))
    }

    fn biases(&mut self, parts: &[(String, usize)]) -> Result<Vec<f32>> {
        let parts = parts
            .iter()
            .map(|(name, outputs)| self.vector(&format!("{name}.bias"), *outputs));
        Ok(parts.collect::<Result<Vec<_>>>()?.concat())
    }

    fn vector(&mut self, name: &str, count: usize) -> Result<Vec<f32>> {
        let rows = self.rows(name, &[count])?;
        let row = Part {
            rows,
            outputs: 1,
            update: None,
        };
        let values = Matrix::new(vec![row], count).values();
        values.ok_or_else(|| self.not_a_number(name))
    }

    /// The gain of a norm that acts after a product, and so stays as it is.
    fn gain(&mut self, name: &str, count: usize) -> Result<Tensor> {
        let gain = self.vector(name, count)?;
        Tensor::from_vec(gain, count, self.device).map_err(|error| self.failed(name, &error))
    }

    fn rows(&mut self, name: &str, shape: &[usize]) -> Result<Rows<'a>> {
        self.taken.insert(name.to_owned());
        self.gguf.rows(name, shape)
    }

    fn tensor(&self, name: &str, matrix: &Matrix<'_>) -> Result<Tensor> {
        let values = matrix.values().ok_or_else(|| self.not_a_number(name))?;
        Tensor::from_vec(values, (matrix.outputs(), matrix.width()), self.device)
            .map_err(|error| self.failed(name, &error))
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

    fn not_a_number(&self, name: &str) -> Error {
        self.gguf.error(format!(
            "{name} holds a weight that is not a number: the file is damaged"
        ))
    }

    fn failed(&self, name: &str, error: &candle_core::Error) -> Error {
        self.gguf
            .error(format!("its weights {name} cannot be prepared: {error}"))
    }
}

/// Rows that one thread transforms at a time.
const PART: usize = 64;
