//! The files of a run in a folder, which a thread of their own writes.

use std::{fs, path::Path};

use super::{
    mark::{Header, Mark, line},
    past::Past,
};
use crate::{
    dataset::{Appender, Counted, Existing, Kind, OutcomeFiles, Summary, exists},
    error::{Error, Result},
    files::{self, Lock},
    run::{
        faults::faults,
        manifest::Manifest,
        store::{PastOutcome, PastQuery},
        worker::Blocking,
    },
};

/// An outcome as it is written.
pub(super) struct NewLines {
    pub(super) counted: Counted,
    pub(super) row: Vec<u8>,
    pub(super) mark: Vec<u8>,
}

/// All the files.
#[derive(Debug)]
pub(super) struct Files {
    outcomes: OutcomeFiles,
    /// Says, in input order, what each outcome is of, and in which file it is.
    progress: Appender,
    past: Option<Past>,
    /// Marks of outcomes whose lines are written, and the files that those are in.
    marks: Vec<u8>,
    written: Vec<Kind>,
    /// Whether the files have the names of files that grow.
    grows: bool,
    _lock: Lock,
}

impl Files {
    /// Opens a folder, and makes it if need be.
    pub(super) fn open(
        dir: &Path,
        manifest: serde_json::Value,
        existing: Existing,
    ) -> Result<Self> {
        fs::create_dir_all(dir).map_err(|error| Error::io(dir, error))?;
        // It comes before anything is changed.
        let lock = Lock::take(&dir.join(OutcomeFiles::LOCK))?;
        tracing::trace!("opening");
        files::remove_partial(dir)?;
        let path = dir.join(OutcomeFiles::PROGRESS);
        let (can_go_on, has_outcomes) = (exists(&path), OutcomeFiles::are_in(dir));
        let refuse = |why: &str| {
            let reason = format!("{} {why}", dir.display());
            Err(Error::config("output folder", reason))
        };
        let manifest = Manifest::new(manifest);
        let summary = Summary::new().with_manifest(manifest.value.clone());
        match existing {
            Existing::Refuse if can_go_on || has_outcomes => {
                return refuse(
                    "already holds a run; choose another folder, resume it or overwrite it",
                );
            }
            Existing::Resume if can_go_on => {
                let mut progress = Appender::open_named(path)?;
                let header = read_header(&mut progress)?;
                let changes = header.manifest.changes(&manifest);
                if !changes.is_empty() {
                    return refuse(&format!(
                        "holds a run with another manifest ({}); give these their old values, choose another folder or overwrite it",
                        changes.join("; ")
                    ));
                }
                return Self::resume(dir, lock, progress, summary);
            }
            Existing::Resume if has_outcomes => {
                return refuse(
                    "holds outcomes, but no progress.jsonl to go on with: an older version wrote them, or an export; choose another folder or overwrite it",
                );
            }
            Existing::Refuse | Existing::Overwrite | Existing::Resume => {}
        }
        files::remove(&path)?;
        OutcomeFiles::remove(dir)?;
        files::replace(&path, &line(&Header::new(manifest))?)?;
        let mut progress = Appender::open_named(path)?;
        progress.keep(1, |_| Ok(()))?;
        let outcomes = OutcomeFiles::open(dir, summary)?;
        files::sync_folder(dir)?;
        Ok(Self::new(outcomes, progress, lock))
    }

    fn new(outcomes: OutcomeFiles, progress: Appender, lock: Lock) -> Self {
        Self {
            outcomes,
            progress,
            past: None,
            marks: Vec::new(),
            written: Vec::new(),
            grows: false,
            _lock: lock,
        }
    }

    /// Cuts the files to the longest beginning in which they agree: a crash may have left lines that are not whole, or
    /// whose outcome is not in `progress.jsonl`.
    fn resume(dir: &Path, lock: Lock, mut progress: Appender, summary: Summary) -> Result<Self> {
        let complete = OutcomeFiles::is_complete(dir);
        let mut outcomes = OutcomeFiles::open(dir, summary)?;
        let have = outcomes.count()?;
        let mut counts = [0; 3];
        // With the header.
        let (mut lines, mut agreed, mut open) = (0, 1, true);
        progress.keep(u64::MAX, |bytes| {
            lines += 1;
            if lines == 1 {
                return Ok(());
            }
            let mark: Option<Mark<'_>> = serde_json::from_slice(bytes).ok();
            let next = mark.and_then(|mark| {
                let place = mark.kind as usize;
                counts.get_mut(place).zip(have.get(place))
            });
            match next {
                Some((count, have)) if open && *count < *have => {
                    *count += 1;
                    agreed += 1;
                }
                _ => open = false,
            }
            Ok(())
        })?;
        progress.keep(agreed, |_| Ok(()))?;
        outcomes.keep(counts)?;
        outcomes.summary.set_complete(complete);
        files::sync_folder(dir)?;
        Ok(Self::new(outcomes, progress, lock))
    }

    /// Adds outcomes after those that are there.
    pub(super) fn append(&mut self, new: Vec<NewLines>) -> Result<()> {
        if !self.grows {
            self.outcomes.go_on()?;
            self.grows = true;
        }
        self.outcomes.summary.set_complete(false);
        for kind in [Kind::Kept, Kind::Dropped, Kind::Failed] {
            let of_kind = new.iter().filter(|lines| lines.counted.kind == kind);
            let rows: Vec<u8> = of_kind.flat_map(|lines| &lines.row).copied().collect();
            if !rows.is_empty() {
                self.outcomes.append(kind, &rows)?;
                self.written.push(kind);
            }
        }
        for lines in new {
            self.marks.extend(lines.mark);
            self.outcomes.summary.count(lines.counted);
        }
        Ok(())
    }

    /// Outcomes that are there.
    pub(super) fn past(&mut self, query: PastQuery) -> Result<Vec<PastOutcome>> {
        let done = self.outcomes.summary.read();
        let mut past = match self.past.take() {
            Some(past) if past.can_go_on(query) => past,
            _ => Past::open(
                self.progress.name(),
                self.outcomes.pairs_path(),
                query.pairs,
            )?,
        };
        let read = past.read(query, done)?;
        self.past = Some(past);
        Ok(read)
    }

    /// Puts the files under their final names, with a summary.
    pub(super) fn finish(&mut self, complete: bool) -> Result<()> {
        self.commit()?;
        if complete {
            self.outcomes.summary.set_complete(true);
        }
        self.past = None;
        self.grows = false;
        self.outcomes.finish()
    }
}

impl Blocking for Files {
    type Tally = Summary;

    const WHAT: &'static str = "the folder of the run";

    fn begin(&mut self) -> Result<()> {
        Ok(())
    }

    /// The marks come last: what they say is there is on the disk.
    fn commit(&mut self) -> Result<()> {
        let sync = faults().waits_for_the_disk();
        for kind in std::mem::take(&mut self.written) {
            if sync {
                self.outcomes.sync(kind)?;
            }
        }
        if !self.marks.is_empty() {
            self.progress.append(&self.marks)?;
            self.marks.clear();
            if sync {
                self.progress.sync()?;
            }
        }
        Ok(())
    }

    fn tally(&self) -> Summary {
        self.outcomes.summary.clone()
    }
}

fn read_header(progress: &mut Appender) -> Result<Header> {
    let line = progress.first_line()?.unwrap_or_default();
    Header::parse(&line).map_err(|reason| Error::input(progress.name(), 1, reason))
}
