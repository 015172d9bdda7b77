//! The HTTP client of the crate, built on `reqwest`.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::BoxFuture;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::Semaphore,
    task::JoinHandle,
};

use super::transport::{HttpRequest, HttpResponse, HttpTransport, TransportError};
use crate::{
    decorate::Sleep,
    error::{Error, Result},
};

/// An HTTP client on `reqwest`, with TLS by rustls and the certificates that the system trusts.
///
/// It works under any executor: by default it runs on a thread of its own, and [`ClientBuilder::with_runtime`] takes a
/// tokio runtime instead. It also implements [`Sleep`]. Proxies are read from the variables `HTTPS_PROXY`, `HTTP_PROXY`
/// and `NO_PROXY`, unless [`ClientBuilder::with_proxy`] sets one. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    tasks: Handle,
    total: Duration,
    most: usize,
    in_flight: Option<Arc<Semaphore>>,
    // Ends its thread with the last clone.
    _runtime: Option<Arc<Owned>>,
}

/// Builds a [`Client`].
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    connect: Duration,
    total: Duration,
    most: usize,
    in_flight: Option<usize>,
    proxy: Option<String>,
    runtime: Option<Handle>,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            total: Duration::from_secs(600),
            most: 64 << 20,
            in_flight: None,
            proxy: None,
            runtime: None,
        }
    }
}

impl ClientBuilder {
    /// Sets how long connecting may take. By default 10 s.
    #[must_use]
    pub fn with_connect_timeout(mut self, limit: Duration) -> Self {
        self.connect = limit;
        self
    }

    /// Sets how long a request may take, from its start to the last byte of the answer. By default 600 s: a long answer
    /// of a busy server takes minutes.
    #[must_use]
    pub fn with_timeout(mut self, limit: Duration) -> Self {
        self.total = limit;
        self
    }

    /// Sets the largest response, in bytes. By default 64 MiB.
    #[must_use]
    pub fn with_max_response(mut self, bytes: usize) -> Self {
        self.most = bytes;
        self
    }

    /// Sets how many requests are in flight at once. By default there is no limit.
    ///
    /// [`with_concurrency_limit`](crate::Decorate::with_concurrency_limit) limits calls; this limits requests that are
    /// ready to be sent, so that the next one starts as soon as an answer arrives, however busy the caller is. Let the
    /// pipeline work on half as many again, so that some are always ready. Time spent waiting here does not count
    /// towards the timeout.
    #[must_use]
    pub fn with_max_in_flight(mut self, requests: usize) -> Self {
        self.in_flight = Some(requests.max(1));
        self
    }

    /// Sets the proxy for all requests, such as `http://proxy:3128` or `socks5://proxy:1080`. By default the variables
    /// decide.
    #[must_use]
    pub fn with_proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Some(url.into());
        self
    }

    /// Sets the tokio runtime of the connections. It needs its I/O and time drivers and must outlive the client. By
    /// default the client has a thread of its own.
    #[must_use]
    pub fn with_runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Builds the client.
    ///
    /// # Errors
    /// [`Error::Config`] if the proxy is invalid or the certificates of the system cannot be read. [`Error::Other`] if
    /// no thread can be started.
    pub fn build(self) -> Result<Client> {
        let other = |error: reqwest::Error| Error::Other(error.without_url().into());
        let tls = |error: rustls::Error| Error::config("certificates", error.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(BuilderVerifierExt::with_platform_verifier)
            .map_err(tls)?
            .with_no_client_auth();
        let mut http = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .user_agent(concat!("safer-instruct/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(self.connect)
            // Longer than a run's pauses, so that connections are not made anew; servers close them when they like.
            .pool_idle_timeout(Duration::from_secs(90))
            .tcp_nodelay(true);
        if let Some(proxy) = &self.proxy {
            // The cause may hold the proxy's password.
            let proxy = reqwest::Proxy::all(proxy).map_err(|_| {
                Error::config(
                    "proxy",
                    "it is no URL; write it as http://host:port or socks5://host:port",
                )
            })?;
            http = http.proxy(proxy);
        }
        let http = http.build().map_err(other)?;
        let (tasks, runtime) = match self.runtime {
            Some(handle) => (handle, None),
            None => {
                let runtime = Owned::start().map_err(|error| Error::Other(error.into()))?;
                (runtime.handle.clone(), Some(Arc::new(runtime)))
            }
        };
        Ok(Client {
            http,
            tasks,
            total: self.total,
            most: self.most,
            in_flight: self
                .in_flight
                .map(|most| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))),
            _runtime: runtime,
        })
    }
}

impl Client {
    /// Builds a client with the defaults.
    ///
    /// # Errors
    /// As [`ClientBuilder::build`].
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// Begins a client with other settings.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Runs work on the runtime of the client. Dropping the future cancels the work.
    async fn on_runtime<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, TransportError> {
        let mut task = Task(self.tasks.spawn(work));
        let done = (&mut task.0).await;
        done.map_err(|error| TransportError::Connection(error.into()))
    }
}

/// A task that is cancelled when it is dropped.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[async_trait]
impl HttpTransport for Client {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let request = reqwest::Request::try_from(request).map_err(cut)?;
        let (http, total, most) = (self.http.clone(), self.total, self.most);
        let in_flight = self.in_flight.clone();
        let exchange = async move {
            let _turn = match in_flight {
                // It is never closed.
                Some(in_flight) => in_flight.acquire_owned().await.ok(),
                None => None,
            };
            match tokio::time::timeout(total, exchange(http, request, most)).await {
                Ok(answer) => answer,
                Err(_) => Err(TransportError::TimedOut(total)),
            }
        };
        self.on_runtime(exchange).await?
    }
}

/// Executes a request and reads at most `most` bytes of the body.
async fn exchange(
    http: reqwest::Client,
    request: reqwest::Request,
    most: usize,
) -> Result<HttpResponse, TransportError> {
    let mut answer = http.execute(request).await.map_err(cut)?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(cut)? {
        if body.len() + chunk.len() > most {
            return Err(TransportError::TooLarge(most));
        }
        body.extend_from_slice(&chunk);
    }
    let mut whole = HttpResponse::new(body);
    *whole.status_mut() = answer.status();
    *whole.headers_mut() = std::mem::take(answer.headers_mut());
    Ok(whole)
}

fn cut(error: reqwest::Error) -> TransportError {
    TransportError::Connection(error.without_url().into())
}

impl Sleep for Client {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let client = self.clone();
        Box::pin(async move {
            let timer = async move { tokio::time::sleep(duration).await };
            // It fails only with the runtime, and with that every request.
            let _ = client.on_runtime(timer).await;
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("timeout", &self.total)
            .field("max_response", &self.most)
            .finish_non_exhaustive()
    }
}

/// A runtime that may be dropped anywhere, also inside another runtime.
struct Owned {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Owned {
    fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("safer-instruct-http")
            .enable_all()
            .build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
