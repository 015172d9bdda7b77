//! Completions as servers write them, and whether they keep to the request.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, de::IgnoredAny};

use super::dialect::Server;
use crate::{
    error::{Error, Result},
    model::{ChatRequest, Completion, Constraint, FinishReason, TokenLogprob, TopLogprob},
    record::{ModelId, Usage},
};

/// The response of `/chat/completions` and `/completions`.
#[derive(Deserialize)]
pub(crate) struct Answer {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    message: Option<WireMessage>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    logprobs: Option<Logprobs>,
}

#[derive(Deserialize)]
struct WireMessage {
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    refusal: Option<IgnoredAny>,
}

/// A text, or a list of parts of which some are text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    text: Option<String>,
}

impl Content {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Parts(parts) => parts
                .into_iter()
                // Without its reasoning.
                .filter(|part| matches!(part.kind.as_deref(), None | Some("text" | "output_text")))
                .filter_map(|part| part.text)
                .collect(),
        }
    }
}

#[derive(Deserialize)]
struct WireUsage {
    // No call costs more. A number that no budget could count would end the run.
    #[serde(default)]
    prompt_tokens: Option<u32>,
    #[serde(default)]
    completion_tokens: u32,
}

/// In the form of a chat (`content`) or of raw text. llama.cpp uses that of a chat for both.
#[derive(Deserialize)]
#[serde(untagged)]
enum Logprobs {
    Chat {
        content: Vec<Token>,
    },
    Text(TextLogprobs),
    /// Such as `{"content": null}`.
    Neither(IgnoredAny),
}

#[derive(Deserialize)]
struct Token {
    token: String,
    #[serde(default)]
    bytes: Option<Vec<u8>>,
    logprob: f64,
    #[serde(default)]
    top_logprobs: Vec<Top>,
}

#[derive(Deserialize)]
struct Top {
    /// llama.cpp's own.
    #[serde(default)]
    id: Option<u32>,
    token: String,
    #[serde(default)]
    bytes: Option<Vec<u8>>,
    logprob: f64,
}

/// Log-probabilities of raw text. The first token of an echoed prompt has none.
#[derive(Deserialize)]
pub(crate) struct TextLogprobs {
    pub(crate) tokens: Vec<String>,
    pub(crate) token_logprobs: Vec<Option<f64>>,
    #[serde(default)]
    pub(crate) top_logprobs: Option<Vec<Option<BTreeMap<String, f64>>>>,
    /// Where each token begins, in characters; -1 if the server does not know.
    #[serde(default)]
    pub(crate) text_offset: Option<Vec<i64>>,
}

/// A completion as the server sent it.
pub(crate) struct WireCompletion {
    pub(crate) text: String,
    pub(crate) finish_reason: FinishReason,
    pub(crate) usage: Usage,
    logprobs: Option<Logprobs>,
}

impl Answer {
    /// Takes the first choice.
    pub(crate) fn completion(self, backend: &str) -> Result<WireCompletion> {
        let usage = self.usage.and_then(|usage| {
            Some(Usage {
                prompt_tokens: usage.prompt_tokens?.into(),
                completion_tokens: usage.completion_tokens.into(),
            })
        });
        let Some(usage) = usage else {
            return Err(Error::malformed(
                "a completion that says its usage of tokens",
            ));
        };
        let Some(choice) = self.choices.into_iter().next() else {
            return Err(Error::malformed("a completion with one choice at least"));
        };
        let refused = |message: &str| Error::Refused {
            backend: backend.to_owned(),
            status: None,
            message: message.to_owned(),
        };
        let text = match choice.message {
            Some(WireMessage {
                content: None,
                refusal: Some(_),
            }) => {
                return Err(refused(
                    "the model declines to answer in the form that was asked for",
                ));
            }
            Some(message) => message.content.map(Content::text),
            None => choice.text,
        };
        let finish_reason = match choice.finish_reason.as_deref() {
            Some("stop" | "eos_token" | "end_turn") => FinishReason::Stop,
            Some("length" | "max_tokens") => FinishReason::Length,
            Some("content_filter") => {
                return Err(refused("its content filter ended the answer"));
            }
            // OpenRouter's, and SGLang's.
            Some("error" | "abort") => {
                return Err(Error::Transport {
                    backend: backend.to_owned(),
                    source: "it broke off in the midst of the answer".into(),
                });
            }
            _ => return Err(Error::malformed("a completion that says why it ended")),
        };
        Ok(WireCompletion {
            // A model that wrote nothing has no content.
            text: text.unwrap_or_default(),
            finish_reason,
            usage,
            logprobs: choice.logprobs,
        })
    }
}

impl WireCompletion {
    /// Checks that the completion keeps to the request, and cuts it at stop strings.
    pub(crate) fn into_completion(
        self,
        request: &ChatRequest,
        server: Server,
        model: &Arc<ModelId>,
    ) -> Result<Completion> {
        let usage = self.usage;
        check(request, &self)?;
        let logprobs = request
            .top_logprobs
            .and_then(|count| self.token_logprobs(count))
            .filter(|tokens| spell(tokens, &self.text))
            .filter(|tokens| {
                server != Server::LlamaCpp || tokens.len() as u64 == usage.completion_tokens
            });
        let (text, finish_reason) = ended(self, &request.stop);
        Ok(Completion::new(text, finish_reason, usage, Arc::clone(model)).with_logprobs(logprobs))
    }

    /// The log-probabilities of the generated tokens, with at most `count` alternatives each.
    pub(crate) fn token_logprobs(&self, count: usize) -> Option<Vec<TokenLogprob>> {
        match self.logprobs.as_ref()? {
            Logprobs::Chat { content } => {
                let tokens = content.iter().map(|token| {
                    let top = token.top_logprobs.iter();
                    let top = top.map(|top| {
                        TopLogprob::new(bytes(&top.token, top.bytes.as_ref()), top.logprob)
                    });
                    TokenLogprob::new(bytes(&token.token, token.bytes.as_ref()), token.logprob)
                        .with_top(likeliest(top, count))
                });
                Some(tokens.collect())
            }
            Logprobs::Text(text) => {
                let tops = text.top_logprobs.as_deref().unwrap_or_default();
                let tokens = text.tokens.iter().zip(&text.token_logprobs).enumerate();
                let tokens = tokens.map(|(at, (token, logprob))| {
                    let top = tops.get(at).and_then(Option::as_ref).into_iter().flatten();
                    let top =
                        top.map(|(token, logprob)| TopLogprob::new(token.as_bytes(), *logprob));
                    Some(
                        TokenLogprob::new(token.as_bytes(), (*logprob)?)
                            .with_top(likeliest(top, count)),
                    )
                });
                tokens.collect()
            }
            Logprobs::Neither(_) => None,
        }
    }

    /// The log-probability of a token at the first position, if it is among the listed alternatives.
    pub(crate) fn first_of(&self, id: u32) -> Option<f64> {
        match self.logprobs.as_ref()? {
            Logprobs::Chat { content } => {
                let top = &content.first()?.top_logprobs;
                top.iter()
                    .find(|top| top.id == Some(id))
                    .map(|top| top.logprob)
            }
            Logprobs::Text(_) | Logprobs::Neither(_) => None,
        }
    }

    /// The log-probabilities of an echoed prompt.
    pub(crate) fn echoed(&self) -> Option<&TextLogprobs> {
        match self.logprobs.as_ref()? {
            Logprobs::Text(text) => Some(text),
            Logprobs::Chat { .. } | Logprobs::Neither(_) => None,
        }
    }
}

/// Checks the constraint, because some servers ignore fields that they do not know.
fn check(request: &ChatRequest, written: &WireCompletion) -> Result<()> {
    match &request.constraint {
        Some(Constraint::Choice(choices)) if !choices.contains(&written.text) => {
            Err(Error::malformed("one of the choices"))
        }
        Some(Constraint::JsonSchema(_)) => {
            let whole = written.finish_reason == FinishReason::Stop
                && serde_json::from_str::<IgnoredAny>(&written.text).is_ok();
            if whole {
                Ok(())
            } else {
                Err(Error::malformed("whole JSON within max_tokens"))
            }
        }
        _ => Ok(()),
    }
}

/// Whether the tokens add up to the text. A server that gives no bytes writes a part of a character as U+FFFD;
/// llama.cpp reports it together with the next token, so that some tokens are missing.
fn spell(tokens: &[TokenLogprob], text: &str) -> bool {
    let mut left = text.as_bytes();
    for token in tokens {
        // Behind the text a stop string may come.
        let (mine, rest) = left.split_at(token.bytes.len().min(left.len()));
        if !token.bytes.starts_with(mine) {
            return false;
        }
        left = rest;
    }
    left.is_empty()
}

/// Cuts the text at the first stop string, because some servers include it.
fn ended(written: WireCompletion, stop: &[String]) -> (String, FinishReason) {
    let first = stop
        .iter()
        .filter_map(|stop| written.text.find(stop.as_str()))
        .min();
    match first.and_then(|end| written.text.get(..end)) {
        Some(text) => (text.to_owned(), FinishReason::Stop),
        None => (written.text, written.finish_reason),
    }
}

fn bytes(token: &str, bytes: Option<&Vec<u8>>) -> Vec<u8> {
    bytes.cloned().unwrap_or_else(|| token.as_bytes().to_vec())
}

/// Sorts the alternatives: servers add the generated token to the most likely ones, and maps have no order.
fn likeliest(top: impl Iterator<Item = TopLogprob>, count: usize) -> Vec<TopLogprob> {
    let mut top: Vec<TopLogprob> = top.collect();
    top.sort_by(|a, b| b.logprob.total_cmp(&a.logprob));
    top.truncate(count);
    top
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn written(choice: Value) -> Result<WireCompletion> {
        let answer =
            json!({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}});
        serde_json::from_value::<Answer>(answer)
            .unwrap()
            .completion("m")
    }

    #[test]
    fn both_forms_of_logprobs_are_read() {
        let chat = json!({"message": {"content": "I am"}, "finish_reason": "stop", "logprobs": {"content": [
            {"token": "I", "bytes": [73], "logprob": -0.5, "top_logprobs": [
                {"token": "You", "bytes": null, "logprob": -1.5}, {"token": "I", "bytes": [73], "logprob": -0.5}]},
            {"token": " am", "logprob": -0.25}]}});
        let tokens = written(chat).unwrap().token_logprobs(1).unwrap();
        assert_eq!(
            tokens,
            [
                TokenLogprob::new("I", -0.5).with_top(vec![TopLogprob::new("I", -0.5)]),
                TokenLogprob::new(" am", -0.25),
            ]
        );
        let text = json!({"text": "I am", "finish_reason": "length", "logprobs": {"tokens": ["I", " am"],
            "token_logprobs": [-0.5, -0.25], "top_logprobs": [{"You": -1.5, "I": -0.5}, null], "text_offset": [0, 1]}});
        let written = written(text).unwrap();
        assert_eq!(written.finish_reason, FinishReason::Length);
        assert_eq!(written.token_logprobs(1).unwrap(), tokens);
        assert_eq!(
            written.echoed().unwrap().text_offset.as_deref(),
            Some(&[0, 1][..])
        );
    }

    #[test]
    fn what_is_no_completion_is_an_error() {
        let kind = |choice| written(choice).err().unwrap().report();
        assert!(kind(json!({"message": {"content": "a"}})).contains("why it ended"));
        assert!(
            kind(json!({"message": {"content": "a"}, "finish_reason": "content_filter"}))
                .contains("content filter")
        );
        assert!(
            kind(json!({"message": {"refusal": "no"}, "finish_reason": "stop"}))
                .contains("declines")
        );
        let broken = json!({"message": {"content": "a"}, "finish_reason": "error"});
        assert!(written(broken).err().unwrap().is_transient());
        let nothing = json!({"message": {"content": null}, "finish_reason": "stop"});
        assert_eq!(written(nothing).unwrap().text, "");
        let parts = json!({"finish_reason": "stop", "message": {"content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "reasoning", "text": "Hm."},
            {"type": "text", "text": "The "}, {"type": "text", "text": "Loire"}]}});
        assert_eq!(written(parts).unwrap().text, "The Loire");
        let of = |answer: Value| {
            serde_json::from_value::<Answer>(answer)
                .unwrap()
                .completion("m")
                .err()
                .unwrap()
                .report()
        };
        assert!(of(json!({"choices": [], "usage": {"prompt_tokens": 1}})).contains("one choice"));
        assert!(of(json!({"choices": []})).contains("usage"));
        assert!(of(json!({"choices": [], "usage": {}})).contains("usage"));
    }

    #[test]
    fn a_usage_that_no_call_has_is_none() {
        let read = |tokens: u64| {
            let answer =
                json!({"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": tokens}});
            serde_json::from_value::<Answer>(answer).is_ok()
        };
        assert!(read(u64::from(u32::MAX)));
        assert!(!read(1 << 32) && !read(u64::MAX));
    }
}
