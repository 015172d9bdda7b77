//! Requests to a model and its answers.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Constraint, Prompt};
use crate::{
    error::{Error, Result},
    record::{ModelId, Usage},
};

/// How the next token is chosen.
///
/// By default `temperature` is 0: the likeliest token, whatever the other fields say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 takes the likeliest token; 1 samples from the model's own distribution.
    pub temperature: f64,
    /// Keeps the fewest likeliest tokens whose probabilities add up to this. 1 keeps all.
    pub top_p: f64,
    /// Keeps this many of the likeliest tokens. 0 keeps all.
    pub top_k: usize,
    /// Keeps tokens at least this fraction as likely as the likeliest one. 0 keeps all.
    pub min_p: f64,
    /// Divides the logits of tokens already present if positive, multiplies them if negative (arXiv 1909.05858,
    /// section 4.1). 1 changes nothing.
    pub repetition_penalty: f64,
    /// The same seed gives the same tokens.
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
    /// What to go on from.
    pub prompt: Prompt,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// The most tokens to write.
    pub max_tokens: usize,
    /// Strings that end the completion; none of them is part of it.
    pub stop: Vec<String>,
    /// What the text is held to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<Constraint>,
    /// Asks for [`Completion::logprobs`](super::Completion::logprobs), with so many of the likeliest tokens in each place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_logprobs: Option<usize>,
}

impl ChatRequest {
    /// The number of tokens that a completion may have by default.
    pub const DEFAULT_MAX_TOKENS: usize = 256;

    /// A request with default sampling, [`DEFAULT_MAX_TOKENS`](Self::DEFAULT_MAX_TOKENS) and no stop strings.
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

    /// Sets how the next token is chosen. By default the likeliest one.
    #[must_use]
    pub fn with_sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }

    /// Sets the most tokens to write. By default [`DEFAULT_MAX_TOKENS`](Self::DEFAULT_MAX_TOKENS).
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

    /// Holds the text to one of these: the completion is exactly one of them. By default it is free. Replaces another constraint.
    ///
    /// None may be empty or hold a stop string, and at least one must fit into `max_tokens`; else the request is an error, as it
    /// is with a backend that has no such means.
    #[must_use]
    pub fn with_choices(mut self, choices: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let choices = choices.into_iter().map(Into::into).collect();
        self.constraint = Some(Constraint::Choice(choices));
        self
    }

    /// Holds the text to JSON that satisfies a schema. By default it is free. Replaces another constraint.
    ///
    /// A text that is not complete within `max_tokens` is an error, as is a stop string, or a backend that has no such means.
    #[must_use]
    pub fn with_json_schema(mut self, schema: serde_json::Value) -> Self {
        self.constraint = Some(Constraint::JsonSchema(schema));
        self
    }

    /// What a model does first that has no means to honour a constraint.
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

    /// Asks for the log-probability of each written token and of the `count` likeliest in its place; 0 is of the written
    /// one alone. By default none are asked for.
    ///
    /// They are of the model's own distribution: before temperature, cuts, penalties and constraints. A model that has none
    /// leaves [`Completion::logprobs`](super::Completion::logprobs) empty.
    #[must_use]
    pub fn with_top_logprobs(mut self, count: usize) -> Self {
        self.top_logprobs = Some(count);
        self
    }
}

/// Continuations to score after one prompt.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreRequest {
    /// What they continue.
    pub prompt: Prompt,
    /// The texts. Each is scored as it stands, without an end-of-text token.
    pub continuations: Vec<String>,
}

impl ScoreRequest {
    /// A request for the scores of `continuations` after `prompt`.
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

/// How likely one continuation is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Continuation {
    /// log P(continuation | prompt) in nats, summed over its tokens.
    pub logprob: f64,
    /// How many tokens it has.
    pub tokens: usize,
}

impl Continuation {
    /// Nats per token; negative infinity for an empty continuation, which thus never wins.
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
    /// One for each continuation, in the order of the request.
    pub continuations: Vec<Continuation>,
    /// Tokens read.
    pub usage: Usage,
    /// Who scored.
    pub model: Arc<ModelId>,
}
