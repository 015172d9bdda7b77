//! Scores of given continuations, as each server gives them.

use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Shared,
    answer::{Answer, TextLogprobs, Written},
    body::{MOST_TOP_LOGPROBS, messages},
    markers::broken,
    server::{ScoreForm, Server},
};
use crate::{
    error::{Error, Result},
    model::{Continuation, Prompt, ScoreRequest, Scores},
    record::Usage,
};

/// The longest continuation that is scored token by token, each of which costs a request with the whole prompt.
const MOST_FORCED: usize = 64;
/// Enough to leave no other token.
const BIAS: f64 = 1e5;

/// Of an empty continuation.
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

impl Shared {
    pub(super) async fn scores(&self, request: &ScoreRequest) -> Result<Scores> {
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

    /// The prompt in the server's own tokens.
    async fn prompt_tokens(&self, request: &ScoreRequest) -> Result<Vec<u32>> {
        let text = match &request.prompt {
            Prompt::Raw(text) => broken(text).into_owned(),
            Prompt::Chat(said) | Prompt::Unfinished(said) => {
                let said = messages(said);
                if self.server != Server::LlamaCpp {
                    let body = json!({"model": self.model, "messages": said, "add_generation_prompt": true});
                    let tokens: Tokens = self.ask_root("/tokenize", body, &texts(request)).await?;
                    return Ok(tokens.tokens);
                }
                let rendered: Rendered = self
                    .ask_root(
                        "/apply-template",
                        json!({"messages": said}),
                        &texts(request),
                    )
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
        let tokens: Tokens = self.ask_root("/tokenize", body, &texts(request)).await?;
        Ok(tokens.tokens)
    }

    /// One request a token: a bias leaves only the right one, and what is said of it is said before the bias.
    async fn forced(
        &self,
        prompt: &[u32],
        text: &str,
        request: &ScoreRequest,
    ) -> Result<(Continuation, Usage)> {
        let tokens = self.tokens(&broken(text), false, request).await?;
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
        let ask = |forced: u32, others: usize| {
            let body = json!({
                "model": self.model, "prompt": prompt, "max_tokens": 1, "temperature": 0.0, "logprobs": others,
                "logit_bias": [[forced, BIAS]], "cache_prompt": false,
            });
            self.raw(body, prompt.len() as u64, request)
        };
        let written = ask(token, 1).await?;
        let mut usage = written.usage;
        let said = written.token_logprobs(0);
        if let Some(said) = said.as_ref().and_then(|tokens| tokens.first()) {
            return Ok((said.logprob, usage));
        }
        // Nothing is said of a token that ends in the midst of a character. So another one is forced, and this is looked for among all.
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

    /// Prompt and continuation as tokens, and what is said of the last ones.
    async fn echoed_tokens(
        &self,
        prompt: &[u32],
        text: &str,
        request: &ScoreRequest,
    ) -> Result<(Continuation, Usage)> {
        let tokens = self.tokens(&broken(text), false, request).await?;
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
        let logprob = said.ok_or_else(|| self.cannot_score("without an echo of the prompt"))?;
        Ok((
            Continuation {
                logprob,
                tokens: tokens.len(),
            },
            written.usage,
        ))
    }

    /// Prompt and continuation as text, and what is said of the tokens that end behind the prompt.
    async fn echoed(
        &self,
        prompt: &str,
        text: &str,
        request: &ScoreRequest,
    ) -> Result<(Continuation, Usage)> {
        if text.is_empty() {
            return Ok((NOTHING, Usage::default()));
        }
        let (prompt, text) = (broken(prompt), broken(text));
        let whole = format!("{prompt}{text}");
        let (begin, end) = (prompt.chars().count(), whole.chars().count());
        let estimate = whole.len() as u64 / 3;
        let written = self.raw(self.echo(&whole), estimate, request).await?;
        let score = written
            .echoed()
            .and_then(|echoed| between(echoed, begin, end));
        let score = score.ok_or_else(|| self.cannot_score("without an echo of the prompt"))?;
        Ok((score, written.usage))
    }

    fn echo(&self, prompt: &impl Serialize) -> Value {
        json!({"model": self.model, "prompt": prompt, "max_tokens": 1, "temperature": 0.0, "echo": true, "logprobs": 1})
    }

    async fn raw(&self, body: Value, estimate: u64, request: &ScoreRequest) -> Result<Written> {
        let answer: Answer = self
            .ask("/completions", body, &texts(request), estimate)
            .await?;
        answer.written(&self.name)
    }

    /// The likeliest first tokens of an answer. A continuation that is not among them is at most as likely as all others together.
    async fn first_token(&self, request: &ScoreRequest) -> Result<Vec<(Continuation, Usage)>> {
        let model = &self.model;
        let (path, body) = match &request.prompt {
            Prompt::Raw(text) => (
                "/completions",
                json!({"model": model, "prompt": broken(text), "max_tokens": 1, "temperature": 0.0, "logprobs": 5}),
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
        let estimate = texts.iter().map(|text| text.len() as u64).sum::<u64>() / 3 + 1;
        let answer: Answer = self.ask(path, body, &texts, estimate).await?;
        let written = answer.written(&self.name)?;
        let tokens = written.token_logprobs(MOST_TOP_LOGPROBS);
        let first = tokens.as_ref().and_then(|tokens| tokens.first());
        let first = first.filter(|token| !token.top.is_empty());
        let first = first.ok_or_else(|| self.cannot_score("without log-probabilities"))?;
        let mass: f64 = first.top.iter().map(|top| top.logprob.exp()).sum();
        let least = first
            .top
            .last()
            .map_or(f64::NEG_INFINITY, |top| top.logprob);
        let rest = (1.0 - mass).max(f64::MIN_POSITIVE).ln().min(least);
        let found = |text: &str| {
            let same = |token: &str| token == text || token.trim_start() == text.trim_start();
            first
                .top
                .iter()
                .find(|top| same(&top.text()))
                .map(|top| top.logprob)
        };
        if !request
            .continuations
            .iter()
            .any(|text| found(text).is_some())
        {
            return Err(
                self.cannot_score("of which none is among the likeliest first tokens of an answer")
            );
        }
        let mut usage = written.usage;
        let scores = request.continuations.iter().map(|text| {
            let logprob = found(text).unwrap_or(rest);
            // One request for all of them.
            (
                Continuation { logprob, tokens: 1 },
                std::mem::take(&mut usage),
            )
        });
        Ok(scores.collect())
    }
}

/// The texts of a request, which no error may show.
fn texts(request: &ScoreRequest) -> Vec<&str> {
    let mut texts = super::prompt_texts(&request.prompt);
    texts.extend(request.continuations.iter().map(String::as_str));
    texts
}

/// The tokens that lie in a part of a text, as characters; those that only begin before it count too.
pub(super) fn between(echoed: &TextLogprobs, begin: usize, end: usize) -> Option<Continuation> {
    let starts = &echoed.text_offset;
    if starts.len() != echoed.token_logprobs.len() {
        return None;
    }
    let ends = starts.iter().skip(1).copied().chain([usize::MAX]);
    let ours = starts.iter().zip(ends).zip(&echoed.token_logprobs);
    let ours = ours.filter(|((start, stop), _)| **start < end && *stop > begin);
    let (mut logprob, mut tokens) = (0.0, 0);
    for (_, said) in ours {
        logprob += (*said)?;
        tokens += 1;
    }
    (tokens > 0).then_some(Continuation { logprob, tokens })
}
