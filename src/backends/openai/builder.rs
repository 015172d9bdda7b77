//! The builder of a served model.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use http::Uri;
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::{
    http::{
        credentials::Credentials,
        endpoints::Endpoints,
        limits::{Clock, Gate, Limits},
        transport::HttpTransport,
    },
    model::{Connection, OpenAiModel},
    wire::dialect::{Need, Server},
};
use crate::{
    decorate::Sleep,
    error::{Error, Result},
    record::ModelId,
};

/// Fields that a request always sets itself.
const OWN: &[&str] = &["model", "messages", "prompt", "stream", "n", "echo"];

/// Builds an [`OpenAiModel`].
pub struct OpenAiModelBuilder {
    bases: Vec<String>,
    model: String,
    key: Option<SecretString>,
    headers: BTreeMap<String, SecretString>,
    fields: Map<String, Value>,
    pub(super) server: Option<Server>,
    pub(super) needs: Vec<Need>,
    transport: Option<Arc<dyn HttpTransport>>,
    sleep: Option<Arc<dyn Sleep>>,
    limits: Limits,
    clock: Clock,
}

impl OpenAiModel {
    /// Begins a model at a base URL, which usually ends in `/v1`, with the name that the server lists it by.
    pub fn builder(base_url: impl Into<String>, model: impl Into<String>) -> OpenAiModelBuilder {
        OpenAiModelBuilder::new(base_url.into(), model.into())
    }
}

impl OpenAiModelBuilder {
    fn new(base: String, model: String) -> Self {
        let begin = Instant::now();
        Self {
            bases: vec![base],
            model,
            key: None,
            headers: BTreeMap::new(),
            fields: Map::new(),
            server: None,
            needs: Vec::new(),
            transport: None,
            sleep: None,
            limits: Limits::default(),
            clock: Clock(Arc::new(move || begin.elapsed())),
        }
    }

    /// Adds another address of the same model, behind a server of the same kind.
    ///
    /// Each request goes to the address with the fewest requests in flight. An address that fails is not used for a
    /// second, or for as long as it asks; the pause doubles with each failure, up to a minute. After it the address
    /// gets one request at a time until one succeeds.
    #[must_use]
    pub fn with_endpoint(mut self, base_url: impl Into<String>) -> Self {
        self.bases.push(base_url.into());
        self
    }

    /// Sets the key, sent as `Authorization: Bearer …`. White space around it is removed. By default none is sent.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<SecretString>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets another header, such as `api-key` or `OpenAI-Organization`. Its value is treated as a secret.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<SecretString>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Sets another field of every request, such as `reasoning_effort` or `chat_template_kwargs`.
    ///
    /// In a completion it replaces a field of the same name that the crate sets, and [`Value::Null`] removes that
    /// field: `with_field("temperature", Value::Null)` for a model that rejects it. Without `seed`, equal requests may
    /// get different completions. Requests for scores keep the crate's fields, and take none of the caller's that
    /// concern sampling.
    #[must_use]
    pub fn with_field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.fields.insert(name.into(), value.into());
        self
    }

    /// Sets which server program it is. By default [`connect`](Self::connect) detects it.
    #[must_use]
    pub fn with_server(mut self, server: Server) -> Self {
        self.server = Some(server);
        self
    }

    /// Adds an ability that the run needs, for [`connect`](Self::connect) to test. By default only a chat completion is
    /// tested.
    #[must_use]
    pub fn with_need(mut self, need: Need) -> Self {
        self.needs.push(need);
        self
    }

    /// Sets what sends requests. By default a `Client`, with the feature `reqwest`.
    #[must_use]
    pub fn with_transport(mut self, transport: impl HttpTransport + 'static) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Sets the client that sends requests and waits. By default the model makes one of its own.
    #[cfg(feature = "reqwest")]
    #[cfg_attr(docsrs, doc(cfg(feature = "reqwest")))]
    #[must_use]
    pub fn with_client(self, client: super::Client) -> Self {
        self.with_transport(client.clone()).with_sleep(client)
    }

    /// Sets how many requests and tokens per minute are sent. By default there is no limit.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets how to wait, which rate limits need. By default the `Client` waits, with the feature `reqwest`; without
    /// either, no call waits.
    #[must_use]
    pub fn with_sleep(mut self, sleep: impl Sleep + 'static) -> Self {
        self.sleep = Some(Arc::new(sleep));
        self
    }

    /// Sets the clock of limits and health: the time since any fixed moment. By default the monotonic clock of the
    /// system.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        self.clock = Clock(Arc::new(clock));
        self
    }

    /// Builds the model without asking the server. Unless [`with_server`](Self::with_server) names the program, only
    /// what OpenAI documents is used.
    ///
    /// # Errors
    /// [`Error::Config`] if a URL, the key, a header or a field is invalid, or nothing is set that sends requests or
    /// waits.
    pub fn build(self) -> Result<OpenAiModel> {
        let bases: Vec<String> = self
            .bases
            .iter()
            .map(|base| base_url(base))
            .collect::<Result<_>>()?;
        let model = self.model.trim().to_owned();
        if model.is_empty() {
            return Err(Error::config(
                "model",
                "its name is empty; give the one that the server's list has",
            ));
        }
        if let Some(name) = OWN.iter().find(|name| self.fields.contains_key(**name)) {
            return Err(Error::config(
                *name,
                "a request sets this field itself; leave it out",
            ));
        }
        let credentials = Credentials::new(self.key, &self.headers)?;
        let (transport, sleep) = carrier(self.transport, self.sleep)?;
        if self.limits != Limits::default() && sleep.is_none() {
            return Err(Error::config(
                "limits",
                "to keep them, calls must wait: set `with_sleep`, for instance to `tokio::time::sleep`",
            ));
        }
        let name = match bases.as_slice() {
            [only] => format!("{model} at {only}"),
            [first, rest @ ..] => format!("{model} at {first} and {} more", rest.len()),
            [] => model.clone(),
        };
        Ok(OpenAiModel {
            connection: Arc::new(Connection {
                id: Arc::new(ModelId::new(&model)),
                model,
                name,
                server: self.server.unwrap_or_default(),
                endpoints: Arc::new(Endpoints::new(bases)),
                credentials,
                fields: self.fields,
                transport,
                gate: Arc::new(Gate::new(self.limits, self.clock.clone(), sleep)),
                clock: self.clock,
            }),
        })
    }
}

type Carrier = (Arc<dyn HttpTransport>, Option<Arc<dyn Sleep>>);

#[cfg(feature = "reqwest")]
fn carrier(
    transport: Option<Arc<dyn HttpTransport>>,
    sleep: Option<Arc<dyn Sleep>>,
) -> Result<Carrier> {
    if let (Some(transport), Some(sleep)) = (&transport, &sleep) {
        return Ok((Arc::clone(transport), Some(Arc::clone(sleep))));
    }
    let client = super::Client::new()?;
    let sleep = sleep.unwrap_or_else(|| Arc::new(client.clone()));
    Ok((transport.unwrap_or_else(|| Arc::new(client)), Some(sleep)))
}

#[cfg(not(feature = "reqwest"))]
fn carrier(
    transport: Option<Arc<dyn HttpTransport>>,
    sleep: Option<Arc<dyn Sleep>>,
) -> Result<Carrier> {
    let missing = || {
        Error::config(
            "transport",
            "there is none; set `with_transport`, or use the feature `reqwest`",
        )
    };
    Ok((transport.ok_or_else(missing)?, sleep))
}

/// Checks a base URL, and removes slashes at its end.
fn base_url(text: &str) -> Result<String> {
    let text = text.trim().trim_end_matches('/');
    // The URL itself may hold a password, so it is not shown.
    let wrong = |reason: &str| Err(Error::config("base URL", reason));
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return wrong("it must begin with http:// or https://");
    }
    let Ok(uri) = text.parse::<Uri>() else {
        return wrong("it is no URL; write it as https://host/v1");
    };
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return wrong(
            "it holds a user name or password, which logs would show; set the key or a header instead",
        );
    }
    if uri.query().is_some() {
        return wrong(
            "it holds a `?`; leave out what follows, and set the key or a header instead",
        );
    }
    for ending in ["/chat/completions", "/completions", "/models"] {
        if let Some(base) = text.strip_suffix(ending) {
            return wrong(&format!("leave out {ending}: {base}"));
        }
    }
    Ok(text.to_owned())
}

impl fmt::Debug for OpenAiModelBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAiModelBuilder")
            .field("model", &self.model)
            .field("server", &self.server)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
