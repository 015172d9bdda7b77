//! The thread that reads and writes the folder.

use std::{
    fmt,
    sync::mpsc,
    thread::{self, JoinHandle},
};

use futures::channel::oneshot;

use super::folder::Folder;
use crate::error::{Error, Result};

type Work = Box<dyn FnOnce(&Folder) + Send>;

/// A folder on a thread of its own, named `openai-batches`. Work that has begun is finished even if nobody waits for
/// it.
pub(super) struct Disk {
    work: Option<mpsc::Sender<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Disk {
    pub(super) fn start(folder: Folder) -> Result<Self> {
        let (work, todo) = mpsc::channel::<Work>();
        let thread = thread::Builder::new()
            .name("openai-batches".to_owned())
            .spawn(move || {
                for work in todo {
                    work(&folder);
                }
            })
            .map_err(|error| stopped(&format!("its thread cannot be started: {error}")))?;
        Ok(Self {
            work: Some(work),
            thread: Some(thread),
        })
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let work: Work = Box::new(move |folder| {
            let _ = reply.send(work(folder));
        });
        let gone = || stopped("its thread has ended");
        let sender = self.work.as_ref().ok_or_else(gone)?;
        sender.send(work).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// Waits for work that has begun, so that the folder can be opened again at once.
impl Drop for Disk {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn stopped(reason: &str) -> Error {
    Error::Stopped {
        backend: "the folder of batches".to_owned(),
        reason: reason.to_owned(),
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").finish_non_exhaustive()
    }
}
