//! The folder of a run: journal, settings, files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use safer_instruct::{
    Error, Result,
    files::{Lock, remove, replace},
};
use tempfile::NamedTempFile;

use crate::settings::{Given, Settings, from_file};

/// What stands above the settings of a run.
const HEAD: &str =
    "# The settings of the run in this folder, with what followed from its models.\n\n";
/// The folder that is taken if none is named.
const DEFAULT: &str = "out";

/// What a run writes.
const FILES: [&str; 8] = [
    "run.sqlite",
    "run.sqlite-wal",
    "run.sqlite-shm",
    "settings.toml",
    "pairs.jsonl",
    "dropped.jsonl",
    "failed.jsonl",
    "summary.json",
];

/// The folder of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// The folder that is named, or `out`.
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        Self(path.unwrap_or_else(|| PathBuf::from(DEFAULT)))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The journal of the run.
    pub(crate) fn journal(&self) -> PathBuf {
        self.0.join("run.sqlite")
    }

    fn settings(&self) -> PathBuf {
        self.0.join("settings.toml")
    }

    /// Where the texts of standard input are kept.
    pub(crate) fn input(&self) -> PathBuf {
        self.0.join("input.jsonl")
    }

    /// Where they are while it is not sure that the run begins.
    pub(crate) fn new_input(&self) -> PathBuf {
        self.0.join("input.new.jsonl")
    }

    /// Has the folder alone, until it is dropped. The lock of the journal comes later, when the settings are written.
    pub(crate) fn lock(&self) -> Result<Lock> {
        fs::create_dir_all(&self.0).map_err(|error| Error::io(&self.0, error))?;
        Lock::take(&self.0.join("run.lock"))
    }

    /// Checks that the input is no file that the run removes or replaces.
    pub(crate) fn check_input(&self, input: Option<&Path>) -> Result<()> {
        let Some(input) = input else {
            return Ok(());
        };
        let same = |name: &&&str| {
            let written = self.0.join(name).canonicalize();
            written.is_ok_and(|written| input.canonicalize().is_ok_and(|input| input == written))
        };
        let Some(name) = FILES.iter().chain(&["input.jsonl"]).find(same) else {
            return Ok(());
        };
        let reason = format!(
            "the run would replace {name}, which is its input; take another --output, or copy the file"
        );
        Err(Error::config("input", reason))
    }

    /// The word that names it in a command.
    pub(crate) fn word(&self) -> String {
        quoted(&self.0.display().to_string())
    }

    /// The command `name` on this folder.
    pub(crate) fn command(&self, name: &str) -> String {
        format!("safer-instruct {name} {}", self.word())
    }

    /// Checks that a run is there.
    pub(crate) fn check_run(&self) -> Result<()> {
        if self.journal().exists() {
            return Ok(());
        }
        let reason = format!(
            "{} holds no run; `safer-instruct run` begins one",
            self.0.display()
        );
        Err(Error::config("folder", reason))
    }

    /// Checks that no run is there, or that it may be removed.
    pub(crate) fn check_free(&self, overwrite: bool) -> Result<()> {
        if overwrite || !self.journal().exists() {
            return Ok(());
        }
        let reason = format!(
            "{} holds a run already; `{}` goes on with it, --overwrite removes it, or take another --output",
            self.0.display(),
            self.command("resume")
        );
        Err(Error::config("output", reason))
    }

    /// Makes the folder, and checks that files can be made in it.
    pub(crate) fn make(&self) -> Result<()> {
        fs::create_dir_all(&self.0).map_err(|error| Error::io(&self.0, error))?;
        let probe = NamedTempFile::new_in(&self.0);
        probe.map_err(|error| Error::io(&self.0, plain(error)))?;
        Ok(())
    }

    /// Removes the files of a run, and no others. A run that another process works on is left alone.
    pub(crate) fn clear(&self) -> Result<()> {
        // The file stays: another process may wait for it.
        let _lock = Lock::take(&self.0.join("run.sqlite.lock"))?;
        for name in FILES {
            let path = self.0.join(name);
            remove(&path)?;
        }
        Ok(())
    }

    /// Keeps the settings with the run. What lies in the folder is named from the folder, so that it may be moved.
    pub(crate) fn write_settings(&self, settings: &Settings) -> Result<()> {
        let absolute = std::path::absolute(&self.0).map_err(|error| Error::io(&self.0, error))?;
        let mut settings = settings.clone();
        settings.output.folder = PathBuf::from(".");
        if let Some(input) = &mut settings.input.path
            && let Ok(inside) = input.strip_prefix(&absolute)
        {
            *input = inside.to_owned();
        }
        let toml = toml::to_string(&settings).map_err(|error| Error::Other(error.into()))?;
        replace(&self.settings(), format!("{HEAD}{toml}").as_bytes())
    }

    /// The settings of the run.
    pub(crate) fn read_settings(&self) -> Result<Given> {
        from_file(&self.settings())
    }
}

/// The error of the system, without the name of a temporary file.
fn plain(error: io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or(error, io::Error::from_raw_os_error)
}

/// A word as a POSIX shell reads it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
