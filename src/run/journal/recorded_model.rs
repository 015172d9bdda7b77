//! A model whose calls are in the journal.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    budget::Price,
    shared::Shared,
    tables::{Answered, Begun, Hash},
};
use crate::{
    error::{Error, Result},
    model::{ChatModel, ChatRequest, Completion, ScoreRequest, Scores, ScoringModel},
    record::Usage,
};

/// A model whose calls are in the journal; made by [`Journal::record`](super::Journal::record).
///
/// A request that was answered before, in this run or in the one that it was forked from, does not reach the model. Two
/// requests are the same if every field is, the seed included; two equal ones at the same time reach the model once.
/// Errors are counted and not remembered. Dropping the future leaves the intent, and the call is made again when it is
/// asked for again.
///
/// Put retries outside, as in `journal.record(model, "m").with_retry(…)`: then every try is counted.
pub struct RecordedModel<M> {
    inner: M,
    name: Arc<str>,
    price: Price,
    shared: Arc<Shared>,
}

impl<M> RecordedModel<M> {
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
        let shared = &self.shared;
        let _turn = shared.turns.take(key).await;
        let name = Arc::clone(&self.name);
        match shared
            .ask(move |tables| tables.begin_call(&key, &name))
            .await?
        {
            Begun::Make => {}
            Begun::Answered(json) => {
                return serde_json::from_str(&json).map_err(|_| {
                    let reason = "an answer in the journal is not of this version: start a new run";
                    Error::input(shared.path(), None, reason)
                });
            }
            Begun::Refused(overdraft) => {
                shared.note_refusal(overdraft);
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
                shared.ask(move |tables| tables.finish_call(&call)).await?;
                Ok(answer)
            }
            Err(error) => {
                shared.ask(move |tables| tables.fail_call(&key)).await?;
                Err(error)
            }
        }
    }
}

/// BLAKE3 of the verb, the name of the model and the request. Zero bytes close the first two; the JSON of a request
/// holds none.
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
impl<M: ChatModel> ChatModel for RecordedModel<M> {
    async fn complete(&self, request: &ChatRequest) -> Result<Completion> {
        let make = || self.inner.complete(request);
        let usage = |completion: &Completion| completion.usage;
        self.call("complete", request, usage, make).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<M: ScoringModel> ScoringModel for RecordedModel<M> {
    async fn score(&self, request: &ScoreRequest) -> Result<Scores> {
        let make = || self.inner.score(request);
        let usage = |scores: &Scores| scores.usage;
        self.call("score", request, usage, make).await
    }
}

impl<M: fmt::Debug> fmt::Debug for RecordedModel<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedModel")
            .field("inner", &self.inner)
            .field("name", &self.name)
            .field("price", &self.price)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_not_run_into_each_other_and_never_change() {
        let made = |verb, name, request: &str| key(verb, name, &request).unwrap();
        assert_ne!(made("complete", "ab", "c"), made("complete", "a", "bc"));
        assert_ne!(made("complete", "a", "c"), made("score", "a", "c"));
        // Fixed by a test: a journal is read by later processes.
        let request = ChatRequest::new(crate::model::Prompt::Raw("once".into()));
        let hex = blake3::Hash::from(key("complete", "m", &request).unwrap()).to_hex();
        assert_eq!(
            hex.as_str(),
            "99e8fb520052331feb497cd6aa122325681592729818771a0c367b800fb9326b"
        );
    }
}
