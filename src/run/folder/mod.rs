//! A run in a folder.

mod files;
mod mark;
mod past;

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;

use self::{
    files::{Files, NewLines},
    mark::{Mark, digits, line, text_hash},
};
use super::{
    limit::Limit,
    store::{NewOutcome, PastOutcome, PastQuery, RunStore, Session, Tally, TextHash},
    worker::Worker,
};
use crate::{
    dataset::{Existing, Row, Summary},
    error::{Error, Result},
};

/// A run in a folder: `pairs.jsonl`, `dropped.jsonl`, `failed.jsonl`, `summary.json`, and `progress.jsonl`, which lets
/// it go on.
///
/// The same outcomes give the same bytes. While the run goes on the first three are named `*.partial`; they get their
/// names, and the summary is written, when a session ends. After a crash at any moment the run goes on after the
/// outcomes that were [durable](RunStore::append), and the files end as those of an undisturbed run. The formats are in
/// `docs/data-format.md`.
///
/// It keeps outcomes and no answers of models: what was in work when a run ended is made again. Failed draws cannot be
/// [retried](super::Runner::retry) in place; give `failed.jsonl` to a new run as input. A `Journal` (feature `run`) can
/// do both.
///
/// Opening blocks; everything else is done by a thread of its own. The folder is locked until the store is dropped.
#[derive(Debug)]
pub struct FolderStore {
    worker: Worker<Files>,
    path: PathBuf,
}

impl FolderStore {
    /// Opens a folder, and makes it if need be.
    ///
    /// `manifest` says what the run is made with (seed, models, settings, input); it ends up in `summary.json`, and a
    /// run only goes on under an equal one and the same version of this crate. Keep secrets out of it.
    ///
    /// # Errors
    /// [`Error::Config`] if the folder holds a run that must not be touched, or one with another manifest, with what
    /// has changed in it; [`Error::Input`] if the files of the run are damaged; [`Error::Io`] if the folder cannot be
    /// written, or somebody else writes into it.
    pub fn open(
        folder: impl AsRef<Path>,
        manifest: serde_json::Value,
        existing: Existing,
    ) -> Result<Self> {
        let path = folder.as_ref().to_owned();
        Ok(Self {
            worker: Worker::start(Files::open(&path, manifest, existing)?)?,
            path,
        })
    }

    /// The counts so far. They are in `summary.json` when a session has ended.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.worker.tally()
    }

    /// How many outcomes there are.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.worker.tally().read()
    }
}

#[async_trait]
impl RunStore for FolderStore {
    fn path(&self) -> &Path {
        &self.path
    }

    fn tally(&self) -> Tally {
        let summary = self.worker.tally();
        let tally = Tally {
            kept: summary.kept(),
            dropped: summary.dropped(),
            failed: summary.failed(),
            ..Tally::default()
        };
        tally.with_usage(summary.usage())
    }

    fn text_hash(&self, text: &str) -> TextHash {
        text_hash(text)
    }

    fn begin_session(&self, session: Session) -> Result<()> {
        match session {
            Session::Append => Ok(()),
            Session::Replace => Err(self.no_retry()),
        }
    }

    async fn past(&self, query: PastQuery) -> Result<Vec<PastOutcome>> {
        self.worker.ask(move |files| files.past(query)).await
    }

    async fn append(&self, outcomes: &[NewOutcome]) -> Result<()> {
        let lines: Result<Vec<_>> = outcomes.iter().map(lines).collect();
        let lines = lines?;
        self.worker.ask(move |files| files.append(lines)).await
    }

    async fn replace(&self, _: &[NewOutcome]) -> Result<()> {
        Err(self.no_retry())
    }

    async fn end_session(&self, complete: bool) -> Result<()> {
        self.worker.ask(move |files| files.finish(complete)).await
    }

    fn limit_reached(&self) -> Option<Limit> {
        None
    }

    fn time_left(&self) -> Option<Duration> {
        None
    }

    fn add_time(&self, _: Duration) {}
}

impl FolderStore {
    fn no_retry(&self) -> Error {
        let reason = format!(
            "the run in {} cannot try failed texts again: give its failed.jsonl to a new run as input, or keep the run in a journal",
            self.path.display()
        );
        Error::config("retry", reason)
    }
}

fn lines(new: &NewOutcome) -> Result<NewLines> {
    let mut row = Vec::with_capacity(new.line.len() + 1);
    row.extend_from_slice(new.line.as_bytes());
    row.push(b'\n');
    let counted = Row::of(&new.outcome).counted();
    let lineage = new.outcome.lineage();
    let mark = Mark {
        id: lineage.source_id().into(),
        draw: lineage.draw(),
        kind: counted.kind,
        sha256: digits(&new.text_hash).into(),
        pair: new.dropped_pair.as_deref().map(Cow::Borrowed),
    };
    Ok(NewLines {
        counted,
        row,
        mark: line(&mark)?,
    })
}
