//! What the journal and the models that it records have in common.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{budget::Overdraft, fatal::Fatal, tables::Tables, turns::Turns, wall_time::WallTime};
use crate::{error::Result, files::Lock, run::worker::Worker};

/// The order matters: the file is closed, then unlocked.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) worker: Worker<Tables>,
    pub(super) turns: Turns,
    path: PathBuf,
    refused: Mutex<Option<Overdraft>>,
    wall_time: WallTime,
    _lock: Lock,
}

impl Shared {
    pub(super) fn start(path: &Path, tables: Tables, lock: Lock) -> Result<Self> {
        Ok(Self {
            wall_time: tables.wall_time.clone(),
            worker: Worker::start(tables)?,
            turns: Turns::default(),
            path: path.to_owned(),
            refused: Mutex::new(None),
            _lock: lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs a job within a transaction, and ends when its result is on the disk. The job runs even if nobody waits for
    /// it.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tables) -> Result<T, Fatal> + Send + 'static,
    ) -> Result<T> {
        let work =
            move |tables: &mut Tables| work(tables).map_err(|fatal| fatal.error(&tables.path));
        self.worker.ask(work).await
    }

    /// Notes that a call was refused: what comes of it must not be written.
    pub(super) fn note_refusal(&self, overdraft: Overdraft) {
        self.refusal().get_or_insert(overdraft);
    }

    pub(super) fn refused(&self) -> Option<Overdraft> {
        *self.refusal()
    }

    pub(super) fn forget_refusal(&self) {
        *self.refusal() = None;
    }

    pub(super) fn wall_time(&self) -> &WallTime {
        &self.wall_time
    }

    /// A poisoned lock is used on: the value is whole.
    fn refusal(&self) -> MutexGuard<'_, Option<Overdraft>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
