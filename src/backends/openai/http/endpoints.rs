//! The choice between several addresses of one model.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::limits::Clock;
use crate::error::{Error, Later, Result};

/// The pause of an address after its first failure in a row; each further failure doubles it.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// The addresses of one model.
#[derive(Debug)]
pub(crate) struct Endpoints(Vec<Endpoint>);

#[derive(Debug)]
struct Endpoint {
    base: String,
    outstanding: AtomicUsize,
    health: Mutex<Health>,
}

/// Failures in a row, and the end of the pause.
#[derive(Clone, Copy, Debug, Default)]
struct Health {
    failures: u32,
    rests_until: Duration,
}

/// An address with a request in flight to it.
#[derive(Debug)]
pub(crate) struct Lease<'a> {
    endpoint: &'a Endpoint,
    is_alone: bool,
}

impl Endpoints {
    pub(crate) fn new(bases: Vec<String>) -> Self {
        let endpoints = bases.into_iter().map(|base| Endpoint {
            base,
            outstanding: AtomicUsize::new(0),
            health: Mutex::default(),
        });
        Self(endpoints.collect())
    }

    pub(crate) fn bases(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|endpoint| endpoint.base.as_str())
    }

    pub(crate) fn are_several(&self) -> bool {
        self.0.len() > 1
    }

    /// Picks the address with the fewest requests in flight among those that are not paused; if all are, the one whose
    /// pause ends first. An address that has failed gets one request at a time until one succeeds. None if there is no
    /// address.
    pub(crate) fn pick(&self, now: Duration) -> Option<Lease<'_>> {
        let chosen = self.0.iter().min_by_key(|endpoint| {
            let health = endpoint.health();
            let outstanding = endpoint.outstanding.load(Ordering::Relaxed);
            let is_tried = health.failures > 0 && outstanding > 0;
            let rest = health.rests_until.saturating_sub(now);
            (rest, is_tried, outstanding)
        })?;
        chosen.outstanding.fetch_add(1, Ordering::Relaxed);
        Some(Lease {
            endpoint: chosen,
            is_alone: !self.are_several(),
        })
    }
}

impl Endpoint {
    fn health(&self) -> Health {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease<'_> {
    pub(crate) fn base(&self) -> &str {
        &self.endpoint.base
    }

    /// Records the health of the address from the answer, and returns the answer.
    pub(crate) fn finish<T>(self, answer: Result<T>, clock: &Clock) -> Result<T> {
        match &answer {
            // A limit is not the address's fault.
            Err(Error::RateLimited { .. }) => {}
            Err(error) if error.is_transient() => {
                self.failed(clock.elapsed(), error.retry_after().unwrap_or_default());
            }
            // A server that refuses a request is healthy.
            Ok(_) | Err(_) => self.worked(),
        }
        match answer {
            // The next try goes to another address, and need not wait for this one.
            Err(Error::Transport { backend, source }) if !self.is_alone && source.is::<Later>() => {
                Err(Error::Transport {
                    backend,
                    source: source.to_string().into(),
                })
            }
            answer => answer,
        }
    }

    fn worked(&self) {
        *self
            .endpoint
            .health
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Health::default();
    }

    /// Records that no answer came, or that the server is broken, or busy and asks for a pause.
    fn failed(&self, now: Duration, at_least: Duration) {
        let mut health = self
            .endpoint
            .health
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Requests that were on their way together fail together, and count as one.
        if health.rests_until > now {
            return;
        }
        let rest = FIRST_REST
            .saturating_mul(1 << health.failures.min(10))
            .max(at_least)
            .min(LONGEST_REST);
        health.failures = health.failures.saturating_add(1);
        health.rests_until = now.saturating_add(rest);
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.endpoint.outstanding.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::ZERO;

    fn two() -> Endpoints {
        Endpoints::new(vec!["a".into(), "b".into()])
    }

    #[test]
    fn the_one_with_the_fewest_requests_on_their_way_is_next() {
        let endpoints = two();
        let now = Duration::ZERO;
        let (one, two, three) = (
            endpoints.pick(now).unwrap(),
            endpoints.pick(now).unwrap(),
            endpoints.pick(now).unwrap(),
        );
        assert_eq!([one.base(), two.base(), three.base()], ["a", "b", "a"]);
        drop((one, three));
        assert_eq!(endpoints.pick(now).unwrap().base(), "a");
    }

    #[test]
    fn one_that_fails_rests_longer_each_time_and_comes_back() {
        let endpoints = two();
        let at = Duration::from_secs;
        let pick = |now| endpoints.pick(now).unwrap();
        let (first, beside) = (
            pick(at(0)),
            Lease {
                endpoint: &endpoints.0[0],
                is_alone: false,
            },
        );
        beside.endpoint.outstanding.fetch_add(1, Ordering::Relaxed);
        first.failed(at(0), SOON);
        beside.failed(at(0), SOON);
        drop((first, beside));
        assert_eq!(pick(Duration::from_millis(999)).base(), "b");
        let again = pick(at(1));
        assert_eq!(again.base(), "a");
        again.failed(at(1), SOON);
        drop(again);
        assert_eq!(pick(at(2)).base(), "b");
        let again = pick(at(3));
        assert_eq!(again.base(), "a");
        again.worked();
        again.failed(at(3), SOON);
        drop(again);
        assert_eq!(
            pick(at(4)).base(),
            "a",
            "a success makes the next rest short again"
        );
        // If all are paused, the address whose pause ends first.
        pick(at(4)).failed(at(4), SOON);
        let b = pick(at(4));
        assert_eq!(b.base(), "b");
        b.failed(at(4), SOON);
        drop(b);
        assert_eq!(pick(at(4)).base(), "b");
    }

    #[test]
    fn one_that_comes_back_is_tried_with_one_request_at_a_time_until_it_works() {
        let endpoints = two();
        let pick = || endpoints.pick(Duration::from_secs(1)).unwrap();
        endpoints
            .pick(Duration::ZERO)
            .unwrap()
            .failed(Duration::ZERO, SOON);
        let burst: Vec<_> = (0..8).map(|_| pick()).collect();
        let bases: Vec<_> = burst.iter().map(Lease::base).collect();
        assert_eq!(bases, ["a", "b", "b", "b", "b", "b", "b", "b"]);
        burst[0].worked();
        let next: Vec<_> = (0..6).map(|_| pick()).collect();
        assert!(next.iter().all(|lease| lease.base() == "a"));
    }

    #[test]
    fn one_that_asks_for_it_rests_as_long_as_it_says_and_a_minute_at_most() {
        let endpoints = two();
        let at = Duration::from_secs;
        let pick = |now| endpoints.pick(now).unwrap();
        pick(at(0)).failed(at(0), at(7));
        assert_eq!(pick(at(6)).base(), "b");
        pick(at(7)).failed(at(7), at(3600));
        assert_eq!(pick(at(66)).base(), "b");
        assert_eq!(pick(at(67)).base(), "a");
    }
}
