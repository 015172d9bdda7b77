//! Decorators for models and stages: retry, timeout, concurrency limit, cache.
//!
//! Each one wraps a model or a stage and is a model or a stage itself, so they can be combined in any order. None needs
//! a runtime: time comes in as a [`Sleep`].

mod cache;
mod limit;
mod retry;
mod timeout;

use std::{future::Future, time::Duration};

use futures::future::BoxFuture;

pub use cache::Cache;
pub use limit::ConcurrencyLimit;
pub use retry::{RetryPolicy, WithRetry};
pub use timeout::Timeout;

/// Waits, with the timer of the caller's runtime.
///
/// Implemented for every closure `Fn(Duration) -> impl Future<Output = ()>`, so `tokio::time::sleep` can be passed as
/// it is.
pub trait Sleep: Send + Sync {
    /// Completes after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

impl<F, Fut> Sleep for F
where
    F: Fn(Duration) -> Fut + Send + Sync,
    Fut: Future<Output = ()> + Send + 'static,
{
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(self(duration))
    }
}

/// Wraps a model or a stage in a decorator.
///
/// Implemented for every type. The result is a model or a stage if the wrapped value is one.
///
/// ```
/// use std::{sync::atomic::{AtomicU32, Ordering}, time::Duration};
/// use safer_instruct::{Decorate, Error, Response, ResponseGenerator, RetryPolicy, respond_fn};
///
/// # futures::executor::block_on(async {
/// let calls = AtomicU32::new(0);
/// let shaky = respond_fn(|_| {
///     let call = calls.fetch_add(1, Ordering::Relaxed);
///     async move {
///         if call == 0 {
///             return Err(Error::TimedOut { limit: Duration::from_secs(1) });
///         }
///         Ok(Response::new("There you are."))
///     }
/// });
/// // With tokio this would be `tokio::time::sleep`.
/// let steady = shaky.with_retry(RetryPolicy::default(), |_| std::future::ready(()));
/// assert_eq!(steady.respond(&Default::default()).await?.text(), "There you are.");
/// # Ok::<_, Error>(())
/// # }).unwrap();
/// ```
pub trait Decorate: Sized {
    /// Tries again after transient errors, as [`RetryPolicy`] says.
    fn with_retry<S: Sleep>(self, policy: RetryPolicy, sleep: S) -> WithRetry<Self, S> {
        WithRetry::new(self, policy, sleep)
    }

    /// Ends a call after `limit` with [`Error::TimedOut`](crate::Error::TimedOut), which is transient.
    fn with_timeout<S: Sleep>(self, limit: Duration, sleep: S) -> Timeout<Self, S> {
        Timeout::new(self, limit, sleep)
    }

    /// Lets at most `limit` calls run at the same time. The others wait in the order in which they came. 0 counts as 1.
    fn with_concurrency_limit(self, limit: usize) -> ConcurrencyLimit<Self> {
        ConcurrencyLimit::new(self, limit)
    }

    /// Keeps the answers to the `capacity` requests that were used last. For models only. 0 counts as 1.
    fn with_cache(self, capacity: usize) -> Cache<Self> {
        Cache::new(self, capacity)
    }
}

impl<T> Decorate for T {}

/// Implements every model and stage trait for a decorator with a method
/// `async fn call(&self, f: impl Fn() -> BoxFuture<Result<T>>) -> Result<T>`.
macro_rules! decorate_all {
    ($name:ident<M $(, $p:ident: $bound:path)?>) => {
        $crate::decorate::decorate_all!(@one $name<M $(, $p: $bound)?> $crate::model::ChatModel { complete(request: &$crate::model::ChatRequest) -> $crate::model::Completion });
        $crate::decorate::decorate_all!(@one $name<M $(, $p: $bound)?> $crate::model::ScoringModel { score(request: &$crate::model::ScoreRequest) -> $crate::model::Scores });
        $crate::decorate::decorate_all!(@one $name<M $(, $p: $bound)?> $crate::model::StateModel { states(request: &$crate::model::StateRequest) -> $crate::model::States });
        $crate::decorate::decorate_all!(@one $name<M $(, $p: $bound)?> $crate::stage::InstructionGenerator { induce(source: &$crate::record::SourceText) -> $crate::record::Instruction });
        $crate::decorate::decorate_all!(@one $name<M $(, $p: $bound)?> $crate::stage::ResponseGenerator { respond(instruction: &$crate::record::Instruction) -> $crate::record::Response });
        $crate::decorate::decorate_all!(@one $name<M $(, $p: $bound)?> $crate::stage::PreferenceJudge { judge(instruction: &$crate::record::Instruction, first: &$crate::record::Response, second: &$crate::record::Response) -> $crate::record::Judgement });
        $crate::decorate::decorate_all!(@one $name<M $(, $p: $bound)?> $crate::stage::Guard { assess(instruction: &$crate::record::Instruction, response: &$crate::record::Response) -> $crate::record::Assessment });

        #[deny(clippy::missing_trait_methods)]
        #[async_trait::async_trait]
        impl<T: ?Sized + Sync, M: $crate::stage::Filter<T> $(, $p: $bound)?> $crate::stage::Filter<T> for $name<M $(, $p)?> {
            async fn assess(&self, item: &T) -> $crate::error::Result<$crate::outcome::Decision> {
                self.call(|| self.inner.assess(item)).await
            }
        }
    };
    (@one $name:ident<M $(, $p:ident: $bound:path)?> $trait:path { $method:ident($($arg:ident: $ty:ty),+) -> $ret:ty }) => {
        #[deny(clippy::missing_trait_methods)]
        #[async_trait::async_trait]
        impl<M: $trait $(, $p: $bound)?> $trait for $name<M $(, $p)?> {
            async fn $method(&self, $($arg: $ty),+) -> $crate::error::Result<$ret> {
                self.call(|| self.inner.$method($($arg),+)).await
            }
        }
    };
}
pub(crate) use decorate_all;
