//! The loop around a pipeline: outcomes go into the store while the next ones are made.

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
    limit::{Limit, milliseconds},
    progress::{End, RunProgress, RunReport},
    resume::Desk,
    store::{NewOutcome, RunStore, Session},
};
use crate::{
    dataset::Row,
    decorate::Sleep,
    error::{BoxError, Error, Result},
    outcome::Outcome,
    pipeline::Given,
};

/// The most outcomes that wait for the one write before them.
const BATCH: usize = 256;

/// Everything but the pipeline, its texts and the store.
pub(super) struct EventLoop<'a> {
    pub(super) clock: Box<dyn Fn() -> Duration + Send + Sync + 'a>,
    pub(super) sleep: Box<dyn Sleep + 'a>,
    pub(super) stop: Fuse<BoxFuture<'a, ()>>,
    pub(super) observer: Box<dyn FnMut(&RunProgress) + Send + 'a>,
    pub(super) taker: Option<Box<dyn FnMut(Outcome) + Send + 'a>>,
    pub(super) drain: Duration,
    pub(super) total: Option<u64>,
}

/// What came of a write, and what was written.
type Written = (Result<()>, Vec<NewOutcome>);

enum Step {
    Written(Written),
    GiveOut,
    Given(Option<Given>),
    Close(End),
    OutOfPatience,
}

impl EventLoop<'_> {
    /// Takes outcomes until there are no more, or until texts in work had their time to end.
    pub(super) async fn run<S: RunStore + ?Sized>(
        mut self,
        store: &S,
        desk: &Desk,
        session: Session,
        outcomes: impl Stream<Item = Given>,
    ) -> Result<RunReport> {
        let mut outcomes = pin!(outcomes);
        let mut watch = Watch::new((self.clock)());
        let mut out_of_time = self.out_of_time(store);
        let mut out_of_patience = Fuse::terminated();
        let mut writing: Fuse<BoxFuture<'_, Written>> = Fuse::terminated();
        let mut waiting: Vec<NewOutcome> = Vec::new();
        let (mut end, mut open, mut made) = (None, true, 0);
        let mut ended_by = None;
        // Written, and given out while the next ones are written: the store does not wait for it.
        let mut written: Vec<NewOutcome> = Vec::new();
        loop {
            if writing.is_terminated() {
                if !waiting.is_empty() {
                    let batch = mem::take(&mut waiting);
                    writing = write(store, session, batch).boxed().fuse();
                } else if !open {
                    break;
                }
            }
            let step = poll_fn(|context| {
                if let Poll::Ready(end_of_write) = writing.poll_unpin(context) {
                    return Poll::Ready(Step::Written(end_of_write));
                }
                if !written.is_empty() {
                    return Poll::Ready(Step::GiveOut);
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
            store.add_time(watch.lap((self.clock)()));
            match step {
                Step::Written((result, batch)) => {
                    self.give_out(mem::take(&mut written));
                    result?;
                    made += batch.len() as u64;
                    written = batch;
                }
                Step::GiveOut => {
                    self.give_out(mem::take(&mut written));
                    self.tell(store, made, &watch);
                }
                Step::Given(None) => open = false,
                // What came of a refused call is no outcome of its text. Which ones that are cannot be said: a stage
                // may have gone on without the answer. All are made again when the run goes on, from the answers that
                // are there.
                Step::Given(Some(given)) => match store.limit_reached() {
                    // Outcomes are written in order, so nothing behind a text without one.
                    _ if ended_by.is_some() => {}
                    None => match given.outcome {
                        // The next text would fail in the same way. This one is tried again when the run goes on.
                        Outcome::Failed { error, .. } if error.ends_run() => {
                            ended_by = Some(error);
                            desk.close();
                            out_of_patience = self.sleep.sleep(self.drain).fuse();
                        }
                        _ => waiting.push(new_outcome(given, desk)?),
                    },
                    Some(limit) if end.is_none() => {
                        end = Some(End::OverBudget(limit));
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
        self.give_out(written);
        let error = ended_by.or_else(|| desk.take_error());
        let complete = error.is_none() && end.is_none() && session == Session::Append;
        store.end_session(complete).await?;
        let progress = self.tell(store, made, &watch);
        match error {
            Some(error) => Err(error),
            None => Ok(RunReport {
                end: end.unwrap_or(End::Complete),
                progress,
            }),
        }
    }

    /// Ends when the time of the run does.
    fn out_of_time<S: RunStore + ?Sized>(&self, store: &S) -> Fuse<BoxFuture<'static, ()>> {
        match store.time_left() {
            None => Fuse::terminated(),
            Some(left) if left.is_zero() => std::future::ready(()).boxed().fuse(),
            Some(left) => self.sleep.sleep(left).fuse(),
        }
    }

    /// The report of a session that was told to stop before it began.
    pub(super) async fn stopped<S: RunStore + ?Sized>(mut self, store: &S) -> Result<RunReport> {
        store.end_session(false).await?;
        let watch = Watch::new((self.clock)());
        Ok(RunReport {
            end: End::Stopped,
            progress: self.tell(store, 0, &watch),
        })
    }

    fn give_out(&mut self, batch: Vec<NewOutcome>) {
        if let Some(taker) = &mut self.taker {
            batch.into_iter().for_each(|new| taker(new.outcome));
        }
    }

    fn tell<S: RunStore + ?Sized>(&mut self, store: &S, made: u64, watch: &Watch) -> RunProgress {
        let progress = RunProgress::new(&store.tally(), made, watch.elapsed(), self.total);
        (self.observer)(&progress);
        progress
    }
}

async fn write<S: RunStore + ?Sized>(
    store: &S,
    session: Session,
    batch: Vec<NewOutcome>,
) -> Written {
    let written = match session {
        Session::Append => store.append(&batch).await,
        Session::Replace => store.replace(&batch).await,
    };
    (written, batch)
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

fn new_outcome(given: Given, desk: &Desk) -> Result<NewOutcome> {
    let Some(ticket) = desk.next_ticket() else {
        let reason = "more outcomes came out than texts went in".to_owned();
        return Err(Error::Other(reason.into()));
    };
    let other = |error: BoxError| Error::Other(error.into());
    let line = Row::of(&given.outcome).to_json();
    let line = line.map_err(|error| other(error.into()))?;
    Ok(NewOutcome {
        place: ticket.place,
        text_hash: ticket.text_hash,
        line: String::from_utf8(line).map_err(|error| other(error.into()))?,
        outcome: given.outcome,
        dropped_pair: given.dropped_pair,
    })
}
