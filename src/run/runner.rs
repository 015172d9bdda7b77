//! A pipeline, its texts and a journal.

use std::{collections::VecDeque, fmt, future::Future, pin::pin, time::Duration};

use futures::{
    FutureExt, Stream, StreamExt,
    future::{Either, Fuse, select},
    stream,
};

use super::{
    drive::{Drive, Mode},
    journal::Journal,
    progress::{Progress, Report},
    sources::{Desk, Failed, PassOver, Ticket, hash},
};
use crate::{
    decorate::Sleep,
    error::Result,
    pipeline::Pipeline,
    record::SourceText,
    stage::{InstructionGenerator, PreferenceJudge, ResponseGenerator},
};

/// Runs a pipeline with a journal: goes on where the run was, writes outcomes in input order, tells how it gets on and ends
/// cleanly.
///
/// It needs no runtime: it works while it is polled. If its future is dropped, what was written stays, and what is in flight is lost.
/// The [module](super) has an example.
pub struct Runner<'a, I, R, J> {
    journal: &'a mut Journal,
    pipeline: &'a Pipeline<I, R, J>,
    drive: Drive<'a>,
}

impl<'a, I, R, J> Runner<'a, I, R, J>
where
    I: InstructionGenerator,
    R: ResponseGenerator,
    J: PreferenceJudge,
{
    /// How long texts in work may take to end by default once the run is told to stop.
    pub const DEFAULT_DRAIN: Duration = Duration::from_secs(30);

    /// A run of `pipeline`. `clock` says how much time has passed since some moment, such as `|| begun.elapsed()`; `sleep` waits,
    /// such as `tokio::time::sleep`.
    pub fn new(
        journal: &'a mut Journal,
        pipeline: &'a Pipeline<I, R, J>,
        clock: impl Fn() -> Duration + Send + Sync + 'a,
        sleep: impl Sleep + 'a,
    ) -> Self {
        Self {
            journal,
            pipeline,
            drive: Drive {
                clock: Box::new(clock),
                sleep: Box::new(sleep),
                stop: Fuse::terminated(),
                observer: Box::new(|_| {}),
                drain: Self::DEFAULT_DRAIN,
                total: None,
            },
        }
    }

    /// Stops the run when `stop` ends: no more texts are begun, and those in work have the time of
    /// [`with_drain`](Self::with_drain) to end. By default nothing stops it.
    #[must_use]
    pub fn with_stop(mut self, stop: impl Future<Output = ()> + Send + 'a) -> Self {
        self.drive.stop = stop.boxed().fuse();
        self
    }

    /// Sets how long texts in work may take to end once the run is told to stop or is over its budget. What is not done then is
    /// made anew when the run goes on, from the answers that are there. By default [`DEFAULT_DRAIN`](Self::DEFAULT_DRAIN).
    #[must_use]
    pub fn with_drain(mut self, drain: Duration) -> Self {
        self.drive.drain = drain;
        self
    }

    /// Sets who is told how the run gets on, after each write. It must not block. By default nobody.
    #[must_use]
    pub fn with_observer(mut self, observer: impl FnMut(&Progress) + Send + 'a) -> Self {
        self.drive.observer = Box::new(observer);
        self
    }

    /// Says how many texts there are, so that [`Progress`] can say how much is left. By default it is not known.
    #[must_use]
    pub fn with_total(mut self, texts: u64) -> Self {
        self.drive.total = Some(texts.saturating_mul(u64::from(self.pipeline.draws())));
        self
    }

    /// Works on the texts whose outcomes are not there yet. All texts of the run are to be given: those whose outcomes are there are
    /// passed over, after a check that they are still the same, and shown to the filters with a memory.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if a text is another one than before, with its number and id; the first error of
    /// `sources`, after what was read before it is done; an error of the journal, after which it is of no more use: what
    /// was committed stays.
    pub async fn run<S>(mut self, sources: S) -> Result<Report>
    where
        S: Stream<Item = Result<SourceText>>,
    {
        let shared = &self.journal.shared;
        shared.worker.forget_refusal();
        let draws = self.pipeline.draws();
        let mut sources = Box::pin(sources);
        let mut memories = self.pipeline.memories();
        let check = PassOver::new(shared, draws);
        let begun = {
            let passed_over = pin!(check.run(&mut sources, &mut memories));
            match select(passed_over, &mut self.drive.stop).await {
                Either::Left((begun, _)) => begun?,
                Either::Right(((), _)) => return Ok(self.drive.stopped(shared)),
            }
        };
        let (text, first_draw) = begun.map_or((None, 0), |(text, draws)| (Some(Ok(text)), draws));

        let mut place = shared.worker.tally().counts.total();
        let tickets = move |source: &SourceText, tickets: &mut VecDeque<Ticket>| {
            let text_hash = hash(source);
            // Places of one text end at a multiple of the draws.
            for _ in place % u64::from(draws)..u64::from(draws) {
                tickets.push_back(Ticket { place, text_hash });
                place += 1;
            }
        };
        let desk = Desk::default();
        let sources = desk.admit(stream::iter(text).chain(sources), tickets);
        let outcomes = self.pipeline.run_after(memories, first_draw, sources);
        self.drive.run(shared, &desk, Mode::Append, outcomes).await
    }

    /// Works on the draws that failed, and on no others. Each outcome takes the place of the failed one, which stays in the journal as a
    /// dead letter. All texts of the run are to be given, to find those that failed among them.
    ///
    /// Calls that were answered are not made again, so a failure that followed from an answer comes again. Filters with a
    /// memory see the pairs of the other texts first, whatever the order of the texts is.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub async fn retry<S>(self, sources: S) -> Result<Report>
    where
        S: Stream<Item = Result<SourceText>>,
    {
        let shared = &self.journal.shared;
        shared.worker.forget_refusal();
        let draws = self.pipeline.draws();
        let mut memories = self.pipeline.memories();
        PassOver::new(shared, draws)
            .show_pairs(&mut memories)
            .await?;

        let failed = Failed::new(shared, draws, Box::pin(sources));
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
        self.drive.run(shared, &desk, Mode::Replace, outcomes).await
    }
}

impl<I, R, J> fmt::Debug for Runner<'_, I, R, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner")
            .field("journal", &self.journal)
            .field("pipeline", &self.pipeline)
            .field("drain", &self.drive.drain)
            .field("total", &self.drive.total)
            .finish_non_exhaustive()
    }
}
