//! Scores of given continuations, requested in the way that each server supports.

use async_trait::async_trait;
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    echo::{NO_ECHO, behind},
    labels,
};
use crate::{
    backends::openai::{
        errors::redact,
        model::{Connection, OpenAiModel, estimate},
        wire::{
            answer::WireCompletion,
            body::{MOST_RAW_LOGPROBS, MOST_TOP_LOGPROBS, messages},
            dialect::{ScoreForm, Server},
            escape_markers,
        },
    },
    error::{Error, Result},
    model::{Continuation, Prompt, ScoreRequest, Scores, ScoringModel},
    record::Usage,
};

/// The longest continuation that is scored token by token; each token costs a request with the whole prompt.
const MOST_FORCED: usize = 64;
/// A bias that rules out every other token.
const BIAS: f64 = 1e5;

/// The caller's fields that change the prompt of a chat.
const TEMPLATE: &[&str] = &["chat_template", "chat_template_kwargs", "tools"];
/// Fields that concern sampling. The caller's are for completions: a score is the log-likelihood of a given text under
/// the model itself.
const WRITING: &[&str] = &[
    "add_generation_prompt",
    "best_of",
    "continue_final_message",
    "ebnf",
    "frequency_penalty",
    "grammar",
    "ignore_eos",
    "json_schema",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "min_p",
    "min_tokens",
    "n_predict",
    "n_probs",
    "post_sampling_probs",
    "presence_penalty",
    "prompt_logprobs",
    "regex",
    "repeat_penalty",
    "repetition_penalty",
    "response_format",
    "seed",
    "stop",
    "stop_token_ids",
    "structured_outputs",
    "suffix",
    "temperature",
    "top_k",
    "top_logprobs",
    "top_p",
];

/// The score of an empty continuation.
const NOTHING: Continuation = Continuation {
    logprob: 0.0,
    tokens: 0,
};

#[derive(Deserialize)]
struct Tokens {
    tokens: Vec<u32>,
}

#[derive(Deserialize)]
struct Rendered {
    prompt: String,
}

#[async_trait]
impl ScoringModel for OpenAiModel {
    async fn score(&self, request: &ScoreRequest) -> Result<Scores> {
        self.connection.scores(request).await
    }
}

impl Connection {
    async fn scores(&self, request: &ScoreRequest) -> Result<Scores> {
        let abilities = self.server.abilities();
        let form = match request.prompt {
            Prompt::Raw(_) => abilities.scores,
            Prompt::Chat(_) => abilities.chat_scores,
            Prompt::Unfinished(_) => {
                return Err(self.cannot_score("after an unfinished message"));
            }
        };
        let texts = request.continuations.iter().map(String::as_str);
        let each = match (form, &request.prompt) {
            (ScoreForm::FirstToken, _) => self.first_token(request).await?,
            (ScoreForm::Echo, Prompt::Raw(prompt)) => {
                try_join_all(texts.map(|text| self.echoed(prompt, text, request))).await?
            }
            (ScoreForm::Echo, _) => return Err(self.cannot_score("of a chat")),
            (ScoreForm::EchoTokens, _) => {
                let prompt = self.prompt_tokens(request).await?;
                try_join_all(texts.map(|text| self.echoed_tokens(&prompt, text, request))).await?
            }
            (ScoreForm::Forced, _) => {
                let prompt = self.prompt_tokens(request).await?;
                try_join_all(texts.map(|text| self.forced(&prompt, text, request))).await?
            }
        };
        let mut usage = Usage::default();
        for (_, cost) in &each {
            usage += *cost;
        }
        Ok(Scores {
            continuations: each.into_iter().map(|(score, _)| score).collect(),
            usage,
            model: self.id.clone(),
        })
    }

    fn cannot_score(&self, what: &str) -> Error {
        let reason = format!(
            "{} cannot score continuations {what}; take another judge or another server",
            self.server
        );
        Error::config("scores", reason)
    }

    /// The prompt in tokens of the server.
    async fn prompt_tokens(&self, request: &ScoreRequest) -> Result<Vec<u32>> {
        let text = match &request.prompt {
            Prompt::Raw(text) => escape_markers(text).into_owned(),
            Prompt::Chat(said) | Prompt::Unfinished(said) => {
                let said = messages(said);
                if self.server != Server::LlamaCpp {
                    let body = json!({"model": self.model, "messages": said, "add_generation_prompt": true});
                    let body = self.with_fields(body, |name| TEMPLATE.contains(&name));
                    let tokens: Tokens = self
                        .call_server("/tokenize", &body, &texts(request))
                        .await?;
                    return Ok(tokens.tokens);
                }
                let body = json!({"messages": said});
                let body = self.with_fields(body, |name| TEMPLATE.contains(&name));
                let rendered: Rendered = self
                    .call_server("/apply-template", &body, &texts(request))
                    .await?;
                rendered.prompt
            }
        };
        self.tokens(&text, true, request).await
    }

    async fn tokens(&self, text: &str, begins: bool, request: &ScoreRequest) -> Result<Vec<u32>> {
        let body = if self.server == Server::LlamaCpp {
            json!({"content": text, "add_special": begins, "parse_special": true})
        } else {
            json!({"model": self.model, "prompt": text, "add_special_tokens": begins})
        };
        let tokens: Tokens = self
            .call_server("/tokenize", &body, &texts(request))
            .await?;
        Ok(tokens.tokens)
    }

    /// Sends one request per token: a bias forces the token, and the log-probability is that before the bias.
    async fn forced(
        &self,
        prompt: &[u32],
        text: &str,
        request: &ScoreRequest,
    ) -> Result<(Continuation, Usage)> {
        let tokens = self.tokens(&escape_markers(text), false, request).await?;
        if tokens.len() > MOST_FORCED {
            return Err(self.cannot_score(&format!("of more than {MOST_FORCED} tokens")));
        }
        let mut so_far = prompt.to_vec();
        let (mut logprob, mut usage) = (0.0, Usage::default());
        for token in &tokens {
            let (said, cost) = self.forced_token(&so_far, *token, request).await?;
            logprob += said;
            usage += cost;
            so_far.push(*token);
        }
        let tokens = tokens.len();
        Ok((Continuation { logprob, tokens }, usage))
    }

    async fn forced_token(
        &self,
        prompt: &[u32],
        token: u32,
        request: &ScoreRequest,
    ) -> Result<(f64, Usage)> {
        // Exact by default; the caller may choose the faster way.
        let cached = self
            .fields
            .get("cache_prompt")
            .unwrap_or(&Value::Bool(false));
        let ask = |forced: u32, others: usize| {
            let body = json!({
                "model": self.model, "prompt": prompt, "max_tokens": 1, "temperature": 0.0, "logprobs": others,
                "logit_bias": [[forced, BIAS]], "cache_prompt": cached,
            });
            self.raw(body, prompt.len() as u64, request)
        };
        let written = ask(token, 1).await?;
        let mut usage = written.usage;
        let said = written.token_logprobs(0);
        if let Some(said) = said.as_ref().and_then(|tokens| tokens.first()) {
            return Ok((said.logprob, usage));
        }
        // Nothing is said of a token that ends in the middle of a character. So another one is forced, and this is
        // looked for among all.
        let whole = self.tokens("a", false, request).await?;
        let whole = whole.first().copied().unwrap_or_default();
        for others in [200, usize::from(u16::MAX) * 16] {
            let written = ask(whole, others).await?;
            usage += written.usage;
            if let Some(said) = written.first_of(token) {
                return Ok((said, usage));
            }
        }
        Err(self.cannot_score("without log-probabilities"))
    }

    /// Echoes prompt and continuation as tokens, and sums the log-probabilities of the last ones.
    async fn echoed_tokens(
        &self,
        prompt: &[u32],
        text: &str,
        request: &ScoreRequest,
    ) -> Result<(Continuation, Usage)> {
        let tokens = self.tokens(&escape_markers(text), false, request).await?;
        if tokens.is_empty() {
            return Ok((NOTHING, Usage::default()));
        }
        let whole = [prompt, &tokens].concat();
        let estimate = whole.len() as u64;
        let written = self.raw(self.echo(&whole), estimate, request).await?;
        let said = written.echoed().and_then(|echoed| {
            let ours = echoed.token_logprobs.get(prompt.len()..whole.len())?;
            ours.iter().copied().sum::<Option<f64>>()
        });
        let logprob = said.ok_or_else(|| self.cannot_score(NO_ECHO))?;
        Ok((
            Continuation {
                logprob,
                tokens: tokens.len(),
            },
            written.usage,
        ))
    }

    /// Echoes prompt and continuation as text, and sums the log-probabilities of the tokens that end after the prompt.
    async fn echoed(
        &self,
        prompt: &str,
        text: &str,
        request: &ScoreRequest,
    ) -> Result<(Continuation, Usage)> {
        if text.is_empty() {
            return Ok((NOTHING, Usage::default()));
        }
        let (prompt, text) = (escape_markers(prompt), escape_markers(text));
        let whole = format!("{prompt}{text}");
        let estimate = whole.len() as u64 / 3;
        let written = self.raw(self.echo(&whole), estimate, request).await?;
        // Servers that ignore `echo` give the log-probability of their own token.
        let is_echo = written.text.trim_start().starts_with(whole.trim_start());
        let echoed = written.echoed().filter(|_| is_echo);
        let score = echoed.ok_or(NO_ECHO).and_then(|echoed| {
            behind(
                echoed,
                written.usage.completion_tokens,
                &whole,
                prompt.len(),
            )
        });
        Ok((score.map_err(|why| self.cannot_score(why))?, written.usage))
    }

    fn echo(&self, prompt: &impl Serialize) -> Value {
        json!({"model": self.model, "prompt": prompt, "max_tokens": 1, "temperature": 0.0, "echo": true, "logprobs": 1})
    }

    async fn raw(
        &self,
        body: Value,
        estimate: u64,
        request: &ScoreRequest,
    ) -> Result<WireCompletion> {
        let estimate = Usage {
            prompt_tokens: estimate,
            completion_tokens: 1,
        };
        self.asked_for(("/completions", body), &texts(request), estimate)
            .await
    }

    async fn asked_for(
        &self,
        (path, body): (&str, Value),
        texts: &[&str],
        estimate: Usage,
    ) -> Result<WireCompletion> {
        let body = self.with_fields(body, |name| !WRITING.contains(&name));
        self.generate(path, &body, texts, estimate).await
    }

    /// Adds some of the caller's fields. None replaces a field that the request for scores sets itself.
    fn with_fields(&self, mut body: Value, which: impl Fn(&str) -> bool) -> Value {
        if let Value::Object(fields) = &mut body {
            let given = self.fields.iter().filter(|(_, value)| !value.is_null());
            for (name, value) in given.filter(|(name, _)| which(name)) {
                fields.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        body
    }

    /// Reads the most likely first tokens of an answer, which is all that some servers give.
    async fn first_token(&self, request: &ScoreRequest) -> Result<Vec<(Continuation, Usage)>> {
        labels::check(self.server, &request.continuations)?;
        let model = &self.model;
        let body = match &request.prompt {
            Prompt::Raw(text) => (
                "/completions",
                json!({"model": model, "prompt": escape_markers(text), "max_tokens": 1, "temperature": 0.0, "logprobs": MOST_RAW_LOGPROBS}),
            ),
            Prompt::Chat(said) | Prompt::Unfinished(said) => (
                "/chat/completions",
                json!({
                    "model": model, "messages": messages(said), self.server.abilities().max_tokens: 1, "temperature": 0.0,
                    "logprobs": true, "top_logprobs": MOST_TOP_LOGPROBS,
                }),
            ),
        };
        let texts = texts(request);
        let estimate = estimate(&request.prompt, 1);
        let written = self.asked_for(body, &texts, estimate).await?;
        let tokens = written.token_logprobs(MOST_TOP_LOGPROBS);
        let first = tokens.as_ref().and_then(|tokens| tokens.first());
        let first = first.filter(|token| !token.top.is_empty());
        let first = first.ok_or_else(|| self.cannot_score("without log-probabilities"))?;
        let scores = labels::scores(&request.continuations, &first.top);
        let scores = scores.map_err(|why| self.cannot_score(&why))?;
        let mut usage = written.usage;
        let scores = scores.into_iter().map(|logprob| {
            // One request for all of them.
            (
                Continuation { logprob, tokens: 1 },
                std::mem::take(&mut usage),
            )
        });
        Ok(scores.collect())
    }
}

/// The texts of a request, which no error shows.
fn texts(request: &ScoreRequest) -> Vec<&str> {
    let mut texts = redact::of_prompt(&request.prompt);
    texts.extend(request.continuations.iter().map(String::as_str));
    texts
}
