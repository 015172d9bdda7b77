//! The folder in which model files are kept.

use std::{
    env,
    fs::{self, Metadata},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};

use super::source::ModelSource;
use crate::{
    error::{Error, Result},
    files::{beside, replace, sha256, sha256_file},
};

/// A folder for model files, each in a folder of its own that is named after its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelCache {
    dir: PathBuf,
}

impl ModelCache {
    /// A cache in `dir`, which is made when it is needed.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The cache of the user: `safer-instruct/models` in `XDG_CACHE_HOME` or `~/.cache`, in `~/Library/Caches` on
    /// macOS, in `%LOCALAPPDATA%` on Windows.
    ///
    /// # Errors
    /// [`Error::Config`] if the environment names none of these.
    pub fn default_dir() -> Result<Self> {
        let var = |name| {
            env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let base = if cfg!(windows) {
            var("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            var("HOME").map(|home| home.join("Library/Caches"))
        } else {
            var("XDG_CACHE_HOME").or_else(|| var("HOME").map(|home| home.join(".cache")))
        };
        base.map(|base| Self::new(base.join("safer-instruct").join("models")))
            .ok_or_else(|| {
                Error::config(
                    "cache",
                    "the environment names no home folder; give a folder",
                )
            })
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the file of `source` lies, or will lie.
    #[must_use]
    pub fn path_of(&self, source: &ModelSource) -> PathBuf {
        let key = sha256(source.to_string());
        let key: String = key.chars().take(16).collect();
        self.dir.join(key).join(source.file_name())
    }
}

/// What is remembered beside a verified file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Verified {
    sha256: String,
    size: u64,
    modified_ns: u64,
}

impl Verified {
    fn new(sha256: String, metadata: &Metadata) -> Self {
        let modified = metadata
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self {
            sha256,
            size: metadata.len(),
            modified_ns: modified
                .map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
        }
    }
}

fn note_of(path: &Path) -> PathBuf {
    beside(path, ".verified.json")
}

/// The hash of a file: remembered if size and time are still the same, otherwise computed. `None` if there is no file.
pub(super) fn known_hash(path: &Path) -> Result<Option<String>> {
    let Ok(metadata) = path.metadata() else {
        return Ok(None);
    };
    let note = fs::read(note_of(path)).ok();
    let note: Option<Verified> = note.and_then(|note| serde_json::from_slice(&note).ok());
    if let Some(note) = note
        && note == Verified::new(note.sha256.clone(), &metadata)
    {
        return Ok(Some(note.sha256));
    }
    let sha256 = sha256_file(path)?;
    remember(path, &sha256)?;
    Ok(Some(sha256))
}

/// Remembers the hash of a file beside it.
pub(super) fn remember(path: &Path, sha256: &str) -> Result<()> {
    let metadata = path.metadata().map_err(|error| Error::io(path, error))?;
    let note = Verified::new(sha256.to_owned(), &metadata);
    let json = serde_json::to_vec(&note).map_err(|error| Error::Other(error.into()))?;
    replace(&note_of(path), &json)
}
