//! The texts of a run: those whose outcomes are there, and those that go into the pipeline.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    vec,
};

use futures::{Stream, StreamExt, stream};

use super::store::{PastOutcome, PastQuery, RunStore, TextHash};
use crate::{
    error::{Error, Result},
    pipeline::Memories,
    record::SourceText,
};

/// How many rows are read at once.
const CHUNK: u32 = 512;

/// Between the texts that go in and the outcomes that come out, which have the same order.
#[derive(Clone, Default)]
pub(super) struct Desk(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    closed: bool,
    error: Option<Error>,
    tickets: VecDeque<Ticket>,
}

/// What an outcome will need of its text.
#[derive(Clone, Copy)]
pub(super) struct Ticket {
    pub(super) place: u64,
    pub(super) text_hash: TextHash,
}

impl Desk {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts no more texts.
    pub(super) fn close(&self) {
        self.inner().closed = true;
    }

    /// The ticket of the next outcome.
    pub(super) fn next_ticket(&self) -> Option<Ticket> {
        self.inner().tickets.pop_front()
    }

    /// The error that ended the texts.
    pub(super) fn take_error(&self) -> Option<Error> {
        self.inner().error.take()
    }

    /// The texts, until the desk is closed or the first of them is an error. `tickets` says which outcomes each leads
    /// to.
    pub(super) fn admit<T, S>(
        &self,
        texts: S,
        mut tickets: impl FnMut(&T, &mut VecDeque<Ticket>),
    ) -> impl Stream<Item = T>
    where
        S: Stream<Item = Result<T>> + Unpin,
    {
        let (desk, mut texts) = (self.clone(), texts);
        stream::poll_fn(move |context| {
            if desk.inner().closed {
                return None.into();
            }
            texts.poll_next_unpin(context).map(|next| match next {
                Some(Ok(text)) => {
                    tickets(&text, &mut desk.inner().tickets);
                    Some(text)
                }
                Some(Err(error)) => {
                    let mut inner = desk.inner();
                    inner.closed = true;
                    inner.error = Some(error);
                    None
                }
                None => None,
            })
        })
    }
}

/// Outcomes that are there, one by one, in constant memory.
struct Rows<'s, S: ?Sized> {
    store: &'s S,
    query: PastQuery,
    rows: vec::IntoIter<PastOutcome>,
}

impl<'s, S: RunStore + ?Sized> Rows<'s, S> {
    fn new(store: &'s S, failed: bool, pairs: bool) -> Self {
        let query = PastQuery {
            from: 0,
            most: CHUNK,
            failed,
            pairs,
        };
        Self {
            store,
            query,
            rows: Vec::new().into_iter(),
        }
    }

    async fn next(&mut self) -> Result<Option<PastOutcome>> {
        if self.rows.len() == 0 {
            self.rows = self.store.past(self.query).await?.into_iter();
        }
        let row = self.rows.next();
        if let Some(row) = &row {
            self.query.from = row.place + 1;
        }
        Ok(row)
    }
}

/// Skips the texts whose outcomes are there, checks that they are still the same, and shows them to the ordered
/// filters.
pub(super) struct PassOver<'s, S: ?Sized> {
    store: &'s S,
    draws: u32,
}

impl<'s, S: RunStore + ?Sized> PassOver<'s, S> {
    pub(super) fn new(store: &'s S, draws: u32) -> Self {
        Self { store, draws }
    }

    /// Gives the text that only some draws were made at, if there is one, and their number.
    pub(super) async fn run<T>(
        &self,
        sources: &mut T,
        memories: &mut Memories,
    ) -> Result<Option<(SourceText, u32)>>
    where
        T: Stream<Item = Result<SourceText>> + Unpin,
    {
        let done = self.store.tally().done();
        let mut rows = Rows::new(self.store, false, memories.want_pairs());
        let mut left = done;
        while left > 0 {
            let Some(source) = sources.next().await.transpose()? else {
                let texts = (done - left) / u64::from(self.draws);
                return Err(self.changed(format!(
                    "the input has {texts} texts, and the run has outcomes of more: give the whole input, in the same order"
                )));
            };
            let text_hash = self.store.text_hash(source.text());
            let draws = u32::try_from(left).unwrap_or(u32::MAX).min(self.draws);
            for draw in 0..draws {
                if let Some(row) = rows.next().await? {
                    self.check(&row, &source, draw, &text_hash)?;
                    show(&row, memories);
                }
            }
            left -= u64::from(draws);
            if draws < self.draws {
                return Ok(Some((source, draws)));
            }
            memories.saw_source(&source);
        }
        Ok(None)
    }

    /// Shows all pairs to the ordered filters.
    pub(super) async fn show_pairs(&self, memories: &mut Memories) -> Result<()> {
        if memories.want_pairs() {
            let mut rows = Rows::new(self.store, false, true);
            while let Some(row) = rows.next().await? {
                show(&row, memories);
            }
        }
        Ok(())
    }

    /// Whether a text is the one that an outcome is of.
    pub(super) fn check(
        &self,
        row: &PastOutcome,
        source: &SourceText,
        draw: u32,
        text_hash: &TextHash,
    ) -> Result<()> {
        let number = row.place / u64::from(self.draws) + 1;
        let (old, new) = (&row.source_id, source.id());
        if row.draw != draw {
            let reason = format!(
                "the run was made with another number of draws than {}",
                self.draws
            );
            return Err(Error::config("draws", reason));
        }
        if old != new {
            return Err(self.changed(format!(
                "the input has changed: its record {number} is {new:?} and was {old:?}; give the same input, or begin a new run"
            )));
        }
        if row.text_hash != *text_hash {
            return Err(self.changed(format!(
                "the input has changed: record {number} ({new:?}) has another text; give the same input, or begin a new run"
            )));
        }
        Ok(())
    }

    fn changed(&self, reason: String) -> Error {
        Error::input(self.store.path(), None, reason)
    }
}

fn show(row: &PastOutcome, memories: &mut Memories) {
    if let Some(pair) = &row.pair {
        memories.saw_pair(pair);
    }
}

/// The draws that failed, with their texts, which are looked for among all.
pub(super) struct Failed<'s, T, S: ?Sized> {
    sources: T,
    rows: Rows<'s, S>,
    draws: u32,
    /// The text that was read last, and how many were read.
    source: Option<SourceText>,
    read: u64,
}

impl<'s, T, S> Failed<'s, T, S>
where
    T: Stream<Item = Result<SourceText>> + Unpin,
    S: RunStore + ?Sized,
{
    pub(super) fn new(store: &'s S, draws: u32, sources: T) -> Self {
        Self {
            sources,
            rows: Rows::new(store, true, false),
            draws,
            source: None,
            read: 0,
        }
    }

    /// The next draw, and the place of its outcome.
    pub(super) async fn next(&mut self) -> Result<Option<(SourceText, Ticket)>> {
        let check = PassOver::new(self.rows.store, self.draws);
        let Some(row) = self.rows.next().await? else {
            return Ok(None);
        };
        let draws = u64::from(self.draws);
        let number = row.place / draws;
        while self.read <= number {
            let Some(source) = self.sources.next().await.transpose()? else {
                return Err(check.changed(format!(
                    "the input has {} texts, and text {} has failed: give the whole input, in the same order",
                    self.read,
                    number + 1
                )));
            };
            self.source = Some(source);
            self.read += 1;
        }
        let Some(source) = &self.source else {
            return Ok(None);
        };
        let text_hash = check.store.text_hash(source.text());
        let draw = u32::try_from(row.place % draws).unwrap_or(u32::MAX);
        check.check(&row, source, draw, &text_hash)?;
        let lineage = source.lineage().clone().with_draw(draw);
        let ticket = Ticket {
            place: row.place,
            text_hash,
        };
        Ok(Some((source.clone().with_lineage(lineage), ticket)))
    }
}
