//! A bar on a terminal, a line now and then elsewhere.

use std::{
    io::{IsTerminal, stderr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use safer_instruct::{Event, Observer};

/// The longest silence where there is no terminal.
const QUIET: Duration = Duration::from_secs(10);

/// Shows how far something is. Clones show the same.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
    what: &'static str,
    tokens: Arc<AtomicU64>,
    kept: Arc<AtomicU64>,
    // When the last line was printed, and at which position. None on a terminal.
    last: Option<Arc<Mutex<(Instant, u64)>>>,
}

impl Progress {
    /// Progress of a run of `total` outcomes, `done` of which are there.
    pub(crate) fn of_run(total: Option<u64>, done: u64) -> Self {
        let progress = Self::new(
            "outcomes",
            total,
            "{wide_bar} {pos}/{len} outcomes, {msg}, {eta} left",
        );
        progress.bar.set_position(done);
        progress.bar.reset_eta();
        progress
    }

    /// Progress of a download.
    pub(crate) fn of_download() -> Self {
        Self::new(
            "bytes of the model",
            None,
            "{wide_bar} {bytes}/{total_bytes} of the model, {eta} left",
        )
    }

    fn new(what: &'static str, total: Option<u64>, template: &str) -> Self {
        let terminal = stderr().is_terminal();
        let target = if terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(total, target);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self {
            bar,
            what,
            tokens: Arc::default(),
            kept: Arc::default(),
            last: (!terminal).then(|| Arc::new(Mutex::new((Instant::now(), 0)))),
        }
    }

    /// Shows a new position.
    pub(crate) fn go_to(&self, position: u64, total: Option<u64>) {
        if let Some(total) = total {
            self.bar.set_length(total);
        }
        self.bar.set_position(position);
        let Some(last) = &self.last else {
            return;
        };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let step = total.map_or(u64::MAX, |total| total.div_ceil(20));
        if last.0.elapsed() >= QUIET || position - last.1.min(position) >= step {
            *last = (Instant::now(), position);
            let total = total.map_or(String::new(), |total| format!(" of {total}"));
            eprintln!("{position}{total} {}", self.what);
        }
    }

    /// Prints a line without disturbing the bar.
    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// Tokens that all stages have read and written so far, those of dropped texts included.
    pub(crate) fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }
}

impl Observer for Progress {
    fn observe(&self, event: &Event<'_>) {
        match event {
            Event::StageDone { usage, .. } => {
                self.tokens.fetch_add(usage.total(), Ordering::Relaxed);
            }
            Event::Finished { outcome } => {
                let new = u64::from(outcome.pair().is_some());
                let kept = self.kept.fetch_add(new, Ordering::Relaxed) + new;
                self.bar.set_message(format!("{kept} new pairs"));
                self.go_to(self.bar.position() + 1, self.bar.length());
            }
            _ => {}
        }
    }
}
