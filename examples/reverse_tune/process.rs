//! What the examples of training share as programs: Ctrl-C, exit codes, downloads.

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
    hub::ModelSource,
    train::{Event, Report},
};

use crate::progress::Progress;

/// What a shell expects of a program that ends with Ctrl-C: 128 + SIGINT.
const STOPPED: u8 = 130;

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

    /// Shows every event, until Ctrl-C.
    pub(crate) fn observer(
        &self,
        progress: &Progress,
    ) -> impl Fn(&Event) -> ControlFlow<()> + Send + Sync + use<> {
        let (progress, stop) = (progress.clone(), self.clone());
        move |event| {
            progress.show(event);
            if stop.0.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        }
    }
}

/// Says how to go on with a run that was stopped.
pub(crate) fn stopped(report: &Report) -> ExitCode {
    println!(
        "stopped after {} steps; the same command with --resume goes on (instead of --overwrite)",
        report.steps
    );
    ExitCode::from(STOPPED)
}

/// A file, downloaded unless it is in the folder, by default the user's cache folder.
pub(crate) fn fetch(cache: Option<&PathBuf>, source: &ModelSource) -> Result<PathBuf> {
    eprintln!("fetching {} unless it is there", source.file_name());
    Ok(crate::fetch::fetch(cache, source, |_| {})?.path)
}
