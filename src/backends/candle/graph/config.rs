//! What a model file says about its architecture.

use crate::{
    backends::candle::{
        gguf::Gguf,
        kernels::{blocks::Shape, rows::Pairs},
    },
    error::{Error, Result},
};

/// The sizes and constants of a model, named as in Hugging Face's `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    /// Tokens in the vocabulary.
    pub(crate) vocab_size: usize,
    /// Width of the residual stream.
    pub(crate) hidden_size: usize,
    /// Width inside the feed-forward block.
    pub(crate) intermediate_size: usize,
    pub(crate) num_hidden_layers: usize,
    /// Query heads.
    pub(crate) num_attention_heads: usize,
    /// Key and value heads; each serves the same number of query heads.
    pub(crate) num_key_value_heads: usize,
    pub(crate) head_dim: usize,
    /// The longest context that the model was trained for, in tokens.
    pub(crate) max_position_embeddings: usize,
    pub(crate) rope_theta: f64,
    /// What positions are divided by before the rotation; 1 for most models.
    pub(crate) rope_factor: f64,
    /// Which dimensions a rotation pairs.
    pub(crate) pairs: Pairs,
    /// Tokens that a token sees, itself included, if not all. The graph sees all, so no context may be longer.
    pub(crate) sliding_window: Option<usize>,
    pub(crate) rms_norm_eps: f64,
    /// Whether q, k and v have biases.
    pub(crate) attention_bias: bool,
    /// Whether each head of q and k is normed before the rotation.
    pub(crate) head_norms: bool,
    /// Whether the output head is the embedding.
    pub(crate) tie_word_embeddings: bool,
}

/// An architecture that [`forward`](super::forward) computes.
struct Architecture {
    /// Its name in GGUF.
    name: &'static str,
    pairs: Pairs,
    attention_bias: bool,
    head_norms: bool,
}

const ARCHITECTURES: [Architecture; 3] = [
    Architecture {
        name: "llama",
        // The converter to GGUF permutes the q and k weights of these files, so that neighbours are paired.
        pairs: Pairs::Neighbours,
        attention_bias: false,
        head_norms: false,
    },
    Architecture {
        name: "qwen2",
        pairs: Pairs::Halves,
        attention_bias: true,
        head_norms: false,
    },
    Architecture {
        name: "qwen3",
        pairs: Pairs::Halves,
        attention_bias: false,
        head_norms: true,
    },
];

/// Metadata that changes the computation in ways that [`forward`](super::forward) does not know.
const UNSUPPORTED: [&str; 5] = [
    "expert_count",
    "attention.scale",
    "logit_scale",
    "residual_scale",
    "embedding_scale",
];

/// No published model comes near it; a damaged file may say anything.
const MAX_SIZE: usize = 1 << 24;
/// There is a table of angles of so many values for each position.
const MAX_HEAD_DIM: usize = 1024;

/// How many times wider a layer may be inside than the residual stream. Published models stay below 10; a small file
/// with false sizes would take memory out of proportion at the first request.
const MAX_WIDENING: usize = 64;

impl Config {
    /// The sizes that attention needs to know.
    pub(crate) fn shape(&self) -> Shape {
        Shape {
            heads: self.num_attention_heads,
            kv_heads: self.num_key_value_heads,
            head_dim: self.head_dim,
            pairs: self.pairs,
        }
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// Refuses every file that would be computed wrongly, and says why.
    pub(crate) fn read(gguf: &Gguf) -> Result<Self> {
        let name = gguf.text("general.architecture")?.unwrap_or_default();
        let Some(architecture) = ARCHITECTURES.into_iter().find(|known| known.name == name) else {
            return Err(gguf.error(format!(
                "the architecture \"{name}\" is not supported; supported are {}",
                ARCHITECTURES.map(|known| known.name).join(", ")
            )));
        };
        let fields = Fields {
            gguf,
            architecture: architecture.name,
        };
        fields.refuse_unsupported()?;

        let hidden_size = fields.size("embedding_length")?;
        let num_attention_heads = fields.size("attention.head_count")?;
        let num_key_value_heads = fields
            .optional_size("attention.head_count_kv")?
            .unwrap_or(num_attention_heads);
        let head_dim = fields
            .optional_size("attention.key_length")?
            .unwrap_or(hidden_size / num_attention_heads);
        let config = Self {
            vocab_size: gguf
                .texts("tokenizer.ggml.tokens")?
                .map_or(0, |tokens| tokens.len()),
            hidden_size,
            intermediate_size: fields.size("feed_forward_length")?,
            num_hidden_layers: fields.size("block_count")?,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            max_position_embeddings: fields.size("context_length")?,
            rope_theta: fields.float("rope.freq_base")?.unwrap_or(10_000.0),
            rope_factor: fields.rope_factor()?,
            pairs: architecture.pairs,
            sliding_window: fields
                .optional_count("attention.sliding_window")?
                .filter(|tokens| *tokens > 0),
            rms_norm_eps: fields
                .float("attention.layer_norm_rms_epsilon")?
                .ok_or_else(|| fields.missing("attention.layer_norm_rms_epsilon"))?,
            attention_bias: architecture.attention_bias,
            head_norms: architecture.head_norms,
            tie_word_embeddings: !gguf.has_tensor("output.weight"),
        };
        config.check(&fields)?;
        Ok(config)
    }

    fn check(&self, fields: &Fields<'_>) -> Result<()> {
        let widest = (self.num_attention_heads * self.head_dim).max(self.intermediate_size);
        let reason = if self.vocab_size == 0 {
            "it has no vocabulary (tokenizer.ggml.tokens)".to_owned()
        } else if !self
            .num_attention_heads
            .is_multiple_of(self.num_key_value_heads)
        {
            format!(
                "{} query heads cannot share {} key and value heads evenly",
                self.num_attention_heads, self.num_key_value_heads
            )
        } else if self.head_dim == 0 || !self.head_dim.is_multiple_of(2) {
            format!("a head dimension of {} cannot be rotated", self.head_dim)
        } else if self.head_dim > MAX_HEAD_DIM
            || self.num_attention_heads > MAX_SIZE / self.head_dim
        {
            format!(
                "{} heads of {} values are more than is supported",
                self.num_attention_heads, self.head_dim
            )
        } else if !(self.rope_theta.is_finite() && self.rope_theta > 0.0) {
            format!("rope.freq_base is {}", self.rope_theta)
        } else if !(self.rope_factor.is_finite() && self.rope_factor > 0.0) {
            format!("rope.scaling.factor is {}", self.rope_factor)
        } else if !(self.rms_norm_eps.is_finite() && self.rms_norm_eps > 0.0) {
            format!("layer_norm_rms_epsilon is {}", self.rms_norm_eps)
        } else if widest > MAX_WIDENING * self.hidden_size {
            format!(
                "layers of {widest} values inside do not go with a residual stream of {}",
                self.hidden_size
            )
        } else {
            for key in ["rope.dimension_count", "attention.value_length"] {
                let size = fields.optional_size(key)?.unwrap_or(self.head_dim);
                if size != self.head_dim {
                    return Err(fields.gguf.error(format!(
                        "{key} is {size} and the head dimension {}: that is not supported",
                        self.head_dim
                    )));
                }
            }
            return Ok(());
        };
        Err(fields.gguf.error(reason))
    }
}

/// Metadata under the architecture's name.
struct Fields<'a> {
    gguf: &'a Gguf,
    architecture: &'a str,
}

impl Fields<'_> {
    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn missing(&self, key: &str) -> Error {
        self.gguf
            .error(format!("the metadata {} is missing", self.key(key)))
    }

    fn optional_count(&self, key: &str) -> Result<Option<usize>> {
        self.gguf.integer(&self.key(key))
    }

    fn optional_size(&self, key: &str) -> Result<Option<usize>> {
        match self.optional_count(key)? {
            Some(size) if size == 0 || size > MAX_SIZE => Err(self
                .gguf
                .error(format!("{} is {size}, which cannot be", self.key(key)))),
            size => Ok(size),
        }
    }

    fn size(&self, key: &str) -> Result<usize> {
        self.optional_size(key)?.ok_or_else(|| self.missing(key))
    }

    fn float(&self, key: &str) -> Result<Option<f64>> {
        self.gguf.float(&self.key(key))
    }

    /// What positions are divided by (position interpolation, arXiv 2306.15595). As in llama.cpp, a factor without a
    /// kind of scaling is linear, and older files call it `rope.scale_linear`.
    fn rope_factor(&self) -> Result<f64> {
        let scaling = self.key("rope.scaling.type");
        match self.gguf.text(&scaling)? {
            Some("none") => Ok(1.0),
            None | Some("linear") => {
                let factor = match self.float("rope.scaling.factor")? {
                    None => self.float("rope.scale_linear")?,
                    factor => factor,
                };
                // 0 stands for none.
                Ok(factor.filter(|factor| *factor != 0.0).unwrap_or(1.0))
            }
            Some(kind) => Err(self.gguf.error(format!(
                "{scaling} is \"{kind}\": that is not supported; supported are none and linear"
            ))),
        }
    }

    fn refuse_unsupported(&self) -> Result<()> {
        let factor = self.key("rope.scaling.attn_factor");
        if self
            .gguf
            .float(&factor)?
            .is_some_and(|factor| factor != 1.0)
            || self.gguf.flag(&self.key("attention.causal"))? == Some(false)
        {
            return Err(self.gguf.error(format!(
                "{factor} is not 1 or attention is not causal: that is not supported"
            )));
        }
        for key in UNSUPPORTED.map(|key| self.key(key)) {
            let is_off = match self.gguf.value(&key) {
                None => true,
                Some(value) => value.as_u64() == Some(0),
            };
            if !is_off {
                return Err(self
                    .gguf
                    .error(format!("{key} is set: that is not supported")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A small model of every kind of layer.
    pub(in super::super) fn config(pairs: Pairs) -> Config {
        Config {
            vocab_size: 50,
            hidden_size: 48,
            intermediate_size: 80,
            num_hidden_layers: 3,
            num_attention_heads: 6,
            num_key_value_heads: 2,
            head_dim: 16,
            max_position_embeddings: 100,
            rope_theta: 10_000.0,
            rope_factor: 2.0,
            pairs,
            sliding_window: None,
            rms_norm_eps: 1e-5,
            attention_bias: true,
            head_norms: true,
            tie_word_embeddings: true,
        }
    }
}
