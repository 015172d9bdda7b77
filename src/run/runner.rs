//! A pipeline, its texts and a store.

use std::{collections::VecDeque, fmt, future::Future, pin::pin, time::Duration};

use futures::{
    FutureExt, Stream, StreamExt,
    future::{Either, Fuse, select},
    stream,
};

use super::{
    event_loop::EventLoop,
    progress::{RunProgress, RunReport},
    resume::{Desk, Failed, PassOver, Ticket},
    store::{RunStore, Session},
};
use crate::{
    decorate::Sleep,
    error::Result,
    outcome::Outcome,
    pipeline::Pipeline,
    record::SourceText,
    stage::{InstructionGenerator, PreferenceJudge, ResponseGenerator},
};

/// Runs a pipeline with a store: goes on where the run was, writes outcomes in input order, reports its progress and
/// ends cleanly.
///
/// It needs no runtime: it works while it is polled. If its future is dropped, what was written stays, and what is in
/// flight is lost. The [module](super) has an example.
pub struct Runner<'a, I, R, J, S: ?Sized> {
    store: &'a mut S,
    pipeline: &'a Pipeline<I, R, J>,
    event_loop: EventLoop<'a>,
}

impl<'a, I, R, J, S> Runner<'a, I, R, J, S>
where
    I: InstructionGenerator,
    R: ResponseGenerator,
    J: PreferenceJudge,
    S: RunStore + ?Sized,
{
    /// How long texts in work may take to end by default once the run is told to stop: 30 seconds.
    pub const DEFAULT_DRAIN: Duration = Duration::from_secs(30);

    /// A run of `pipeline`, kept in `store`. `clock` says how much time has passed since some moment, such as
    /// `|| begun.elapsed()`; `sleep` waits, such as `tokio::time::sleep`.
    pub fn new(
        store: &'a mut S,
        pipeline: &'a Pipeline<I, R, J>,
        clock: impl Fn() -> Duration + Send + Sync + 'a,
        sleep: impl Sleep + 'a,
    ) -> Self {
        Self {
            store,
            pipeline,
            event_loop: EventLoop {
                clock: Box::new(clock),
                sleep: Box::new(sleep),
                stop: Fuse::terminated(),
                observer: Box::new(|_| {}),
                taker: None,
                drain: Self::DEFAULT_DRAIN,
                total: None,
            },
        }
    }

    /// Stops the run when `stop` ends: no more texts are begun, and those in work have the time of
    /// [`with_drain`](Self::with_drain) to end. By default nothing stops it.
    #[must_use]
    pub fn with_stop(mut self, stop: impl Future<Output = ()> + Send + 'a) -> Self {
        self.event_loop.stop = stop.boxed().fuse();
        self
    }

    /// Sets how long texts in work may take to end once the run is told to stop or is over its budget. What is not done
    /// then is made anew when the run goes on, from the answers that are there. By default 30 seconds,
    /// [`DEFAULT_DRAIN`](Self::DEFAULT_DRAIN).
    #[must_use]
    pub fn with_drain(mut self, drain: Duration) -> Self {
        self.event_loop.drain = drain;
        self
    }

    /// Sets an observer that receives the progress of the run after each write. It must not block. By default there is
    /// none.
    #[must_use]
    pub fn with_observer(mut self, observer: impl FnMut(&RunProgress) + Send + 'a) -> Self {
        self.event_loop.observer = Box::new(observer);
        self
    }

    /// Sets an observer that receives the outcomes of this session, in input order, each when it is durable. It must
    /// not block. By default there is none.
    ///
    /// If the process is killed, outcomes may be durable that were not given out. Later sessions do not give them out
    /// either; they are in the store.
    #[must_use]
    pub fn with_outcomes(mut self, taker: impl FnMut(Outcome) + Send + 'a) -> Self {
        self.event_loop.taker = Some(Box::new(taker));
        self
    }

    /// Says how many texts there are, so that [`RunProgress`] can say how much is left. By default it is not known.
    #[must_use]
    pub fn with_total(mut self, texts: u64) -> Self {
        self.event_loop.total = Some(texts.saturating_mul(u64::from(self.pipeline.draws())));
        self
    }

    /// Works on the texts whose outcomes are not there yet. All texts of the run are to be given: those whose outcomes
    /// are there are skipped, after a check that they are still the same, and shown to the ordered filters.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if a text is another one than before, with its number and id; the first
    /// error of `sources`, after what was read before it is done; an error of a stage that every other text would meet too
    /// ([`Error::ends_run`](crate::Error::ends_run)), which is no outcome of its text; an error of the store, after which it
    /// is of no more use: what was durable stays.
    pub async fn run<T>(mut self, sources: T) -> Result<RunReport>
    where
        T: Stream<Item = Result<SourceText>>,
    {
        let store = &*self.store;
        store.begin_session(Session::Append)?;
        let draws = self.pipeline.draws();
        let mut sources = Box::pin(sources);
        let mut memories = self.pipeline.memories();
        let check = PassOver::new(store, draws);
        let begun = {
            let passed_over = pin!(check.run(&mut sources, &mut memories));
            match select(passed_over, &mut self.event_loop.stop).await {
                Either::Left((begun, _)) => begun?,
                Either::Right(((), _)) => return self.event_loop.stopped(store).await,
            }
        };
        let (text, first_draw) = begun.map_or((None, 0), |(text, draws)| (Some(Ok(text)), draws));

        let mut place = store.tally().done();
        let tickets = move |source: &SourceText, tickets: &mut VecDeque<Ticket>| {
            let text_hash = store.text_hash(source.text());
            // Places of one text end at a multiple of the draws.
            for _ in place % u64::from(draws)..u64::from(draws) {
                tickets.push_back(Ticket { place, text_hash });
                place += 1;
            }
        };
        let desk = Desk::default();
        let sources = desk.admit(stream::iter(text).chain(sources), tickets);
        let outcomes = self.pipeline.run_after(memories, first_draw, sources);
        self.event_loop
            .run(store, &desk, Session::Append, outcomes)
            .await
    }

    /// Works on the draws that failed, and on no others. Each outcome takes the place of the failed one; a journal
    /// keeps that as a dead letter. All texts of the run are to be given, to find those that failed among them.
    ///
    /// Calls that were answered are not made again, so a failure that followed from an answer comes again. Ordered
    /// filters see the pairs of the other texts first, whatever the order of the texts is.
    ///
    /// # Errors
    /// Those of [`run`](Self::run); [`Error::Config`](crate::Error::Config) at once if the store cannot replace
    /// outcomes, such as a [`FolderStore`](super::FolderStore).
    pub async fn retry<T>(self, sources: T) -> Result<RunReport>
    where
        T: Stream<Item = Result<SourceText>>,
    {
        let store = &*self.store;
        store.begin_session(Session::Replace)?;
        let draws = self.pipeline.draws();
        let mut memories = self.pipeline.memories();
        PassOver::new(store, draws)
            .show_pairs(&mut memories)
            .await?;

        let failed = Failed::new(store, draws, Box::pin(sources));
        let failed = stream::try_unfold(failed, |mut failed| async move {
            Ok(failed.next().await?.map(|draw| (draw, failed)))
        });
        let desk = Desk::default();
        let failed = desk
            .admit(Box::pin(failed), |(_, ticket), tickets| {
                tickets.push_back(*ticket);
            })
            .map(|(source, _)| source);
        let outcomes = self.pipeline.run_draws(memories, failed);
        self.event_loop
            .run(store, &desk, Session::Replace, outcomes)
            .await
    }
}

impl<I, R, J, S: fmt::Debug + ?Sized> fmt::Debug for Runner<'_, I, R, J, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner")
            .field("store", &self.store)
            .field("pipeline", &self.pipeline)
            .field("drain", &self.event_loop.drain)
            .field("total", &self.event_loop.total)
            .finish_non_exhaustive()
    }
}
