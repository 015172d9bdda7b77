//! The files of a folder that hold outcomes.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::{
    appender::{Appender, exists, partial_name},
    row::{Kind, Row},
    summary::Summary,
};
use crate::{
    error::{Error, Result},
    files,
};

const PAIRS: &str = "pairs.jsonl";
const DROPPED: &str = "dropped.jsonl";
const FAILED: &str = "failed.jsonl";
const SUMMARY: &str = "summary.json";

/// `pairs.jsonl`, `dropped.jsonl` and `failed.jsonl`, which grow under the names `*.partial`, and `summary.json`, which
/// is there when they are finished.
#[derive(Debug)]
pub(crate) struct OutcomeFiles {
    dir: PathBuf,
    pairs: Appender,
    dropped: Appender,
    failed: Appender,
    /// The outcomes in them, which [`finish`](Self::finish) writes down.
    pub(crate) summary: Summary,
}

impl OutcomeFiles {
    /// Those of a finished run.
    pub(crate) const NAMES: [&str; 4] = [PAIRS, DROPPED, FAILED, SUMMARY];

    /// Another file of a run that can go on; it has its name from the beginning.
    pub(crate) const PROGRESS: &str = "progress.jsonl";

    /// Keeps a second process from writing into a folder.
    pub(crate) const LOCK: &str = ".lock";

    /// Opens those that are there and makes the others.
    pub(crate) fn open(dir: &Path, summary: Summary) -> Result<Self> {
        Ok(Self {
            dir: dir.to_owned(),
            pairs: Appender::open(dir.join(PAIRS))?,
            dropped: Appender::open(dir.join(DROPPED))?,
            failed: Appender::open(dir.join(FAILED))?,
            summary,
        })
    }

    /// The whole lines of each.
    pub(crate) fn count(&mut self) -> Result<[u64; 3]> {
        let nothing = |_: &[u8]| Ok(());
        Ok([
            self.pairs.keep(u64::MAX, nothing)?,
            self.dropped.keep(u64::MAX, nothing)?,
            self.failed.keep(u64::MAX, nothing)?,
        ])
    }

    /// Cuts each after so many lines, and counts the outcomes in those.
    pub(crate) fn keep(&mut self, [pairs, dropped, failed]: [u64; 3]) -> Result<()> {
        let Self { dir, summary, .. } = self;
        self.pairs.keep(pairs, |line| {
            summary.add_row(&Row::Kept(parse(dir, PAIRS, line)?));
            Ok(())
        })?;
        self.dropped.keep(dropped, |line| {
            summary.add_row(&Row::Dropped(parse(dir, DROPPED, line)?));
            Ok(())
        })?;
        self.failed.keep(failed, |line| {
            summary.add_row(&Row::Failed(parse(dir, FAILED, line)?));
            Ok(())
        })?;
        Ok(())
    }

    /// Adds lines, with their line feeds, to one of them, which becomes partial.
    pub(crate) fn append(&mut self, kind: Kind, lines: &[u8]) -> Result<()> {
        let file = match kind {
            Kind::Kept => &mut self.pairs,
            Kind::Dropped => &mut self.dropped,
            Kind::Failed => &mut self.failed,
        };
        file.append(lines)
    }

    /// Puts what was added to one of them on the disk.
    pub(crate) fn sync(&self, kind: Kind) -> Result<()> {
        match kind {
            Kind::Kept => self.pairs.sync(),
            Kind::Dropped => self.dropped.sync(),
            Kind::Failed => self.failed.sync(),
        }
    }

    /// The name that the file of the pairs has now.
    pub(crate) fn pairs_path(&self) -> &Path {
        self.pairs.name()
    }

    /// Makes finished files partial again.
    pub(crate) fn go_on(&mut self) -> Result<()> {
        // A summary says that the others are finished.
        files::remove(&self.dir.join(SUMMARY))?;
        self.pairs.go_on()?;
        self.dropped.go_on()?;
        self.failed.go_on()
    }

    /// Puts everything on the disk under its final name.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.pairs.finish()?;
        self.dropped.finish()?;
        self.failed.finish()?;
        let mut json =
            serde_json::to_vec_pretty(&self.summary).map_err(|error| Error::Other(error.into()))?;
        json.push(b'\n');
        files::replace(&self.dir.join(SUMMARY), &json)
    }

    /// Whether the summary in a folder says that the whole input was worked on.
    pub(crate) fn is_complete(dir: &Path) -> bool {
        let summary = std::fs::read(dir.join(SUMMARY)).unwrap_or_default();
        serde_json::from_slice(&summary).is_ok_and(|summary: Summary| summary.is_complete())
    }

    /// Whether a folder has any of them, finished or not.
    pub(crate) fn are_in(dir: &Path) -> bool {
        names(dir).any(|path| exists(&path))
    }

    /// Removes them.
    pub(crate) fn remove(dir: &Path) -> Result<()> {
        names(dir).try_for_each(|path| files::remove(&path))
    }
}

fn names(dir: &Path) -> impl Iterator<Item = PathBuf> {
    OutcomeFiles::NAMES
        .map(|name| dir.join(name))
        .into_iter()
        .flat_map(|path| [partial_name(&path), path])
}

fn parse<T: DeserializeOwned>(dir: &Path, name: &str, line: &[u8]) -> Result<T> {
    serde_json::from_slice(line).map_err(|_| {
        let reason =
            "a line is damaged or not of this version; choose another folder or overwrite the run";
        Error::input(dir.join(name), None, reason)
    })
}
