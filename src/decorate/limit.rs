//! A limit on calls that run at the same time.

use async_lock::Semaphore;
use futures::future::BoxFuture;

use super::decorate_all;
use crate::error::Result;

/// Limits how many calls of a model or stage run at the same time. Made by
/// [`Decorate::with_concurrency_limit`](super::Decorate::with_concurrency_limit).
#[derive(Debug)]
pub struct ConcurrencyLimit<M> {
    inner: M,
    free: Semaphore,
}

impl<M> ConcurrencyLimit<M> {
    /// Wraps `inner`. A `limit` of 0 counts as 1.
    pub fn new(inner: M, limit: usize) -> Self {
        Self {
            inner,
            free: Semaphore::new(limit.max(1)),
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
        let _running = self.free.acquire().await;
        attempt().await
    }
}

decorate_all!(ConcurrencyLimit<M>);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::{executor::block_on, future::join_all};

    use super::*;
    use crate::{
        decorate::Decorate, record::Response, stage::ResponseGenerator, stage::respond_fn,
    };

    /// Yields to the executor once, so that other calls get their turn.
    async fn yield_once() {
        let mut yielded = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut yielded, true) {
                return std::task::Poll::Ready(());
            }
            context.waker().wake_by_ref();
            std::task::Poll::Pending
        })
        .await;
    }

    #[test]
    fn no_more_calls_run_at_once_than_allowed() {
        let running = AtomicUsize::new(0);
        let most = AtomicUsize::new(0);
        let stage = respond_fn(|_| async {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            yield_once().await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(Response::new("fine"))
        })
        .with_concurrency_limit(3);
        let instruction = Default::default();
        let answers = block_on(join_all((0..20).map(|_| stage.respond(&instruction))));
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(most.load(Ordering::SeqCst), 3);
    }
}
