//! A served model, and the steps that a request takes.
//!
//! [`Connection::body`] builds the request, [`Gate::admit`] waits until the limits allow it, [`Connection::send`] sends
//! it to one of the addresses, [`Connection::read`] parses the answer or classifies the error, and
//! [`WireCompletion::into_completion`] checks that the answer keeps to the request.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use http::{HeaderValue, Method, header};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    errors::{
        classify::{self, Context},
        redact,
    },
    http::{
        credentials::Credentials,
        endpoints::Endpoints,
        limits::{Clock, Gate},
        transport::{HttpRequest, HttpResponse, HttpTransport},
    },
    wire::{
        answer::{Answer, WireCompletion},
        body::{self, Body},
        dialect::Server,
    },
};
use crate::{
    error::{Error, Result},
    model::{ChatModel, ChatRequest, Completion, Prompt},
    record::{ModelId, Usage},
};

/// A model behind one or several OpenAI-compatible addresses. Clones share connections, limits and the health of each
/// address.
#[derive(Clone, Debug)]
pub struct OpenAiModel {
    pub(crate) connection: Arc<Connection>,
}

impl OpenAiModel {
    /// The server program, as far as it is known.
    #[must_use]
    pub fn server(&self) -> Server {
        self.connection.server
    }

    /// The name of the model in provenance.
    #[must_use]
    pub fn model_id(&self) -> &Arc<ModelId> {
        &self.connection.id
    }
}

#[async_trait]
impl ChatModel for OpenAiModel {
    async fn complete(&self, request: &ChatRequest) -> Result<Completion> {
        let connection = &self.connection;
        let body = connection.body(request)?;
        let texts = redact::of_request(request);
        let estimate = estimate(&request.prompt, request.max_tokens);
        let fields = body.fields.into();
        let written = connection
            .generate(body.path, &fields, &texts, estimate)
            .await?;
        written.into_completion(request, connection.server, &connection.id)
    }
}

/// An estimate of the tokens that a request uses, from its bytes.
pub(crate) fn estimate(prompt: &Prompt, max_tokens: usize) -> Usage {
    let texts = redact::of_prompt(prompt);
    let bytes: u64 = texts.iter().map(|text| text.len() as u64).sum();
    Usage {
        prompt_tokens: bytes / 3,
        completion_tokens: max_tokens as u64,
    }
}

/// A model at its addresses, and how to ask it there.
#[derive(Clone)]
pub(crate) struct Connection {
    /// The model as the server names it.
    pub(crate) model: String,
    /// Model and address, for people.
    pub(crate) name: String,
    pub(crate) id: Arc<ModelId>,
    pub(crate) server: Server,
    pub(crate) endpoints: Arc<Endpoints>,
    pub(crate) credentials: Credentials,
    /// The caller's own fields of every request.
    pub(crate) fields: Map<String, Value>,
    pub(crate) transport: Arc<dyn HttpTransport>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) clock: Clock,
}

impl Connection {
    /// The same connection to another kind of server.
    pub(crate) fn of_kind(&self, server: Server) -> Self {
        Self {
            server,
            ..self.clone()
        }
    }

    /// The same connection to one of its addresses only.
    pub(crate) fn alone_at(&self, base: &str, server: Server) -> Self {
        Self {
            name: format!("{} at {base}", self.model),
            endpoints: Arc::new(Endpoints::new(vec![base.to_owned()])),
            ..self.of_kind(server)
        }
    }

    /// Builds the request for a completion. A field that the caller sets to null removes the crate's own.
    pub(crate) fn body(&self, request: &ChatRequest) -> Result<Body> {
        let mut body = body::completion(self.server, &self.model, request)?;
        body.fields.extend(self.fields.clone());
        body.fields.retain(|_, value| !value.is_null());
        Ok(body)
    }

    /// Requests a completion: waits for admission, posts the body, and settles the tokens that were used.
    ///
    /// `texts` are those of the request, which no error shows.
    pub(crate) async fn generate(
        &self,
        path: &str,
        body: &Value,
        texts: &[&str],
        estimate: Usage,
    ) -> Result<WireCompletion> {
        let reservation = self.gate.admit(estimate).await;
        let url = |base: &str| format!("{base}{path}");
        let answer = self.post::<Answer>(url, body, texts).await;
        let completion = answer.and_then(|answer| answer.completion(&self.name));
        match &completion {
            Ok(completion) => reservation.settle(completion.usage),
            // The server did not begin.
            Err(
                Error::RateLimited { .. }
                | Error::ContextOverflow { .. }
                | Error::Refused {
                    status: Some(_), ..
                },
            ) => reservation.settle(Usage::default()),
            Err(_) => drop(reservation),
        }
        completion
    }

    /// Calls a path outside of the protocol, which begins above `/v1` and uses no tokens.
    pub(crate) async fn call_server<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        texts: &[&str],
    ) -> Result<T> {
        let _admitted = self.gate.admit(Usage::default()).await;
        let url = |base: &str| format!("{}{path}", base.strip_suffix("/v1").unwrap_or(base));
        self.post(url, body, texts).await
    }

    /// Posts a body to the next address, and records the health of that address.
    async fn post<T: DeserializeOwned>(
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
        let answer = self.send(request).await;
        let read = answer.and_then(|answer| self.read(&answer, texts));
        lease.finish(read, &self.clock)
    }

    /// Makes a request with the caller's headers.
    pub(crate) fn request(&self, method: Method, url: &str, body: Vec<u8>) -> Result<HttpRequest> {
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
        headers.extend(self.credentials.headers().clone());
        Ok(request)
    }

    /// Sends a request, and follows the rate limits in the headers of an answer of success.
    pub(crate) async fn send(&self, request: HttpRequest) -> Result<HttpResponse> {
        let sent = self.transport.send(request).await;
        let answer = sent.map_err(|error| error.into_error(&self.name))?;
        if answer.status().is_success() {
            self.gate.heed(answer.headers(), &self.name);
        }
        Ok(answer)
    }

    /// Parses an answer of success, and classifies any other as an error.
    pub(crate) fn read<T: DeserializeOwned>(
        &self,
        answer: &HttpResponse,
        texts: &[&str],
    ) -> Result<T> {
        let read = classify::read(&self.context(&self.secrets(texts)), answer);
        read.map_err(|error| self.heed(error))
    }

    /// Classifies an answer that is not a success.
    pub(crate) fn refusal(&self, answer: &HttpResponse, texts: &[&str]) -> Error {
        self.heed(classify::error(&self.context(&self.secrets(texts)), answer))
    }

    /// Holds back all requests for as long as an error asks for.
    fn heed(&self, error: Error) -> Error {
        // If one of several addresses is busy, only that one is paused.
        let holds_all = matches!(error, Error::RateLimited { .. }) || !self.endpoints.are_several();
        if let Some(wait) = error.retry_after().filter(|_| holds_all) {
            self.gate.close(wait, &self.name);
        }
        error
    }

    pub(crate) fn context<'a>(&'a self, secrets: &'a [&'a str]) -> Context<'a> {
        Context {
            backend: &self.name,
            model: &self.model,
            secrets,
            has_key: self.credentials.has_key(),
        }
    }

    /// What no error may contain: the texts of a request, the key, and the values of the caller's headers.
    pub(crate) fn secrets<'a>(&'a self, texts: &[&'a str]) -> Vec<&'a str> {
        let texts = texts.iter().copied();
        texts.chain(self.credentials.secrets()).collect()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("name", &self.name)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}
