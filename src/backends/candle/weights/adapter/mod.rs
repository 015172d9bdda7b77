//! Low-rank adapters in the format of PEFT (`huggingface/peft`, `save_pretrained`), added to the weights when they are
//! read.
//!
//! `W + (alpha / r) B A` (LoRA, arXiv 2106.09685, section 4.1), or `alpha / sqrt r` if the adapter is rank-stabilised
//! (arXiv 2312.03732).

mod base;
#[cfg(feature = "train")]
mod write;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use multiversion::multiversion;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    backends::candle::{
        gguf::{Gguf, TensorType, file_name, sha256},
        graph::config::Config,
        kernels::rows::Pairs,
    },
    error::{Error, Result},
};

#[cfg(feature = "train")]
pub use write::Numbers;
#[cfg(feature = "train")]
pub(crate) use write::{Written, write};

const SETTINGS: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// Names of both files.
#[cfg(feature = "train")]
pub(crate) const ADAPTER_FILES: [&str; 2] = [SETTINGS, WEIGHTS];

/// Settings that change what is computed in ways that are not supported, where they are set.
const UNSUPPORTED: [&str; 12] = [
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
    "fan_in_fan_out",
    "layer_replication",
    "lora_bias",
    "modules_to_save",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_dora",
    "use_qalora",
];

/// Linear layers that an adapter may change: the name in the adapter and in GGUF.
pub(crate) const TARGETS: [(&str, &str); 7] = [
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// What an adapter adds to the weights of a model.
pub(crate) struct Adapter {
    hash: String,
    /// Rank, alpha, and whether it is rank-stabilised.
    #[cfg_attr(not(feature = "train"), allow(dead_code))]
    scale: (usize, f64, bool),
    /// By the name of the weights in GGUF.
    updates: BTreeMap<String, Update>,
}

/// What is added to one matrix.
pub(crate) struct Update {
    /// `(rank, inputs)`
    a: Vec<f32>,
    /// `(outputs, rank)`, with rows in the order of the model file.
    b: Vec<f32>,
    /// What `B A` is multiplied with.
    factor: f32,
    rank: usize,
    inputs: usize,
}

/// What is read of `adapter_config.json`.
#[derive(Deserialize)]
struct Settings {
    #[serde(default)]
    base_model_name_or_path: Option<Value>,
    peft_type: String,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    use_rslora: Option<bool>,
    #[serde(default)]
    bias: Option<String>,
    #[serde(default)]
    init_lora_weights: Option<Value>,
    #[serde(default)]
    target_modules: Option<Value>,
    #[serde(default)]
    layers_to_transform: Option<Value>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

impl Adapter {
    /// Reads the folder of an adapter for the model of a file, which has this configuration.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read; [`Error::Model`] if it is damaged, does not fit the model, was trained
    /// on another model, or asks for what is not supported.
    pub(in super::super) fn read(folder: &Path, gguf: &Gguf, config: &Config) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).map_err(|source| Error::io(path, source))
        };
        let (settings, weights) = (read(SETTINGS)?, read(WEIGHTS)?);
        let refused = |reason| Error::model(file_name(folder), reason);
        let parsed = Settings::parse(&settings).map_err(refused)?;
        let base = parsed.base_model_name_or_path.as_ref();
        let base = base.and_then(Value::as_str).unwrap_or_default();
        if let Some(reason) = base::contradiction(base, gguf) {
            return Err(refused(reason));
        }
        let updates = updates(&parsed, &weights, config).map_err(refused)?;
        let hash = sha256([settings.as_slice(), weights.as_slice()]);
        let scale = (parsed.r, parsed.lora_alpha, parsed.use_rslora == Some(true));
        Ok(Self {
            hash,
            scale,
            updates,
        })
    }

    /// The hash of both files, settings first, as `sha256:<hex>`.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    /// A matrix of it, with rows in the order of the model file.
    #[cfg(feature = "train")]
    pub(crate) fn matrix(&self, (layer, target): Place, side: Side) -> Option<&[f32]> {
        let name = TARGETS.get(target)?.1;
        let update = self.updates.get(&format!("blk.{layer}.{name}"))?;
        Some(if side == Side::A {
            &update.a
        } else {
            &update.b
        })
    }

    /// Rank, alpha, and whether it is rank-stabilised.
    #[cfg(feature = "train")]
    pub(crate) fn scale(&self) -> (usize, f64, bool) {
        self.scale
    }

    /// The targets that it changes.
    #[cfg(feature = "train")]
    pub(crate) fn targets(&self) -> Vec<usize> {
        let changes = |target: &(&str, &str)| {
            let ending = format!(".{}", target.1);
            self.updates.keys().any(|name| name.ends_with(&ending))
        };
        let targets = TARGETS.iter().enumerate();
        targets
            .filter(|(_, target)| changes(target))
            .map(|(at, _)| at)
            .collect()
    }

    /// What is to be added to the weights of this name in GGUF, without `.weight`.
    pub(crate) fn update(&self, name: &str) -> Option<&Update> {
        self.updates.get(name)
    }

    /// All updates, by the names of the weights in GGUF, without `.weight`.
    pub(crate) fn updates(&self) -> impl Iterator<Item = (&str, &Update)> {
        let updates = self.updates.iter();
        updates.map(|(name, update)| (name.as_str(), update))
    }
}

impl Update {
    /// Outputs and inputs of the matrix that it is for.
    pub(crate) fn shape(&self) -> [usize; 2] {
        [self.b.len() / self.rank, self.inputs]
    }

    /// Adds it to the values of a row of the matrix that follow the column `column`.
    pub(crate) fn add(&self, row: usize, column: usize, to: &mut [f32]) {
        let factors = self.b.chunks_exact(self.rank).nth(row);
        let factors = factors.unwrap_or_default();
        for (b, a) in factors.iter().zip(self.a.chunks_exact(self.inputs)) {
            add(b * self.factor, a.get(column..).unwrap_or_default(), to);
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx2", "x86_64+avx2"))]
fn add(factor: f32, a: &[f32], to: &mut [f32]) {
    for (to, a) in to.iter_mut().zip(a) {
        *to += factor * a;
    }
}

type Outcome<T> = std::result::Result<T, String>;

/// One of the two matrices of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    A,
    B,
}

/// A layer, and a row of [`TARGETS`].
pub(crate) type Place = (usize, usize);

/// The name that PEFT gives to a matrix.
fn name((layer, target): Place, side: Side) -> String {
    let target = TARGETS.get(target).map_or("", |target| target.0);
    let side = if side == Side::A { 'A' } else { 'B' };
    format!("base_model.model.model.layers.{layer}.{target}.lora_{side}.weight")
}

/// The matrix that PEFT gives this name to.
fn place(tensor: &str) -> Option<(Place, Side)> {
    let (layer, rest) = tensor
        .strip_prefix("base_model.model.model.layers.")?
        .split_once('.')?;
    let target = TARGETS
        .iter()
        .position(|target| rest.starts_with(target.0))?;
    let place = (layer.parse().ok()?, target);
    [Side::A, Side::B]
        .into_iter()
        .find(|side| name(place, *side) == tensor)
        .map(|side| (place, side))
}

fn updates(
    settings: &Settings,
    weights: &[u8],
    config: &Config,
) -> Outcome<BTreeMap<String, Update>> {
    let factor = settings.factor()?;
    let tensors = SafeTensors::deserialize(weights)
        .map_err(|_| format!("its {WEIGHTS} is damaged or cut off"))?;

    let mut found: BTreeMap<Place, [Option<TensorView<'_>>; 2]> = BTreeMap::new();
    for (tensor, view) in tensors.iter() {
        let Some((place, side)) = place(tensor) else {
            let shown: String = tensor.chars().take(200).collect();
            return Err(format!(
                "it has a tensor {shown:?}; supported are lora_A and lora_B of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj and down_proj"
            ));
        };
        let [a, b] = found.entry(place).or_default();
        *(if side == Side::A { a } else { b }) = Some(view);
    }
    if let Some(expected) = settings.places(config.num_hidden_layers)? {
        if let Some(place) = found.keys().find(|place| !expected.contains(place)) {
            let tensor = name(*place, Side::A);
            return Err(format!(
                "it has a tensor {tensor}, which its {SETTINGS} does not name"
            ));
        }
        for place in expected {
            found.entry(place).or_default();
        }
    }
    if found.is_empty() {
        return Err("it has no tensors".to_owned());
    }

    let mut updates = BTreeMap::new();
    for (place, views) in found {
        let (layer, target) = place;
        if layer >= config.num_hidden_layers {
            return Err(format!(
                "it has a tensor {}, but the model has {} layers",
                name(place, Side::A),
                config.num_hidden_layers
            ));
        }
        let target = TARGETS.get(target).map_or("", |target| target.1);
        let (outputs, inputs) = shape(target, config);
        let rank = settings.r;
        let [a, b] = views;
        let a = values(&name(place, Side::A), a, [rank, inputs])?;
        let mut b = values(&name(place, Side::B), b, [outputs, rank])?;
        if config.pairs == Pairs::Neighbours && matches!(target, "attn_q" | "attn_k") {
            b = permuted(&b, rank, config.head_dim);
        }
        let update = Update {
            a,
            b,
            factor,
            rank,
            inputs,
        };
        updates.insert(format!("blk.{layer}.{target}"), update);
    }
    Ok(updates)
}

impl Settings {
    fn parse(json: &[u8]) -> Outcome<Self> {
        serde_json::from_slice(json).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            format!("its {SETTINGS} cannot be understood at line {line}, column {column}")
        })
    }

    /// What `B A` is multiplied with, if the adapter is one that can be merged.
    fn factor(&self) -> Outcome<f32> {
        if self.peft_type != "LORA" {
            return Err(format!(
                "its peft_type is {:?}; LORA is supported",
                self.peft_type
            ));
        }
        let set = |key: &&str| self.others.get(*key).is_some_and(|value| !is_off(value));
        if let Some(key) = UNSUPPORTED.iter().find(|key| set(key)) {
            return Err(format!("its {SETTINGS} sets {key}: that is not supported"));
        }
        if let Some(bias) = self.bias.as_deref().filter(|bias| *bias != "none") {
            return Err(format!("its bias is {bias:?}: that is not supported"));
        }
        // The other ways to begin change the weights of the model, so that the adapter alone is not all.
        if let Some(Value::String(begin)) = &self.init_lora_weights
            && !matches!(begin.as_str(), "gaussian" | "eva" | "orthogonal")
        {
            return Err(format!(
                "its init_lora_weights is {begin:?}: that is not supported"
            ));
        }
        let rank = self.r as f64;
        let divisor = if self.use_rslora == Some(true) {
            rank.sqrt()
        } else {
            rank
        };
        let factor = (self.lora_alpha / divisor) as f32;
        if factor.is_finite() {
            Ok(factor)
        } else {
            Err(format!(
                "its r is {} and its lora_alpha {}",
                self.r, self.lora_alpha
            ))
        }
    }

    /// The matrices that are to be there; `None` if the settings name them by a pattern.
    fn places(&self, layers: usize) -> Outcome<Option<BTreeSet<Place>>> {
        let Some(Value::Array(modules)) = &self.target_modules else {
            return Ok(None);
        };
        let layers: Vec<usize> = match &self.layers_to_transform {
            None | Some(Value::Null) => (0..layers).collect(),
            Some(chosen) => {
                let chosen = match chosen {
                    Value::Array(chosen) => chosen.as_slice(),
                    one => std::slice::from_ref(one),
                };
                let chosen = chosen.iter().map(|layer| {
                    let layer = layer.as_u64().and_then(|layer| usize::try_from(layer).ok());
                    layer.filter(|layer| *layer < layers)
                });
                chosen.collect::<Option<_>>().ok_or_else(|| {
                    format!(
                        "its layers_to_transform are not among the {layers} layers of the model"
                    )
                })?
            }
        };
        let mut places = BTreeSet::new();
        for module in modules {
            let name = module.as_str().unwrap_or_default();
            let short = |target: &str| name.rsplit('.').next() == target.rsplit('.').next();
            let Some(target) = TARGETS.iter().position(|target| short(target.0)) else {
                return Err(format!(
                    "its target_modules have {module}: that is not supported"
                ));
            };
            places.extend(layers.iter().map(|layer| (*layer, target)));
        }
        Ok(Some(places))
    }
}

fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        _ => false,
    }
}

/// Outputs and inputs of a linear layer of the model.
fn shape(target: &str, config: &Config) -> (usize, usize) {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let q = config.num_attention_heads * config.head_dim;
    match target {
        "attn_q" => (q, hidden),
        "attn_k" | "attn_v" => (config.num_key_value_heads * config.head_dim, hidden),
        "attn_output" => (hidden, q),
        "ffn_down" => (hidden, inner),
        _ => (inner, hidden),
    }
}

fn values(name: &str, tensor: Option<TensorView<'_>>, shape: [usize; 2]) -> Outcome<Vec<f32>> {
    let Some(tensor) = tensor else {
        return Err(format!("the tensor {name} is missing"));
    };
    if tensor.shape() != shape {
        let found = tensor.shape();
        return Err(format!(
            "the tensor {name} has the shape {found:?} where {shape:?} is expected"
        ));
    }
    let kind = match tensor.dtype() {
        Dtype::F32 => TensorType::F32,
        Dtype::F16 => TensorType::F16,
        Dtype::BF16 => TensorType::BF16,
        other => {
            return Err(format!(
                "the tensor {name} is of type {other:?}, which is not supported; supported are F32, F16, BF16"
            ));
        }
    };
    let [rows, columns] = shape;
    let mut values = vec![0.0; rows * columns];
    kind.dequantize(tensor.data(), &mut values);
    if values.iter().all(|value| value.is_finite()) {
        Ok(values)
    } else {
        Err(format!("the tensor {name} holds what is not a number"))
    }
}

/// The rows of q or k in the order of GGUF files of Llama: there the first and the second half of a head take turns
/// (`ggml-org/llama.cpp`, `convert_hf_to_gguf.py`, `LlamaModel.permute`).
fn permuted(b: &[f32], rank: usize, head_dim: usize) -> Vec<f32> {
    let half = head_dim / 2 * rank;
    b.chunks_exact(2 * half)
        .flat_map(|head| {
            let (first, second) = head.split_at(half);
            first
                .chunks_exact(rank)
                .zip(second.chunks_exact(rank))
                .flat_map(|(first, second)| [first, second].concat())
        })
        .collect()
}
