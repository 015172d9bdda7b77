//! The status of a run, for any process that may read its file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    budget::Budget,
    fatal::Fatal,
    schema::open_reader,
    tables::{Counts, is_complete, read_budget},
};
use crate::{error::Result, run::limit::Spent};

/// The status of a run, read from its journal. The journal may be in use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// Whether the whole input was worked on.
    pub complete: bool,
    /// Pairs.
    pub kept: u64,
    /// Draws that were dropped.
    pub dropped: u64,
    /// Draws that failed.
    pub failed: u64,
    /// Failures that a retry replaced.
    pub dead_letters: u64,
    /// Calls that are answered, those that a fork took along included.
    pub answered: u64,
    /// Calls whose end is not known. If no process works on the run, they were in flight when it was killed, and will
    /// be made again.
    pub in_flight: u64,
    /// What was spent.
    pub spent: Spent,
    /// What may be spent.
    pub budget: Budget,
}

impl Status {
    /// Reads it without disturbing a process that writes the journal.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if the file is no journal, a damaged one or of a newer version;
    /// [`Error::Io`](crate::Error::Io) if it cannot be read.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        read(path).map_err(|fatal| fatal.error(path))
    }

    /// Outcomes altogether.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.kept + self.dropped + self.failed
    }

    /// Pairs in an outcome, between 0 and 1; 0 if there are no outcomes.
    #[must_use]
    pub fn kept_share(&self) -> f64 {
        self.kept as f64 / self.done().max(1) as f64
    }
}

fn read(path: &Path) -> Result<Status, Fatal> {
    let connection = open_reader(path)?;
    // One snapshot for all.
    connection.execute_batch("BEGIN")?;
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get(0));
    let counts = Counts::read(&connection)?;
    let (spent, budget) = read_budget(&connection)?;
    let in_flight = count("SELECT count(*) FROM calls WHERE state = 'intent'")?;
    Ok(Status {
        complete: is_complete(&connection)?,
        kept: counts.kept,
        dropped: counts.dropped,
        failed: counts.failed,
        dead_letters: count("SELECT count(*) FROM dead_letters")?,
        answered: count("SELECT count(*) FROM calls WHERE state = 'done'")?,
        in_flight,
        spent,
        budget,
    })
}
