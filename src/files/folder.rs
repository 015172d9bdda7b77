//! File names that survive a power cut.

use std::{fs::File, io, path::Path};

use crate::error::{Error, Result};

/// Syncs the names of the files in a folder to the disk. A file that is new or renamed may otherwise be lost in a power
/// cut.
///
/// Does nothing where a folder cannot be opened (Windows; a folder that may be written but not read) or where the file
/// system has no such operation: these are the cases that PostgreSQL ignores too (`fsync_fname_ext`,
/// `src/backend/storage/file/fd.c`).
///
/// # Errors
/// [`Error::Io`] with the folder if it is not there or the disk fails.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    tracing::trace!("syncing the folder");
    let opened = match File::open(folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
        opened => opened,
    };
    match opened.and_then(|opened| opened.sync_all()) {
        Err(error) if !has_no_sync(&error) => Err(Error::io(folder, error)),
        _ => Ok(()),
    }
}

/// Whether the file system cannot sync a folder: `EINVAL`, `EBADF` or `ENOTSUP`.
fn has_no_sync(error: &io::Error) -> bool {
    const EBADF: i32 = 9;
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
    ) || error.raw_os_error() == Some(EBADF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_an_error_and_one_without_sync_is_not() {
        let folder = tempfile::tempdir().unwrap();
        sync_folder(folder.path()).unwrap();
        let gone = folder.path().join("gone");
        if cfg!(unix) {
            let error = sync_folder(&gone).unwrap_err();
            assert!(matches!(error, Error::Io { path, .. } if path == gone));
        }
        let with = io::Error::from;
        assert!(has_no_sync(&with(io::ErrorKind::InvalidInput)));
        assert!(has_no_sync(&io::Error::from_raw_os_error(9)));
        assert!(!has_no_sync(&with(io::ErrorKind::StorageFull)));
    }
}
