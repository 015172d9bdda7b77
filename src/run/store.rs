//! Where a run is kept.

use std::{path::Path, time::Duration};

use async_trait::async_trait;

use super::limit::{Limit, Spent};
use crate::{
    error::Result,
    outcome::Outcome,
    record::{PreferencePair, Usage},
};

/// The hash of a source text.
pub type TextHash = [u8; 32];

/// Where a [`Runner`](super::Runner) keeps what is durable of a run: its outcomes, by place.
///
/// The place of an outcome is the number of its text times the draws, plus its draw. Places begin at 0, and a store has
/// those of the first outcomes, without a gap. What a store promises is what a run can promise:
///
/// - An outcome is durable when [`append`](Self::append) ends: it survives the end of the process and a power cut.
/// - After a crash at any moment the store opens with the outcomes that are durable, and perhaps some of those after
///   them.
/// - No two runners work with one store, in this process or another.
///
/// Methods must not block: those that wait for a disk are futures. [`FolderStore`](super::FolderStore) and, with the
/// feature `run`, `Journal` are the stores of this crate.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not keep a run",
    label = "not a `RunStore`",
    note = "take a `run::FolderStore` or, with the feature `run`, a `run::Journal`"
)]
pub trait RunStore: Send + Sync {
    /// Where it is, for errors.
    fn path(&self) -> &Path;

    /// The progress of the run.
    fn tally(&self) -> Tally;

    /// What identifies a source text when the run goes on.
    fn text_hash(&self, text: &str) -> TextHash;

    /// Begins a session. It is asked before anything else.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if failed outcomes are to be replaced and this store cannot do so, with
    /// what to do instead.
    fn begin_session(&self, session: Session) -> Result<()>;

    /// Gives outcomes that are there, in the order of their places: those that `query` asks for.
    ///
    /// # Errors
    /// Those of reading.
    async fn past(&self, query: PastQuery) -> Result<Vec<PastOutcome>>;

    /// Adds outcomes after those that are there. Ends when they are durable.
    ///
    /// # Errors
    /// Those of writing, after which the store is of no more use; what was durable stays.
    async fn append(&self, outcomes: &[NewOutcome]) -> Result<()>;

    /// Puts outcomes in the places of failed ones. Ends when they are durable.
    ///
    /// # Errors
    /// Those of [`append`](Self::append).
    async fn replace(&self, outcomes: &[NewOutcome]) -> Result<()>;

    /// Ends a session. `complete` says whether the whole input has been worked on in it.
    ///
    /// # Errors
    /// Those of [`append`](Self::append).
    async fn end_session(&self, complete: bool) -> Result<()>;

    /// The limit that a call of this session was refused for, if there is one. No outcome is written then.
    fn limit_reached(&self) -> Option<Limit>;

    /// How long the run may go on, if there is a limit.
    fn time_left(&self) -> Option<Duration>;

    /// Notes that the run has taken more time. It is written with the next outcomes.
    fn add_time(&self, time: Duration);
}

/// What a session is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// Add outcomes after those that are there.
    Append,
    /// Replace failed outcomes.
    Replace,
}

/// The counts of a run in its store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Pairs.
    pub kept: u64,
    /// Draws that were dropped.
    pub dropped: u64,
    /// Draws that failed.
    pub failed: u64,
    /// Calls of this session that were answered by the store.
    pub replayed: u64,
    /// What was spent.
    pub spent: Spent,
}

impl Tally {
    /// Outcomes altogether.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.kept + self.dropped + self.failed
    }

    /// The tally of a store that knows of no calls, but of the tokens that outcomes hold.
    pub(super) fn with_usage(mut self, usage: Usage) -> Self {
        self.spent.usage = usage;
        self
    }
}

/// An outcome that is to be written.
#[derive(Debug)]
pub struct NewOutcome {
    /// Its place.
    pub place: u64,
    /// The hash of its source text.
    pub text_hash: TextHash,
    /// What became of the text.
    pub outcome: Outcome,
    /// The outcome as a line of the [files](crate::dataset), without its line feed. It is made when the outcome comes, while
    /// the store writes those before it.
    pub line: String,
    /// The pair that ordered filters have seen, if one of them dropped it.
    pub dropped_pair: Option<Box<PreferencePair>>,
}

/// Which outcomes are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastQuery {
    /// The first place.
    pub from: u64,
    /// The most outcomes. At least one is given if there are any.
    pub most: u32,
    /// Only those that failed.
    pub failed: bool,
    /// With the pairs that ordered filters have seen.
    pub pairs: bool,
}

/// What an outcome that is there says of its text.
#[derive(Debug)]
pub struct PastOutcome {
    /// Its place.
    pub place: u64,
    /// The id of its source text.
    pub source_id: String,
    /// Its draw.
    pub draw: u32,
    /// The hash of its source text.
    pub text_hash: TextHash,
    /// The pair that ordered filters have seen, if it is asked for and there was one: that of an outcome that was kept,
    /// or that one of them dropped.
    pub pair: Option<Box<PreferencePair>>,
}
