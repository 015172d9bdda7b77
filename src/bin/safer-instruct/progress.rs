//! A bar on a terminal, a line now and then elsewhere.

use std::{
    io::{IsTerminal, stderr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The longest time without a line where there is no terminal.
const QUIET: Duration = Duration::from_secs(10);
/// At least so many lines are printed in all.
const LINES: u64 = 20;

/// Shows how far something is, on standard error. Clones show the same.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    what: &'static str,
    in_bytes: bool,
    /// The last line. None on a terminal.
    last: Option<Arc<Mutex<Line>>>,
}

/// When a line was printed, and at which position.
#[derive(Debug)]
struct Line {
    at: Instant,
    position: u64,
}

impl Progress {
    /// Counts things that are called `what`, such as "outcomes".
    pub(crate) fn of(what: &'static str) -> Self {
        Self::new(what, false, "{wide_bar} {pos}/{len} ")
    }

    /// Counts bytes of what is called `what`, such as "of the model".
    pub(crate) fn of_bytes(what: &'static str) -> Self {
        Self::new(what, true, "{wide_bar} {bytes}/{total_bytes} ")
    }

    fn new(what: &'static str, in_bytes: bool, template: &str) -> Self {
        let terminal = stderr().is_terminal();
        let target = if terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) =
            ProgressStyle::with_template(&format!("{template}{what}{{msg}}, {{eta}} left"))
        {
            bar.set_style(style);
        }
        let last = Line {
            at: Instant::now(),
            position: 0,
        };
        Self {
            bar,
            what,
            in_bytes,
            last: (!terminal).then(|| Arc::new(Mutex::new(last))),
        }
    }

    /// Begins at a position that an earlier session has reached, or anew.
    pub(crate) fn begin_at(&self, position: u64) {
        self.bar.set_position(position);
        self.bar.reset_eta();
        if let Some(last) = &self.last {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Line {
                at: Instant::now(),
                position,
            };
        }
    }

    /// Shows a new position, of `total` where it is known, and a message behind it, which may be empty.
    pub(crate) fn go_to(&self, position: u64, total: Option<u64>, message: &str) {
        if let Some(total) = total {
            self.bar.set_length(total);
        }
        self.bar.set_position(position);
        let comma = if message.is_empty() { "" } else { ", " };
        let Some(last) = &self.last else {
            self.bar.set_message(format!("{comma}{message}"));
            return;
        };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let step = total.map_or(u64::MAX, |total| total.div_ceil(LINES).max(1));
        let is_end = total == Some(position) && position != last.position;
        if is_end || last.at.elapsed() >= QUIET || position.abs_diff(last.position) >= step {
            *last = Line {
                at: Instant::now(),
                position,
            };
            let of = total.map_or(String::new(), |total| format!(" of {}", self.count(total)));
            eprintln!("{}{of} {}{comma}{message}", self.count(position), self.what);
        }
    }

    fn count(&self, of: u64) -> String {
        if self.in_bytes {
            HumanBytes(of).to_string()
        } else {
            of.to_string()
        }
    }

    /// Prints a line without disturbing the bar.
    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// Removes the bar.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
