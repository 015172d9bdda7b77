//! Concurrency around [`Pipeline::process`], and ordered filters at the two places where the order is fixed.

use futures::{
    Stream, StreamExt,
    future::{Either, ready},
    stream,
};

use super::{
    Event, Pipeline,
    memory::{Given, Memories, Remembering, ask},
    ordered::ordered,
    steps::{Worked, dropped},
};
use crate::{
    outcome::{Decision, Outcome, Stage},
    record::{Draft, PreferencePair, SourceText},
    stage::{InstructionGenerator, PreferenceJudge, ResponseGenerator},
};

impl<I, R, J> Pipeline<I, R, J>
where
    I: InstructionGenerator,
    R: ResponseGenerator,
    J: PreferenceJudge,
{
    /// Works on a stream of source texts. Exactly one [`Outcome`] comes out for each draw, in input order.
    ///
    /// At most [`concurrency`](Self::with_concurrency) draws run at the same time. At most 64 times as many, or 8,192
    /// if that is more, are begun and not yet given out: a slow text does not hold up the others, and memory does not
    /// grow with the input. Dropping the stream cancels the draws that are running.
    pub fn run<'a, S>(&'a self, sources: S) -> impl Stream<Item = Outcome> + 'a
    where
        S: Stream<Item = SourceText> + 'a,
    {
        self.run_after(self.memories(), 0, sources)
            .map(|given| given.outcome)
    }

    /// Works like [`run`](Self::run), but gives each outcome as soon as it is there.
    ///
    /// An ordered filter on pairs sees them in that order too, so its decisions depend on scheduling.
    pub fn run_unordered<'a, S>(&'a self, sources: S) -> impl Stream<Item = Outcome> + 'a
    where
        S: Stream<Item = SourceText> + 'a,
    {
        let Memories {
            sources: seen,
            pairs,
        } = self.memories();
        let jobs = self.jobs(seen, 0, sources);
        self.give_out(pairs, jobs.buffer_unordered(self.rest.concurrency))
            .map(|given| given.outcome)
    }

    /// Works like [`run`](Self::run) after earlier outcomes: the ordered filters in `memories` have seen their texts
    /// and pairs, and the outcomes include the first `first_draw` draws of the first text.
    pub(crate) fn run_after<'a, S>(
        &'a self,
        memories: Memories,
        first_draw: u32,
        sources: S,
    ) -> impl Stream<Item = Given> + 'a
    where
        S: Stream<Item = SourceText> + 'a,
    {
        let Memories {
            sources: seen,
            pairs,
        } = memories;
        let jobs = self.jobs(seen, first_draw, sources);
        self.give_out(pairs, ordered(jobs, self.rest.concurrency))
    }

    /// Works on single draws, whose texts the ordered filters have let through before.
    pub(crate) fn run_draws<'a, S>(
        &'a self,
        memories: Memories,
        draws: S,
    ) -> impl Stream<Item = Given> + 'a
    where
        S: Stream<Item = SourceText> + 'a,
    {
        let jobs = draws.map(|source| {
            let lineage = source.lineage().clone().with_run_seed(self.rest.seed);
            Box::pin(self.work_on(source.with_lineage(lineage)))
        });
        self.give_out(memories.pairs, ordered(jobs, self.rest.concurrency))
    }

    /// One future for each draw, in input order.
    fn jobs<'a, S>(
        &'a self,
        mut memories: Remembering<SourceText>,
        mut first_draw: u32,
        sources: S,
    ) -> impl Stream<Item = impl Future<Output = Worked> + 'a> + 'a
    where
        S: Stream<Item = SourceText> + 'a,
    {
        sources.flat_map(move |source| {
            let first = std::mem::take(&mut first_draw);
            let lineage = source.lineage().clone().with_run_seed(self.rest.seed);
            let decision = ask(&mut memories, &source);
            let last = self.rest.draws - 1;
            let mut source = Some(source);
            stream::iter((first..self.rest.draws).filter_map(move |draw| {
                // The last draw takes the text, the others copy it.
                let text = if draw == last {
                    source.take()
                } else {
                    source.clone()
                };
                let text = text?.with_lineage(lineage.clone().with_draw(draw));
                Some(match &decision {
                    // Boxed, because it is moved several times until it runs.
                    Decision::Keep => Either::Left(Box::pin(self.work_on(text))),
                    Decision::Drop(reason) => {
                        let draft = Box::new(Draft::new(text));
                        let outcome = dropped(Stage::Source, reason.clone(), draft);
                        Either::Right(ready(Worked::Done(outcome)))
                    }
                })
            }))
        })
    }

    /// Asks the ordered filters about the pairs, and tells the observer what became of each draw.
    fn give_out<'a>(
        &'a self,
        mut memories: Remembering<PreferencePair>,
        worked: impl Stream<Item = Worked> + 'a,
    ) -> impl Stream<Item = Given> + 'a {
        worked.map(move |worked| {
            let given = match worked {
                Worked::Done(outcome) => Given::from(outcome),
                Worked::Judged(draft) => Given::of(draft, &mut memories),
            };
            self.tell(&Event::Finished {
                outcome: &given.outcome,
            });
            given
        })
    }
}
