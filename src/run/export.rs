//! The outcomes of a journal as a folder of files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::from_str;

use super::{
    manifest::Manifest,
    schema::open_reader,
    store::{Kind, is_complete},
    trouble::{DAMAGED, Trouble},
};
use crate::{
    dataset::{Existing, Row, RunWriter, Summary},
    error::{Error, Result},
    files::sync_folder,
};

/// Writes the outcomes of a journal into a folder: `pairs.jsonl`, `dropped.jsonl`, `failed.jsonl` and `summary.json`, the
/// same bytes as [`RunWriter`] writes for the same outcomes and manifest. Blocks; the journal may be in use.
///
/// Each file is put in its place when all are whole and on the disk; files of an earlier export are replaced.
///
/// # Errors
/// Those of [`Status::read`](super::Status::read) for the journal; [`Error::Io`] if the folder cannot be written, which
/// leaves what was in it; [`Error::Config`] if it holds a run that a [`RunWriter`] has not finished.
pub fn export(journal: impl AsRef<Path>, folder: impl AsRef<Path>) -> Result<Summary> {
    let (journal, folder) = (journal.as_ref(), folder.as_ref());
    let trouble = |trouble: Trouble| trouble.error(journal);
    let sqlite = |error: rusqlite::Error| trouble(error.into());
    let connection = open_reader(journal).map_err(trouble)?;
    // One snapshot for all.
    connection.execute_batch("BEGIN").map_err(sqlite)?;
    let manifest = Manifest::read(&connection).map_err(trouble)?;
    let complete = is_complete(&connection).map_err(trouble)?;

    let in_folder = |error: io::Error| Error::io(folder, error);
    fs::create_dir_all(folder).map_err(in_folder)?;
    refuse_unfinished(folder)?;
    // In the folder itself, so that files can be moved into place.
    let aside = tempfile::Builder::new()
        .prefix(".export-")
        .tempdir_in(folder)
        .map_err(in_folder)?;
    let mut writer = RunWriter::create(aside.path(), manifest.into_value(), Existing::Refuse)?;
    let mut query = connection
        .prepare("SELECT kind, line FROM outcomes ORDER BY place")
        .map_err(sqlite)?;
    let mut rows = query.query([]).map_err(sqlite)?;
    while let Some(row) = rows.next().map_err(sqlite)? {
        let kind: String = row.get(0).map_err(sqlite)?;
        let line: String = row.get(1).map_err(sqlite)?;
        let parsed = parse(&kind, &line).ok_or_else(|| trouble(Trouble::damaged(DAMAGED)))?;
        writer.write_row(&parsed, line.clone().into_bytes())?;
    }
    let summary = writer.finish(complete)?;
    for name in [
        "pairs.jsonl",
        "dropped.jsonl",
        "failed.jsonl",
        "summary.json",
    ] {
        let place: PathBuf = folder.join(name);
        tracing::trace!("replacing");
        fs::rename(aside.path().join(name), &place).map_err(|error| Error::io(place, error))?;
    }
    aside.close().map_err(in_folder)?;
    sync_folder(folder)?;
    Ok(summary)
}

fn parse<'a>(kind: &str, line: &'a str) -> Option<Row<'a>> {
    Some(match Kind::parse(kind)? {
        Kind::Kept => Row::Kept(from_str(line).ok()?),
        Kind::Dropped => Row::Dropped(from_str(line).ok()?),
        Kind::Failed => Row::Failed(from_str(line).ok()?),
    })
}

/// Files of a run that goes on elsewhere would no longer agree with each other.
fn refuse_unfinished(folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(|error| Error::io(folder, error))?;
    for entry in entries {
        let name = entry.map_err(|error| Error::io(folder, error))?.file_name();
        if name == "progress"
            || Path::new(&name)
                .extension()
                .is_some_and(|end| end == "partial")
        {
            let reason = format!(
                "{} holds a run that is not finished; choose another folder",
                folder.display()
            );
            return Err(Error::config("output folder", reason));
        }
    }
    Ok(())
}
