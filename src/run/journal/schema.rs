//! The tables of a journal, and how its file is opened.

use std::{io, path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::fatal::{DAMAGED, Fatal, NO_JOURNAL};
use crate::{
    files::{self, beside},
    run::{faults::faults, manifest::Manifest},
};

const MANIFEST: &str = "manifest";
const LIBRARY: &str = "library";

/// Says in the header of the file that it is a journal: "saRJ".
const APPLICATION: i32 = i32::from_be_bytes(*b"saRJ");
/// Increases whenever an older library could not read what a newer one writes.
const VERSION: i32 = 1;
/// A reader may hold the file for moments; no other process writes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Large columns stand last, so that a reader of the others need not read them. No rowid is ever an id: rows have the
/// same keys whoever writes them.
const TABLES: &str = "
CREATE TABLE manifest (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What became of each draw. The place in input order is the number of the text times the draws, plus the draw.
CREATE TABLE outcomes (
    place INTEGER PRIMARY KEY,
    source_id TEXT NOT NULL,
    draw INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('kept', 'dropped', 'failed')),
    stage TEXT,
    code TEXT,
    text_hash BLOB NOT NULL,
    -- The line of its file, without line feed.
    line TEXT NOT NULL,
    -- The pair that filters with a memory saw, if it was they who dropped it.
    dropped_pair TEXT
) STRICT;
CREATE INDEX outcomes_by_kind ON outcomes (kind);

CREATE TABLE calls (
    key BLOB PRIMARY KEY,
    model TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('intent', 'failed', 'done')),
    tries INTEGER NOT NULL,
    errors INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    cost INTEGER NOT NULL DEFAULT 0,
    -- Made by the run that this one was forked from, and paid there.
    inherited INTEGER NOT NULL DEFAULT 0,
    answer TEXT,
    CHECK ((state = 'done') = (answer IS NOT NULL))
) STRICT;
CREATE INDEX calls_in_flight ON calls (key) WHERE state = 'intent';

-- Failures that a retry replaced, counted from 0 for each draw.
CREATE TABLE dead_letters (
    place INTEGER NOT NULL,
    number INTEGER NOT NULL,
    source_id TEXT NOT NULL,
    draw INTEGER NOT NULL,
    stage TEXT,
    code TEXT,
    line TEXT NOT NULL,
    PRIMARY KEY (place, number)
) STRICT;

-- One row. The sums are those of the calls that were not inherited.
CREATE TABLE budget (
    only INTEGER PRIMARY KEY CHECK (only = 0),
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    money INTEGER NOT NULL DEFAULT 0,
    requests INTEGER NOT NULL DEFAULT 0,
    milliseconds INTEGER NOT NULL DEFAULT 0,
    most_tokens INTEGER,
    most_money INTEGER,
    most_requests INTEGER,
    most_milliseconds INTEGER
) STRICT;
INSERT INTO budget (only) VALUES (0);
";

/// Makes a journal under a temporary name and gives it its own when it is whole.
pub(super) fn build(
    path: &Path,
    manifest: &Manifest,
    fill: impl FnOnce(&Connection) -> Result<(), Fatal>,
) -> Result<(), Fatal> {
    let partial = beside(path, ".partial");
    // Left by a process that was killed at this point.
    for leftover in [partial.clone(), beside(&partial, "-journal")] {
        files::remove(&leftover)?;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let connection = Connection::open_with_flags(&partial, flags)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch("BEGIN")?;
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.pragma_update(None, "user_version", VERSION)?;
    connection.execute_batch(TABLES)?;
    let mut insert = connection.prepare("INSERT INTO manifest (name, value) VALUES (?1, ?2)")?;
    insert.execute(params![MANIFEST, manifest.value.to_string()])?;
    insert.execute(params![LIBRARY, manifest.library])?;
    drop(insert);
    fill(&connection)?;
    connection.execute_batch("COMMIT")?;
    set_wal(&connection)?;
    // Moves the log into the file and removes it.
    connection.close().map_err(|(_, error)| error)?;
    Ok(files::rename(&partial, path)?)
}

/// Opens a journal to write.
pub(super) fn open_writer(path: &Path) -> Result<Connection, Fatal> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    set_wal(&connection)?;
    let synchronous = if faults().waits_for_the_disk() {
        "FULL"
    } else {
        "OFF"
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    Ok(connection)
}

/// Opens a journal to read, while another process may write it.
pub(super) fn open_reader(path: &Path) -> Result<Connection, Fatal> {
    open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, Fatal> {
    // Each connection belongs to one thread.
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get(0));
    let (application, version): (i32, i32) = (number("application_id")?, number("user_version")?);
    if application != APPLICATION {
        return Err(Fatal::damaged(NO_JOURNAL));
    }
    if version != VERSION {
        return Err(Fatal::damaged(format!(
            "the journal has the schema {version}, and this version of the library knows {VERSION}: take the version that made it"
        )));
    }
    Ok(connection)
}

fn set_wal(connection: &Connection) -> Result<(), Fatal> {
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode == "wal" {
        return Ok(());
    }
    let reason = "SQLite cannot keep a write-ahead log here: put the journal on a local disk";
    Err(Fatal::Io(io::ErrorKind::Unsupported, reason.to_owned()))
}

/// One value of the manifest.
pub(super) fn manifest_value(connection: &Connection, name: &str) -> Result<Option<String>, Fatal> {
    let sql = "SELECT value FROM manifest WHERE name = ?1";
    Ok(connection
        .query_row(sql, [name], |row| row.get(0))
        .optional()?)
}

/// What the run is made with.
pub(super) fn read_manifest(connection: &Connection) -> Result<Manifest, Fatal> {
    let missing = || Fatal::damaged(DAMAGED);
    let value = manifest_value(connection, MANIFEST)?.ok_or_else(missing)?;
    Ok(Manifest {
        value: serde_json::from_str(&value).map_err(|_| missing())?,
        library: manifest_value(connection, LIBRARY)?.ok_or_else(missing)?,
    })
}
