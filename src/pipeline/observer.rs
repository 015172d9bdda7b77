//! Progress and metrics.

use crate::{
    outcome::{Outcome, Stage},
    record::{Lineage, Usage},
};

/// Something that happened in a run. No event holds a text except through the [`Outcome`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Work on a draw begins.
    Started {
        /// Which draw.
        lineage: &'a Lineage,
    },
    /// A stage gave its result.
    StageDone {
        /// Which draw.
        lineage: &'a Lineage,
        /// Which stage.
        stage: Stage,
        /// Tokens that it read and wrote, as far as it says.
        usage: Usage,
    },
    /// An outcome is given out. Exactly one for each draw.
    Finished {
        /// What became of it.
        outcome: &'a Outcome,
    },
}

/// Is told what happens in a run; for progress bars and metrics.
///
/// Called in the midst of the work, so it must return quickly and must not block. Closures `Fn(&Event)` are observers.
pub trait Observer: Send + Sync {
    /// Takes note of one event.
    fn observe(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync> Observer for F {
    fn observe(&self, event: &Event<'_>) {
        self(event);
    }
}
