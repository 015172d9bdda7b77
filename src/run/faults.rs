//! The steps in which a bug of a store would lose something.
//!
//! Tests that disturb runs (tests/faults) replace them with wrong ones, which their checks must find. This needs the
//! feature `testkit`.
#![cfg_attr(
    not(all(feature = "testkit", feature = "run")),
    allow(dead_code, unreachable_pub)
)]

use std::sync::OnceLock;

/// By default every step is right.
pub trait Faults: Send + Sync {
    /// Whether a commit waits for the disk.
    fn waits_for_the_disk(&self) -> bool {
        true
    }

    /// Whether callers that wait for a commit are answered after it.
    fn answers_after_the_commit(&self) -> bool {
        true
    }

    /// Whether a call is written down before it is made, and not with its answer.
    fn writes_calls_first(&self) -> bool {
        true
    }

    /// Whether sums are written in the transaction of the answers.
    fn writes_sums_with_answers(&self) -> bool {
        true
    }
}

/// At most one a process.
static PLANTED: OnceLock<Box<dyn Faults>> = OnceLock::new();

/// Makes them the faults of every store, for the rest of the process.
#[cfg(feature = "testkit")]
pub fn plant_faults(faults: impl Faults + 'static) {
    let _ = PLANTED.set(Box::new(faults));
}

pub(super) fn faults() -> &'static dyn Faults {
    struct None;
    impl Faults for None {}
    match PLANTED.get() {
        Some(planted) => &**planted,
        Option::None => &None,
    }
}
