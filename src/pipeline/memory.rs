//! The ordered filters of one run.

use super::{Pipeline, process::into_outcome, steps::dropped};
use crate::{
    outcome::{Decision, Outcome, Stage},
    record::{Draft, PreferencePair, SourceText},
    stage::{InstructionGenerator, OrderedFilter, PreferenceJudge, ResponseGenerator},
};

/// Ordered filters, in the order in which they are asked.
pub(super) type Remembering<T> = Vec<Box<dyn OrderedFilter<T>>>;

/// The ordered filters of one run. A run that goes on shows them first what they saw before it stopped.
pub(crate) struct Memories {
    pub(super) sources: Remembering<SourceText>,
    pub(super) pairs: Remembering<PreferencePair>,
}

impl Memories {
    /// Shows a source text that was read before.
    pub(crate) fn saw_source(&mut self, source: &SourceText) {
        let _ = ask(&mut self.sources, source);
    }

    /// Shows a pair that they were asked about before, whatever they said.
    pub(crate) fn saw_pair(&mut self, pair: &PreferencePair) {
        let _ = ask(&mut self.pairs, pair);
    }

    /// Whether there is a filter that wants to see pairs.
    pub(crate) fn want_pairs(&self) -> bool {
        !self.pairs.is_empty()
    }
}

/// An outcome as it is given out.
pub(crate) struct Given {
    pub(crate) outcome: Outcome,
    /// The pair, if an ordered filter dropped it. A run that goes on shows it to that filter again.
    pub(crate) dropped_pair: Option<Box<PreferencePair>>,
}

impl Given {
    /// Asks the ordered filters about a pair. They see a copy, so that a pair that they drop keeps its draft.
    pub(super) fn of(draft: Box<Draft>, memories: &mut Remembering<PreferencePair>) -> Self {
        match into_outcome(Draft::clone(&draft)) {
            Outcome::Kept(pair) => match ask(memories, &*pair) {
                Decision::Keep => Outcome::Kept(pair).into(),
                Decision::Drop(reason) => Self {
                    outcome: dropped(Stage::Pair, reason, draft),
                    dropped_pair: Some(pair),
                },
            },
            other => other.into(),
        }
    }
}

impl From<Outcome> for Given {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            dropped_pair: None,
        }
    }
}

impl<I, R, J> Pipeline<I, R, J>
where
    I: InstructionGenerator,
    R: ResponseGenerator,
    J: PreferenceJudge,
{
    /// New filters, which have seen nothing.
    pub(crate) fn memories(&self) -> Memories {
        let rest = &self.rest;
        Memories {
            sources: rest
                .ordered_source_filters
                .iter()
                .map(|make| make())
                .collect(),
            pairs: rest
                .ordered_pair_filters
                .iter()
                .map(|make| make())
                .collect(),
        }
    }
}

/// Asks one after the other; the first that drops ends it.
pub(super) fn ask<T>(memories: &mut Remembering<T>, item: &T) -> Decision {
    for memory in memories {
        if let Decision::Drop(reason) = memory.assess_next(item) {
            return Decision::Drop(reason);
        }
    }
    Decision::Keep
}
