//! A cache for the answers of a model.

use std::{fmt, num::NonZeroUsize, sync::Mutex};

use async_trait::async_trait;
use lru::LruCache;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    error::{Error, Result},
    model::{
        ChatModel, ChatRequest, Completion, ScoreRequest, Scores, ScoringModel, StateModel,
        StateRequest, States,
    },
};

type Key = [u8; 32];

/// Answers a repeated request from memory. Made by [`Decorate::with_cache`](super::Decorate::with_cache).
///
/// Two requests are equal if every field is equal, the seed included. Errors are not kept. Two equal requests that run
/// at the same time both reach the model. The usage of a kept answer is that of the call that made it.
pub struct Cache<M> {
    inner: M,
    completions: Mutex<LruCache<Key, Completion>>,
    scores: Mutex<LruCache<Key, Scores>>,
    states: Mutex<LruCache<Key, States>>,
}

impl<M> Cache<M> {
    /// Wraps `inner`. A `capacity` of 0 counts as 1.
    pub fn new(inner: M, capacity: usize) -> Self {
        let capacity = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        Self {
            inner,
            completions: Mutex::new(LruCache::new(capacity)),
            scores: Mutex::new(LruCache::new(capacity)),
            states: Mutex::new(LruCache::new(capacity)),
        }
    }

    /// The wrapped model.
    pub fn inner(&self) -> &M {
        &self.inner
    }
}

fn key(request: &impl Serialize) -> Result<Key> {
    let bytes = serde_json::to_vec(request).map_err(|error| Error::Other(error.into()))?;
    Ok(Sha256::digest(bytes).into())
}

/// A poisoned lock is used further: the map is consistent after every operation on it.
fn look_up<T: Clone>(map: &Mutex<LruCache<Key, T>>, key: &Key) -> Option<T> {
    map.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .get(key)
        .cloned()
}

fn remember<T: Clone>(map: &Mutex<LruCache<Key, T>>, key: Key, value: &T) {
    map.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .put(key, value.clone());
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<M: ChatModel> ChatModel for Cache<M> {
    async fn complete(&self, request: &ChatRequest) -> Result<Completion> {
        let key = key(request)?;
        if let Some(completion) = look_up(&self.completions, &key) {
            return Ok(completion);
        }
        let completion = self.inner.complete(request).await?;
        remember(&self.completions, key, &completion);
        Ok(completion)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<M: ScoringModel> ScoringModel for Cache<M> {
    async fn score(&self, request: &ScoreRequest) -> Result<Scores> {
        let key = key(request)?;
        if let Some(scores) = look_up(&self.scores, &key) {
            return Ok(scores);
        }
        let scores = self.inner.score(request).await?;
        remember(&self.scores, key, &scores);
        Ok(scores)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<M: StateModel> StateModel for Cache<M> {
    async fn states(&self, request: &StateRequest) -> Result<States> {
        let key = key(request)?;
        if let Some(states) = look_up(&self.states, &key) {
            return Ok(states);
        }
        let states = self.inner.states(request).await?;
        remember(&self.states, key, &states);
        Ok(states)
    }
}

impl<M: fmt::Debug> fmt::Debug for Cache<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use futures::executor::block_on;

    use super::*;
    use crate::{
        decorate::Decorate, model::FinishReason, model::Prompt, model::Sampling,
        model::complete_fn, model::state_fn, record::ModelId, record::Usage,
    };

    fn request(seed: u64) -> ChatRequest {
        ChatRequest::new(Prompt::Raw("once".into())).with_sampling(Sampling {
            seed,
            ..Default::default()
        })
    }

    #[test]
    fn equal_requests_reach_the_model_once_until_they_are_forgotten() {
        let calls = AtomicU32::new(0);
        let model = complete_fn(|request: ChatRequest| {
            calls.fetch_add(1, Ordering::SeqCst);
            async move {
                Ok(Completion::new(
                    request.sampling.seed.to_string(),
                    FinishReason::Stop,
                    Usage::default(),
                    Arc::new(ModelId::new("test")),
                ))
            }
        })
        .with_cache(2);
        let ask = |seed| block_on(model.complete(&request(seed))).unwrap().text;
        assert_eq!(
            (ask(1), ask(1), ask(2)),
            ("1".into(), "1".into(), "2".into())
        );
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        ask(3);
        ask(1);
        assert_eq!(
            calls.load(Ordering::SeqCst),
            4,
            "1 was used least recently and forgotten"
        );
    }

    #[test]
    fn the_states_of_a_response_are_read_once() {
        let calls = AtomicU32::new(0);
        let model = state_fn(|request: StateRequest| {
            calls.fetch_add(1, Ordering::SeqCst);
            async move {
                Ok(States {
                    layers: Vec::new(),
                    tokens: request.max_tokens,
                    usage: Usage::default(),
                    model: Arc::new(ModelId::new("test")),
                })
            }
        })
        .with_cache(2);
        let ask = |most| {
            let request = StateRequest::new(Prompt::Raw("once".into()), "more", [1]);
            block_on(model.states(&request.with_max_tokens(most)))
                .unwrap()
                .tokens
        };
        assert_eq!((ask(1), ask(1), ask(2)), (1, 1, 2));
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn errors_are_not_remembered() {
        let calls = AtomicU32::new(0);
        let model = complete_fn(|_| {
            calls.fetch_add(1, Ordering::SeqCst);
            async { Err::<Completion, _>(Error::malformed("a test")) }
        })
        .with_cache(2);
        for _ in 0..2 {
            assert!(block_on(model.complete(&request(1))).is_err());
        }
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }
}
