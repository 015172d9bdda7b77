//! Errors that end the use of a journal.

use std::{io, path::Path};

use rusqlite::ffi::ErrorCode;

use crate::error::Error;

/// What went wrong with the file.
#[derive(Debug)]
pub(super) enum Fatal {
    /// The disk, or rights on it.
    Io(io::ErrorKind, String),
    /// What stands in the file.
    Damaged(String),
    /// What the files of the journal met.
    Known(Error),
}

impl Fatal {
    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }

    pub(super) fn error(self, path: &Path) -> Error {
        match self {
            Self::Io(kind, reason) => Error::io(path, io::Error::new(kind, reason)),
            Self::Damaged(reason) => Error::input(path, None, reason),
            Self::Known(error) => error,
        }
    }
}

impl From<Error> for Fatal {
    fn from(error: Error) -> Self {
        Self::Known(error)
    }
}

/// Only the code is passed on: SQLite's messages may hold values.
impl From<rusqlite::Error> for Fatal {
    fn from(error: rusqlite::Error) -> Self {
        use io::ErrorKind as Kind;
        let rusqlite::Error::SqliteFailure(failure, _) = &error else {
            return Self::damaged(
                "the journal holds a value of another type: it was changed by something else, or is damaged",
            );
        };
        let (kind, reason) = match failure.code {
            ErrorCode::DiskFull => (
                Kind::StorageFull,
                "the disk is full: free space and open the journal again; what was committed is in it",
            ),
            ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => (
                Kind::PermissionDenied,
                "cannot be opened or written: see that the folder exists, and that it and the file may be written; SQLite keeps two more files beside it",
            ),
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => (
                Kind::ResourceBusy,
                "another program holds the journal: close it and open the journal again",
            ),
            ErrorCode::DatabaseCorrupt => return Self::damaged(DAMAGED),
            ErrorCode::NotADatabase => return Self::damaged(NO_JOURNAL),
            ErrorCode::SystemIoFailure => (
                Kind::Other,
                "the disk failed: look at it and open the journal again; what was committed is in it",
            ),
            code => {
                let reason = format!(
                    "SQLite failed with {code:?} ({}); what was committed is in it",
                    failure.extended_code
                );
                return Self::Io(Kind::Other, reason);
            }
        };
        Self::Io(kind, reason.to_owned())
    }
}

pub(super) const NO_JOURNAL: &str = "not the journal of a run: give the path of one, or of a file that does not exist yet to create one";
pub(super) const DAMAGED: &str = "the journal is damaged or cut off: take it from a backup, or rescue its rows with SQLite's .recover; nothing was changed";
