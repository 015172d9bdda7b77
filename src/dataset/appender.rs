//! A file that only grows, line by line, under a temporary name until it is finished.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, Result},
    files::{Lock, beside},
};

/// One output file.
///
/// Every line goes to the system with one write and without a buffer: a model call takes a thousand times as long,
/// and a process that is killed loses nothing but the line that it was writing.
#[derive(Debug)]
pub(super) struct Appender {
    path: PathBuf,
    partial: PathBuf,
    file: File,
    bytes: u64,
}

impl Appender {
    /// Goes on with the partial file, or with the finished one, or starts an empty one.
    pub(super) fn open(path: PathBuf) -> Result<Self> {
        let partial = partial_name(&path);
        if !exists(&partial) && exists(&path) {
            fs::rename(&path, &partial).map_err(|error| Error::io(&path, error))?;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&partial)
            .map_err(|error| Error::io(&partial, error))?;
        Ok(Self {
            path,
            partial,
            file,
            bytes: 0,
        })
    }

    /// Keeps at most `max` whole lines, which `each` sees, cuts off the rest, and says how many there are.
    pub(super) fn keep(
        &mut self,
        max: u64,
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<u64> {
        let io = |error| Error::io(&self.partial, error);
        // A device may have an end or not; it has no lines to keep.
        if !self.file.metadata().map_err(io)?.is_file() {
            return Ok(0);
        }
        self.file.seek(SeekFrom::Start(0)).map_err(io)?;
        let mut reader = BufReader::new(&self.file);
        let mut line = Vec::new();
        let (mut lines, mut bytes) = (0, 0);
        while lines < max {
            line.clear();
            reader.read_until(b'\n', &mut line).map_err(io)?;
            let Some(body) = line.strip_suffix(b"\n") else {
                break;
            };
            each(body)?;
            lines += 1;
            bytes += line.len() as u64;
        }
        self.bytes = bytes;
        self.cut()
            .map_err(|error| Error::io(&self.partial, error))?;
        Ok(lines)
    }

    /// Adds bytes as a whole or not at all.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if let Err(error) = self.file.write_all(bytes) {
            // Half a line may be there. If even this fails, `keep` cuts it off when the run goes on.
            let _ = self.cut();
            return Err(Error::io(&self.partial, error));
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Keeps another process from writing the same file.
    pub(super) fn lock(&self) -> Result<()> {
        Lock::hold(&self.file, &self.partial)
    }

    /// Puts everything on the disk and gives the file its name.
    pub(super) fn finish(self) -> Result<()> {
        self.file
            .sync_all()
            .map_err(|error| Error::io(&self.partial, error))?;
        fs::rename(&self.partial, &self.path).map_err(|error| Error::io(&self.path, error))
    }

    /// Removes the file.
    pub(super) fn remove(self) -> Result<()> {
        fs::remove_file(&self.partial).map_err(|error| Error::io(&self.partial, error))
    }

    fn cut(&mut self) -> io::Result<()> {
        if self.file.metadata()?.is_file() {
            self.file.set_len(self.bytes)?;
            self.file.seek(SeekFrom::Start(self.bytes))?;
        }
        Ok(())
    }
}

/// The name while the run goes on.
pub(super) fn partial_name(path: &Path) -> PathBuf {
    beside(path, ".partial")
}

/// Whether there is anything under this name.
pub(super) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
