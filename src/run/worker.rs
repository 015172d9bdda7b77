//! The thread that does the blocking work of a store.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use futures::{
    SinkExt, StreamExt,
    channel::{mpsc, oneshot},
    executor::block_on,
};

use super::faults::faults;
use crate::error::{Error, Result};

/// How many jobs wait at most. A caller with one more waits.
const QUEUE: usize = 1_024;

/// What the thread of a store owns.
pub(super) trait Blocking: Send + 'static {
    /// What the thread tells after each commit.
    type Tally: Clone + Send + 'static;

    /// What it is, for errors.
    const WHAT: &'static str;

    /// Begins what is committed together.
    fn begin(&mut self) -> Result<()>;

    /// Makes what was done durable.
    fn commit(&mut self) -> Result<()>;

    /// Its state.
    fn tally(&self) -> Self::Tally;
}

/// Something to do between a beginning and a commit; what it gives is called after the commit.
type Job<B> = Box<dyn FnOnce(&mut B) -> Result<Answer> + Send>;
type Answer = Box<dyn FnOnce() + Send>;

/// A handle of the thread. When it is dropped the thread ends what it has and closes its files.
pub(super) struct Worker<B: Blocking> {
    queue: Option<async_lock::Mutex<mpsc::Sender<Job<B>>>>,
    thread: Option<JoinHandle<()>>,
    live: Arc<Live<B::Tally>>,
}

/// What the thread publishes after each commit.
struct Live<T> {
    tally: Mutex<T>,
    fatal: Mutex<Option<Error>>,
}

impl<B: Blocking> Worker<B> {
    pub(super) fn start(owned: B) -> Result<Self> {
        let live = Arc::new(Live {
            tally: Mutex::new(owned.tally()),
            fatal: Mutex::new(None),
        });
        let (sender, receiver) = mpsc::channel(QUEUE);
        let told = Arc::clone(&live);
        let thread = thread::Builder::new()
            .name("run-store".to_owned())
            .spawn(move || serve(owned, receiver, &told))
            .map_err(|error| stopped(B::WHAT, &format!("its thread cannot be started: {error}")))?;
        Ok(Self {
            queue: Some(async_lock::Mutex::new(sender)),
            thread: Some(thread),
            live,
        })
    }

    /// Runs a job on the thread, and ends when its result is on the disk. The job runs even if nobody waits for it.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut B) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let live = Arc::clone(&self.live);
        let job: Job<B> = Box::new(move |owned| {
            // Stored before the reply is dropped, so that the waiting caller finds the reason.
            let result = work(owned).inspect_err(|error| live.note(error))?;
            Ok(Box::new(move || drop(reply.send(result))))
        });
        if let Some(queue) = &self.queue {
            // If it cannot be sent the reply is dropped with it.
            let _ = queue.lock().await.send(job).await;
        }
        answer.await.map_err(|_| self.gone())
    }

    pub(super) fn tally(&self) -> B::Tally {
        lock(&self.live.tally).clone()
    }

    /// Why the thread has ended.
    fn gone(&self) -> Error {
        let fatal = lock(&self.live.fatal).clone();
        fatal.unwrap_or_else(|| stopped(B::WHAT, "its thread has ended"))
    }
}

impl<T> Live<T> {
    fn note(&self, error: &Error) {
        lock(&self.fatal).get_or_insert_with(|| error.clone());
    }
}

impl<B: Blocking> Drop for Worker<B> {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // The waiting callers got the panic as an error.
            let _ = thread.join();
        }
    }
}

impl<B: Blocking> fmt::Debug for Worker<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

/// Everything that waits is committed together, and answered when that is on the disk, so many jobs share one sync.
///
/// The first failure ends the thread, so that nothing is written after a gap; what was committed stays.
fn serve<B: Blocking>(mut owned: B, mut queue: mpsc::Receiver<Job<B>>, live: &Live<B::Tally>) {
    while let Some(first) = block_on(queue.next()) {
        let mut answers = Vec::new();
        let done = owned.begin().and_then(|()| {
            answers.push(first(&mut owned)?);
            while answers.len() < QUEUE
                && let Ok(next) = queue.try_recv()
            {
                answers.push(next(&mut owned)?);
            }
            if !faults().answers_after_the_commit() {
                answers.drain(..).for_each(|answer| answer());
            }
            tracing::trace!("committing");
            owned.commit()
        });
        if let Err(error) = done {
            live.note(&error);
            return;
        }
        tracing::trace!("committed");
        *lock(&live.tally) = owned.tally();
        for answer in answers {
            answer();
        }
    }
}

/// A poisoned lock is used on: every value is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stopped(what: &str, reason: &str) -> Error {
    Error::Stopped {
        backend: what.to_owned(),
        reason: reason.to_owned(),
    }
}
