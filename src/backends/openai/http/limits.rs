//! Limits on requests and tokens per minute.

use std::{
    fmt,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use http::HeaderMap;

use super::headers;
use crate::{decorate::Sleep, record::Usage};

/// Limits on requests and tokens per minute.
///
/// Both are spread evenly, because servers also count in short windows: after a pause a sixtieth may be sent at once,
/// and then a sixtieth per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests per minute. By default there is no limit.
    pub requests: Option<NonZeroU32>,
    /// Tokens per minute, of prompts and completions. By default there is no limit.
    ///
    /// A request reserves an estimate, one token per three bytes of UTF-8 text plus its `max_tokens`, and returns what
    /// it did not use. One that is dropped or fails after it was sent keeps the reservation for its text.
    pub tokens: Option<NonZeroU32>,
}

/// The longest that one answer may hold back all requests. The retry waits for what a server asks beyond that.
const LONGEST_CLOSED: Duration = Duration::from_secs(60);
/// The shortest pause that is logged.
const NOTED: Duration = Duration::from_secs(5);

/// A monotonic clock: the time since a fixed moment.
#[derive(Clone)]
pub(crate) struct Clock(pub(crate) Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    pub(crate) fn elapsed(&self) -> Duration {
        (self.0)()
    }
}

impl governor::clock::Clock for Clock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.elapsed()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

type Bucket = RateLimiter<NotKeyed, InMemoryState, Clock, NoOpMiddleware<Duration>>;

/// Admits requests one after the other, in the order in which they arrive.
pub(crate) struct Gate {
    clock: Clock,
    sleep: Option<Arc<dyn Sleep>>,
    requests: Option<(Bucket, NonZeroU32)>,
    tokens: Option<(Bucket, NonZeroU32)>,
    /// Tokens that were reserved and not used; negative if more were used.
    balance: Mutex<i64>,
    /// Until when the server accepts no request.
    closed: Mutex<Duration>,
    turn: async_lock::Mutex<()>,
}

impl Gate {
    pub(crate) fn new(limits: Limits, clock: Clock, sleep: Option<Arc<dyn Sleep>>) -> Self {
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

    /// The way of waiting, if there is one.
    #[cfg(feature = "batch")]
    pub(crate) fn sleep(&self) -> Option<Arc<dyn Sleep>> {
        self.sleep.clone()
    }

    /// Waits until a request of this estimated size may be sent.
    pub(crate) async fn admit(&self, estimate: Usage) -> Reservation<'_> {
        let mut reserved = Reservation {
            gate: self,
            taken: 0,
            used: 0,
        };
        let Some(sleep) = &self.sleep else {
            return reserved;
        };
        if self.requests.is_none() && self.tokens.is_none() && self.closed_for().is_zero() {
            return reserved;
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
            let estimate = signed(estimate.total());
            let mut left = self.with_balance(estimate);
            reserved.taken = estimate.saturating_sub_unsigned(left);
            while let Some(part) =
                NonZeroU32::new(u32::try_from(left).unwrap_or(u32::MAX).min(most.get()))
            {
                self.take(bucket, part, sleep).await;
                left -= u64::from(part.get());
                reserved.taken = reserved.taken.saturating_add(part.get().into());
            }
        }
        // From here on it is sent, and will be read whatever becomes of it.
        reserved.used = signed(estimate.prompt_tokens);
        reserved
    }

    async fn take(&self, bucket: &Bucket, cells: NonZeroU32, sleep: &Arc<dyn Sleep>) {
        // No part is larger than the bucket, so the outer error cannot be.
        while let Ok(Err(not_yet)) = bucket.check_n(cells) {
            sleep
                .sleep(not_yet.wait_time_from(self.clock.elapsed()))
                .await;
        }
    }

    /// The tokens to reserve, given what earlier requests left over or owe.
    fn with_balance(&self, wanted: i64) -> u64 {
        let mut balance = self.balance.lock().unwrap_or_else(PoisonError::into_inner);
        let left = wanted.saturating_sub(*balance).max(0);
        *balance = balance.saturating_sub(wanted).max(0);
        left.unsigned_abs()
    }

    /// Returns unused tokens; a negative number takes more.
    fn give_back(&self, tokens: i64) {
        let Some((_, second)) = &self.tokens else {
            return;
        };
        let mut balance = self.balance.lock().unwrap_or_else(PoisonError::into_inner);
        // Neither what is left over nor what is owed may pile up to more than a minute's worth, which is what the
        // server counts.
        let minute = i64::from(second.get()).saturating_mul(60);
        *balance = balance.saturating_add(tokens).clamp(-minute, minute);
    }

    /// Admits no request for as long as the server asks for, at most a minute.
    pub(crate) fn close(&self, wait: Duration, server: &str) {
        if self.sleep.is_none() {
            return;
        }
        let wait = wait.min(LONGEST_CLOSED);
        let until = self.clock.elapsed().saturating_add(wait);
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        // Requests that were on their way together are answered together, and are told once.
        if wait >= NOTED && until > closed.saturating_add(NOTED) {
            tracing::warn!(server, ?wait, "the server asks to wait; no request is sent");
        }
        *closed = until.max(*closed);
    }

    /// Follows the rate-limit headers (`x-ratelimit-remaining-*`): if nothing remains, no request is sent before the
    /// reset.
    pub(crate) fn heed(&self, headers: &HeaderMap, server: &str) {
        if let Some(wait) = headers::reset(headers) {
            self.close(wait, server);
        }
    }

    fn closed_for(&self) -> Duration {
        let closed = *self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.saturating_sub(self.clock.elapsed())
    }
}

/// Tokens that one request has reserved. Dropping it returns those that are known to be unused.
pub(crate) struct Reservation<'a> {
    gate: &'a Gate,
    /// Tokens that were taken, less those that paid earlier debt.
    taken: i64,
    /// Tokens that are used at least.
    used: i64,
}

impl Reservation<'_> {
    /// Ends the reservation with the tokens that the request used.
    pub(crate) fn settle(mut self, usage: Usage) {
        self.used = signed(usage.total());
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.gate.give_back(self.taken.saturating_sub(self.used));
    }
}

fn signed(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, executor::block_on};

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
        let ticks = Clock(Arc::new(move || *clock.lock().unwrap()));
        (Gate::new(limits, ticks, Some(Arc::new(sleep))), now)
    }

    fn seconds(now: &Mutex<Duration>) -> f64 {
        now.lock().unwrap().as_secs_f64()
    }

    fn tokens(prompt_tokens: u64, completion_tokens: u64) -> Usage {
        Usage {
            prompt_tokens,
            completion_tokens,
        }
    }

    fn assert_seconds(now: &Mutex<Duration>, expected: f64) {
        assert!((seconds(now) - expected).abs() < 1e-6, "{}", seconds(now));
    }

    #[test]
    fn requests_are_spread_over_the_minute() {
        let (gate, now) = gate(120, 0);
        for _ in 0..122 {
            block_on(gate.admit(tokens(1_000_000, 0)));
        }
        // Two at once at the beginning, then two a second.
        assert_seconds(&now, 60.0);
    }

    #[test]
    fn tokens_that_were_reserved_and_not_used_come_back() {
        let (gate, now) = gate(0, 6_000);
        for _ in 0..11 {
            block_on(gate.admit(tokens(100, 900))).settle(tokens(50, 50));
        }
        // 1,000 at first and then 100 each, at 100 a second after a beginning of 100.
        assert_seconds(&now, 19.0);
    }

    #[test]
    fn tokens_that_cost_more_than_was_reserved_are_paid_by_the_next() {
        let (gate, now) = gate(0, 6_000);
        block_on(gate.admit(tokens(50, 50))).settle(tokens(300, 300));
        assert_eq!(seconds(&now), 0.0);
        block_on(gate.admit(tokens(50, 50))).settle(tokens(50, 50));
        assert_seconds(&now, 6.0);
    }

    #[test]
    fn a_server_that_says_it_read_too_many_tokens_costs_a_minute_at_most() {
        let (gate, now) = gate(0, 6_000);
        block_on(gate.admit(tokens(50, 50))).settle(tokens(u64::MAX, u64::MAX));
        block_on(gate.admit(tokens(50, 50)));
        assert_seconds(&now, 61.0);
    }

    #[test]
    fn a_request_that_is_dropped_has_used_its_prompt() {
        let (gate, now) = gate(0, 6_000);
        drop(block_on(gate.admit(tokens(100, 900))));
        assert_seconds(&now, 9.0);
        // 900 are left over.
        block_on(gate.admit(tokens(900, 0))).settle(tokens(900, 0));
        assert_seconds(&now, 9.0);
        block_on(gate.admit(tokens(100, 0)));
        assert_seconds(&now, 10.0);
    }

    #[test]
    fn a_request_that_is_dropped_while_it_waits_has_used_nothing() {
        let (now, waits) = (
            Arc::new(Mutex::new(Duration::ZERO)),
            Arc::new(Mutex::new(3)),
        );
        let (clock, sleeper) = (Arc::clone(&now), Arc::clone(&now));
        // The fourth sleep lasts for ever.
        let sleep = move |wait: Duration| {
            let mut left = waits.lock().unwrap();
            let sleeps = *left > 0;
            if sleeps {
                *left -= 1;
                *sleeper.lock().unwrap() += wait;
            } else {
                *left = i32::MAX;
            }
            async move {
                if !sleeps {
                    std::future::pending::<()>().await;
                }
            }
        };
        let limits = Limits {
            tokens: NonZeroU32::new(6_000),
            ..Limits::default()
        };
        let ticks = Clock(Arc::new(move || *clock.lock().unwrap()));
        let gate = Gate::new(limits, ticks, Some(Arc::new(sleep)));
        block_on(gate.admit(tokens(50, 50))).settle(tokens(200, 150));
        assert_eq!(seconds(&now), 0.0);
        // It pays the debt of 250 in three seconds and waits for its own part.
        let waiting = gate.admit(tokens(500, 500)).now_or_never();
        assert!(waiting.is_none());
        drop(waiting);
        assert_seconds(&now, 3.0);
        // 300 came in, of which the debt took 250.
        block_on(gate.admit(tokens(50, 0)));
        assert_seconds(&now, 3.0);
        block_on(gate.admit(tokens(100, 0)));
        assert_seconds(&now, 4.0);
    }

    #[test]
    fn a_server_that_has_nothing_left_is_left_alone_until_its_reset_and_a_minute_at_most() {
        let (gate, now) = gate(0, 0);
        let nothing = Usage::default();
        block_on(gate.admit(nothing));
        assert_eq!(seconds(&now), 0.0);
        let mut headers = HeaderMap::new();
        headers.insert("x-ratelimit-remaining-tokens", "0".parse().unwrap());
        headers.insert("x-ratelimit-reset-tokens", "20.5s".parse().unwrap());
        headers.insert("x-ratelimit-remaining-requests", "7".parse().unwrap());
        headers.insert("x-ratelimit-reset-requests", "2h".parse().unwrap());
        gate.heed(&headers, "m");
        block_on(gate.admit(nothing));
        assert_seconds(&now, 20.5);
        headers.insert("x-ratelimit-remaining-requests", "0".parse().unwrap());
        gate.heed(&headers, "m");
        block_on(gate.admit(nothing));
        assert_seconds(&now, 80.5);
    }
}
