//! Several addresses of one model: which one is asked next.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// How long an address is left alone after its first failure in a row; each further one doubles it.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// The addresses of one model.
#[derive(Debug)]
pub(super) struct Endpoints(Vec<Endpoint>);

#[derive(Debug)]
struct Endpoint {
    base: String,
    outstanding: AtomicUsize,
    health: Mutex<Health>,
}

/// Failures in a row, and until when it is left alone.
#[derive(Clone, Copy, Debug, Default)]
struct Health {
    failures: u32,
    rests_until: Duration,
}

/// An address while a request is on its way to it.
#[derive(Debug)]
pub(super) struct Lease<'a>(&'a Endpoint);

impl Endpoints {
    pub(super) fn new(bases: Vec<String>) -> Self {
        let endpoints = bases.into_iter().map(|base| Endpoint {
            base,
            outstanding: AtomicUsize::new(0),
            health: Mutex::default(),
        });
        Self(endpoints.collect())
    }

    pub(super) fn bases(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|endpoint| endpoint.base.as_str())
    }

    /// The address with the fewest requests on their way among those that do not rest; if all do, the one that has rested most. None if
    /// there is no address.
    pub(super) fn pick(&self, now: Duration) -> Option<Lease<'_>> {
        let rest = |endpoint: &Endpoint| endpoint.health().rests_until.saturating_sub(now);
        let chosen = self.0.iter().min_by_key(|endpoint| {
            (rest(endpoint), endpoint.outstanding.load(Ordering::Relaxed))
        })?;
        chosen.outstanding.fetch_add(1, Ordering::Relaxed);
        Some(Lease(chosen))
    }
}

impl Endpoint {
    fn health(&self) -> Health {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease<'_> {
    pub(super) fn base(&self) -> &str {
        &self.0.base
    }

    pub(super) fn worked(&self) {
        *self.0.health.lock().unwrap_or_else(PoisonError::into_inner) = Health::default();
    }

    /// Nothing came back, or that the server is broken.
    pub(super) fn failed(&self, now: Duration) {
        let mut health = self.0.health.lock().unwrap_or_else(PoisonError::into_inner);
        // Requests that were on their way together fail together, and count as one.
        if health.rests_until > now {
            return;
        }
        let rest = FIRST_REST
            .saturating_mul(1 << health.failures.min(10))
            .min(LONGEST_REST);
        health.failures = health.failures.saturating_add(1);
        health.rests_until = now.saturating_add(rest);
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.0.outstanding.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let (first, beside) = (pick(at(0)), Lease(&endpoints.0[0]));
        beside.0.outstanding.fetch_add(1, Ordering::Relaxed);
        first.failed(at(0));
        beside.failed(at(0));
        drop((first, beside));
        assert_eq!(pick(Duration::from_millis(999)).base(), "b");
        let again = pick(at(1));
        assert_eq!(again.base(), "a");
        again.failed(at(1));
        drop(again);
        assert_eq!(pick(at(2)).base(), "b");
        let again = pick(at(3));
        assert_eq!(again.base(), "a");
        again.worked();
        again.failed(at(3));
        drop(again);
        assert_eq!(
            pick(at(4)).base(),
            "a",
            "a success makes the next rest short again"
        );
        // With nobody left, the one that has rested most.
        pick(at(4)).failed(at(4));
        let b = pick(at(4));
        assert_eq!(b.base(), "b");
        b.failed(at(4));
        drop(b);
        assert_eq!(pick(at(4)).base(), "b");
    }
}
