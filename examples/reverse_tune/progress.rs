//! A bar on a terminal, a line now and then elsewhere.

use std::{
    io::{IsTerminal, stderr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use safer_instruct::train::{Step, TrainingEvent};

/// The longest silence where there is no terminal.
const QUIET: Duration = Duration::from_secs(10);

/// Shows how far a run of training is. Clones show the same.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
    // When the last line was printed, and the steps and seconds so far. None on a terminal.
    last: Option<Arc<Mutex<(Instant, usize, f64)>>>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let terminal = stderr().is_terminal();
        let target = if terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) =
            ProgressStyle::with_template("{wide_bar} {pos}/{len} steps, {msg}, {eta} left")
        {
            bar.set_style(style);
        }
        Self {
            bar,
            last: (!terminal).then(|| Arc::new(Mutex::new((Instant::now(), 0, 0.0)))),
        }
    }

    /// Begins anew, for another run.
    pub(crate) fn begin(&self) {
        self.bar.reset();
        self.bar.unset_length();
        if let Some(last) = &self.last {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), 0, 0.0);
        }
    }

    pub(crate) fn show(&self, event: &TrainingEvent) {
        match event {
            TrainingEvent::Step(step) => self.step(step),
            TrainingEvent::Evaluation(evaluation) => {
                let mut line = format!(
                    "step {}: held-out loss {:.4}",
                    evaluation.step, evaluation.held_out_loss
                );
                // Before the first step there is no preference: all margins are 0.
                let accuracy = evaluation.held_out_reward_accuracy;
                if let Some(accuracy) = accuracy.filter(|_| evaluation.step > 0) {
                    line.push_str(&format!(
                        ", {:.0} % of the pairs preferred rightly",
                        100.0 * accuracy
                    ));
                }
                if !evaluation.best {
                    line.push_str(", not the best");
                }
                self.bar.suspend(|| eprintln!("{line}"));
            }
            _ => {}
        }
    }

    fn step(&self, step: &Step) {
        let speed = step.tokens as f64 / step.seconds.max(1e-9);
        let mut message = format!("loss {:.3}, gradient {:.2}", step.loss, step.gradient_norm);
        if let (Some(margin), Some(accuracy)) = (step.reward_margin, step.reward_accuracy) {
            message.push_str(&format!(
                ", margin {margin:.3}, {:.0} % right",
                100.0 * accuracy
            ));
        }
        message.push_str(&format!(", {speed:.0} tokens/s"));
        if self.bar.length().is_none() {
            self.bar.set_position(step.step as u64 - 1);
            self.bar.reset_eta();
        }
        self.bar.set_length(step.steps as u64);
        self.bar.set_message(message.clone());
        self.bar.set_position(step.step as u64);
        let Some(last) = &self.last else {
            return;
        };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let (printed, steps, seconds) = &mut *last;
        *steps += 1;
        *seconds += step.seconds;
        if printed.elapsed() >= QUIET || step.step == step.steps {
            *printed = Instant::now();
            let left = *seconds / *steps as f64 * (step.steps - step.step) as f64;
            eprintln!(
                "step {} of {}, {message}, {left:.0} s left",
                step.step, step.steps
            );
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
