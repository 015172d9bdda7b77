//! The thread that owns the model, and the queue before it.

use std::{
    sync::{Arc, mpsc},
    thread,
};

use async_lock::Semaphore;
use futures::channel::oneshot;

use super::job::{Job, Queued};
use crate::error::{Error, Result};

/// The callers' end of a worker. The thread ends when this is dropped.
#[derive(Debug)]
pub(super) struct Worker {
    name: String,
    places: Arc<Semaphore>,
    queue: mpsc::Sender<Queued>,
}

impl Worker {
    /// Starts the thread, which does `work` on what comes in. At most `queue_len` jobs wait for it; callers beyond that wait in their futures.
    ///
    /// # Errors
    /// Fails if the system has no thread to give.
    pub(super) fn start(
        name: &str,
        queue_len: usize,
        work: impl FnOnce(&mpsc::Receiver<Queued>) + Send + 'static,
    ) -> Result<Self> {
        let (queue, inbox) = mpsc::channel();
        // A panic in the work drops the inbox and all replies, so that every caller hears of it.
        thread::Builder::new()
            .name("safer-instruct-model".to_owned())
            .spawn(move || work(&inbox))
            .map_err(|error| {
                Error::model(name, format!("its thread cannot be started: {error}"))
            })?;
        Ok(Self {
            name: name.to_owned(),
            places: Arc::new(Semaphore::new(queue_len.max(1))),
            queue,
        })
    }

    /// Hands a job over and waits for its reply. Dropping the future drops the reply's receiver, which cancels the job.
    ///
    /// # Errors
    /// What the job's reply says, or [`Error::Stopped`] if the thread is gone.
    pub(super) async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T>>) -> Job,
    ) -> Result<T> {
        let place = self.places.acquire_arc().await;
        let (reply, answer) = oneshot::channel();
        let job = job(reply);
        if self.queue.send(Queued { job, place }).is_err() {
            return Err(self.stopped());
        }
        answer.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    fn stopped(&self) -> Error {
        Error::Stopped {
            backend: self.name.clone(),
            reason: "its thread has ended; load the model again".to_owned(),
        }
    }
}
