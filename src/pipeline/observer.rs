//! Progress and metrics.

use crate::{
    outcome::{Outcome, Stage},
    record::{Lineage, Usage},
};

/// An event of a run. Only [`Finished`](Self::Finished) gives access to texts, through its [`Outcome`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Work on a draw begins.
    Started {
        /// The source text and the draw.
        lineage: &'a Lineage,
    },
    /// A stage has given its result.
    StageDone {
        /// The source text and the draw.
        lineage: &'a Lineage,
        /// The stage.
        stage: Stage,
        /// Tokens read and written, as far as the stage reports them. For [`Stage::Respond`] the counterpart's are
        /// included.
        usage: Usage,
    },
    /// An outcome is given out: exactly one for each draw.
    Finished {
        /// The outcome.
        outcome: &'a Outcome,
    },
}

/// Receives the events of a run, for progress bars and metrics.
///
/// It is called between the steps of the work, so it must return quickly and must not block. A closure `Fn(&Event)` is
/// an observer.
pub trait Observer: Send + Sync {
    /// Receives one event.
    fn observe(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync> Observer for F {
    fn observe(&self, event: &Event<'_>) {
        self(event);
    }
}
