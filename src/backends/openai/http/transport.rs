//! The trait that sends a request and receives the answer.

use std::time::Duration;

use async_trait::async_trait;

use crate::error::{BoxError, Error};

/// An HTTP request. Headers that may hold a key are marked as sensitive.
pub type HttpRequest = http::Request<Vec<u8>>;

/// An HTTP response with its whole body.
pub type HttpResponse = http::Response<Vec<u8>>;

/// An HTTP client.
///
/// The crate comes with [`Client`](crate::backends::openai::Client) (feature `reqwest`). Your own implementation must
/// send the request unchanged, follow no redirect (it would forward the key), limit time and size, and return every
/// complete response, whatever its status. It must work under any executor, and dropping the future must cancel the
/// request.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no HTTP transport",
    note = "take `backends::openai::Client` (feature `reqwest`), or implement `HttpTransport::send` with an HTTP client of your own"
)]
#[async_trait]
pub trait HttpTransport: Send + Sync {
    /// Sends a request and waits for the complete response.
    ///
    /// # Errors
    /// [`TransportError`] if no complete response arrived.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError>;
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<T: HttpTransport + ?Sized> HttpTransport for std::sync::Arc<T> {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        (**self).send(request).await
    }
}

/// Why there is no complete response. The cause must not hold a key or a part of the request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The server cannot be reached, or the connection was lost.
    #[error("no connection")]
    Connection(#[source] BoxError),
    /// The time limit passed.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The response is larger than the limit, in bytes.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
}

impl TransportError {
    /// Converts it into an error of a model.
    pub(crate) fn into_error(self, backend: &str) -> Error {
        match self {
            Self::Connection(source) => Error::Transport {
                backend: backend.to_owned(),
                source: source.into(),
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
