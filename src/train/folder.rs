//! The folder of a run: who may write into it, and what lies in it.

use std::{
    fs::{self, File, OpenOptions},
    path::Path,
};

use super::{checkpoint, reference};
use crate::{
    backends::candle::training::ADAPTER_FILES,
    dataset::Existing,
    error::{Error, Result},
    files::{Lock, remove, remove_partial},
};

/// Name of the file of events.
pub(super) const METRICS: &str = "metrics.jsonl";

/// Makes a folder ready for a run, and gives its file of events. As long as that is open, no other process trains into
/// the folder.
///
/// # Errors
/// Refuses a folder that another process trains into, and one that holds what would be lost.
pub(super) fn open(folder: &Path, existing: Existing) -> Result<File> {
    let (checkpoint, adapter) = (has_any(folder, &checkpoint::FILES), has_adapter(folder));
    let refused = |reason| Err(Error::input(folder, None, reason));
    if existing == Existing::Refuse && has_run(folder) {
        return refused(
            "this folder holds a run already; resume it, overwrite it, or take another folder",
        );
    }
    if existing == Existing::Resume && adapter && !checkpoint {
        return refused(
            "this folder holds an adapter without a checkpoint to go on from; overwrite it, or take another folder",
        );
    }
    fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
    let metrics = lock(folder)?;
    remove_partial(folder)?;
    if existing == Existing::Overwrite {
        remove_files(folder)?;
    }
    Ok(metrics)
}

/// Removes the run that is in a folder, as [`Existing::Overwrite`] does when it begins another: its checkpoints,
/// adapter, metrics and what is kept of the reference. Other files stay, and so does the folder; one that holds no run
/// is as it should be.
///
/// # Errors
/// [`Error::Io`] if a file cannot be removed, or if another process trains into the folder.
pub fn remove_run(folder: impl AsRef<Path>) -> Result<()> {
    let folder = folder.as_ref();
    if !has_any(folder, &[METRICS]) {
        return remove_files(folder);
    }
    let _metrics = lock(folder)?;
    remove_partial(folder)?;
    remove_files(folder)?;
    remove(&folder.join(METRICS))
}

/// Whether a folder holds a run or an adapter, which [`Existing::Refuse`] refuses. Looking before the examples are made
/// saves their time.
#[must_use]
pub fn has_run(folder: impl AsRef<Path>) -> bool {
    let folder = folder.as_ref();
    has_any(folder, &checkpoint::FILES) || has_adapter(folder)
}

/// Whether both files of an adapter are there.
pub(super) fn has_whole_adapter(folder: &Path) -> bool {
    ADAPTER_FILES.iter().all(|name| folder.join(name).exists())
}

fn has_adapter(folder: &Path) -> bool {
    has_any(folder, &ADAPTER_FILES)
}

fn has_any(folder: &Path, names: &[&str]) -> bool {
    names.iter().any(|name| folder.join(name).exists())
}

/// Opens the file of events and keeps other processes from training into its folder.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(METRICS);
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    let file = options
        .open(&path)
        .map_err(|error| Error::io(&path, error))?;
    Lock::hold(&file, &path)?;
    Ok(file)
}

/// Removes all but the events. The last checkpoint is removed after the one before it, so that no older one counts, and
/// the adapter after both: a run cannot go on from an adapter alone.
fn remove_files(folder: &Path) -> Result<()> {
    checkpoint::FILES
        .iter()
        .chain(&ADAPTER_FILES)
        .chain([&reference::FILE])
        .try_for_each(|name| remove(&folder.join(name)))
}
