//! Writes outcomes into a folder.

use std::{fs, path::Path};

use super::{outcome_files::OutcomeFiles, row::Row, summary::Summary};
use crate::{
    error::{Error, Result},
    files::Lock,
    outcome::Outcome,
};

/// Writes outcomes that are made by hand into `pairs.jsonl`, `dropped.jsonl` and `failed.jsonl`, and their counts into
/// `summary.json`.
///
/// A [`Runner`](crate::run::Runner) with a [`FolderStore`](crate::run::FolderStore) writes the same files, and can go
/// on with a run that was stopped or killed; this cannot. The same outcomes in the same order give the same bytes.
/// Until [`finish`](Self::finish) the files are named `*.partial`.
#[derive(Debug)]
pub struct RunWriter {
    files: OutcomeFiles,
    _lock: Lock,
}

impl RunWriter {
    /// Opens a folder, and makes it if necessary.
    ///
    /// `manifest` says what the outcomes are made with (seed, models, settings, input); it ends up in `summary.json`.
    /// Keep secrets out of it.
    ///
    /// # Errors
    /// [`Error::Config`] if the folder holds outcomes already, finished or not; [`Error::Io`] if it cannot be written
    /// or somebody else writes into it.
    pub fn create(dir: impl AsRef<Path>, manifest: serde_json::Value) -> Result<Self> {
        let dir = dir.as_ref();
        fs::create_dir_all(dir).map_err(|error| Error::io(dir, error))?;
        let lock = Lock::take(&dir.join(OutcomeFiles::LOCK))?;
        if OutcomeFiles::are_in(dir) || dir.join(OutcomeFiles::PROGRESS).exists() {
            let reason = format!(
                "{} already holds a run; choose another folder",
                dir.display()
            );
            return Err(Error::config("output folder", reason));
        }
        let files = OutcomeFiles::open(dir, Summary::new().with_manifest(manifest))?;
        Ok(Self { files, _lock: lock })
    }

    /// The counts so far.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.files.summary
    }

    /// Writes the next outcome.
    ///
    /// # Errors
    /// [`Error::Io`] with the file, for instance if the disk is full. What was written before stays valid.
    pub fn write(&mut self, outcome: &Outcome) -> Result<()> {
        let row = Row::of(outcome);
        let line = row.to_json().map_err(|error| Error::Other(error.into()))?;
        self.write_row(&row, line)
    }

    /// Writes the next outcome, whose line is there.
    pub(crate) fn write_row(&mut self, row: &Row<'_>, mut line: Vec<u8>) -> Result<()> {
        line.push(b'\n');
        self.files.append(row.kind(), &line)?;
        self.files.summary.add_row(row);
        Ok(())
    }

    /// Puts everything on the disk under its final name. `complete` says whether the whole input was worked on.
    ///
    /// # Errors
    /// [`Error::Io`] with the file.
    pub fn finish(mut self, complete: bool) -> Result<Summary> {
        self.files.summary.set_complete(complete);
        self.files.finish()?;
        Ok(self.files.summary)
    }
}
