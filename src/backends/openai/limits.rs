//! How often a server may be asked.

use std::{
    fmt,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use http::HeaderMap;

use super::headers;
use crate::{decorate::Sleep, record::Usage};

/// How much a server may be asked a minute.
///
/// Both are spread evenly, because servers count in short windows too: after a rest a sixtieth may go at once, and then a sixtieth a
/// second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests a minute. By default as many as come.
    pub requests: Option<NonZeroU32>,
    /// Tokens a minute, read and written. A request reserves what it may cost, a token for three bytes of text (UTF-8) and its
    /// `max_tokens`, and gets back what it did not use. By default as many as come.
    pub tokens: Option<NonZeroU32>,
}

/// A monotonic clock.
#[derive(Clone)]
pub(super) struct Ticks(pub(super) Arc<dyn Fn() -> Duration + Send + Sync>);

impl Ticks {
    pub(super) fn elapsed(&self) -> Duration {
        (self.0)()
    }
}

impl Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.elapsed()
    }
}

impl fmt::Debug for Ticks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticks")
    }
}

type Bucket = RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Duration>>;

/// Lets requests through one after the other, in the order in which they came.
pub(super) struct Gate {
    clock: Ticks,
    sleep: Option<Arc<dyn Sleep>>,
    requests: Option<(Bucket, NonZeroU32)>,
    tokens: Option<(Bucket, NonZeroU32)>,
    /// Tokens that were reserved and not used; negative if more were used.
    balance: Mutex<i64>,
    /// Until when the server wants no request.
    closed: Mutex<Duration>,
    turn: async_lock::Mutex<()>,
}

impl Gate {
    pub(super) fn new(limits: Limits, clock: Ticks, sleep: Option<Arc<dyn Sleep>>) -> Self {
        let bucket = |per_minute: NonZeroU32| {
            let second = NonZeroU32::new(per_minute.get() / 60).unwrap_or(NonZeroU32::MIN);
            let quota = Quota::per_minute(per_minute).allow_burst(second);
            (RateLimiter::direct_with_clock(quota, clock.clone()), second)
        };
        Self {
            requests: limits.requests.map(bucket),
            tokens: limits.tokens.map(bucket),
            clock,
            sleep,
            balance: Mutex::new(0),
            closed: Mutex::new(Duration::ZERO),
            turn: async_lock::Mutex::new(()),
        }
    }

    /// How it waits.
    pub(super) fn sleep(&self) -> Option<Arc<dyn Sleep>> {
        self.sleep.clone()
    }

    /// Waits until a request of so many tokens may be sent.
    pub(super) async fn enter(&self, estimate: u64) {
        let Some(sleep) = &self.sleep else {
            return;
        };
        if self.requests.is_none() && self.tokens.is_none() && self.closed_for().is_zero() {
            return;
        }
        let _turn = self.turn.lock().await;
        loop {
            let wait = self.closed_for();
            if wait.is_zero() {
                break;
            }
            sleep.sleep(wait).await;
        }
        if let Some((bucket, _)) = &self.requests {
            self.take(bucket, NonZeroU32::MIN, sleep).await;
        }
        if let Some((bucket, most)) = &self.tokens {
            let mut left = self.with_balance(estimate);
            while let Some(part) =
                NonZeroU32::new(u32::try_from(left).unwrap_or(u32::MAX).min(most.get()))
            {
                self.take(bucket, part, sleep).await;
                left -= u64::from(part.get());
            }
        }
    }

    async fn take(&self, bucket: &Bucket, cells: NonZeroU32, sleep: &Arc<dyn Sleep>) {
        // No part is larger than the bucket, so the outer error cannot be.
        while let Ok(Err(not_yet)) = bucket.check_n(cells) {
            sleep.sleep(not_yet.wait_time_from(self.clock.now())).await;
        }
    }

    /// What is to be reserved, after what earlier requests left over or owe.
    fn with_balance(&self, estimate: u64) -> u64 {
        let mut balance = self.balance.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = i64::try_from(estimate).unwrap_or(i64::MAX);
        let left = wanted.saturating_sub(*balance).max(0);
        *balance = balance.saturating_sub(wanted).max(0);
        left.unsigned_abs()
    }

    /// Puts right what was reserved, once it is known what a request cost.
    pub(super) fn settle(&self, estimate: u64, usage: Usage) {
        let Some((_, second)) = &self.tokens else {
            return;
        };
        let mut balance = self.balance.lock().unwrap_or_else(PoisonError::into_inner);
        let difference = i64::try_from(estimate).unwrap_or(i64::MAX)
            - i64::try_from(usage.total()).unwrap_or(i64::MAX);
        // Neither what is left over nor what is owed may pile up to more than a minute's worth, which is what the server counts.
        let minute = i64::from(second.get()).saturating_mul(60);
        *balance = balance.saturating_add(difference).clamp(-minute, minute);
    }

    /// Lets nothing through for a while: the server asked for it.
    pub(super) fn close(&self, wait: Duration) {
        let until = self.clock.elapsed().saturating_add(wait);
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        *closed = until.max(*closed);
    }

    /// Heeds what a server says of what is left (`x-ratelimit-remaining-*`): none left means none before the reset.
    pub(super) fn heed(&self, headers: &HeaderMap) {
        for what in ["requests", "tokens"] {
            if let Some(wait) = headers::exhausted(headers, what) {
                self.close(wait);
            }
        }
    }

    fn closed_for(&self) -> Duration {
        let closed = *self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.saturating_sub(self.clock.elapsed())
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    /// Time that passes only while somebody sleeps.
    fn gate(requests: u32, tokens: u32) -> (Gate, Arc<Mutex<Duration>>) {
        let now = Arc::new(Mutex::new(Duration::ZERO));
        let (clock, sleeper) = (Arc::clone(&now), Arc::clone(&now));
        let sleep = move |wait: Duration| {
            *sleeper.lock().unwrap() += wait.max(Duration::from_nanos(1));
            std::future::ready(())
        };
        let limits = Limits {
            requests: NonZeroU32::new(requests),
            tokens: NonZeroU32::new(tokens),
        };
        let ticks = Ticks(Arc::new(move || *clock.lock().unwrap()));
        (Gate::new(limits, ticks, Some(Arc::new(sleep))), now)
    }

    fn seconds(now: &Mutex<Duration>) -> f64 {
        now.lock().unwrap().as_secs_f64()
    }

    #[test]
    fn requests_are_spread_over_the_minute() {
        let (gate, now) = gate(120, 0);
        for _ in 0..122 {
            block_on(gate.enter(1_000_000));
        }
        // Two at once at the beginning, then two a second.
        assert!((seconds(&now) - 60.0).abs() < 1e-6, "{}", seconds(&now));
    }

    #[test]
    fn tokens_that_were_reserved_and_not_used_come_back() {
        let (gate, now) = gate(0, 6_000);
        for _ in 0..11 {
            block_on(gate.enter(1_000));
            gate.settle(
                1_000,
                Usage {
                    prompt_tokens: 50,
                    completion_tokens: 50,
                },
            );
        }
        // 1,000 at first and then 100 each, at 100 a second after a beginning of 100.
        assert!((seconds(&now) - 19.0).abs() < 1e-6, "{}", seconds(&now));
    }

    #[test]
    fn tokens_that_cost_more_than_was_reserved_are_paid_by_the_next() {
        let (gate, now) = gate(0, 6_000);
        block_on(gate.enter(100));
        gate.settle(
            100,
            Usage {
                prompt_tokens: 300,
                completion_tokens: 300,
            },
        );
        assert_eq!(seconds(&now), 0.0);
        block_on(gate.enter(100));
        assert!((seconds(&now) - 6.0).abs() < 1e-6, "{}", seconds(&now));
    }

    #[test]
    fn a_server_that_says_it_read_too_many_tokens_costs_a_minute_at_most() {
        let (gate, now) = gate(0, 6_000);
        block_on(gate.enter(100));
        gate.settle(
            100,
            Usage {
                prompt_tokens: u64::MAX,
                completion_tokens: u64::MAX,
            },
        );
        block_on(gate.enter(100));
        assert!((seconds(&now) - 61.0).abs() < 1e-6, "{}", seconds(&now));
    }

    #[test]
    fn a_server_that_has_nothing_left_is_left_alone_until_its_reset() {
        let (gate, now) = gate(0, 0);
        block_on(gate.enter(1));
        assert_eq!(seconds(&now), 0.0);
        let mut headers = HeaderMap::new();
        headers.insert("x-ratelimit-remaining-tokens", "0".parse().unwrap());
        headers.insert("x-ratelimit-reset-tokens", "1m30.5s".parse().unwrap());
        headers.insert("x-ratelimit-remaining-requests", "7".parse().unwrap());
        headers.insert("x-ratelimit-reset-requests", "2h".parse().unwrap());
        gate.heed(&headers);
        block_on(gate.enter(1));
        assert!((seconds(&now) - 90.5).abs() < 1e-6, "{}", seconds(&now));
    }
}
