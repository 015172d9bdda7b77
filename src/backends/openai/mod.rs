//! Served models: any server that speaks OpenAI's protocol, such as vLLM, SGLang, llama.cpp or OpenAI itself.
//!
//! [`OpenAiModel`] is a [`ChatModel`] and a [`ScoringModel`]. It is the protocol alone; what carries it is an [`HttpTransport`]. With the
//! feature `reqwest` there is one, `Client`, and it is taken unless another is given.
//!
//! One call is one try: [`Decorate::with_retry`](crate::Decorate::with_retry) tries again after what may pass (a cut connection, a busy
//! server, a rate limit, which also holds up all other calls, a minute at most at a time), and leaves the rest alone (a wrong key, a text that is too long).
//!
//! Servers differ beyond the common protocol, and [`Server`] says in what. [`OpenAiModelBuilder::connect`] finds out which one it is and
//! tries what the run will [need](OpenAiModelBuilder::with_need), so that a run does not begin that cannot end.
//!
//! Requests that may take a day go in [batches](batch).
//!
//! ```no_run
//! # #[cfg(feature = "reqwest")]
//! # async fn run() -> safer_instruct::Result<()> {
//! use std::time::Duration;
//! use safer_instruct::{ChatModel, ChatRequest, Decorate, Message, RetryPolicy, backends::openai::{Client, Need, OpenAiModel}};
//!
//! let client = Client::new()?;
//! let model = OpenAiModel::builder("http://localhost:8000/v1", "Qwen/Qwen3-8B")
//!     .with_client(client.clone())
//!     .with_need(Need::Scores)
//!     .connect()
//!     .await?
//!     .with_retry(RetryPolicy::default(), client);
//! let request = ChatRequest::new(vec![Message::user("Name three rivers.")]);
//! println!("{}", model.complete(&request).await?.text);
//! # Ok(())
//! # }
//! ```
//!
//! # What no protocol has
//!
//! - **Control tokens.** A server encodes the whole conversation with its control tokens at work, so a text that holds `<|im_end|>` would
//!   end its own message. An invisible character (U+200B) is put into every such marker of the known model families.
//! - **Seeds** have 31 bits, and servers that batch do not always give the same completion for the same seed.
//! - **Scores.** vLLM scores any continuation; llama.cpp those of up to 64 tokens, with a request for each token; others those of raw text, if they `echo` it with its tokens; OpenAI and others, of chats, only
//!   among the 20 likeliest first tokens. There a label is as likely as the tokens that are it, with any white space before; one that is
//!   none of them at most as likely as those that it may begin with and all that are not named, which is then its score; and two that may
//!   begin with the same token are refused.

pub mod batch;
mod builder;
mod connect;
mod errors;
mod http;
mod scores;
#[cfg(test)]
mod tests;
mod wire;

use std::{fmt, sync::Arc};

use ::http::{HeaderMap, HeaderValue, Method, header};
use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Map, Value};

pub use builder::OpenAiModelBuilder;
#[cfg(feature = "reqwest")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest")))]
pub use http::client::{Client, ClientBuilder};
pub use http::{
    limits::Limits,
    transport::{HttpRequest, HttpResponse, HttpTransport, TransportError},
};
pub use wire::dialect::{Need, Server};

use crate::{
    error::{Error, Later, Result},
    model::{
        ChatModel, ChatRequest, Completion, Constraint, FinishReason, Prompt, ScoreRequest, Scores,
        ScoringModel, TokenLogprob,
    },
    record::{ModelId, Usage},
};
use errors::{
    classify::{self, Asked},
    redact,
};
use http::{
    endpoints::Endpoints,
    limits::{Gate, Ticks},
};
use wire::{
    answer::{Answer, Written},
    body::{self, Body},
};

/// A model behind one or several OpenAI-compatible addresses. Clones share connections, limits and health.
#[derive(Clone, Debug)]
pub struct OpenAiModel {
    shared: Arc<Shared>,
}

#[derive(Clone)]
struct Shared {
    /// The model as the server names it.
    model: String,
    /// Model and address, for people.
    name: String,
    id: Arc<ModelId>,
    server: Server,
    endpoints: Arc<Endpoints>,
    headers: HeaderMap,
    key: Option<SecretString>,
    fields: Map<String, Value>,
    transport: Arc<dyn HttpTransport>,
    gate: Arc<Gate>,
    clock: Ticks,
}

impl OpenAiModel {
    /// A model at a base URL, which mostly ends in `/v1`, by the name that the server knows it by.
    pub fn builder(base_url: impl Into<String>, model: impl Into<String>) -> OpenAiModelBuilder {
        OpenAiModelBuilder::new(base_url.into(), model.into())
    }

    /// The program behind the address, as far as it is known.
    #[must_use]
    pub fn server(&self) -> Server {
        self.shared.server
    }

    /// What provenance calls the model.
    #[must_use]
    pub fn model_id(&self) -> &Arc<ModelId> {
        &self.shared.id
    }
}

impl Shared {
    /// The same, asked as another kind of server.
    fn of_kind(&self, server: Server) -> Self {
        Self {
            server,
            ..self.clone()
        }
    }

    /// The same at one of its addresses alone.
    fn alone_at(&self, base: &str, server: Server) -> Self {
        Self {
            name: format!("{} at {base}", self.model),
            endpoints: Arc::new(Endpoints::new(vec![base.to_owned()])),
            ..self.of_kind(server)
        }
    }

    /// The request for a completion, with the caller's own fields. One that is null takes a field of the crate's away.
    fn body(&self, request: &ChatRequest) -> Result<Body> {
        let mut body = body::completion(self.server, &self.model, request)?;
        body.fields.extend(self.fields.clone());
        body.fields.retain(|_, value| !value.is_null());
        Ok(body)
    }

    /// Asks a path of the protocol, and waits for its turn before.
    async fn ask(
        &self,
        path: &str,
        body: &Value,
        texts: &[&str],
        estimate: Usage,
    ) -> Result<Written> {
        let reserved = self.gate.enter(estimate).await;
        let asked = self
            .ask_at::<Answer>(|base| format!("{base}{path}"), body, texts)
            .await;
        let written = asked.and_then(|answer| answer.written(&self.name));
        match &written {
            Ok(written) => reserved.settle(written.usage),
            // The server did not begin.
            Err(
                Error::RateLimited { .. }
                | Error::ContextOverflow { .. }
                | Error::Refused {
                    status: Some(_), ..
                },
            ) => reserved.settle(Usage::default()),
            Err(_) => drop(reserved),
        }
        written
    }

    /// Asks a path of the server's own, which begins above `/v1`.
    async fn ask_root<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Value,
        texts: &[&str],
    ) -> Result<T> {
        let url = |base: &str| format!("{}{path}", base.strip_suffix("/v1").unwrap_or(base));
        let _turn = self.gate.enter(Usage::default()).await;
        self.ask_at(url, &body, texts).await
    }

    async fn ask_at<T: DeserializeOwned>(
        &self,
        url: impl Fn(&str) -> String,
        body: &Value,
        texts: &[&str],
    ) -> Result<T> {
        let body = serde_json::to_vec(body).map_err(|error| Error::Other(error.into()))?;
        let Some(lease) = self.endpoints.pick(self.clock.elapsed()) else {
            return Err(Error::config("base URL", "there is none"));
        };
        let request = self.request(Method::POST, &url(lease.base()), body)?;
        let answer = self.exchange(request, &self.name, texts).await;
        let read = answer.and_then(|answer| self.read(&answer, &self.name, texts));
        match &read {
            // A limit is not the address's fault.
            Err(Error::RateLimited { .. }) => {}
            Err(error) if error.is_transient() => {
                lease.failed(
                    self.clock.elapsed(),
                    error.retry_after().unwrap_or_default(),
                );
            }
            // A server that refuses is well.
            Ok(_) | Err(_) => lease.worked(),
        }
        read.map_err(|error| match error {
            // The next try goes to another address, and need not wait for this one.
            Error::Transport { backend, source }
                if self.endpoints.are_several() && source.is::<Later>() =>
            {
                Error::Transport {
                    backend,
                    source: source.to_string().into(),
                }
            }
            error => error,
        })
    }

    /// Sends a request. An answer without success is an error, which shows none of the texts.
    async fn exchange(
        &self,
        request: HttpRequest,
        name: &str,
        texts: &[&str],
    ) -> Result<HttpResponse> {
        let answer = self.send(request, name).await?;
        if answer.status().is_success() {
            Ok(answer)
        } else {
            Err(self.refusal(&answer, name, texts))
        }
    }

    /// Sends a request, and heeds what the server says of its limits.
    async fn send(&self, request: HttpRequest, name: &str) -> Result<HttpResponse> {
        let sent = self.transport.send(request).await;
        let answer = sent.map_err(|error| error.into_error(name))?;
        if answer.status().is_success() {
            self.gate.heed(answer.headers(), name);
        }
        Ok(answer)
    }

    fn refusal(&self, answer: &HttpResponse, name: &str, texts: &[&str]) -> Error {
        let error = classify::error(&self.asked(name, &self.secrets(texts)), answer);
        self.heeded(error, name)
    }

    /// Reads an answer that should be of the protocol.
    fn read<T: DeserializeOwned>(
        &self,
        answer: &HttpResponse,
        name: &str,
        texts: &[&str],
    ) -> Result<T> {
        classify::read(&self.asked(name, &self.secrets(texts)), answer)
            .map_err(|error| self.heeded(error, name))
    }

    /// Lets nothing through for as long as an error asks for.
    fn heeded(&self, error: Error, name: &str) -> Error {
        // One of several addresses that is busy rests alone.
        let holds_all = matches!(error, Error::RateLimited { .. }) || !self.endpoints.are_several();
        if let Some(wait) = error.retry_after().filter(|_| holds_all) {
            self.gate.close(wait, name);
        }
        error
    }

    fn asked<'a>(&'a self, name: &'a str, secrets: &'a [&'a str]) -> Asked<'a> {
        Asked {
            backend: name,
            model: &self.model,
            secrets,
            has_key: self.has_key(),
        }
    }

    /// Whether a key is sent, by itself or in a header of the caller's.
    fn has_key(&self) -> bool {
        let key = self.key.as_ref();
        let names = ["key", "token", "auth"];
        key.is_some_and(|key| !key.expose_secret().is_empty())
            || self.headers.keys().any(|header| {
                *header != header::AUTHORIZATION
                    && names.iter().any(|name| header.as_str().contains(name))
            })
    }

    /// What no error may repeat: the texts of a request, the key, and the values of the caller's headers.
    fn secrets<'a>(&'a self, texts: &[&'a str]) -> Vec<&'a str> {
        let key = self.key.as_ref().map(ExposeSecret::expose_secret);
        let headers = self
            .headers
            .values()
            .filter_map(|value| value.to_str().ok());
        texts.iter().copied().chain(key).chain(headers).collect()
    }

    fn request(&self, method: Method, url: &str, body: Vec<u8>) -> Result<HttpRequest> {
        let mut request = HttpRequest::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = url
            .parse()
            .map_err(|_| Error::config("base URL", format!("{url} is no URL")))?;
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.extend(self.headers.clone());
        Ok(request)
    }

    async fn completion(&self, request: &ChatRequest) -> Result<Completion> {
        let body = self.body(request)?;
        let texts = redact::of_request(request);
        let estimate = estimate(&request.prompt, request.max_tokens);
        let written = self
            .ask(body.path, &body.fields.into(), &texts, estimate)
            .await?;
        self.finished(request, written)
    }

    /// The completion, if it keeps to the request.
    fn finished(&self, request: &ChatRequest, written: Written) -> Result<Completion> {
        let usage = written.usage;
        check(request, &written)?;
        let logprobs = request
            .top_logprobs
            .and_then(|count| written.token_logprobs(count))
            .filter(|tokens| spell(tokens, &written.text))
            .filter(|tokens| {
                self.server != Server::LlamaCpp || tokens.len() as u64 == usage.completion_tokens
            });
        let (text, finish_reason) = ended(written, &request.stop);
        Ok(Completion::new(text, finish_reason, usage, self.id.clone()).with_logprobs(logprobs))
    }
}

/// What a request may cost.
fn estimate(prompt: &Prompt, max_tokens: usize) -> Usage {
    let texts = redact::of_prompt(prompt);
    let bytes: u64 = texts.iter().map(|text| text.len() as u64).sum();
    Usage {
        prompt_tokens: bytes / 3,
        completion_tokens: max_tokens as u64,
    }
}

/// Whether the text keeps to the constraint: some servers pass over fields that they do not know.
fn check(request: &ChatRequest, written: &Written) -> Result<()> {
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

/// Whether the tokens make up the text. Servers that give no bytes write a piece of a character as U+FFFD; llama.cpp says it together with
/// the next one, so that they are too few.
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

/// Ends the text before the first stop string: some servers leave it in.
fn ended(written: Written, stop: &[String]) -> (String, FinishReason) {
    let first = stop
        .iter()
        .filter_map(|stop| written.text.find(stop.as_str()))
        .min();
    match first.and_then(|end| written.text.get(..end)) {
        Some(text) => (text.to_owned(), FinishReason::Stop),
        None => (written.text, written.finish_reason),
    }
}

#[async_trait]
impl ChatModel for OpenAiModel {
    async fn complete(&self, request: &ChatRequest) -> Result<Completion> {
        self.shared.completion(request).await
    }
}

#[async_trait]
impl ScoringModel for OpenAiModel {
    async fn score(&self, request: &ScoreRequest) -> Result<Scores> {
        self.shared.scores(request).await
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("name", &self.name)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}
