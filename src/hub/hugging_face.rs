//! Files of model repositories over HTTP.

use std::{fmt, time::Duration};

use ureq::{Agent, http::header::AUTHORIZATION};

use super::download::Download;
use crate::error::{Error, Result};

const NAME: &str = "Hugging Face";

/// How model repositories are reached. Proxies are taken from the environment as usual.
#[derive(Clone)]
pub struct HuggingFace {
    endpoint: String,
    token: Option<String>,
}

impl HuggingFace {
    /// The endpoint by default.
    pub const ENDPOINT: &str = "https://huggingface.co";

    /// The public endpoint without a token.
    #[must_use]
    pub fn new() -> Self {
        Self {
            endpoint: Self::ENDPOINT.to_owned(),
            token: None,
        }
    }

    /// Sets the endpoint, such as that of a mirror. By default [`ENDPOINT`](Self::ENDPOINT).
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: impl AsRef<str>) -> Self {
        self.endpoint = endpoint.as_ref().trim_end_matches('/').to_owned();
        self
    }

    /// Sets the token for private and gated repositories. By default there is none. It is sent to the endpoint alone,
    /// never to where it redirects.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    pub(super) fn download(
        &self,
        repo: &str,
        file: &str,
        revision: &str,
        download: &mut Download<'_>,
    ) -> Result<()> {
        let agent: Agent = Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)))
            .http_status_as_error(false)
            .build()
            .into();
        let mut request = agent.get(format!(
            "{}/{repo}/resolve/{revision}/{file}",
            self.endpoint
        ));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = request.call().map_err(|error| Error::Transport {
            backend: NAME.to_owned(),
            source: error.into(),
        })?;
        let reason = match response.status().as_u16() {
            200 => {
                let body = response.into_body();
                download.expect(body.content_length());
                return download.copy(body.into_reader(), |error| Error::Transport {
                    backend: NAME.to_owned(),
                    source: error.into(),
                });
            }
            401 | 403 => {
                "access denied; a private or gated repository needs a token with access to it"
                    .to_owned()
            }
            404 => "not found; check repository, file and revision".to_owned(),
            status => format!("the server answered with status {status}; try again later"),
        };
        Err(Error::model(format!("{repo}/{file}@{revision}"), reason))
    }
}

impl Default for HuggingFace {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for HuggingFace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HuggingFace")
            .field("token", &self.token.as_ref().map(|_| "…"))
            .finish_non_exhaustive()
    }
}
