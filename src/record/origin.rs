//! The origin of a text: model, prompt, seed and cost.

use std::{ops::AddAssign, sync::Arc};

use serde::{Deserialize, Serialize};

/// The identity of a model.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ModelId {
    /// A name that people recognise, such as `SmolLM2-135M-Instruct.Q4_1.gguf`.
    pub name: String,
    /// Hash of the weights as `sha256:<hex>`, if the backend knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Hash of the adapter that was added to the weights, as `sha256:<hex>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
}

impl ModelId {
    /// Makes the identity of a model of which only the name is known.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            hash: None,
            adapter: None,
        }
    }

    /// Sets the hash of the weights. By default it is unknown.
    #[must_use]
    pub fn with_hash(mut self, hash: impl Into<String>) -> Self {
        self.hash = Some(hash.into());
        self
    }

    /// Sets the hash of the adapter. By default there is no adapter.
    #[must_use]
    pub fn with_adapter(mut self, hash: impl Into<String>) -> Self {
        self.adapter = Some(hash.into());
        self
    }
}

/// The tokens that a call read and wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens that the model wrote, the end-of-text token included.
    pub completion_tokens: u64,
}

impl Usage {
    /// Tokens read and written.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.prompt_tokens = self.prompt_tokens.saturating_add(other.prompt_tokens);
        self.completion_tokens = self
            .completion_tokens
            .saturating_add(other.completion_tokens);
    }
}

/// The origin of a text or a judgement: how it was made.
///
/// Every field may be empty, because a stage may be anything, from a model to a table. The prompted stages of this
/// crate fill in enough to make the text again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The method, such as `"reversed"`, `"chat"`, `"best_of_4"` or `"likelihood"`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// The model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Arc<ModelId>>,
    /// Hash of the prompt template as `sha256:<hex>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_hash: Option<Arc<str>>,
    /// The sampling seed of the try that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Number of tries: more than 1 if answers could not be parsed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// Whether the text was cut off at `max_tokens`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub truncated: bool,
    /// Mean log-probability of a token of the answer in nats, if the stage asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprob: Option<f64>,
    /// Tokens of all tries together.
    #[serde(default)]
    pub usage: Usage,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_tokens_than_there_are_numbers_are_as_many_as_there_are() {
        let mut usage = Usage {
            prompt_tokens: u64::MAX,
            completion_tokens: 1,
        };
        assert_eq!(usage.total(), u64::MAX);
        usage += usage;
        assert_eq!(
            (usage.prompt_tokens, usage.completion_tokens),
            (u64::MAX, 2)
        );
    }
}
