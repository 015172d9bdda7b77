//! What `tune`, `prefer`, `merge` and `measure` share: options of a model and of a folder, what is printed about a run
//! of training.

pub(crate) mod free_pairs;
mod progress;

use std::{ops::ControlFlow, path::PathBuf};

use clap::Args;
pub(crate) use progress::TrainingProgress;
use safer_instruct::{
    Error, Result,
    dataset::Existing,
    hub::{FetchedModel, Location, ModelSource},
    train::{Prepared, TrainingEvent, TrainingReport, has_run},
};

use crate::{ended::Ended, fetch, stop::Stop};

/// What the first Ctrl-C says.
pub(crate) const STOPPING: &str = "stopping after this step; Ctrl-C again ends at once";
/// Most pairs without an example that are named one by one.
const NAMED: usize = 5;

/// A local model.
#[derive(Args, Debug)]
pub(crate) struct Model {
    /// Model: a name that `safer-instruct models` lists, hf:owner/repo/file.gguf@revision, or a GGUF file
    #[arg(long, default_value = "smollm2-135m")]
    pub(crate) model: ModelSource,
    /// Folder for downloads [default: the user's cache folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
}

impl Model {
    /// The model's file with its hash, which is downloaded if necessary.
    pub(crate) fn fetch_hashed(&self) -> Result<FetchedModel> {
        fetch::fetch(fetch::cache(self.cache.as_deref())?, &self.model)
    }

    /// The model's file, which is downloaded if necessary.
    pub(crate) fn fetch(&self) -> Result<PathBuf> {
        self.fetch_file(&self.model)
    }

    /// Another file, which is downloaded if necessary.
    pub(crate) fn fetch_file(&self, source: &ModelSource) -> Result<PathBuf> {
        let cache = fetch::cache(self.cache.as_deref())?;
        Ok(fetch::fetch(cache, source)?.path)
    }

    /// What an adapter calls its base: for the default model the repository that PEFT and vLLM find it in, and never a
    /// path of this machine.
    pub(crate) fn base_name(&self) -> String {
        if self.model == ModelSource::smollm2_135m() {
            return "HuggingFaceTB/SmolLM2-135M-Instruct".to_owned();
        }
        match self.model.location() {
            Location::HuggingFace { repo, .. } => repo.clone(),
            _ => self.model.file_name().to_owned(),
        }
    }
}

/// What to do with a run that is in the output folder.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct OnExisting {
    /// Remove the run that is in the folder
    #[arg(long, conflicts_with = "resume")]
    pub(crate) overwrite: bool,
    /// Go on with the run that is in the folder, if it was begun with the same settings
    #[arg(long)]
    pub(crate) resume: bool,
}

impl OnExisting {
    /// As the library names it.
    pub(crate) fn choice(self) -> Existing {
        match (self.overwrite, self.resume) {
            (true, _) => Existing::Overwrite,
            (_, true) => Existing::Resume,
            _ => Existing::Refuse,
        }
    }

    /// Refuses the first of some folders that holds a run, unless the options say what to do with it.
    pub(crate) fn check(self, folders: &[PathBuf]) -> Result<()> {
        let refuses = self.choice() == Existing::Refuse;
        let taken = folders.iter().find(|folder| refuses && has_run(folder));
        let Some(folder) = taken else {
            return Ok(());
        };
        let reason = "this folder holds a run already; give --resume, --overwrite or another folder by --output";
        Err(Error::input(folder, None, reason))
    }
}

/// Shows every event of a run, and ends the run after Ctrl-C.
pub(crate) fn observer(
    stop: &Stop,
    progress: &TrainingProgress,
) -> impl Fn(&TrainingEvent) -> ControlFlow<()> + Send + Sync + use<> {
    let (stop, progress) = (stop.clone(), progress.clone());
    move |event| {
        progress.show(event);
        if stop.is_asked() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// Prints how to go on with a run that was stopped.
pub(crate) fn stopped(report: &TrainingReport) -> Ended {
    stopped_after(&format!("{} steps", report.steps))
}

/// Prints how to go on with something that was stopped.
pub(crate) fn stopped_after(done: &str) -> Ended {
    println!(
        "stopped after {done}; the same command with --resume goes on (instead of --overwrite)"
    );
    Ended::Stopped
}

/// Names the first pairs that gave no example, by their places in files or by their numbers.
pub(crate) fn name_left_out(
    prepared: &Prepared,
    what: &str,
    place: impl Fn(usize) -> Option<String>,
) {
    for (at, why) in prepared.skipped.iter().take(NAMED) {
        let place = place(*at).unwrap_or_else(|| format!("pair {} of those {what}", at + 1));
        eprintln!("{place} is left out: {why}");
    }
    if let Some(more) = prepared.skipped.len().checked_sub(NAMED).filter(|n| *n > 0) {
        eprintln!("and {more} more");
    }
}
