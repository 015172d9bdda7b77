//! The threads that own the model, and the queue in front of them.

use std::sync::{Arc, mpsc};

use async_lock::Semaphore;
use futures::channel::oneshot;
use rayon::ThreadPool;

use super::job::{Job, Queued};
use crate::error::{Error, Result};

/// The callers' end of a worker. Its threads end when this is dropped.
#[derive(Debug)]
pub(super) struct Worker {
    name: String,
    places: Arc<Semaphore>,
    queue: mpsc::Sender<Queued>,
}

impl Worker {
    /// Lets one of the threads do `work` on what comes in, while the others help it. At most `queue_len` jobs wait for
    /// it; callers beyond that wait in their futures.
    pub(super) fn start(
        name: &str,
        threads: &ThreadPool,
        queue_len: usize,
        work: impl FnOnce(&mpsc::Receiver<Queued>) + Send + 'static,
    ) -> Self {
        let (queue, inbox) = mpsc::channel();
        // The work is done within the pool: a thread outside of it would go to sleep and be woken for every product.
        threads.spawn(move || work(&inbox));
        Self {
            name: name.to_owned(),
            places: Arc::new(Semaphore::new(queue_len.max(1))),
            queue,
        }
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
