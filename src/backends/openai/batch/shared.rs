//! The state that the calls of a model and its event loop share.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::task::AtomicWaker;

use super::{
    BatchClient,
    disk::Disk,
    folder::{Contents, Folder},
    state::State,
    writer::BatchLimits,
};
use crate::{
    decorate::Sleep,
    error::{Error, Result},
};

/// The folder of a model, its server, and the calls that wait.
pub(super) struct Shared {
    pub(super) client: BatchClient,
    pub(super) settings: Settings,
    pub(super) sleep: Arc<dyn Sleep>,
    pub(super) folder: PathBuf,
    pub(super) disk: Disk,
    /// Wakes the loop when the queue begins or is full.
    pub(super) filled: AtomicWaker,
    state: Mutex<State>,
}

/// See [`BatchModelBuilder`](super::BatchModelBuilder).
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) limits: BatchLimits,
    pub(super) wave: usize,
    pub(super) quiet: Duration,
    pub(super) poll: Duration,
    pub(super) patience: Duration,
    pub(super) max_tries: u32,
    pub(super) window: String,
}

impl Shared {
    /// Starts the thread of the folder.
    pub(super) fn new(
        client: BatchClient,
        settings: Settings,
        sleep: Arc<dyn Sleep>,
        folder: Folder,
        contents: Contents,
    ) -> Result<Self> {
        Ok(Self {
            client,
            settings,
            sleep,
            folder: folder.path().to_owned(),
            disk: Disk::start(folder)?,
            filled: AtomicWaker::new(),
            state: Mutex::new(State::new(contents)),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same error for another one who waits.
pub(super) fn repeated(error: &Error) -> Error {
    match error {
        Error::Transport { backend, source } => Error::Transport {
            backend: backend.clone(),
            source: source.to_string().into(),
        },
        Error::RateLimited {
            backend,
            retry_after,
        } => Error::RateLimited {
            backend: backend.clone(),
            retry_after: *retry_after,
        },
        Error::TimedOut { limit } => Error::TimedOut { limit: *limit },
        Error::Refused {
            backend,
            status,
            message,
        } => Error::Refused {
            backend: backend.clone(),
            status: *status,
            message: message.clone(),
        },
        Error::Config { field, reason } => Error::config(field, reason),
        Error::Malformed { expected, excerpt } => Error::Malformed {
            expected: expected.clone(),
            excerpt: excerpt.clone(),
        },
        Error::Exhausted { attempts, source } => Error::Exhausted {
            attempts: *attempts,
            source: Box::new(repeated(source)),
        },
        Error::Stopped { backend, reason } => Error::Stopped {
            backend: backend.clone(),
            reason: reason.clone(),
        },
        Error::Io { path, source } => {
            let same = std::io::Error::new(source.kind(), source.to_string());
            Error::io(path, same)
        }
        Error::Input { path, line, reason } => Error::input(path, *line, reason),
        other => Error::Other(other.report().into()),
    }
}
