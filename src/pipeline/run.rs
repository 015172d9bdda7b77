//! Concurrency around [`Pipeline::process`], and filters with a memory at the two places where the order is fixed.

use futures::{
    Stream, StreamExt,
    future::{Either, ready},
    stream,
};

use super::{Event, Memory, Pipeline, ordered::ordered, process::dropped};
use crate::{
    outcome::{Decision, Outcome, Reason, Stage},
    record::{PreferencePair, SourceText},
    stage::{InstructionGenerator, OrderedFilter, PreferenceJudge, ResponseGenerator},
};

impl<I, R, J> Pipeline<I, R, J>
where
    I: InstructionGenerator,
    R: ResponseGenerator,
    J: PreferenceJudge,
{
    /// Works on a stream of source texts. Exactly one [`Outcome`] comes out for each draw at each text, in input order.
    ///
    /// At most [`concurrency`](Self::with_concurrency) draws are worked on at once, and at most 64 times as many, or
    /// 8,192, are begun and not yet given out, so that a slow text does not hold up the others and memory does not grow with the input.
    /// Dropping the stream cancels what is being worked on.
    pub fn run<'a, S>(&'a self, sources: S) -> impl Stream<Item = Outcome> + 'a
    where
        S: Stream<Item = SourceText> + 'a,
    {
        self.give_out(ordered(self.jobs(sources), self.rest.concurrency))
    }

    /// [`run`](Self::run) in whatever order the outcomes come. An ordered filter on pairs sees them in that order too,
    /// so its decisions depend on scheduling.
    pub fn run_unordered<'a, S>(&'a self, sources: S) -> impl Stream<Item = Outcome> + 'a
    where
        S: Stream<Item = SourceText> + 'a,
    {
        self.give_out(self.jobs(sources).buffer_unordered(self.rest.concurrency))
    }

    /// One future for each draw, in input order.
    fn jobs<'a, S>(
        &'a self,
        sources: S,
    ) -> impl Stream<Item = impl Future<Output = Outcome> + 'a> + 'a
    where
        S: Stream<Item = SourceText> + 'a,
    {
        let mut memories = remember(&self.rest.ordered_source_filters);
        sources.flat_map(move |source| {
            let lineage = source.lineage().clone().with_run_seed(self.rest.seed);
            let decision = ask(&mut memories, &source);
            let last = self.rest.draws - 1;
            let mut source = Some(source);
            stream::iter((0..self.rest.draws).filter_map(move |draw| {
                // The last draw takes the text, the others copy it.
                let text = if draw == last {
                    source.take()
                } else {
                    source.clone()
                };
                let text = text?.with_lineage(lineage.clone().with_draw(draw));
                Some(match &decision {
                    // Boxed, because it is moved from hand to hand until it runs.
                    Decision::Keep => Either::Left(Box::pin(self.work_on(text))),
                    Decision::Drop(reason) => {
                        Either::Right(ready(dropped(Stage::Source, reason.clone(), text)))
                    }
                })
            }))
        })
    }

    /// Asks the filters with a memory about the pairs, and tells the observer what became of each draw.
    fn give_out<'a>(
        &'a self,
        outcomes: impl Stream<Item = Outcome> + 'a,
    ) -> impl Stream<Item = Outcome> + 'a {
        let mut memories = remember(&self.rest.ordered_pair_filters);
        outcomes.map(move |outcome| {
            let outcome = match outcome {
                Outcome::Kept(pair) => match ask(&mut memories, &*pair) {
                    Decision::Keep => Outcome::Kept(pair),
                    Decision::Drop(reason) => drop_pair(*pair, reason),
                },
                other => other,
            };
            self.tell(&Event::Finished { outcome: &outcome });
            outcome
        })
    }
}

fn remember<T>(makers: &[Memory<T>]) -> Vec<Box<dyn OrderedFilter<T>>> {
    makers.iter().map(|make| make()).collect()
}

fn ask<T>(memories: &mut [Box<dyn OrderedFilter<T>>], item: &T) -> Decision {
    for memory in memories {
        if let Decision::Drop(reason) = memory.assess_next(item) {
            return Decision::Drop(reason);
        }
    }
    Decision::Keep
}

fn drop_pair(pair: PreferencePair, reason: Reason) -> Outcome {
    dropped(Stage::Pair, reason, pair)
}
