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
use crate::{decorate::Sleep, error::Result};

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
