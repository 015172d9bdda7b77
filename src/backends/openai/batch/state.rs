//! Which calls wait for which batch.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures::{
    channel::oneshot,
    future::{BoxFuture, Shared},
};

use super::{
    RequestLine,
    folder::{Contents, Place, Record, Verdict},
    writer::{BatchLimits, Filling},
};
use crate::error::Error;

/// The event loop, which any waiting call may poll.
pub(super) type Driver = Shared<BoxFuture<'static, ()>>;

/// The outcome of a request.
#[derive(Clone, Debug)]
pub(super) enum Settled {
    /// It has a row. If that is a failure, `tries` is the number of attempts.
    Row { place: Place, tries: Option<u32> },
    /// It has no row.
    Failed { error: Error, tries: Option<u32> },
}

/// A request that calls wait for.
struct Entry {
    url: String,
    json: Arc<[u8]>,
    tries: u32,
    waiting: Vec<oneshot::Sender<Settled>>,
}

impl Entry {
    /// Whether no call waits any more.
    fn is_left(&self) -> bool {
        self.waiting.iter().all(oneshot::Sender::is_canceled)
    }
}

/// What is known about a batch on the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Remote {
    /// It was not created.
    Unsent,
    /// It may have been created: the request was sent and no answer came. It is looked up twice before it counts as
    /// unsent.
    Unknown { looked: bool },
    /// It has this name.
    Known(String),
}

/// A batch without results.
#[derive(Clone)]
pub(super) struct Running {
    /// None until it is written to the folder.
    pub(super) record: Option<Record>,
    pub(super) remote: Remote,
    /// How long and how often in a row the server gave no answer about it.
    pub(super) away: Duration,
    pub(super) failures: u32,
    /// Whether the waiting calls were failed for that, and no answer has come since.
    pub(super) is_given_up: bool,
    ids: Arc<[String]>,
}

impl Running {
    fn new(record: Option<Record>, remote: Remote, ids: Vec<String>) -> Self {
        Self {
            record,
            remote,
            away: Duration::ZERO,
            failures: 0,
            is_given_up: false,
            ids: ids.into(),
        }
    }
}

/// A batch that is to be written to the folder.
pub(super) struct NewBatch {
    pub(super) number: u64,
    pub(super) url: String,
    pub(super) lines: Vec<Arc<[u8]>>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) driver: Option<Driver>,
    entries: HashMap<String, Entry>,
    /// Requests in no batch, in the order in which they arrived.
    queue: Vec<String>,
    /// How many ever arrived.
    arrivals: u64,
    /// Whether the queue holds requests that failed before.
    again: bool,
    /// Whether the server takes no batch until another is done.
    full: bool,
    pub(super) running: BTreeMap<u64, Running>,
    placed: HashMap<String, u64>,
    done: HashMap<String, Place>,
    next: u64,
}

/// The state of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queued {
    pub(super) requests: usize,
    pub(super) arrivals: u64,
    pub(super) again: bool,
}

impl State {
    pub(super) fn new(contents: Contents) -> Self {
        let mut state = Self {
            done: contents.done,
            next: contents.next,
            ..Self::default()
        };
        for pending in contents.pending {
            for id in &pending.ids {
                state.placed.insert(id.clone(), pending.number);
            }
            let remote = match &pending.record.remote {
                Some(remote) => Remote::Known(remote.clone()),
                None => Remote::Unknown { looked: false },
            };
            let running = Running::new(Some(pending.record), remote, pending.ids);
            state.running.insert(pending.number, running);
        }
        state
    }

    pub(super) fn done(&self, id: &str) -> Option<Place> {
        self.done.get(id).copied()
    }

    /// Adds a call that waits for a request; the request is queued unless a batch has it. Returns whether it is new in
    /// the queue.
    pub(super) fn enter(
        &mut self,
        line: RequestLine,
        json: Vec<u8>,
    ) -> (oneshot::Receiver<Settled>, bool) {
        let (sender, receiver) = oneshot::channel();
        if let Some(entry) = self.entries.get_mut(&line.custom_id) {
            entry.waiting.push(sender);
            return (receiver, false);
        }
        let is_placed = self.placed.contains_key(&line.custom_id);
        let entry = Entry {
            url: line.url,
            json: json.into(),
            tries: u32::from(is_placed),
            waiting: vec![sender],
        };
        self.entries.insert(line.custom_id.clone(), entry);
        if !is_placed {
            self.queue.push(line.custom_id);
            self.arrivals += 1;
        }
        (receiver, !is_placed)
    }

    /// The queue, unless it must wait for the server.
    pub(super) fn queued(&self) -> Option<Queued> {
        let held = self.full && self.makes_room();
        (!self.queue.is_empty() && !held).then_some(Queued {
            requests: self.queue.len(),
            arrivals: self.arrivals,
            again: self.again,
        })
    }

    /// Whether a batch may finish and make room for another. One that was given up may never do so.
    fn makes_room(&self) -> bool {
        self.running.values().any(|running| !running.is_given_up)
    }

    /// Whether any call waits.
    pub(super) fn is_awaited(&self) -> bool {
        self.entries.values().any(|entry| !entry.is_left())
    }

    /// Makes batches of the queue, and drops requests that no call waits for.
    pub(super) fn take(&mut self, limits: BatchLimits) -> Vec<NewBatch> {
        let mut open: HashMap<String, (Filling, NewBatch, Vec<String>)> = HashMap::new();
        let mut full = Vec::new();
        self.again = false;
        for id in std::mem::take(&mut self.queue) {
            let Some(entry) = self.entries.get_mut(&id) else {
                continue;
            };
            if entry.is_left() {
                self.entries.remove(&id);
                continue;
            }
            entry.tries += 1;
            let fits = open
                .get_mut(&entry.url)
                .is_some_and(|(filling, ..)| filling.takes(limits, &entry.json));
            if !fits {
                let mut filling = Filling::default();
                filling.takes(limits, &entry.json);
                let batch = NewBatch {
                    number: self.next,
                    url: entry.url.clone(),
                    lines: Vec::new(),
                };
                self.next += 1;
                full.extend(open.insert(entry.url.clone(), (filling, batch, Vec::new())));
            }
            if let Some((_, batch, ids)) = open.get_mut(&entry.url) {
                batch.lines.push(Arc::clone(&entry.json));
                self.placed.insert(id.clone(), batch.number);
                ids.push(id);
            }
        }
        full.extend(open.into_values());
        full.sort_by_key(|(_, batch, _)| batch.number);
        let batches = full.into_iter().map(|(_, batch, ids)| {
            let running = Running::new(None, Remote::Unsent, ids);
            self.running.insert(batch.number, running);
            batch
        });
        batches.collect()
    }

    /// Takes the results of a batch.
    ///
    /// `missing` is the error of requests without a row. `waits` says that the server had no room for the batch.
    pub(super) fn finish(
        &mut self,
        number: u64,
        rows: Vec<(String, Place, Verdict)>,
        missing: &Error,
        waits: bool,
        max_tries: u32,
    ) {
        let Some(running) = self.running.remove(&number) else {
            return;
        };
        self.full = waits && self.makes_room();
        let mut rows: HashMap<String, (Place, Verdict)> = rows
            .into_iter()
            .map(|(id, place, verdict)| (id, (place, verdict)))
            .collect();
        for id in &*running.ids {
            self.placed.remove(id);
            let row = rows.remove(id);
            if let Some((place, Verdict::Kept)) = row {
                self.done.insert(id.clone(), place);
            }
            let Some(entry) = self.entries.get_mut(id) else {
                continue;
            };
            let transient = match row {
                Some((_, verdict)) => verdict == Verdict::Transient,
                None => missing.is_transient(),
            };
            if self.full {
                // It was not tried.
                entry.tries = entry.tries.saturating_sub(1);
            }
            if transient && entry.tries < max_tries {
                self.queue.push(id.clone());
                self.again = true;
                continue;
            }
            let tries = transient.then_some(entry.tries);
            let settled = match row {
                Some((place, _)) => Settled::Row { place, tries },
                None => Settled::Failed {
                    error: missing.clone(),
                    tries,
                },
            };
            self.settle(id, &settled);
        }
    }

    /// Fails all calls that wait for a batch, and removes the batch if it was not sent.
    pub(super) fn fail(&mut self, number: u64, error: &Error) {
        let Some(running) = self.running.get(&number).cloned() else {
            return;
        };
        let settled = Settled::Failed {
            error: error.clone(),
            tries: None,
        };
        for id in &*running.ids {
            self.settle(id, &settled);
            if running.remote == Remote::Unsent {
                self.placed.remove(id);
            }
        }
        if running.remote == Remote::Unsent {
            self.running.remove(&number);
        } else if let Some(running) = self.running.get_mut(&number) {
            running.is_given_up = true;
        }
    }

    fn settle(&mut self, id: &str, settled: &Settled) {
        let waiting = self.entries.remove(id).map(|entry| entry.waiting);
        for sender in waiting.into_iter().flatten() {
            let _ = sender.send(settled.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::{
        backends::openai::{HttpRequest, HttpResponse, HttpTransport, OpenAiModel, TransportError},
        error::Result,
        model::{ChatRequest, Prompt},
    };

    struct Nowhere;

    #[async_trait]
    impl HttpTransport for Nowhere {
        async fn send(&self, _: HttpRequest) -> Result<HttpResponse, TransportError> {
            Err(TransportError::TooLarge(0))
        }
    }

    fn enter(state: &mut State, words: &str) -> oneshot::Receiver<Settled> {
        let model = OpenAiModel::builder("http://localhost/v1", "m").with_transport(Nowhere);
        let request = ChatRequest::new(Prompt::Raw(words.to_owned()));
        let line = RequestLine::new(&model.build().unwrap(), &request).unwrap();
        state.enter(line, Vec::new()).0
    }

    fn limited() -> Error {
        Error::RateLimited {
            backend: "m".to_owned(),
            retry_after: None,
        }
    }

    #[test]
    fn nobody_waits_for_the_room_of_a_batch_that_was_given_up() {
        let mut state = State::default();
        let mut first = enter(&mut state, "a");
        let begun = state.take(BatchLimits::default());
        let running = state.running.get_mut(&begun[0].number).unwrap();
        running.remote = Remote::Known("batch_0".to_owned());
        let mut second = enter(&mut state, "b");
        let refused = |state: &mut State| {
            let batches = state.take(BatchLimits::default());
            state.finish(batches[0].number, Vec::new(), &limited(), true, 2);
            state.queued().is_some()
        };
        // With another batch in progress it waits, which does not count as an attempt.
        assert!(!refused(&mut state));
        state.fail(begun[0].number, &limited());
        assert!(first.try_recv().unwrap().is_some());
        assert!(state.queued().is_some());
        // Now each is one.
        assert!(refused(&mut state));
        assert!(second.try_recv().unwrap().is_none());
        assert!(!refused(&mut state));
        let told = second.try_recv().unwrap().unwrap();
        assert!(matches!(told, Settled::Failed { tries: Some(2), .. }));
    }
}
