//! Retries after transient errors.

use std::{fmt, time::Duration};

use futures::future::BoxFuture;
use sha2::{Digest, Sha256};

use super::{Sleep, decorate_all};
use crate::error::{Error, Result};

/// The number of tries, and the waits between them.
///
/// The wait before retry `n`, counted from 0, is drawn evenly from `0 ..= min(max_wait, base * 2^n)`: "full jitter"
/// (AWS Architecture Blog, "Exponential Backoff and Jitter", 2015). If the backend says how long to wait, the wait is
/// at least that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The greatest number of tries, the first one included. By default 5.
    pub max_attempts: u32,
    /// The upper bound of the first wait. By default 500 ms.
    pub base: Duration,
    /// The upper bound of every wait. By default 30 s.
    pub max_wait: Duration,
    /// The longest wait that a backend may ask for. If it asks for more, for example because a daily quota is used up,
    /// its error is returned at once. By default 5 min.
    pub max_asked: Duration,
    /// The seed of the jitter. Give each process another seed, so that they do not all retry at the same time. By
    /// default 0.
    pub seed: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            base: Duration::from_millis(500),
            max_wait: Duration::from_secs(30),
            max_asked: Duration::from_secs(300),
            seed: 0,
        }
    }
}

impl RetryPolicy {
    /// The wait before the retry `retry` (counted from 0) of the call `call`.
    fn wait(&self, call: u64, retry: u32, at_least: Option<Duration>) -> Duration {
        let ceiling = self
            .base
            .saturating_mul(1 << retry.min(20))
            .min(self.max_wait);
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        hash.update(call.to_le_bytes());
        hash.update(retry.to_le_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let [a, b, c, d, ..] = digest;
        let share = f64::from(u32::from_le_bytes([a, b, c, d])) / f64::from(u32::MAX);
        ceiling.mul_f64(share).max(at_least.unwrap_or_default())
    }
}

/// Tries the calls of a model or stage again. Made by [`Decorate::with_retry`](super::Decorate::with_retry).
///
/// Only transient errors are retried. After the last try the error is [`Error::Exhausted`], which is never retried
/// again. An error that is permanent, or for which the backend asks for too long a wait, is returned as it is.
pub struct WithRetry<M, S> {
    inner: M,
    policy: RetryPolicy,
    sleep: S,
    calls: std::sync::atomic::AtomicU64,
}

impl<M, S: Sleep> WithRetry<M, S> {
    /// Wraps `inner`.
    pub fn new(inner: M, policy: RetryPolicy, sleep: S) -> Self {
        Self {
            inner,
            policy,
            sleep,
            calls: std::sync::atomic::AtomicU64::new(0),
        }
    }

    /// The wrapped model or stage.
    pub fn inner(&self) -> &M {
        &self.inner
    }

    async fn call<'a, T>(
        &self,
        attempt: impl Fn() -> BoxFuture<'a, Result<T>> + Send,
    ) -> Result<T> {
        let call = self
            .calls
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut attempts = 1;
        loop {
            let error = match attempt().await {
                Err(error) if error.is_transient() => error,
                other => return other,
            };
            let at_least = error.retry_after();
            if at_least.is_some_and(|wait| wait > self.policy.max_asked) {
                return Err(error);
            }
            if attempts >= self.policy.max_attempts {
                return Err(Error::Exhausted {
                    attempts,
                    source: error.into(),
                });
            }
            let wait = self.policy.wait(call, attempts - 1, at_least);
            tracing::debug!(kind = error.kind(), attempts, ?wait, "trying again");
            self.sleep.sleep(wait).await;
            attempts += 1;
        }
    }
}

decorate_all!(WithRetry<M, S: Sleep>);

impl<M: fmt::Debug, S> fmt::Debug for WithRetry<M, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithRetry")
            .field("inner", &self.inner)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    };

    use futures::executor::block_on;

    use super::*;
    use crate::{
        decorate::Decorate, record::Response, stage::ResponseGenerator, stage::respond_fn,
    };

    fn failing(
        times: u32,
        error: impl Fn() -> Error + Send + Sync,
    ) -> (impl ResponseGenerator, std::sync::Arc<AtomicU32>) {
        let calls = std::sync::Arc::new(AtomicU32::new(0));
        let counter = calls.clone();
        let stage = respond_fn(move |_| {
            let result = if counter.fetch_add(1, Ordering::SeqCst) < times {
                Err(error())
            } else {
                Ok(Response::new("fine"))
            };
            async move { result }
        });
        (stage, calls)
    }

    fn timed_out() -> Error {
        Error::TimedOut {
            limit: Duration::from_secs(1),
        }
    }

    #[test]
    fn transient_errors_are_retried_until_it_works() {
        let waits = Mutex::new(Vec::new());
        let (stage, calls) = failing(2, timed_out);
        let stage = stage.with_retry(RetryPolicy::default(), |wait| {
            waits.lock().unwrap().push(wait);
            std::future::ready(())
        });
        let response = block_on(stage.respond(&Default::default())).unwrap();
        assert_eq!(response.text(), "fine");
        assert_eq!(calls.load(Ordering::SeqCst), 3);
        let waits = waits.lock().unwrap();
        assert_eq!(waits.len(), 2);
        assert!(waits[0] <= Duration::from_millis(500) && waits[1] <= Duration::from_secs(1));
    }

    #[test]
    fn the_last_error_is_exhausted_and_is_not_retried_again() {
        let (stage, calls) = failing(100, timed_out);
        let policy = RetryPolicy {
            max_attempts: 3,
            ..Default::default()
        };
        let no_wait = |_| std::future::ready(());
        let stage = stage
            .with_retry(policy, no_wait)
            .with_retry(policy, no_wait);
        let error = block_on(stage.respond(&Default::default())).unwrap_err();
        assert!(
            matches!(error, Error::Exhausted { attempts: 3, .. }),
            "{error:?}"
        );
        assert_eq!(
            calls.load(Ordering::SeqCst),
            3,
            "stacked retries do not multiply"
        );
    }

    #[test]
    fn permanent_errors_are_passed_on() {
        let (stage, calls) = failing(1, || Error::config("x", "wrong"));
        let stage = stage.with_retry(RetryPolicy::default(), |_| std::future::ready(()));
        let error = block_on(stage.respond(&Default::default())).unwrap_err();
        assert_eq!(error.to_string(), "x: wrong");
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_backend_that_asks_for_hours_is_not_waited_for() {
        let limited = |seconds| {
            move || Error::RateLimited {
                backend: "m".to_owned(),
                retry_after: Some(Duration::from_secs(seconds)),
            }
        };
        let waits = Mutex::new(Vec::new());
        let sleep = |wait| {
            waits.lock().unwrap().push(wait);
            std::future::ready(())
        };
        let (stage, calls) = failing(1, limited(300));
        let stage = stage.with_retry(RetryPolicy::default(), sleep);
        block_on(stage.respond(&Default::default())).unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        assert_eq!(*waits.lock().unwrap(), [Duration::from_secs(300)]);
        let (stage, calls) = failing(1, limited(301));
        let stage = stage.with_retry(RetryPolicy::default(), sleep);
        let error = block_on(stage.respond(&Default::default())).unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs(301)));
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        assert_eq!(waits.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_rate_limit_sets_the_least_wait_and_the_ceiling_doubles() {
        let policy = RetryPolicy::default();
        let asked = Duration::from_secs(90);
        assert_eq!(policy.wait(0, 0, Some(asked)), asked);
        for call in 0..200 {
            assert!(policy.wait(call, 0, None) <= policy.base);
            assert!(policy.wait(call, 60, None) <= policy.max_wait);
        }
        assert!((0..200).any(|call| policy.wait(call, 3, None) > policy.base * 4));
    }
}
