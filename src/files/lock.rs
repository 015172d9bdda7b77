//! Keeps two processes from writing the same place.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
};

use crate::error::{Error, Result};

const IN_USE: &str = "it is in use by another process, or by another part of this one; wait for its end, or choose another place";

/// A file that one owner at a time has open.
///
/// The lock is the operating system's (`flock` on Unix, `LockFileEx` on Windows): it ends with the process, however
/// that ends, so nothing is left to clean up. A file system without locks, such as some network ones, is no error:
/// there the user must make sure that each run has its own folder.
///
/// ```
/// use safer_instruct::files::Lock;
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let lock = Lock::take(&folder.join("lock"))?;
/// assert!(Lock::take(&folder.join("lock")).is_err(), "it is in use");
/// drop(lock);
/// Lock::take(&folder.join("lock"))?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Opens an empty file that is used as a lock only, and creates it if necessary.
    ///
    /// # Errors
    /// [`Error::Io`] if somebody else has it, or if it cannot be opened.
    pub fn take(path: &Path) -> Result<Self> {
        Self::open(path)?.locked(path)
    }

    /// Waits until nobody else has the file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened.
    pub(crate) fn wait(path: &Path) -> Result<Self> {
        let lock = Self::open(path)?;
        if let Err(error) = lock.0.lock() {
            without(path, &error);
        }
        Ok(lock)
    }

    /// Locks a file that is open, such as one that holds data. It stays locked until all handles to it are closed.
    ///
    /// # Errors
    /// [`Error::Io`] if somebody else has it.
    pub fn hold(file: &File, path: &Path) -> Result<()> {
        match file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(Error::io(
                path,
                io::Error::new(io::ErrorKind::ResourceBusy, IN_USE),
            )),
            Err(TryLockError::Error(error)) => {
                without(path, &error);
                Ok(())
            }
        }
    }

    fn open(path: &Path) -> Result<Self> {
        let mut options = File::options();
        let options = options.write(true).create(true).truncate(false);
        let file = options.open(path).map_err(|error| Error::io(path, error))?;
        Ok(Self(file))
    }

    fn locked(self, path: &Path) -> Result<Self> {
        Self::hold(&self.0, path)?;
        Ok(self)
    }
}

fn without(path: &Path, error: &io::Error) {
    tracing::warn!(
        path = %path.display(),
        %error,
        "this file system cannot lock files; see that no other process writes here"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_told_which_file_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = Lock::take(&path).unwrap();
        let error = Lock::take(&path).unwrap_err();
        assert!(matches!(
            &error,
            Error::Io { path: shown, source } if *shown == path && source.kind() == io::ErrorKind::ResourceBusy
        ));
        assert!(
            error
                .report()
                .contains("wait for its end, or choose another place")
        );
        drop(first);
        Lock::take(&path).unwrap();
    }

    #[test]
    fn a_lock_leaves_what_a_file_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        std::fs::write(&path, "text").unwrap();
        let file = File::open(&path).unwrap();
        Lock::hold(&file, &path).unwrap();
        assert!(Lock::take(&path).is_err());
        drop(file);
        let lock = Lock::take(&path).unwrap();
        drop(lock);
        assert_eq!(std::fs::read(&path).unwrap(), b"text");
    }

    #[test]
    fn whoever_waits_comes_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = Lock::take(&path).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _second = Lock::wait(&path).unwrap();
                tell.send("second").unwrap();
            });
            assert!(told.try_recv().is_err());
            drop(first);
            assert_eq!(told.recv().unwrap(), "second");
        });
    }
}
