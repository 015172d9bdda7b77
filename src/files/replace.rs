//! Files that are there as a whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use super::{folder::sync_folder, path::folder_of};
use crate::error::{Error, Result};

/// How the names of files begin that are not yet whole.
const PARTIAL: &str = ".safer-instruct-partial-";

/// Writes a file that is there as a whole or not at all, even after a power cut. One of the same name is replaced.
///
/// # Errors
/// [`Error::Io`] with the file, for instance if the disk is full; what was there before is then left.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = Partial::create(path)?;
    file.write_all(bytes)
        .map_err(|error| Error::io(path, error))?;
    file.commit()
}

/// Gives a file another name in the same folder, which lasts even after a power cut. One of that name is replaced.
///
/// # Errors
/// [`Error::Io`] with the old name.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    tracing::trace!("replacing");
    fs::rename(from, to).map_err(|error| Error::io(from, error))?;
    sync_folder(folder_of(to))
}

/// A file that is being written under a temporary name in the folder where it will be. Dropping it removes it.
///
/// ```
/// use safer_instruct::files::Partial;
/// use std::{fs, io::Write};
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let mut file = Partial::create(&folder.join("notes.txt"))?;
/// file.write_all(b"one line\n")?;
/// assert!(!folder.join("notes.txt").exists());
/// file.commit()?;
/// assert_eq!(fs::read(folder.join("notes.txt"))?, b"one line\n");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Partial {
    file: NamedTempFile<File>,
    path: PathBuf,
}

impl Partial {
    /// Begins the file that will be named `path`.
    ///
    /// # Errors
    /// [`Error::Io`] if its folder cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        // Opened as any other file: a temporary one would be readable for its owner alone.
        let file = tempfile::Builder::new()
            .prefix(PARTIAL)
            .make_in(folder_of(path), |path| File::create_new(path))
            .map_err(|error| Error::io(path, without_name(error)))?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// Puts all of it on the disk and gives it its name. A file of that name is replaced.
    ///
    /// # Errors
    /// [`Error::Io`] with the file; what was there before is then left.
    pub fn commit(self) -> Result<()> {
        self.named(NamedTempFile::persist)
    }

    /// Does the same unless a file of that name is there.
    ///
    /// # Errors
    /// [`Error::Io`] with the file, of the kind [`AlreadyExists`](io::ErrorKind::AlreadyExists) if one is there.
    pub fn commit_new(self) -> Result<()> {
        self.named(NamedTempFile::persist_noclobber)
    }

    fn named(
        self,
        persist: impl FnOnce(NamedTempFile<File>, PathBuf) -> Result<File, tempfile::PersistError<File>>,
    ) -> Result<()> {
        let Self { file, path } = self;
        tracing::trace!("syncing the file");
        file.as_file()
            .sync_all()
            .map_err(|error| Error::io(&path, error))?;
        tracing::trace!("replacing");
        persist(file, path.clone()).map_err(|error| Error::io(&path, error.error))?;
        sync_folder(folder_of(&path))
    }
}

/// The error of the system, without the name of the temporary file.
fn without_name(error: io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or(error, io::Error::from_raw_os_error)
}

/// Writes to the file itself: the temporary one would name its path in errors.
impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()
    }
}

/// Removes from a folder what a process that was killed in the middle of a [`Partial`] has left.
///
/// # Errors
/// [`Error::Io`] if the folder cannot be read, or a file not removed.
pub(crate) fn remove_partial(folder: &Path) -> Result<()> {
    let io = |source| Error::io(folder, source);
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let is_file = entry.file_type().map_err(io)?.is_file();
        if is_file && entry.file_name().to_string_lossy().starts_with(PARTIAL) {
            super::remove(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_file_is_whole_or_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");

        let mut partial = Partial::create(&path).unwrap();
        partial.write_all(b"half").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        drop(partial);
        assert_eq!(names(folder.path()), ["file"]);
        assert_eq!(fs::read(&path).unwrap(), b"two");
    }

    #[test]
    fn an_error_names_the_file_that_was_meant() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone").join("file");
        let error = replace(&gone, b"one").unwrap_err();
        assert!(error.to_string().ends_with("file"), "{error}");
        assert!(!error.report().contains(PARTIAL), "{}", error.report());
        // A folder cannot be replaced by a file.
        let path = folder.path().join("folder");
        fs::create_dir(&path).unwrap();
        let error = replace(&path, b"one").unwrap_err();
        assert!(matches!(error, Error::Io { path: shown, .. } if shown == path));
        assert_eq!(names(folder.path()), ["folder"], "nothing is left behind");
    }

    #[test]
    fn a_file_gets_another_name() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        fs::write(&from, "new").unwrap();
        fs::write(&to, "old").unwrap();
        rename(&from, &to).unwrap();
        assert_eq!(names(folder.path()), ["to"]);
        assert_eq!(fs::read(&to).unwrap(), b"new");
        assert!(matches!(
            rename(&from, &to),
            Err(Error::Io { path, source }) if path == from && source.kind() == io::ErrorKind::NotFound
        ));
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::mem::forget(Partial::create(&path).unwrap());
        for name in ["partial", ".partial-notes", "file"] {
            fs::write(folder.path().join(name), "text").unwrap();
        }
        assert_eq!(names(folder.path()).len(), 4);
        remove_partial(folder.path()).unwrap();
        let mut left = names(folder.path());
        left.sort();
        assert_eq!(left, [".partial-notes", "file", "partial"]);
    }

    #[test]
    fn a_file_that_is_there_can_be_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        let error = Partial::create(&path).unwrap().commit_new().unwrap_err();
        assert!(matches!(
            error,
            Error::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists
        ));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_has_the_permissions_of_any_other() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let [ours, other] = ["ours", "other"].map(|name| folder.path().join(name));
        replace(&ours, b"text").unwrap();
        fs::write(&other, "text").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&other));
    }
}
