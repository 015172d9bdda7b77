//! Bugs of a store, made on purpose.

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use safer_instruct::{
    Result,
    run::{
        Faults, Limit, NewOutcome, PastOutcome, PastQuery, RunStore, Session, Tally, TextHash,
        plant_faults,
    },
};
use serde::{Deserialize, Serialize};

/// What a store does wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Bug {
    /// Nothing waits for the disk.
    NoSync,
    /// A call is written down with its answer.
    IntentAfterCall,
    /// The sums are written in another transaction than the answers.
    CostApart,
    /// A text that has changed is not noticed.
    NoTextHash,
    /// A caller that waits for a commit is answered before it.
    EarlyAnswer,
    /// The last outcome of a batch is not written.
    DropLast,
    /// A pair that an ordered filter has seen and dropped is not written.
    ForgetPair,
}

impl Bug {
    pub(crate) const OF_A_JOURNAL: [Self; 7] = [
        Self::NoSync,
        Self::IntentAfterCall,
        Self::CostApart,
        Self::NoTextHash,
        Self::EarlyAnswer,
        Self::DropLast,
        Self::ForgetPair,
    ];

    /// A folder knows of no calls.
    pub(crate) const OF_A_FOLDER: [Self; 5] = [
        Self::NoSync,
        Self::NoTextHash,
        Self::EarlyAnswer,
        Self::DropLast,
        Self::ForgetPair,
    ];

    /// Puts the bug into the stores of this process.
    pub(crate) fn plant(self) {
        plant_faults(self);
    }
}

impl Faults for Bug {
    fn waits_for_the_disk(&self) -> bool {
        *self != Self::NoSync
    }

    fn answers_after_the_commit(&self) -> bool {
        *self != Self::EarlyAnswer
    }

    fn writes_calls_first(&self) -> bool {
        *self != Self::IntentAfterCall
    }

    fn writes_sums_with_answers(&self) -> bool {
        *self != Self::CostApart
    }
}

/// A store with a bug that can be seen from outside of it.
pub(crate) struct Faulty<S: ?Sized> {
    pub(crate) bug: Option<Bug>,
    pub(crate) store: Box<S>,
}

#[async_trait]
impl<S: RunStore + ?Sized> RunStore for Faulty<S> {
    fn path(&self) -> &Path {
        self.store.path()
    }

    fn tally(&self) -> Tally {
        self.store.tally()
    }

    fn text_hash(&self, text: &str) -> TextHash {
        match self.bug {
            Some(Bug::NoTextHash) => TextHash::default(),
            _ => self.store.text_hash(text),
        }
    }

    fn begin_session(&self, session: Session) -> Result<()> {
        self.store.begin_session(session)
    }

    async fn past(&self, query: PastQuery) -> Result<Vec<PastOutcome>> {
        let mut past = self.store.past(query).await?;
        if self.bug == Some(Bug::ForgetPair) {
            past.iter_mut().for_each(|outcome| outcome.pair = None);
        }
        Ok(past)
    }

    async fn append(&self, outcomes: &[NewOutcome]) -> Result<()> {
        match (self.bug, outcomes) {
            (Some(Bug::DropLast), [outcomes @ .., _]) if !outcomes.is_empty() => {
                self.store.append(outcomes).await
            }
            _ => self.store.append(outcomes).await,
        }
    }

    async fn replace(&self, outcomes: &[NewOutcome]) -> Result<()> {
        self.store.replace(outcomes).await
    }

    async fn end_session(&self, complete: bool) -> Result<()> {
        self.store.end_session(complete).await
    }

    fn limit_reached(&self) -> Option<Limit> {
        self.store.limit_reached()
    }

    fn time_left(&self) -> Option<Duration> {
        self.store.time_left()
    }

    fn add_time(&self, time: Duration) {
        self.store.add_time(time);
    }
}
