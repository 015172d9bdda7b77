//! A model whose calls are in the journal.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_lock::{Mutex as AsyncMutex, MutexGuardArc};
use async_trait::async_trait;
use futures::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    budget::Price,
    journal::Shared,
    store::{Answered, Begun, Hash},
};
use crate::{
    error::{Error, Result},
    model::{ChatModel, ChatRequest, Completion, ScoreRequest, Scores, ScoringModel},
    record::Usage,
};

/// A model whose calls are in the journal; made by [`Journal::record`](super::Journal::record).
///
/// A request that was answered before, in this run or in the one that it was forked from, does not reach the model. Two requests are the
/// same if every field is, the seed included; two equal ones at the same time reach the model once. Errors are counted and
/// not remembered. Dropping the future leaves the intent, and the call is made again when it is asked for again.
///
/// Put retries outside, as in `journal.record(model, "m").with_retry(…)`: then every try is counted.
pub struct Recorded<M> {
    inner: M,
    name: Arc<str>,
    price: Price,
    shared: Arc<Shared>,
}

impl<M> Recorded<M> {
    pub(super) fn new(inner: M, name: Arc<str>, shared: Arc<Shared>) -> Self {
        Self {
            inner,
            name,
            price: Price::default(),
            shared,
        }
    }

    /// Sets what the model costs. By default nothing.
    #[must_use]
    pub fn with_price(mut self, price: Price) -> Self {
        self.price = price;
        self
    }

    /// The wrapped model.
    pub fn inner(&self) -> &M {
        &self.inner
    }

    /// The name under which its calls are known.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    async fn call<'a, T: Serialize + DeserializeOwned>(
        &self,
        verb: &str,
        request: &impl Serialize,
        usage: impl Fn(&T) -> Usage,
        make: impl FnOnce() -> BoxFuture<'a, Result<T>> + Send,
    ) -> Result<T> {
        let key = key(verb, &self.name, request)?;
        let worker = &self.shared.worker;
        let _turn = self.shared.turns.take(key).await;
        let name = Arc::clone(&self.name);
        match worker
            .ask(move |store| store.begin_call(&key, &name))
            .await?
        {
            Begun::Make => {}
            Begun::Answered(json) => {
                return serde_json::from_str(&json).map_err(|_| {
                    let reason = "an answer in the journal is not of this version: start a new run";
                    Error::input(worker.path(), None, reason)
                });
            }
            Begun::Refused(overdraft) => {
                worker.note_refusal(overdraft);
                return Err(overdraft.error());
            }
        }
        let answered = make().await.and_then(|answer| {
            let json =
                serde_json::to_string(&answer).map_err(|error| Error::Other(error.into()))?;
            // What is given out is what a later session will read.
            let again = serde_json::from_str(&json)
                .map_err(|_| Error::malformed("log-probabilities that are finite numbers"))?;
            Ok((again, json, usage(&answer)))
        });
        match answered {
            Ok((answer, json, usage)) => {
                let call = Answered {
                    key,
                    answer: json,
                    usage,
                    cost: self.price.cost(usage),
                };
                worker.ask(move |store| store.finish_call(&call)).await?;
                Ok(answer)
            }
            Err(error) => {
                worker.ask(move |store| store.fail_call(&key)).await?;
                Err(error)
            }
        }
    }
}

/// BLAKE3 of the verb, the name of the model and the request. Zero bytes close the first two; the JSON of a request holds none.
fn key(verb: &str, name: &str, request: &impl Serialize) -> Result<Hash> {
    let json = serde_json::to_vec(request).map_err(|error| Error::Other(error.into()))?;
    let mut hash = blake3::Hasher::new();
    for part in [verb.as_bytes(), &[0], name.as_bytes(), &[0], &json] {
        hash.update(part);
    }
    Ok(hash.finalize().into())
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<M: ChatModel> ChatModel for Recorded<M> {
    async fn complete(&self, request: &ChatRequest) -> Result<Completion> {
        let make = || self.inner.complete(request);
        let usage = |completion: &Completion| completion.usage;
        self.call("complete", request, usage, make).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<M: ScoringModel> ScoringModel for Recorded<M> {
    async fn score(&self, request: &ScoreRequest) -> Result<Scores> {
        let make = || self.inner.score(request);
        let usage = |scores: &Scores| scores.usage;
        self.call("score", request, usage, make).await
    }
}

impl<M: fmt::Debug> fmt::Debug for Recorded<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorded")
            .field("inner", &self.inner)
            .field("name", &self.name)
            .field("price", &self.price)
            .finish_non_exhaustive()
    }
}

/// Lets equal requests go one after the other: the second finds the answer of the first. If the first one fails or is dropped, the
/// second one goes on in its place.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<Hash, Arc<AsyncMutex<()>>>>);

impl Turns {
    async fn take(&self, key: Hash) -> Turn<'_> {
        let lock = Arc::clone(self.map().entry(key).or_default());
        let waiting = lock.lock_arc();
        let mut turn = Turn {
            turns: self,
            key,
            lock: Some(lock),
            guard: None,
        };
        turn.guard = Some(waiting.await);
        turn
    }

    /// A poisoned lock is used on: the map is whole after every operation on it.
    fn map(&self) -> MutexGuard<'_, HashMap<Hash, Arc<AsyncMutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Turn<'a> {
    turns: &'a Turns,
    key: Hash,
    lock: Option<Arc<AsyncMutex<()>>>,
    guard: Option<MutexGuardArc<()>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut map = self.turns.map();
        self.guard = None;
        self.lock = None;
        // Nobody else waits for it.
        if map
            .get(&self.key)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            map.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, executor::block_on, future::join};

    use super::*;

    #[test]
    fn keys_do_not_run_into_each_other_and_never_change() {
        let made = |verb, name, request: &str| key(verb, name, &request).unwrap();
        assert_ne!(made("complete", "ab", "c"), made("complete", "a", "bc"));
        assert_ne!(made("complete", "a", "c"), made("score", "a", "c"));
        // Pinned: a journal outlives the process that wrote it.
        let request = ChatRequest::new(crate::model::Prompt::Raw("once".into()));
        let hex = blake3::Hash::from(key("complete", "m", &request).unwrap()).to_hex();
        assert_eq!(
            hex.as_str(),
            "99e8fb520052331feb497cd6aa122325681592729818771a0c367b800fb9326b"
        );
    }

    #[test]
    fn turns_are_forgotten_when_nobody_waits() {
        let turns = Turns::default();
        let first = block_on(turns.take([1; 32]));
        let other = block_on(turns.take([2; 32]));
        let mut second = Box::pin(turns.take([1; 32]));
        let mut third = Box::pin(turns.take([1; 32]));
        let (a, b) = block_on(join(
            async { second.as_mut().now_or_never().is_none() },
            async { third.as_mut().now_or_never().is_none() },
        ));
        assert!(a && b, "they wait");
        drop(second);
        drop(first);
        drop(block_on(third));
        assert_eq!(turns.map().len(), 1);
        drop(other);
        assert!(turns.map().is_empty());
    }
}
