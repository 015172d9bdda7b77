//! A chat model that sends its requests in batches.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::{
    FutureExt,
    channel::oneshot,
    future::{Either, select},
};

use super::{
    BatchClient, RequestLine,
    event_loop::drive,
    folder::{Folder, Place},
    shared::{Settings, Shared},
    state::{Driver, Settled},
    writer::{BatchLimits, check},
};
use crate::{
    backends::openai::OpenAiModel,
    decorate::Sleep,
    error::{Error, Result},
    model::{ChatModel, ChatRequest, Completion},
};

/// A [`ChatModel`] that sends its requests in batches; see the [module](super).
///
/// Dropping it releases the folder, after a write that has begun is finished.
pub struct BatchModel {
    shared: Arc<Shared>,
}

/// Builds a [`BatchModel`].
pub struct BatchModelBuilder {
    model: OpenAiModel,
    folder: PathBuf,
    settings: Settings,
    sleep: Option<Arc<dyn Sleep>>,
}

impl BatchModel {
    /// Begins a model that stores its batches in a folder of their own, which is created if it does not exist.
    pub fn builder(model: OpenAiModel, folder: impl AsRef<Path>) -> BatchModelBuilder {
        BatchModelBuilder {
            model,
            folder: folder.as_ref().to_owned(),
            settings: Settings {
                limits: BatchLimits::default(),
                wave: 10_000,
                quiet: Duration::from_secs(5),
                poll: Duration::from_secs(60),
                patience: Duration::from_secs(3600),
                max_tries: 3,
                window: "24h".to_owned(),
            },
            sleep: None,
        }
    }

    /// Waits for the row of a request, and drives the batches meanwhile.
    async fn settled(&self, line: RequestLine, json: Vec<u8>) -> Result<Settled> {
        let (receiver, driver) = match self.enter(line, json) {
            Entered::Done(place) => return Ok(Settled::Row { place, tries: None }),
            Entered::Waits(receiver, driver) => (receiver, driver),
        };
        let settled = match select(receiver, driver).await {
            Either::Left((settled, _)) => settled,
            // It ends when nobody waits, so the answer is there.
            Either::Right(((), receiver)) => receiver.await,
        };
        settled.map_err(|_| Error::Stopped {
            backend: self.shared.client.model().connection.name.clone(),
            reason: "nobody drives its batches any more".to_owned(),
        })
    }

    fn enter(&self, line: RequestLine, json: Vec<u8>) -> Entered {
        let mut state = self.shared.state();
        if let Some(place) = state.done(line.custom_id()) {
            return Entered::Done(place);
        }
        let (receiver, is_new) = state.enter(line, json);
        let driver = state
            .driver
            .get_or_insert_with(|| drive(Arc::clone(&self.shared)).boxed().shared())
            .clone();
        let waiting = state.queued().map_or(0, |queued| queued.requests);
        drop(state);
        if is_new && (waiting == 1 || waiting == self.shared.settings.wave) {
            self.shared.filled.wake();
        }
        Entered::Waits(receiver, driver)
    }
}

enum Entered {
    Done(Place),
    Waits(oneshot::Receiver<Settled>, Driver),
}

#[async_trait]
impl ChatModel for BatchModel {
    async fn complete(&self, request: &ChatRequest) -> Result<Completion> {
        let model = self.shared.client.model();
        let line = RequestLine::new(model, request)?;
        let json = line.to_json()?;
        check(self.shared.settings.limits, &json)?;
        let id = line.custom_id.clone();
        let (completion, tries) = match self.settled(line, json).await? {
            Settled::Row { place, tries } => {
                let row = self
                    .shared
                    .disk
                    .run(move |folder| folder.row(place))
                    .await?;
                if row.custom_id() != id {
                    return Err(Error::Stopped {
                        backend: self.shared.folder.display().to_string(),
                        reason: "its files were changed while they were in use".to_owned(),
                    });
                }
                (row.completion(model, request), tries)
            }
            Settled::Failed { error, tries } => (Err(error), tries),
        };
        match (completion, tries) {
            (Err(source), Some(attempts)) => Err(Error::Exhausted {
                attempts,
                source: source.into(),
            }),
            (completion, _) => completion,
        }
    }
}

impl Drop for BatchModel {
    fn drop(&mut self) {
        // The loop keeps the state alive that it works on.
        let driver = self.shared.state().driver.take();
        drop(driver);
    }
}

impl BatchModelBuilder {
    /// Sets how many requests wait at most before they are sent. By default 10,000.
    ///
    /// If the pipeline has fewer in flight, they are sent after the [quiet](Self::with_quiet) time.
    #[must_use]
    pub fn with_wave(mut self, requests: usize) -> Self {
        self.settings.wave = requests.max(1);
        self
    }

    /// Sets the time without a new request after which the queue is sent. By default 5 s.
    #[must_use]
    pub fn with_quiet(mut self, time: Duration) -> Self {
        self.settings.quiet = time;
        self
    }

    /// Sets the interval at which batches are polled, which is also how long a request waits before it is sent again.
    /// By default 60 s; the shortest is a millisecond.
    #[must_use]
    pub fn with_poll(mut self, time: Duration) -> Self {
        self.settings.poll = time.max(Duration::from_millis(1));
        self
    }

    /// Sets how long the server may be unreachable before the waiting calls fail. The batches go on. By default 1 h.
    #[must_use]
    pub fn with_patience(mut self, time: Duration) -> Self {
        self.settings.patience = time;
        self
    }

    /// Sets in how many batches a request is sent at most, including the first. By default 3.
    #[must_use]
    pub fn with_max_attempts(mut self, attempts: u32) -> Self {
        self.settings.max_tries = attempts.max(1);
        self
    }

    /// Sets the largest size of one batch; a larger queue becomes several batches. By default the limits of OpenAI.
    #[must_use]
    pub fn with_limits(mut self, limits: BatchLimits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Sets the completion window of a batch. By default `24h`, the only one that OpenAI supports.
    #[must_use]
    pub fn with_window(mut self, window: impl Into<String>) -> Self {
        self.settings.window = window.into();
        self
    }

    /// Sets how to wait. By default as the model does.
    #[must_use]
    pub fn with_sleep(mut self, sleep: impl Sleep + 'static) -> Self {
        self.sleep = Some(Arc::new(sleep));
        self
    }

    /// Opens the folder and reads it. It blocks meanwhile; the server is not asked.
    ///
    /// # Errors
    /// [`Error::Config`] if the model has several addresses or nothing is set that waits. [`Error::Io`] if another
    /// process uses the folder, or it cannot be read. [`Error::Input`] if it holds other files, belongs to another
    /// address, or a file was changed.
    pub fn open(self) -> Result<BatchModel> {
        let client = BatchClient::new(&self.model)?;
        let sleep = self.sleep.or_else(|| self.model.connection.gate.sleep()).ok_or_else(|| {
            Error::config(
                "sleep",
                "batches take their time: set `with_sleep`, for instance to `tokio::time::sleep`",
            )
        })?;
        let (folder, contents) = Folder::open(&self.folder, &self.model, client.base())?;
        Ok(BatchModel {
            shared: Arc::new(Shared::new(client, self.settings, sleep, folder, contents)?),
        })
    }
}

impl fmt::Debug for BatchModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchModel")
            .field("model", self.shared.client.model())
            .field("folder", &self.shared.folder)
            .field("settings", &self.shared.settings)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for BatchModelBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchModelBuilder")
            .field("model", &self.model)
            .field("folder", &self.folder)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
