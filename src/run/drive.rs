//! The loop around a pipeline: outcomes go into the journal while the next ones are made.

use std::{
    future::poll_fn,
    mem,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    FutureExt, Stream, StreamExt,
    future::{BoxFuture, Fuse, FusedFuture},
};

use super::{
    budget::{Limit, milliseconds},
    journal::Shared,
    progress::{End, Progress, Report},
    sources::{Desk, Ticket},
    store::{Kind, OutcomeRow},
};
use crate::{
    dataset::Row,
    decorate::Sleep,
    error::{Error, Result},
    outcome::Outcome,
    pipeline::Given,
};

/// The most outcomes that wait for the one write before them.
const BATCH: usize = 256;

/// Where outcomes go.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Mode {
    Append,
    Replace,
}

/// Everything but the pipeline and its texts.
pub(super) struct Drive<'a> {
    pub(super) clock: Box<dyn Fn() -> Duration + Send + Sync + 'a>,
    pub(super) sleep: Box<dyn Sleep + 'a>,
    pub(super) stop: Fuse<BoxFuture<'a, ()>>,
    pub(super) observer: Box<dyn FnMut(&Progress) + Send + 'a>,
    pub(super) drain: Duration,
    pub(super) total: Option<u64>,
}

enum Step {
    Written(Result<()>),
    Given(Option<Given>),
    Close(End),
    OutOfPatience,
}

impl Drive<'_> {
    /// Takes outcomes until there are no more, or until texts in work had their time to end.
    pub(super) async fn run(
        mut self,
        shared: &Shared,
        desk: &Desk,
        mode: Mode,
        outcomes: impl Stream<Item = Given>,
    ) -> Result<Report> {
        let worker = &shared.worker;
        let mut outcomes = pin!(outcomes);
        let mut watch = Watch::new((self.clock)());
        let mut out_of_time = self.out_of_time(shared);
        let mut out_of_patience = Fuse::terminated();
        let mut writing: Fuse<BoxFuture<'_, Result<()>>> = Fuse::terminated();
        let mut waiting: Vec<OutcomeRow> = Vec::new();
        let (mut end, mut open, mut made) = (None, true, 0);
        loop {
            if writing.is_terminated() {
                if !waiting.is_empty() {
                    let rows = mem::take(&mut waiting);
                    made += rows.len() as u64;
                    let write = worker.ask(move |store| match mode {
                        Mode::Append => store.append(&rows),
                        Mode::Replace => store.replace(&rows),
                    });
                    writing = write.boxed().fuse();
                } else if !open {
                    break;
                }
            }
            let step = poll_fn(|context| {
                if let Poll::Ready(written) = writing.poll_unpin(context) {
                    return Poll::Ready(Step::Written(written));
                }
                if end.is_none() {
                    if self.stop.poll_unpin(context).is_ready() {
                        return Poll::Ready(Step::Close(End::Stopped));
                    }
                    if out_of_time.poll_unpin(context).is_ready() {
                        return Poll::Ready(Step::Close(End::OverBudget(Limit::WallTime)));
                    }
                }
                if open && out_of_patience.poll_unpin(context).is_ready() {
                    return Poll::Ready(Step::OutOfPatience);
                }
                if open && waiting.len() < BATCH {
                    return next(outcomes.as_mut(), context);
                }
                Poll::Pending
            })
            .await;
            worker.add_wall_time(watch.lap((self.clock)()));
            match step {
                Step::Written(written) => {
                    written?;
                    self.tell(shared, made, &watch);
                }
                Step::Given(None) => open = false,
                // What came of a refused call is no outcome of its text. Which ones that are cannot be said: a stage may have
                // gone on without the answer. All are made again when the run goes on, from the answers that are there.
                Step::Given(Some(given)) => match worker.refused() {
                    None => waiting.push(row(&given, desk.next_ticket())?),
                    Some(refused) if end.is_none() => {
                        end = Some(End::OverBudget(refused.limit));
                        desk.close();
                        out_of_patience = self.sleep.sleep(self.drain).fuse();
                    }
                    Some(_) => {}
                },
                Step::Close(why) => {
                    end = Some(why);
                    desk.close();
                    out_of_patience = self.sleep.sleep(self.drain).fuse();
                }
                Step::OutOfPatience => open = false,
            }
        }
        let error = desk.take_error();
        let complete = error.is_none() && end.is_none() && mode == Mode::Append;
        worker
            .ask(move |store| {
                if complete {
                    store.set_complete(true)?;
                }
                Ok(())
            })
            .await?;
        let progress = self.tell(shared, made, &watch);
        match error {
            Some(error) => Err(error),
            None => Ok(Report {
                end: end.unwrap_or(End::Complete),
                progress,
            }),
        }
    }

    /// Ends when the budget's wall time does.
    fn out_of_time(&self, shared: &Shared) -> Fuse<BoxFuture<'static, ()>> {
        let Some(most) = shared.worker.tally().budget.wall_time else {
            return Fuse::terminated();
        };
        let left = most.saturating_sub(shared.worker.wall_time());
        if left.is_zero() {
            return std::future::ready(()).boxed().fuse();
        }
        self.sleep.sleep(left).fuse()
    }

    /// The report of a session that was told to stop before it began.
    pub(super) fn stopped(mut self, shared: &Shared) -> Report {
        let watch = Watch::new((self.clock)());
        Report {
            end: End::Stopped,
            progress: self.tell(shared, 0, &watch),
        }
    }

    fn tell(&mut self, shared: &Shared, made: u64, watch: &Watch) -> Progress {
        let mut tally = shared.worker.tally();
        tally.spent.wall_time = shared.worker.wall_time();
        let progress = Progress::new(&tally, made, watch.elapsed(), self.total);
        (self.observer)(&progress);
        progress
    }
}

fn next(outcomes: Pin<&mut impl Stream<Item = Given>>, context: &mut Context<'_>) -> Poll<Step> {
    let mut outcomes = outcomes;
    outcomes.poll_next_unpin(context).map(Step::Given)
}

/// Whole milliseconds since the last time, so that none is lost or counted twice.
struct Watch {
    begun: Duration,
    last: Duration,
    counted: u64,
}

impl Watch {
    fn new(now: Duration) -> Self {
        Self {
            begun: now,
            last: now,
            counted: 0,
        }
    }

    fn lap(&mut self, now: Duration) -> Duration {
        self.last = now.max(self.last);
        let total = milliseconds(self.elapsed());
        let new = total.saturating_sub(mem::replace(&mut self.counted, total));
        Duration::from_millis(new)
    }

    fn elapsed(&self) -> Duration {
        self.last.saturating_sub(self.begun)
    }
}

/// An outcome as it is written.
fn row(given: &Given, ticket: Option<Ticket>) -> Result<OutcomeRow> {
    let Some(Ticket { place, text_hash }) = ticket else {
        let reason = "more outcomes came out than texts went in".to_owned();
        return Err(Error::Other(reason.into()));
    };
    let outcome = &given.outcome;
    let (kind, stage, code) = match outcome {
        Outcome::Kept(_) => (Kind::Kept, None, None),
        Outcome::Dropped { stage, reason, .. } => {
            (Kind::Dropped, Some(*stage), Some(reason.code.to_string()))
        }
        Outcome::Failed { stage, error, .. } => {
            (Kind::Failed, Some(*stage), Some(error.kind().to_owned()))
        }
    };
    let json = |error: serde_json::Error| Error::Other(error.into());
    let line = Row::of(outcome).to_json().map_err(json)?;
    let line = String::from_utf8(line).map_err(|error| Error::Other(error.into()))?;
    let dropped_pair = given.dropped_pair.as_deref().map(serde_json::to_string);
    Ok(OutcomeRow {
        place,
        source_id: outcome.lineage().source_id().to_owned(),
        draw: outcome.lineage().draw(),
        kind,
        stage: stage.map(|stage| stage.as_str()),
        code,
        text_hash,
        line,
        dropped_pair: dropped_pair.transpose().map_err(json)?,
    })
}
