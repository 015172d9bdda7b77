//! The journal as the store of a run.

use std::{path::Path, time::Duration};

use async_trait::async_trait;

use super::{
    Journal,
    tables::{OutcomeRow, Tables},
};
use crate::{
    dataset::Row,
    error::{Error, Result},
    run::{
        limit::Limit,
        store::{NewOutcome, PastOutcome, PastQuery, RunStore, Session, Tally, TextHash},
    },
};

#[async_trait]
impl RunStore for Journal {
    fn path(&self) -> &Path {
        self.shared.path()
    }

    fn tally(&self) -> Tally {
        let tally = self.shared.worker.tally();
        let mut spent = tally.spent;
        spent.wall_time = self.shared.wall_time().get();
        Tally {
            kept: tally.counts.kept,
            dropped: tally.counts.dropped,
            failed: tally.counts.failed,
            replayed: tally.replayed,
            spent,
        }
    }

    fn text_hash(&self, text: &str) -> TextHash {
        blake3::hash(text.as_bytes()).into()
    }

    fn begin_session(&self, _: Session) -> Result<()> {
        self.shared.forget_refusal();
        Ok(())
    }

    async fn past(&self, query: PastQuery) -> Result<Vec<PastOutcome>> {
        self.shared.ask(move |tables| tables.past(query)).await
    }

    async fn append(&self, outcomes: &[NewOutcome]) -> Result<()> {
        let rows = rows(outcomes)?;
        self.shared.ask(move |tables| tables.append(&rows)).await
    }

    async fn replace(&self, outcomes: &[NewOutcome]) -> Result<()> {
        let rows = rows(outcomes)?;
        self.shared.ask(move |tables| tables.replace(&rows)).await
    }

    async fn end_session(&self, complete: bool) -> Result<()> {
        let end = move |tables: &mut Tables| {
            if complete {
                tables.set_complete(true)?;
            }
            Ok(())
        };
        self.shared.ask(end).await
    }

    fn limit_reached(&self) -> Option<Limit> {
        self.shared.refused().map(|refused| refused.limit)
    }

    fn time_left(&self) -> Option<Duration> {
        let most = self.shared.worker.tally().budget.wall_time?;
        Some(most.saturating_sub(self.shared.wall_time().get()))
    }

    fn add_time(&self, time: Duration) {
        self.shared.wall_time().add(time);
    }
}

fn rows(outcomes: &[NewOutcome]) -> Result<Vec<OutcomeRow>> {
    outcomes.iter().map(row).collect()
}

/// An outcome as it is written.
fn row(new: &NewOutcome) -> Result<OutcomeRow> {
    let json = |error: serde_json::Error| Error::Other(error.into());
    let counted = Row::of(&new.outcome).counted();
    let (stage, code) = counted.end.unzip();
    let lineage = new.outcome.lineage();
    let dropped_pair = new.dropped_pair.as_deref().map(serde_json::to_string);
    Ok(OutcomeRow {
        place: new.place,
        source_id: lineage.source_id().to_owned(),
        draw: lineage.draw(),
        kind: counted.kind,
        stage: stage.map(|stage| stage.as_str()),
        code,
        text_hash: new.text_hash,
        line: new.line.clone(),
        dropped_pair: dropped_pair.transpose().map_err(json)?,
    })
}
