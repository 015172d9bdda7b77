//! The time for which a run has worked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::run::limit::milliseconds;

/// The time of all sessions, in whole milliseconds. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct WallTime(Arc<AtomicU64>);

impl WallTime {
    pub(super) fn new(time: Duration) -> Self {
        Self(Arc::new(AtomicU64::new(milliseconds(time))))
    }

    /// Adds to it; it is written with the next transaction.
    pub(super) fn add(&self, time: Duration) {
        self.0.fetch_add(milliseconds(time), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}
