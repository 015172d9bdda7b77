//! Requests to a model, and the scores that it gives.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Constraint, Prompt};
use crate::{
    error::{Error, Result},
    record::{ModelId, Usage},
};

/// The rule by which the next token is chosen.
///
/// By default `temperature` is 0, which takes the likeliest token, whatever the other fields say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// The temperature: 0 takes the likeliest token, 1 samples from the model's own distribution. By default 0.
    pub temperature: f64,
    /// Keeps the smallest set of likeliest tokens whose probabilities add up to this. 1 keeps all. By default 1.
    pub top_p: f64,
    /// Keeps this many of the likeliest tokens. 0 keeps all. By default 0.
    pub top_k: usize,
    /// Keeps the tokens that are at least this fraction as likely as the likeliest one. 0 keeps all. By default 0.
    pub min_p: f64,
    /// Makes tokens that are already present less likely: divides their logits if positive, multiplies them if negative
    /// (arXiv 1909.05858, section 4.1). 1 changes nothing. By default 1.
    pub repetition_penalty: f64,
    /// The seed. The same seed gives the same tokens. By default 0.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
        }
    }
}

/// A prompt to complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChatRequest {
    /// The prompt.
    pub prompt: Prompt,
    /// The rule by which the next token is chosen.
    pub sampling: Sampling,
    /// The greatest number of tokens to write.
    pub max_tokens: usize,
    /// Strings that end the completion. None of them is part of its text.
    pub stop: Vec<String>,
    /// The form that the text must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<Constraint>,
    /// How many of the likeliest tokens to give in each place of
    /// [`Completion::logprobs`](super::Completion::logprobs); without it, none are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_logprobs: Option<usize>,
}

impl ChatRequest {
    /// The greatest number of tokens of a completion by default.
    pub const DEFAULT_MAX_TOKENS: usize = 256;

    /// Makes a request with default sampling, [`DEFAULT_MAX_TOKENS`](Self::DEFAULT_MAX_TOKENS) and no stop strings.
    pub fn new(prompt: impl Into<Prompt>) -> Self {
        Self {
            prompt: prompt.into(),
            sampling: Sampling::default(),
            max_tokens: Self::DEFAULT_MAX_TOKENS,
            stop: Vec::new(),
            constraint: None,
            top_logprobs: None,
        }
    }

    /// Sets how the next token is chosen. By default it is the likeliest one.
    #[must_use]
    pub fn with_sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }

    /// Sets the greatest number of tokens to write. By default [`DEFAULT_MAX_TOKENS`](Self::DEFAULT_MAX_TOKENS).
    #[must_use]
    pub fn with_max_tokens(mut self, max_tokens: usize) -> Self {
        self.max_tokens = max_tokens;
        self
    }

    /// Adds a string that ends the completion. By default there is none.
    #[must_use]
    pub fn with_stop(mut self, stop: impl Into<String>) -> Self {
        self.stop.push(stop.into());
        self
    }

    /// Requires the text to be exactly one of these. Replaces another constraint. By default there is none.
    ///
    /// None may be empty or hold a stop string, and at least one must fit into `max_tokens`. Otherwise the request is
    /// an error, and so it is with a backend that does not support choices.
    #[must_use]
    pub fn with_choices(mut self, choices: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let choices = choices.into_iter().map(Into::into).collect();
        self.constraint = Some(Constraint::Choice(choices));
        self
    }

    /// Requires the text to be JSON that satisfies a schema. Replaces another constraint. By default there is none.
    ///
    /// It is an error if the text is not complete within `max_tokens`, if the request has a stop string, or if the
    /// backend does not support schemas.
    #[must_use]
    pub fn with_json_schema(mut self, schema: serde_json::Value) -> Self {
        self.constraint = Some(Constraint::JsonSchema(schema));
        self
    }

    /// Refuses a constraint: for models that support none, before they do anything else.
    ///
    /// # Errors
    /// [`Error::Config`], with the name of the model, if the request has one.
    pub fn refuse_constraint(&self, model: &str) -> Result<()> {
        if self.constraint.is_none() {
            return Ok(());
        }
        let reason = format!("{model} cannot hold its completions to one; ask without it");
        Err(Error::config("constraint", reason))
    }

    /// Asks for the log-probability of each written token, and of the `count` likeliest tokens in its place. By default
    /// none are asked for.
    ///
    /// They are of the model's own distribution: before temperature, `top_p` and its like, penalties and constraints. A
    /// model that has none leaves [`Completion::logprobs`](super::Completion::logprobs) empty.
    #[must_use]
    pub fn with_top_logprobs(mut self, count: usize) -> Self {
        self.top_logprobs = Some(count);
        self
    }
}

/// A prompt, and continuations of it to score.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreRequest {
    /// The prompt that they continue.
    pub prompt: Prompt,
    /// The continuations. Each is scored as it stands, without an end-of-text token.
    pub continuations: Vec<String>,
}

impl ScoreRequest {
    /// Makes a request for the scores of `continuations` after `prompt`.
    pub fn new(
        prompt: impl Into<Prompt>,
        continuations: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self {
            prompt: prompt.into(),
            continuations: continuations.into_iter().map(Into::into).collect(),
        }
    }
}

impl fmt::Debug for ScoreRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScoreRequest")
            .field("prompt", &self.prompt)
            .field("continuations", &self.continuations.len())
            .finish()
    }
}

/// The likelihood of one continuation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Continuation {
    /// log P(continuation | prompt) in nats, summed over its tokens.
    pub logprob: f64,
    /// The number of its tokens.
    pub tokens: usize,
}

impl Continuation {
    /// The log-likelihood per token, in nats. It is negative infinity for an empty continuation, so that it never wins.
    #[must_use]
    pub fn per_token(&self) -> f64 {
        if self.tokens == 0 {
            f64::NEG_INFINITY
        } else {
            self.logprob / self.tokens as f64
        }
    }
}

/// The scores of one request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// The likelihoods, in the order of the request.
    pub continuations: Vec<Continuation>,
    /// Tokens read.
    pub usage: Usage,
    /// The model that scored.
    pub model: Arc<ModelId>,
}
