//! The thread that owns the connection.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use futures::{
    SinkExt, StreamExt,
    channel::{mpsc, oneshot},
    executor::block_on,
};

use super::{
    budget::{Overdraft, milliseconds},
    planted::Planted,
    store::{Store, Tally},
    trouble::Trouble,
};
use crate::error::{Error, Result};

/// How many jobs wait at most. Whoever brings one more waits.
const QUEUE: usize = 1_024;

/// Something to do within a transaction; what it gives is called when that is committed.
type Job = Box<dyn FnOnce(&mut Store) -> Result<Answer, Trouble> + Send>;
type Answer = Box<dyn FnOnce() + Send>;

/// A handle of the thread. When it is dropped the thread ends what it has and closes the file.
pub(super) struct Worker {
    path: PathBuf,
    queue: Option<async_lock::Mutex<mpsc::Sender<Job>>>,
    thread: Option<JoinHandle<()>>,
    live: Arc<Live>,
}

/// What the thread tells without being asked.
#[derive(Default)]
struct Live {
    tally: Mutex<Tally>,
    trouble: Mutex<Option<Trouble>>,
    refused: Mutex<Option<Overdraft>>,
    /// Milliseconds, of all sessions.
    wall_time: AtomicU64,
}

impl Worker {
    pub(super) fn start(path: &Path, store: Store) -> Result<Self> {
        let live = Arc::new(Live::default());
        let (sender, receiver) = mpsc::channel(QUEUE);
        *lock(&live.tally) = store.tally;
        let spent = milliseconds(store.tally.spent.wall_time);
        live.wall_time.store(spent, Ordering::Relaxed);
        let told = Arc::clone(&live);
        let thread = thread::Builder::new()
            .name("run-journal".to_owned())
            .spawn(move || serve(store, receiver, &told))
            .map_err(|error| stopped(&format!("its thread cannot be started: {error}")))?;
        Ok(Self {
            path: path.to_owned(),
            queue: Some(async_lock::Mutex::new(sender)),
            thread: Some(thread),
            live,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Has something done, and ends when it is on the disk. What is asked for is done even if nobody waits for it.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let live = Arc::clone(&self.live);
        let job: Job = Box::new(move |store| {
            // Noted before the reply is dropped: whoever waits then finds the reason.
            let result = work(store).inspect_err(|trouble| live.note(trouble))?;
            Ok(Box::new(move || drop(reply.send(result))))
        });
        if let Some(queue) = &self.queue {
            // If it cannot be sent the reply is dropped with it.
            let _ = queue.lock().await.send(job).await;
        }
        answer.await.map_err(|_| self.gone())
    }

    pub(super) fn tally(&self) -> Tally {
        *lock(&self.live.tally)
    }

    /// Notes that a call was refused: what comes of it must not be written.
    pub(super) fn note_refusal(&self, overdraft: Overdraft) {
        lock(&self.live.refused).get_or_insert(overdraft);
    }

    pub(super) fn refused(&self) -> Option<Overdraft> {
        *lock(&self.live.refused)
    }

    pub(super) fn forget_refusal(&self) {
        *lock(&self.live.refused) = None;
    }

    /// Adds to the time of the run; it is written with the next transaction.
    pub(super) fn add_wall_time(&self, time: Duration) {
        self.live
            .wall_time
            .fetch_add(milliseconds(time), Ordering::Relaxed);
    }

    pub(super) fn wall_time(&self) -> Duration {
        self.live.wall_time()
    }

    /// Why the thread has ended.
    fn gone(&self) -> Error {
        match lock(&self.live.trouble).clone() {
            Some(trouble) => trouble.error(&self.path),
            None => stopped("its thread has ended"),
        }
    }
}

impl Live {
    fn note(&self, trouble: &Trouble) {
        lock(&self.trouble).get_or_insert_with(|| trouble.clone());
    }

    fn wall_time(&self) -> Duration {
        Duration::from_millis(self.wall_time.load(Ordering::Relaxed))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A panic was told to those who waited.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Everything that waits goes into one transaction, and is answered when that is on the disk: many calls share one wait for it.
///
/// The first failure ends the thread, so that nothing is written behind a gap; what was committed stays.
fn serve(mut store: Store, mut queue: mpsc::Receiver<Job>, live: &Live) {
    while let Some(first) = block_on(queue.next()) {
        let mut answers = Vec::new();
        let done = store.begin_transaction().and_then(|()| {
            answers.push(first(&mut store)?);
            while answers.len() < QUEUE
                && let Ok(next) = queue.try_recv()
            {
                answers.push(next(&mut store)?);
            }
            if Planted::EarlyAnswer.is_here() {
                answers.drain(..).for_each(|answer| answer());
            }
            store.commit(live.wall_time())
        });
        if let Err(trouble) = done {
            live.note(&trouble);
            return;
        }
        tracing::trace!("committed");
        *lock(&live.tally) = store.tally;
        for answer in answers {
            answer();
        }
    }
}

/// A poisoned lock is used on: every value is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stopped(reason: &str) -> Error {
    Error::Stopped {
        backend: "the journal of the run".to_owned(),
        reason: reason.to_owned(),
    }
}
