//! Completions, with the log-probabilities of their tokens.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::ChatRequest;
use crate::record::{ModelId, Redacted, Usage};

/// The reason why a completion ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended its turn or wrote a stop string.
    Stop,
    /// `max_tokens` was reached.
    Length,
}

/// The text that a model wrote.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Completion {
    /// The text, without control tokens and stop strings.
    pub text: String,
    /// The reason why it ended.
    pub finish_reason: FinishReason,
    /// Tokens read and written.
    pub usage: Usage,
    /// The model that wrote it.
    pub model: Arc<ModelId>,
    /// Log-probabilities, one entry for each written token, if [`ChatRequest::with_top_logprobs`] asked for them and
    /// the model has them.
    ///
    /// The end-of-turn token and the tokens of a stop string are included. So there are as many entries as
    /// [`Usage::completion_tokens`], and their bytes may be longer than the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<TokenLogprob>>,
}

impl Completion {
    /// Makes a completion without log-probabilities.
    pub fn new(
        text: impl Into<String>,
        finish_reason: FinishReason,
        usage: Usage,
        model: Arc<ModelId>,
    ) -> Self {
        Self {
            text: text.into(),
            finish_reason,
            usage,
            model,
            logprobs: None,
        }
    }

    /// Sets the log-probabilities of the tokens. By default there are none.
    #[must_use]
    pub fn with_logprobs(mut self, logprobs: impl Into<Option<Vec<TokenLogprob>>>) -> Self {
        self.logprobs = logprobs.into();
        self
    }
}

impl fmt::Debug for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completion")
            .field("text", &Redacted(&self.text))
            .field("finish_reason", &self.finish_reason)
            .field("usage", &self.usage)
            .field("model", &self.model)
            .field("logprobs", &self.logprobs.as_ref().map(Vec::len))
            .finish()
    }
}

/// The log-probability of a written token, in the model's own distribution: before temperature, `top_p` and its like,
/// penalties and constraints.
///
/// So a token that a constraint forced may be unlikely and missing from the likeliest ones. The sum over the tokens of
/// a text is its log-likelihood, as a [`ScoringModel`](super::ScoringModel) gives it for the same tokens.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TokenLogprob {
    /// The bytes that the token writes; none for a control token. A character may be spread over several tokens.
    pub bytes: Vec<u8>,
    /// log P(token | all before it) in nats.
    pub logprob: f64,
    /// The likeliest tokens in its place, at most as many as were asked for. The likeliest is first; on ties the lower
    /// id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<TopLogprob>,
}

/// One of the likeliest tokens in a place.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TopLogprob {
    /// The bytes that the token writes; none for a control token.
    pub bytes: Vec<u8>,
    /// log P(token | all before it) in nats.
    pub logprob: f64,
}

impl TokenLogprob {
    /// Makes an entry without other tokens in its place.
    pub fn new(bytes: impl Into<Vec<u8>>, logprob: f64) -> Self {
        Self {
            bytes: bytes.into(),
            logprob,
            top: Vec::new(),
        }
    }

    /// Sets the likeliest tokens in its place, likeliest first. By default there are none.
    #[must_use]
    pub fn with_top(mut self, top: Vec<TopLogprob>) -> Self {
        self.top = top;
        self
    }

    /// The text that the token writes. Bytes that are not whole characters become U+FFFD.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

impl TopLogprob {
    /// Makes an entry from a token and its log-probability.
    pub fn new(bytes: impl Into<Vec<u8>>, logprob: f64) -> Self {
        Self {
            bytes: bytes.into(),
            logprob,
        }
    }

    /// The text that the token writes. Bytes that are not whole characters become U+FFFD.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

impl fmt::Debug for TokenLogprob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenLogprob")
            .field("bytes", &self.bytes.len())
            .field("logprob", &self.logprob)
            .field("top", &self.top)
            .finish()
    }
}

impl fmt::Debug for TopLogprob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopLogprob")
            .field("bytes", &self.bytes.len())
            .field("logprob", &self.logprob)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completion() -> Completion {
        let model = Arc::new(ModelId::new("test"));
        Completion::new("kettle", FinishReason::Stop, Usage::default(), model)
    }

    #[test]
    fn what_was_written_before_there_were_log_probabilities_still_reads() {
        let json = serde_json::to_string(&completion()).unwrap();
        assert!(!json.contains("logprobs"), "{json}");
        assert_eq!(
            serde_json::from_str::<Completion>(&json).unwrap(),
            completion()
        );
        let tokens = vec![
            TokenLogprob::new("kett", -0.5).with_top(vec![TopLogprob::new("cup", -0.25)]),
            TokenLogprob::new("le", -0.125),
        ];
        let with = completion().with_logprobs(tokens);
        let json = serde_json::to_string(&with).unwrap();
        assert_eq!(serde_json::from_str::<Completion>(&json).unwrap(), with);
    }

    #[test]
    fn debug_shows_no_text() {
        let token = TokenLogprob::new("kett", -0.5).with_top(vec![TopLogprob::new("cup", -0.25)]);
        assert_eq!(
            format!("{token:?}"),
            "TokenLogprob { bytes: 4, logprob: -0.5, top: [TopLogprob { bytes: 3, logprob: -0.25 }] }"
        );
        let shown = format!("{:?}", completion().with_logprobs(vec![token]));
        assert!(!shown.contains("kett") && !shown.contains("cup"), "{shown}");
    }

    #[test]
    fn a_piece_of_a_character_is_no_text() {
        assert_eq!(
            TokenLogprob::new(&"川".as_bytes()[..2], -1.0).text(),
            "\u{fffd}"
        );
        assert_eq!(TopLogprob::new("川", -1.0).text(), "川");
    }
}
