//! Hidden states: what a model makes of a text that it reads.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::Prompt;
use crate::record::{ModelId, Redacted, Usage};

/// A continuation whose hidden states are wanted.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StateRequest {
    /// The prompt that it continues.
    pub prompt: Prompt,
    /// The continuation.
    pub continuation: String,
    /// The most tokens of the continuation that are read, at least 1. Those after them do not count.
    pub max_tokens: usize,
    /// The layers whose states are wanted, from 1 to the number of layers.
    pub layers: Vec<usize>,
}

impl StateRequest {
    /// The most tokens of a continuation that are read by default.
    pub const DEFAULT_MAX_TOKENS: usize = 256;

    /// Asks for the states of `layers` over the tokens of `continuation`, of which at most
    /// [`DEFAULT_MAX_TOKENS`](Self::DEFAULT_MAX_TOKENS) are read.
    pub fn new(
        prompt: impl Into<Prompt>,
        continuation: impl Into<String>,
        layers: impl Into<Vec<usize>>,
    ) -> Self {
        Self {
            prompt: prompt.into(),
            continuation: continuation.into(),
            max_tokens: Self::DEFAULT_MAX_TOKENS,
            layers: layers.into(),
        }
    }

    /// Sets the most tokens of the continuation that are read. By default
    /// [`DEFAULT_MAX_TOKENS`](Self::DEFAULT_MAX_TOKENS).
    #[must_use]
    pub fn with_max_tokens(mut self, max_tokens: usize) -> Self {
        self.max_tokens = max_tokens;
        self
    }
}

impl fmt::Debug for StateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateRequest")
            .field("prompt", &self.prompt)
            .field("continuation", &Redacted(&self.continuation))
            .field("max_tokens", &self.max_tokens)
            .field("layers", &self.layers)
            .finish()
    }
}

/// The states of one layer over the tokens of a continuation: `(hidden)` each.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerStates {
    /// The layer, from 1 on.
    pub layer: usize,
    /// The mean over the tokens that were read.
    pub mean: Vec<f32>,
    /// The state of the last token that was read.
    pub last: Vec<f32>,
}

impl fmt::Debug for LayerStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerStates")
            .field("layer", &self.layer)
            .field("hidden", &self.mean.len())
            .finish_non_exhaustive()
    }
}

/// The hidden states of one request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct States {
    /// The states, in the order of the request's layers.
    pub layers: Vec<LayerStates>,
    /// Tokens of the continuation that were read.
    pub tokens: usize,
    /// Tokens read, those of the prompt among them.
    pub usage: Usage,
    /// The model that read.
    pub model: Arc<ModelId>,
}
