//! What a run has spent, and which limit it may reach.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::record::Usage;

/// What a run has spent, all its sessions together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Spent {
    /// Tokens of the calls that were answered.
    pub usage: Usage,
    /// Cost of the calls that were answered, in millionths of a unit of money.
    pub money: u64,
    /// Calls that were made, answered or not.
    pub requests: u64,
    /// Time in which a [`Runner`](super::Runner) ran.
    pub wall_time: Duration,
}

/// What a store may limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Tokens read and written.
    Tokens,
    /// Cost.
    Money,
    /// Calls.
    Requests,
    /// The time in which a [`Runner`](super::Runner) runs.
    WallTime,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.unit())
    }
}

impl Limit {
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Money => "millionths of a unit of money",
            Self::Requests => "requests",
            Self::WallTime => "milliseconds of wall time",
        }
    }
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
