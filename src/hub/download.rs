//! A model file that is being downloaded.

use std::{
    io::{Read, Write},
    path::Path,
};

use super::source::ModelSource;
use crate::{
    error::{Error, Result},
    files::{Hashing, Partial},
};

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchProgress {
    /// Bytes of the model file that are there.
    pub bytes: u64,
    /// Bytes that there will be, where known.
    pub total: Option<u64>,
}

/// A file that is being written under a temporary name and hashed on the way.
pub(super) struct Download<'a> {
    path: &'a Path,
    file: Hashing<Partial>,
    bytes: u64,
    total: Option<u64>,
    progress: &'a mut dyn FnMut(FetchProgress),
}

impl<'a> Download<'a> {
    pub(super) fn new(
        path: &'a Path,
        total: Option<u64>,
        progress: &'a mut dyn FnMut(FetchProgress),
    ) -> Result<Self> {
        let file = Hashing::new(Partial::create(path)?);
        progress(FetchProgress { bytes: 0, total });
        Ok(Self {
            path,
            file,
            bytes: 0,
            total,
            progress,
        })
    }

    /// Takes the size that the place itself tells, if none is known.
    pub(super) fn expect(&mut self, total: Option<u64>) {
        self.total = self.total.or(total);
    }

    /// Copies everything; `broken` says what a failed read means.
    pub(super) fn copy(
        &mut self,
        mut from: impl Read,
        broken: impl FnOnce(std::io::Error) -> Error,
    ) -> Result<()> {
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken(error)),
            };
            let piece = buffer.get(..count).unwrap_or_default();
            self.file
                .write_all(piece)
                .map_err(|error| Error::io(self.path, error))?;
            self.bytes += count as u64;
            (self.progress)(FetchProgress {
                bytes: self.bytes,
                total: self.total,
            });
        }
    }

    pub(super) fn finish(self, source: &ModelSource) -> Result<String> {
        let (file, sha256) = self.file.finish();
        check_hash(
            source,
            &sha256,
            "nothing was kept; try again, or correct the hash if the file was published anew",
        )?;
        file.commit()?;
        Ok(sha256)
    }
}

/// Compares a hash with the one that is expected, if there is one.
pub(super) fn check_hash(source: &ModelSource, sha256: &str, advice: &str) -> Result<()> {
    match source.sha256() {
        Some(expected) if expected != sha256 => Err(Error::model(
            source.file_name(),
            format!("its SHA-256 is {sha256}, but {expected} is expected: {advice}"),
        )),
        _ => Ok(()),
    }
}
