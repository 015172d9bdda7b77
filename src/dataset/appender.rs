//! A file that only grows, line by line, under a temporary name until it is finished.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, Result},
    files,
};

/// One output file.
///
/// Lines go to the system without a buffer: a process that is killed loses nothing but the line that it was writing.
#[derive(Debug)]
pub(crate) struct Appender {
    path: PathBuf,
    /// The name that the file has now.
    name: PathBuf,
    file: File,
    bytes: u64,
}

impl Appender {
    /// Opens the partial file or the finished one, or starts an empty partial one.
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        let partial = partial_name(&path);
        let name = if !exists(&partial) && exists(&path) {
            path.clone()
        } else {
            partial
        };
        Self::open_as(path, name)
    }

    /// Opens a file that has its name from the beginning, or starts it.
    pub(crate) fn open_named(path: PathBuf) -> Result<Self> {
        let name = path.clone();
        Self::open_as(path, name)
    }

    fn open_as(path: PathBuf, name: PathBuf) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&name)
            .map_err(|error| Error::io(&name, error))?;
        Ok(Self {
            path,
            name,
            file,
            bytes: 0,
        })
    }

    /// The name that the file has now.
    pub(crate) fn name(&self) -> &Path {
        &self.name
    }

    /// Keeps at most `max` whole lines, which `each` sees, cuts off the rest, and says how many there are.
    pub(crate) fn keep(
        &mut self,
        max: u64,
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<u64> {
        let io = |error| Error::io(&self.name, error);
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
        self.cut().map_err(|error| Error::io(&self.name, error))?;
        Ok(lines)
    }

    /// The first line, if it is whole.
    pub(crate) fn first_line(&mut self) -> Result<Option<Vec<u8>>> {
        let mut read = || {
            self.file.seek(SeekFrom::Start(0))?;
            let mut line = Vec::new();
            BufReader::new(&self.file).read_until(b'\n', &mut line)?;
            Ok(line)
        };
        let mut line = read().map_err(|error| Error::io(&self.name, error))?;
        Ok((line.pop() == Some(b'\n')).then_some(line))
    }

    /// Adds bytes as a whole or not at all.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if let Err(error) = self.file.write_all(bytes) {
            // Half a line may be there. If even this fails, `keep` cuts it off when the run goes on.
            let _ = self.cut();
            return Err(Error::io(&self.name, error));
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Puts what was added on the disk.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file
            .sync_data()
            .map_err(|error| Error::io(&self.name, error))
    }

    /// Gives a finished file its temporary name again.
    pub(crate) fn go_on(&mut self) -> Result<()> {
        let partial = partial_name(&self.path);
        self.rename(partial)
    }

    /// Puts everything on the disk and gives the file its name.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.file
            .sync_all()
            .map_err(|error| Error::io(&self.name, error))?;
        self.rename(self.path.clone())
    }

    fn rename(&mut self, name: PathBuf) -> Result<()> {
        if self.name != name {
            files::rename(&self.name, &name)?;
            self.name = name;
        }
        Ok(())
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
pub(crate) fn partial_name(path: &Path) -> PathBuf {
    files::beside(path, ".partial")
}

/// Whether there is anything under this name.
pub(crate) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
