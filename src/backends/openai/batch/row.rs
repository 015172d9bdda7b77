//! The result of one request of a batch.

use std::fmt;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    backends::openai::{
        HttpResponse, OpenAiModel,
        errors::{classify, redact},
        model::Connection,
        wire::answer::Answer,
    },
    error::{Error, Result},
    model::{ChatRequest, Completion},
};

/// The result of one request: a line of the output file or the error file of a batch.
#[derive(Clone)]
pub struct BatchRow {
    custom_id: String,
    reply: Reply,
}

#[derive(Clone)]
enum Reply {
    /// A response over HTTP.
    Answered { status: StatusCode, body: Value },
    /// The server did not send the request to the model, for the reason of this code.
    Unasked { code: String },
}

#[derive(Deserialize)]
struct Wire {
    custom_id: Option<String>,
    #[serde(default)]
    response: Option<WireResponse>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct WireResponse {
    #[serde(default)]
    status_code: Option<u16>,
    #[serde(default)]
    body: Option<Value>,
}

impl BatchRow {
    /// Parses a line; the error says what is wrong with it.
    pub(super) fn parse(line: &[u8]) -> Result<Self, &'static str> {
        if std::str::from_utf8(line).is_err() {
            return Err("it is not in UTF-8");
        }
        let wire: Wire = serde_json::from_slice(line).map_err(|error| {
            if error.is_data() {
                "it is no result of a request"
            } else {
                "it is no whole JSON"
            }
        })?;
        let Some(custom_id) = wire.custom_id else {
            return Err("it has no custom_id");
        };
        let reply = match (wire.response, wire.error) {
            (Some(response), error) => {
                let status = StatusCode::from_u16(response.status_code.unwrap_or(200))
                    .map_err(|_| "its status_code is none of HTTP")?;
                // vLLM puts the body of a failure beside the response.
                let body = match (response.body, error) {
                    (Some(body), _) => body,
                    (None, Some(error)) if !status.is_success() => wrapped(error),
                    (None, None) if !status.is_success() => Value::Null,
                    _ => return Err("it has no body"),
                };
                Reply::Answered { status, body }
            }
            (None, Some(error)) => {
                let code = error.get("code").and_then(Value::as_str);
                Reply::Unasked {
                    code: plain(code.unwrap_or_default()),
                }
            }
            (None, None) => return Err("it has neither a response nor an error"),
        };
        Ok(Self { custom_id, reply })
    }

    /// The identifier of the request.
    #[must_use]
    pub fn custom_id(&self) -> &str {
        &self.custom_id
    }

    /// Whether the model answered.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        matches!(&self.reply, Reply::Answered { status, .. } if status.is_success())
    }

    /// The completion of the request with this identifier.
    ///
    /// # Errors
    /// As the same request fails without a batch; [`Error::Transport`] if it expired or failed before the model was
    /// asked.
    pub fn completion(&self, model: &OpenAiModel, request: &ChatRequest) -> Result<Completion> {
        let connection = &model.connection;
        let answer = self.answer(connection, &redact::of_request(request))?;
        let written = answer.completion(&connection.name)?;
        written.into_completion(request, connection.server, &connection.id)
    }

    /// The error, if there is no answer. Do not show it: it may quote the request.
    pub(super) fn failure(&self, model: &OpenAiModel) -> Option<Error> {
        self.answer(&model.connection, &[]).err()
    }

    fn answer(&self, connection: &Connection, texts: &[&str]) -> Result<Answer> {
        let secrets = connection.secrets(texts);
        let (status, body) = match &self.reply {
            Reply::Answered { status, body } => (*status, body),
            Reply::Unasked { code } => {
                let code = classify::shown(code, &secrets);
                return Err(unasked(&connection.name, &code.unwrap_or_default()));
            }
        };
        let body = match body {
            // A page, most likely.
            Value::String(text) => text.clone().into_bytes(),
            body => serde_json::to_vec(body).unwrap_or_default(),
        };
        let mut response = HttpResponse::new(body);
        *response.status_mut() = status;
        classify::read(&connection.context(&secrets), &response)
    }
}

/// The error of a request that was not sent to the model.
pub(super) fn unasked(backend: &str, code: &str) -> Error {
    let backend = backend.to_owned();
    match code {
        "batch_cancelled" => Error::Refused {
            backend,
            status: None,
            message: "the batch was cancelled before the request was served".to_owned(),
        },
        "rate_limit_exceeded" => Error::RateLimited {
            backend,
            retry_after: None,
        },
        "" => Error::Transport {
            backend,
            source: "the batch failed to serve the request".into(),
        },
        code => Error::Transport {
            backend,
            source: format!("the batch failed to serve the request ({code})").into(),
        },
    }
}

/// Keeps a code that looks like a name; anything else could be a text and becomes empty.
pub(super) fn plain(code: &str) -> String {
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if code.len() <= 64 && code.chars().all(name) {
        code.to_owned()
    } else {
        String::new()
    }
}

/// Wraps an error as a server would in a response.
fn wrapped(error: Value) -> Value {
    match error {
        Value::String(words) => json!({"error": {"message": words}}),
        Value::Object(fields) if fields.contains_key("error") => Value::Object(fields),
        other => Value::Object(Map::from_iter([("error".to_owned(), other)])),
    }
}

impl fmt::Debug for BatchRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("BatchRow");
        // Of a foreign file it may be any text.
        shown.field("custom_id", &plain(&self.custom_id));
        match &self.reply {
            Reply::Answered { status, .. } => shown.field("status", &status.as_u16()),
            Reply::Unasked { code } => shown.field("code", code),
        };
        shown.finish_non_exhaustive()
    }
}
