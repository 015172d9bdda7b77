//! What the examples of training share as programs: Ctrl-C, exit codes, downloads, names.

use std::{
    ops::ControlFlow,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use safer_instruct::{
    Error, Result,
    hub::{Location, ModelSource},
    train::{Prepared, TrainingEvent, TrainingReport},
};

use crate::progress::Progress;

/// What a shell expects of a program that ends with Ctrl-C: 128 + SIGINT.
pub(crate) const STOPPED: u8 = 130;

/// Whether Ctrl-C was heard. Clones hear the same.
#[derive(Clone)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks the run to end at the first Ctrl-C. The second one ends the program at once.
    pub(crate) fn on_ctrl_c() -> Result<Self> {
        let stop = Self(Arc::default());
        let heard = stop.clone();
        ctrlc::set_handler(move || {
            if heard.0.swap(true, Ordering::Relaxed) {
                std::process::exit(i32::from(STOPPED));
            }
            eprintln!("stopping after this step; Ctrl-C again ends at once");
        })
        .map_err(|error| Error::Other(error.into()))?;
        Ok(stop)
    }

    /// Whether Ctrl-C was heard.
    pub(crate) fn is_heard(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Shows every event, until Ctrl-C.
    pub(crate) fn observer(
        &self,
        progress: &Progress,
    ) -> impl Fn(&TrainingEvent) -> ControlFlow<()> + Send + Sync + use<> {
        let (progress, stop) = (progress.clone(), self.clone());
        move |event| {
            progress.show(event);
            if stop.is_heard() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        }
    }
}

/// Says how to go on with a run that was stopped.
pub(crate) fn stopped(report: &TrainingReport) -> ExitCode {
    stopped_after(&format!("{} steps", report.steps))
}

/// Says how to go on with what was stopped.
pub(crate) fn stopped_after(done: &str) -> ExitCode {
    println!(
        "stopped after {done}; the same command with --resume goes on (instead of --overwrite)"
    );
    ExitCode::from(STOPPED)
}

/// What an adapter calls its base: for the default model the repository that PEFT and vLLM find it in, and never a path of this
/// machine.
pub(crate) fn base_name(model: &ModelSource) -> String {
    if *model == ModelSource::smollm2_135m() {
        return "HuggingFaceTB/SmolLM2-135M-Instruct".to_owned();
    }
    match model.location() {
        Location::HuggingFace { repo, .. } => repo.clone(),
        _ => model.file_name().to_owned(),
    }
}

/// Names the first pairs that gave no example, by their places or by their numbers.
pub(crate) fn name_left_out(
    prepared: &Prepared,
    what: &str,
    place: impl Fn(usize) -> Option<String>,
) {
    for (at, why) in prepared.skipped.iter().take(5) {
        let place = place(*at).unwrap_or_else(|| format!("pair {} of those {what}", at + 1));
        eprintln!("{place} is left out: {why}");
    }
    if prepared.skipped.len() > 5 {
        eprintln!("and {} more", prepared.skipped.len() - 5);
    }
}

/// A file, downloaded unless it is in the folder, by default the user's cache folder.
pub(crate) fn fetch(cache: Option<&PathBuf>, source: &ModelSource) -> Result<PathBuf> {
    eprintln!("fetching {} unless it is there", source.file_name());
    Ok(crate::fetch::fetch(cache, source, |_| {})?.path)
}
