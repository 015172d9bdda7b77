//! What carries a request to a server and its answer back.

use std::time::Duration;

use async_trait::async_trait;

use crate::error::{BoxError, Error};

/// A request over HTTP. Its headers may hold a key; those that do are marked as sensitive and not shown.
pub type HttpRequest = http::Request<Vec<u8>>;

/// What a server answered.
pub type HttpResponse = http::Response<Vec<u8>>;

/// An HTTP client.
///
/// [`Client`](crate::backends::openai::Client) (feature `reqwest`) comes with the crate. One of your own sends the request as it stands, follows no
/// redirect (the key would go with it), bounds time and size, and gives every answer that came whole, whatever its status. It works
/// under any executor, and dropping the future ends the exchange.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no HTTP transport",
    note = "take `backends::openai::Client` (feature `reqwest`), or implement `HttpTransport::send` with an HTTP client of your own"
)]
#[async_trait]
pub trait HttpTransport: Send + Sync {
    /// Sends a request and waits for the whole answer.
    ///
    /// # Errors
    /// If no whole answer came.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError>;
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<T: HttpTransport + ?Sized> HttpTransport for std::sync::Arc<T> {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        (**self).send(request).await
    }
}

/// Why there is no whole answer. No cause may hold a key or a part of the request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The server cannot be reached, or the connection broke.
    #[error("no connection")]
    Connection(#[source] BoxError),
    /// It took too long.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The answer is larger than allowed.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
}

impl TransportError {
    /// As an error of a model.
    pub(crate) fn into_error(self, backend: &str) -> Error {
        match self {
            Self::Connection(source) => Error::Transport {
                backend: backend.to_owned(),
                source,
            },
            Self::TimedOut(limit) => Error::TimedOut { limit },
            Self::TooLarge(limit) => Error::Refused {
                backend: backend.to_owned(),
                status: None,
                message: format!(
                    "its answer is larger than {limit} bytes; lower max_tokens or allow larger answers"
                ),
            },
        }
    }
}
