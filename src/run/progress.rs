//! The progress of a run, and how it ended.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{limit::Limit, store::Tally};
use crate::record::Usage;

/// The progress of a run. Counts are of all its sessions, unless they say otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunProgress {
    /// Outcomes: one for each draw at each text.
    pub done: u64,
    /// Outcomes that there will be, if [`with_total`](super::Runner::with_total) says so.
    pub total: Option<u64>,
    /// Pairs.
    pub kept: u64,
    /// Draws that were dropped.
    pub dropped: u64,
    /// Draws that failed.
    pub failed: u64,
    /// Calls that were made, where the store knows of calls: a [`FolderStore`](super::FolderStore) does not.
    pub requests: u64,
    /// Calls of this session that were answered from the store.
    pub replayed: u64,
    /// Tokens of the calls that were answered; of the outcomes where the store does not know of calls.
    pub usage: Usage,
    /// Cost so far, in millionths of a unit of money.
    pub cost: u64,
    /// Seconds for which the run has worked.
    pub seconds: f64,
    /// Outcomes a second in this session; 0 at first.
    pub per_second: f64,
    /// Seconds until the end at this rate, where there are a total and a rate.
    pub seconds_left: Option<f64>,
}

impl RunProgress {
    /// `made` outcomes in the `session` so far.
    pub(super) fn new(tally: &Tally, made: u64, session: Duration, total: Option<u64>) -> Self {
        let seconds = session.as_secs_f64();
        let per_second = if seconds > 0.0 {
            made as f64 / seconds
        } else {
            0.0
        };
        let left = total.map(|total| total.saturating_sub(tally.done()));
        Self {
            done: tally.done(),
            total,
            kept: tally.kept,
            dropped: tally.dropped,
            failed: tally.failed,
            requests: tally.spent.requests,
            replayed: tally.replayed,
            usage: tally.spent.usage,
            cost: tally.spent.money,
            seconds: tally.spent.wall_time.as_secs_f64(),
            per_second,
            seconds_left: left
                .filter(|_| per_second > 0.0)
                .map(|left| left as f64 / per_second),
        }
    }

    /// Pairs in an outcome, between 0 and 1; 0 if there are no outcomes.
    #[must_use]
    pub fn kept_share(&self) -> f64 {
        self.kept as f64 / self.done.max(1) as f64
    }
}

/// Why a session of a run ended, errors aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// There is nothing left to do.
    Complete,
    /// It was told to stop; the run can go on.
    Stopped,
    /// This limit of the budget was reached; the run can go on under a larger one.
    OverBudget(Limit),
}

/// The result of a session of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunReport {
    /// Why it ended.
    pub end: End,
    /// The progress of the run.
    pub progress: RunProgress,
}
