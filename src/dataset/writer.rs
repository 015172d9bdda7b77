//! Writes the outcomes of a run into a folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;

use super::{
    appender::{Appender, exists, partial_name},
    manifest::differences,
    row::Row,
    summary::Summary,
};
use crate::{
    error::{Error, Result},
    files::{remove, remove_partial, replace, sync_folder},
    outcome::Outcome,
};

const PAIRS: &str = "pairs.jsonl";
const DROPPED: &str = "dropped.jsonl";
const FAILED: &str = "failed.jsonl";
const SUMMARY: &str = "summary.json";
/// One byte an outcome, in order: which file it went to. It says after a crash how far all files agree.
const PROGRESS: &str = "progress";

/// What to do when the folder already holds a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Fail and leave it alone.
    #[default]
    Refuse,
    /// Remove it and start anew.
    Overwrite,
    /// Go on behind its last outcome, if it was made with the same manifest; start anew if there is none.
    Resume,
}

/// Writes outcomes into `pairs.jsonl`, `dropped.jsonl` and `failed.jsonl`, and their counts into `summary.json`.
///
/// Outcomes come in input order; the same outcomes give the same bytes. Until [`finish`](Self::finish) the files are
/// named `*.partial`. A run that was killed loses at most the outcome that it was writing:
/// [`Existing::Resume`] goes on from there, and the files end up the same bytes as those of an undisturbed run.
#[derive(Debug)]
pub struct RunWriter {
    dir: PathBuf,
    pairs: Appender,
    dropped: Appender,
    failed: Appender,
    progress: Appender,
    summary: Summary,
    done: u64,
}

impl RunWriter {
    /// Opens a folder, and makes it if need be.
    ///
    /// `manifest` says what the run is made with (seed, models, settings, input); it ends up in `summary.json`, and
    /// a run is only resumed under an equal one. Keep secrets out of it.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be written or another process writes into it; [`Error::Config`] if it
    /// holds a run that must not be touched.
    pub fn create(
        dir: impl AsRef<Path>,
        manifest: serde_json::Value,
        existing: Existing,
    ) -> Result<Self> {
        let dir = dir.as_ref();
        fs::create_dir_all(dir).map_err(|error| Error::io(dir, error))?;
        let is_there = holds_run(dir);
        match existing {
            Existing::Refuse if is_there => {
                let reason = format!(
                    "{} already holds a run; choose another folder, resume it or overwrite it",
                    dir.display()
                );
                return Err(Error::config("output folder", reason));
            }
            Existing::Resume if is_there => return Self::resume(dir, manifest),
            _ => {}
        }
        // The lock comes before anything is removed.
        let progress = Appender::open(dir.join(PROGRESS))?;
        progress.lock()?;
        remove_partial(dir)?;
        remove_all(dir)?;
        let summary = Summary::new().with_manifest(manifest);
        write_summary(&partial_name(&dir.join(SUMMARY)), &summary)?;
        let mut writer = Self::open(dir, progress, summary)?;
        writer.progress.keep(0, |_| Ok(()))?;
        Ok(writer)
    }

    /// How many outcomes a resumed run already had: the caller leaves out as many items of its input.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done
    }

    /// The file that holds the pairs until [`finish`](Self::finish) gives it its final name. For a filter that must remember the
    /// pairs of the part of a run that was done before.
    #[must_use]
    pub fn pairs_path(&self) -> PathBuf {
        partial_name(&self.dir.join(PAIRS))
    }

    /// The counts so far.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Writes the next outcome.
    ///
    /// # Errors
    /// [`Error::Io`] with the file, for instance if the disk is full. What was written before stays valid, and the
    /// run can be resumed.
    pub fn write(&mut self, outcome: &Outcome) -> Result<()> {
        let row = Row::of(outcome);
        let line = row.to_json().map_err(|error| Error::Other(error.into()))?;
        self.write_row(&row, line)
    }

    /// Writes the next outcome, whose line is there.
    pub(crate) fn write_row(&mut self, row: &Row<'_>, mut line: Vec<u8>) -> Result<()> {
        let (file, mark) = match row {
            Row::Kept(_) => (&mut self.pairs, b"k\n"),
            Row::Dropped(_) => (&mut self.dropped, b"d\n"),
            Row::Failed(_) => (&mut self.failed, b"f\n"),
        };
        line.push(b'\n');
        file.append(&line)?;
        // A crash here leaves a line without a mark, which a resumed run cuts off.
        self.progress.append(mark)?;
        self.summary.add_row(row);
        Ok(())
    }

    /// Puts everything on the disk under its final name. `complete` says whether the whole input was worked on;
    /// an incomplete run leaves valid files as well, and can be resumed.
    ///
    /// # Errors
    /// [`Error::Io`] with the file; the run can then be resumed.
    pub fn finish(self, complete: bool) -> Result<Summary> {
        let summary = self.summary.with_complete(complete);
        self.pairs.finish()?;
        self.dropped.finish()?;
        self.failed.finish()?;
        let path = self.dir.join(SUMMARY);
        let partial = partial_name(&path);
        write_summary(&partial, &summary)?;
        if complete {
            fs::rename(&partial, &path).map_err(|error| Error::io(&path, error))?;
            self.progress.remove()?;
        } else {
            self.progress.finish()?;
            fs::rename(&partial, &path).map_err(|error| Error::io(&path, error))?;
        }
        sync_folder(&self.dir)?;
        Ok(summary)
    }

    fn open(dir: &Path, progress: Appender, summary: Summary) -> Result<Self> {
        Ok(Self {
            pairs: Appender::open(dir.join(PAIRS))?,
            dropped: Appender::open(dir.join(DROPPED))?,
            failed: Appender::open(dir.join(FAILED))?,
            dir: dir.to_owned(),
            progress,
            summary,
            done: 0,
        })
    }

    fn resume(dir: &Path, manifest: serde_json::Value) -> Result<Self> {
        let old = read_summary(dir)?;
        let new = Summary::new().with_manifest(manifest);
        let differ = differences(old.manifest(), new.manifest());
        if !differ.is_empty() {
            let places: Vec<_> = differ.into_iter().map(|differ| differ.place).collect();
            let reason = format!(
                "{} holds a run with other settings ({}); choose another folder or overwrite it",
                dir.display(),
                places.join(", ")
            );
            return Err(Error::config("output folder", reason));
        }
        let progress = Appender::open(dir.join(PROGRESS))?;
        progress.lock()?;
        remove_partial(dir)?;
        let mut writer = Self::open(dir, progress, new)?;
        // A complete run has no progress file: all its lines count.
        let kept = if old.is_complete() {
            None
        } else {
            Some(writer.agreed()?)
        };
        let most =
            |index: usize| kept.map_or(u64::MAX, |kept| kept.get(index).copied().unwrap_or(0));
        let Self {
            pairs,
            dropped,
            failed,
            summary,
            ..
        } = &mut writer;
        pairs.keep(most(0), |line| {
            summary.add_row(&Row::Kept(parse(dir, PAIRS, line)?));
            Ok(())
        })?;
        dropped.keep(most(1), |line| {
            summary.add_row(&Row::Dropped(parse(dir, DROPPED, line)?));
            Ok(())
        })?;
        failed.keep(most(2), |line| {
            summary.add_row(&Row::Failed(parse(dir, FAILED, line)?));
            Ok(())
        })?;
        writer.done = writer.summary.read();
        if old.is_complete() {
            writer.rewrite_progress()?;
        }
        write_summary(&partial_name(&dir.join(SUMMARY)), &writer.summary)?;
        Ok(writer)
    }

    /// Cuts the progress file to the longest beginning for which all three files have their lines, and gives the
    /// number of lines of each.
    fn agreed(&mut self) -> Result<[u64; 3]> {
        let nothing = |_: &[u8]| Ok(());
        let have = [
            self.pairs.keep(u64::MAX, nothing)?,
            self.dropped.keep(u64::MAX, nothing)?,
            self.failed.keep(u64::MAX, nothing)?,
        ];
        let mut counts = [0; 3];
        let mut agreed = 0;
        let mut open = true;
        self.progress.keep(u64::MAX, |mark| {
            let place = [b"k", b"d", b"f"].iter().position(|known| *known == mark);
            let next = place.and_then(|place| counts.get_mut(place).zip(have.get(place)));
            match next {
                Some((count, have)) if open && *count < *have => {
                    *count += 1;
                    agreed += 1;
                }
                _ => open = false,
            }
            Ok(())
        })?;
        self.progress.keep(agreed, nothing)?;
        Ok(counts)
    }

    fn rewrite_progress(&mut self) -> Result<()> {
        self.progress.keep(0, |_| Ok(()))?;
        let counts = [
            ("k\n", self.summary.kept()),
            ("d\n", self.summary.dropped()),
            ("f\n", self.summary.failed()),
        ];
        for (mark, count) in counts {
            let marks = mark.repeat(usize::try_from(count).unwrap_or(usize::MAX));
            self.progress.append(marks.as_bytes())?;
        }
        Ok(())
    }
}

fn names(dir: &Path) -> impl Iterator<Item = PathBuf> {
    [PAIRS, DROPPED, FAILED, SUMMARY]
        .map(|name| dir.join(name))
        .into_iter()
}

fn holds_run(dir: &Path) -> bool {
    names(dir).any(|path| exists(&path) || exists(&partial_name(&path)))
}

fn remove_all(dir: &Path) -> Result<()> {
    for path in names(dir).flat_map(|path| [partial_name(&path), path]) {
        remove(&path)?;
    }
    Ok(())
}

fn write_summary(path: &Path, summary: &Summary) -> Result<()> {
    let mut json =
        serde_json::to_vec_pretty(summary).map_err(|error| Error::Other(error.into()))?;
    json.push(b'\n');
    replace(path, &json)
}

fn read_summary(dir: &Path) -> Result<Summary> {
    let path = dir.join(SUMMARY);
    let partial = partial_name(&path);
    let path = if exists(&partial) { partial } else { path };
    let bytes = fs::read(&path).map_err(|error| Error::io(&path, error))?;
    serde_json::from_slice(&bytes).map_err(|_| {
        let reason = "not a summary of this version; choose another folder or overwrite it";
        Error::input(path, None, reason)
    })
}

fn parse<T: DeserializeOwned>(dir: &Path, name: &str, line: &[u8]) -> Result<T> {
    serde_json::from_slice(line).map_err(|_| {
        let reason = "a line is not of this version; choose another folder or overwrite the run";
        Error::input(dir.join(name), None, reason)
    })
}
