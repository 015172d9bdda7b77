//! A time limit for calls.

use std::{fmt, time::Duration};

use futures::future::{BoxFuture, Either, select};

use super::{Sleep, decorate_all};
use crate::error::{Error, Result};

/// Limits the time of each call of a model or stage. Made by [`Decorate::with_timeout`](super::Decorate::with_timeout).
///
/// A call that takes longer is dropped, which cancels it.
pub struct Timeout<M, S> {
    inner: M,
    limit: Duration,
    sleep: S,
}

impl<M, S: Sleep> Timeout<M, S> {
    /// Wraps `inner`.
    pub fn new(inner: M, limit: Duration, sleep: S) -> Self {
        Self {
            inner,
            limit,
            sleep,
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
        match select(attempt(), self.sleep.sleep(self.limit)).await {
            Either::Left((result, _)) => result,
            Either::Right(((), _)) => Err(Error::TimedOut { limit: self.limit }),
        }
    }
}

decorate_all!(Timeout<M, S: Sleep>);

impl<M: fmt::Debug, S> fmt::Debug for Timeout<M, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout")
            .field("inner", &self.inner)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::{
        decorate::Decorate, record::Response, stage::ResponseGenerator, stage::respond_fn,
    };

    #[test]
    fn a_call_that_never_ends_is_given_up() {
        let stage = respond_fn(|_| std::future::pending::<Result<Response>>());
        let stage = stage.with_timeout(Duration::from_secs(7), |_| std::future::ready(()));
        let error = block_on(stage.respond(&Default::default())).unwrap_err();
        assert_eq!(error.to_string(), "no answer within 7s");
        assert!(error.is_transient());
    }

    #[test]
    fn a_call_that_ends_in_time_is_left_alone() {
        let stage = respond_fn(|_| async { Ok(Response::new("fine")) });
        let stage = stage.with_timeout(Duration::from_secs(7), |_| std::future::pending());
        assert_eq!(
            block_on(stage.respond(&Default::default())).unwrap().text(),
            "fine"
        );
    }
}
