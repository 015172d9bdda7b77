//! The outcomes of a journal as a folder of files.

use std::{fs, io, path::Path};

use serde_json::from_str;

use super::{
    fatal::{DAMAGED, Fatal},
    schema::{open_reader, read_manifest},
    tables::{is_complete, kind_of},
};
use crate::{
    dataset::{Kind, OutcomeFiles, Row, RunWriter, Summary},
    error::{Error, Result},
    files,
};

/// Writes the outcomes of a journal into a folder: `pairs.jsonl`, `dropped.jsonl`, `failed.jsonl` and `summary.json`,
/// the same bytes as [`RunWriter`] writes for the same outcomes and manifest. Blocks; the journal may be in use.
///
/// Each file is put in its place when all are whole and on the disk; files of an earlier export are replaced.
///
/// # Errors
/// Those of [`Status::read`](super::Status::read) for the journal; [`Error::Io`] if the folder cannot be written, which
/// leaves what was in it; [`Error::Config`] if it holds a run of its own: of a
/// [`FolderStore`](crate::run::FolderStore), or of a [`RunWriter`] that has not finished.
pub fn export(journal: impl AsRef<Path>, folder: impl AsRef<Path>) -> Result<Summary> {
    let (journal, folder) = (journal.as_ref(), folder.as_ref());
    let fatal = |fatal: Fatal| fatal.error(journal);
    let sqlite = |error: rusqlite::Error| fatal(error.into());
    let connection = open_reader(journal).map_err(fatal)?;
    // One snapshot for all.
    connection.execute_batch("BEGIN").map_err(sqlite)?;
    let manifest = read_manifest(&connection).map_err(fatal)?;
    let complete = is_complete(&connection).map_err(fatal)?;

    let in_folder = |error: io::Error| Error::io(folder, error);
    fs::create_dir_all(folder).map_err(in_folder)?;
    refuse_another_run(folder)?;
    // In the folder itself, so that files can be moved into place.
    let aside = tempfile::Builder::new()
        .prefix(".export-")
        .tempdir_in(folder)
        .map_err(in_folder)?;
    let mut writer = RunWriter::create(aside.path(), manifest.value)?;
    let mut query = connection
        .prepare("SELECT kind, line FROM outcomes ORDER BY place")
        .map_err(sqlite)?;
    let mut rows = query.query([]).map_err(sqlite)?;
    while let Some(row) = rows.next().map_err(sqlite)? {
        let kind: String = row.get(0).map_err(sqlite)?;
        let line: String = row.get(1).map_err(sqlite)?;
        let parsed = parse(&kind, &line).ok_or_else(|| fatal(Fatal::damaged(DAMAGED)))?;
        writer.write_row(&parsed, line.clone().into_bytes())?;
    }
    let summary = writer.finish(complete)?;
    for name in OutcomeFiles::NAMES {
        files::rename(&aside.path().join(name), &folder.join(name))?;
    }
    aside.close().map_err(in_folder)?;
    Ok(summary)
}

fn parse<'a>(kind: &str, line: &'a str) -> Option<Row<'a>> {
    Some(match kind_of(kind)? {
        Kind::Kept => Row::Kept(from_str(line).ok()?),
        Kind::Dropped => Row::Dropped(from_str(line).ok()?),
        Kind::Failed => Row::Failed(from_str(line).ok()?),
    })
}

/// The files of a run that may go on would no longer agree with each other.
fn refuse_another_run(folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(|error| Error::io(folder, error))?;
    for entry in entries {
        let name = entry.map_err(|error| Error::io(folder, error))?.file_name();
        if name == OutcomeFiles::PROGRESS
            || Path::new(&name)
                .extension()
                .is_some_and(|end| end == "partial")
        {
            let reason = format!(
                "{} holds another run; choose another folder",
                folder.display()
            );
            return Err(Error::config("output folder", reason));
        }
    }
    Ok(())
}
