//! Bugs on purpose, which the harness of faults (tests/faults) must find. Without the feature `testkit` nobody can plant one.
#![cfg_attr(not(feature = "testkit"), allow(unreachable_pub))]

use std::sync::OnceLock;

/// At most one a process.
static PLANTED: OnceLock<Planted> = OnceLock::new();

/// A bug of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Planted {
    /// Nothing waits for the disk.
    NoSync,
    /// The intent is written with the answer.
    IntentAfterCall,
    /// The sums are written in another transaction than the answers.
    CostApart,
    /// A text that has changed is not noticed.
    NoTextHash,
    /// Whoever waits for a commit is answered before it.
    EarlyAnswer,
    /// The last outcome of a batch is not written.
    DropLast,
    /// A pair that a filter with a memory has seen and dropped is not written.
    ForgetPair,
}

impl Planted {
    /// Plants it for the rest of the process.
    #[cfg(feature = "testkit")]
    pub fn plant(self) {
        let _ = PLANTED.set(self);
    }

    pub(super) fn is_here(self) -> bool {
        cfg!(feature = "testkit") && PLANTED.get() == Some(&self)
    }
}
