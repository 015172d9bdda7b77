//! Walks the tensors of a GGUF file into a [`Graph`].

use std::collections::BTreeSet;

use candle_core::{Device, Tensor};

use super::{
    config::Config,
    gguf::Gguf,
    graph::{Graph, Layer, Rotation},
    linear::Linear,
};
use crate::error::{Error, Result};

/// Reads all weights, dequantised to F32 on `device`, for contexts of `positions` tokens.
///
/// `progress` hears how many layers are read, and how many there are.
///
/// # Errors
/// Fails if a tensor is missing, has another shape, or is one that the graph would leave out.
pub(super) fn read(
    gguf: &mut Gguf,
    config: Config,
    positions: usize,
    device: &Device,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Graph> {
    let count = config.num_hidden_layers;
    let (hidden, vocab) = (config.hidden_size, config.vocab_size);
    let mut reader = Reader {
        gguf,
        device,
        taken: BTreeSet::new(),
    };

    let embedding = reader.tensor("token_embd.weight", &[vocab, hidden])?;
    let mut layers = Vec::new();
    for index in 0..count {
        progress(index, count);
        layers.push(reader.layer(&config, index)?);
    }
    let norm = reader.tensor("output_norm.weight", &[hidden])?;
    let head = if config.tie_word_embeddings {
        Linear::new(&embedding, None).map_err(|error| reader.failed(&error))?
    } else {
        reader.linear(&[("output", vocab)], hidden, false)?
    };
    reader.check_nothing_is_left()?;
    progress(count, count);
    Ok(Graph {
        rotation: Rotation::new(&config, positions, device)
            .map_err(|error| reader.failed(&error))?,
        config,
        device: device.clone(),
        embedding,
        layers,
        norm,
        head,
    })
}

struct Reader<'a> {
    gguf: &'a mut Gguf,
    device: &'a Device,
    taken: BTreeSet<String>,
}

impl Reader<'_> {
    fn layer(&mut self, config: &Config, index: usize) -> Result<Layer> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let q = config.num_attention_heads * config.head_dim;
        let kv = config.num_key_value_heads * config.head_dim;
        let name = |part: &str| format!("blk.{index}.{part}");
        let (attn_q, attn_k, attn_v) = (name("attn_q"), name("attn_k"), name("attn_v"));
        let (gate, up) = (name("ffn_gate"), name("ffn_up"));
        Ok(Layer {
            attention_norm: self.tensor(&name("attn_norm.weight"), &[hidden])?,
            qkv: self.linear(
                &[(&attn_q, q), (&attn_k, kv), (&attn_v, kv)],
                hidden,
                config.attention_bias,
            )?,
            output: self.linear(&[(&name("attn_output"), hidden)], q, false)?,
            feed_forward_norm: self.tensor(&name("ffn_norm.weight"), &[hidden])?,
            gate_up: self.linear(&[(&gate, inner), (&up, inner)], hidden, false)?,
            down: self.linear(&[(&name("ffn_down"), hidden)], inner, false)?,
        })
    }

    /// One layer from several with the same input, given as names and numbers of outputs.
    fn linear(&mut self, parts: &[(&str, usize)], inputs: usize, bias: bool) -> Result<Linear> {
        let mut weights = Vec::new();
        let mut biases = Vec::new();
        for (name, outputs) in parts {
            weights.push(self.tensor(&format!("{name}.weight"), &[*outputs, inputs])?);
            if bias {
                biases.push(self.tensor(&format!("{name}.bias"), &[*outputs])?);
            }
        }
        let bias = bias.then(|| Tensor::cat(&biases, 0)).transpose();
        bias.and_then(|bias| Linear::new(&Tensor::cat(&weights, 0)?, bias))
            .map_err(|error| self.failed(&error))
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

    fn failed(&self, error: &candle_core::Error) -> Error {
        self.gguf
            .error(format!("its weights cannot be prepared: {error}"))
    }
}
