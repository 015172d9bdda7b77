//! A bar on a terminal, a line now and then elsewhere, JSON where it is asked for.

use std::{
    io::{IsTerminal, stderr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use safer_instruct::run;

use crate::options::money;

/// The longest silence where there is no terminal.
const QUIET: Duration = Duration::from_secs(10);

/// Shows how a run gets on. Clones show the same.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
    json: bool,
    // When the last line was printed. None on a terminal.
    last: Option<Arc<Mutex<Instant>>>,
}

impl Progress {
    pub(crate) fn new(json: bool) -> Self {
        let terminal = stderr().is_terminal() && !json;
        let target = if terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        Self {
            bar,
            json,
            last: (!terminal).then(|| Arc::new(Mutex::new(Instant::now()))),
        }
    }

    pub(crate) fn show(&self, now: &run::Progress) {
        let left = now
            .seconds_left
            .map_or(String::new(), |left| format!(", {left:.0} s left"));
        let message = format!(
            "{:.1}/s, {} pairs ({:.0} %), {} failed, {} spent{left}",
            now.per_second,
            now.kept,
            100.0 * now.kept_share(),
            now.failed,
            money(now.cost)
        );
        let Some(last) = &self.last else {
            self.bar.set_length(now.total.unwrap_or(now.done));
            self.bar.set_position(now.done);
            self.bar.set_message(message);
            return;
        };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let end = now.total == Some(now.done);
        if last.elapsed() < QUIET && !end {
            return;
        }
        *last = Instant::now();
        if self.json {
            if let Ok(line) = serde_json::to_string(now) {
                println!("{line}");
            }
        } else {
            let of = now
                .total
                .map_or(String::new(), |total| format!(" of {total}"));
            eprintln!("{}{of} outcomes, {message}", now.done);
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
