//! A model whose requests go in batches.

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
    shared::{Settings, Shared, repeated},
    state::{Driver, Settled},
    writer::{BatchLimits, check},
};
use crate::{
    backends::openai::OpenAiModel,
    decorate::Sleep,
    error::{Error, Result},
    model::{ChatModel, ChatRequest, Completion},
};

/// A [`ChatModel`] whose requests go in batches; see the [module](super).
///
/// The folder is let go when it is dropped, which waits for a write that has begun.
pub struct BatchModel {
    shared: Arc<Shared>,
}

/// Makes a [`BatchModel`].
pub struct BatchModelBuilder {
    model: OpenAiModel,
    folder: PathBuf,
    settings: Settings,
    sleep: Option<Arc<dyn Sleep>>,
}

impl BatchModel {
    /// A model whose batches live in a folder of their own, which is made if it is not there.
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

    /// Waits for a request's row, and drives the batches meanwhile.
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
            Settled::Failed { error, tries } => (Err(repeated(&error)), tries),
        };
        match (completion, tries) {
            (Err(source), Some(attempts)) => Err(Error::Exhausted {
                attempts,
                source: Box::new(source),
            }),
            (completion, _) => completion,
        }
    }
}

impl Drop for BatchModel {
    fn drop(&mut self) {
        // It holds on to what it drives.
        let driver = self.shared.state().driver.take();
        drop(driver);
    }
}

impl BatchModelBuilder {
    /// Sets how many requests wait at most before they go off. By default 10,000.
    ///
    /// A pipeline that has fewer on their way sends them all once it is [quiet](Self::with_quiet).
    #[must_use]
    pub fn with_wave(mut self, requests: usize) -> Self {
        self.settings.wave = requests.max(1);
        self
    }

    /// Sets for how long nothing may come before what waits goes off. By default 5 s.
    #[must_use]
    pub fn with_quiet(mut self, time: Duration) -> Self {
        self.settings.quiet = time;
        self
    }

    /// Sets how often batches are asked after, and how long a request waits that is to be tried again. By default every 60 s,
    /// and at most every millisecond.
    #[must_use]
    pub fn with_poll(mut self, time: Duration) -> Self {
        self.settings.poll = time.max(Duration::from_millis(1));
        self
    }

    /// Sets for how long a server may fail to answer before those who wait are told. The batches go on. By default 1 h.
    #[must_use]
    pub fn with_patience(mut self, time: Duration) -> Self {
        self.settings.patience = time;
        self
    }

    /// Sets how often a request is in a batch at most, the first time included. By default 3.
    #[must_use]
    pub fn with_max_attempts(mut self, attempts: u32) -> Self {
        self.settings.max_tries = attempts.max(1);
        self
    }

    /// Sets how large one batch may be; a wave that is larger becomes several. By default as large as OpenAI takes.
    #[must_use]
    pub fn with_limits(mut self, limits: BatchLimits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Sets the time that the server is given for a batch. By default `24h`, the only one that OpenAI has.
    #[must_use]
    pub fn with_window(mut self, window: impl Into<String>) -> Self {
        self.settings.window = window.into();
        self
    }

    /// Sets how it waits. By default as the model does.
    #[must_use]
    pub fn with_sleep(mut self, sleep: impl Sleep + 'static) -> Self {
        self.sleep = Some(Arc::new(sleep));
        self
    }

    /// Opens the folder and reads what is in it. It blocks while it reads; the server is not asked.
    ///
    /// # Errors
    /// [`Error::Config`] if the model is behind several addresses or there is nothing to wait with; [`Error::Io`] if another process
    /// uses the folder, or it cannot be read; [`Error::Input`] if it holds other files, is of another address, or a file was changed.
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
