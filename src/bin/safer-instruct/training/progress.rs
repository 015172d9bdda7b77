//! What is shown of a run of training while it goes on.

use std::fmt::Write;

use safer_instruct::train::{Reference, Step, TrainingEvent};

use crate::progress::Progress;

/// Shows how far a run of training is. Clones share what they show.
#[derive(Clone)]
pub(crate) struct TrainingProgress(Progress);

impl TrainingProgress {
    pub(crate) fn new() -> Self {
        Self(Progress::of("steps"))
    }

    /// Begins again, for another run.
    pub(crate) fn begin(&self) {
        self.0.begin_at(0);
    }

    /// Shows a step or an evaluation.
    pub(crate) fn show(&self, event: &TrainingEvent) {
        match event {
            TrainingEvent::Step(step) => {
                let (at, steps) = (step.step as u64, step.steps as u64);
                self.0.go_to(at, Some(steps), &message(step));
            }
            TrainingEvent::Evaluation(evaluation) => {
                let mut line = format!(
                    "step {}: held-out loss {:.4}",
                    evaluation.step, evaluation.held_out_loss
                );
                // Before the first step there is no preference: all margins are 0.
                let accuracy = evaluation.held_out_reward_accuracy;
                if let Some(accuracy) = accuracy.filter(|_| evaluation.step > 0) {
                    let _ = write!(
                        line,
                        ", {:.0} % of the pairs preferred rightly",
                        100.0 * accuracy
                    );
                }
                if !evaluation.best {
                    line.push_str(", not the best");
                }
                self.0.say(&line);
            }
            TrainingEvent::Reference(reference) => {
                let Reference { done, total, .. } = reference;
                let message = format!("{done} of {total} sequences scored by the reference");
                self.0.go_to(0, None, &message);
            }
            _ => {}
        }
    }

    /// Removes the bar.
    pub(crate) fn end(&self) {
        self.0.end();
    }
}

fn message(step: &Step) -> String {
    let speed = step.tokens as f64 / step.seconds.max(1e-9);
    let mut message = format!("loss {:.3}, gradient {:.2}", step.loss, step.gradient_norm);
    if let (Some(margin), Some(accuracy)) = (step.reward_margin, step.reward_accuracy) {
        let right = 100.0 * accuracy;
        let _ = write!(message, ", margin {margin:.3}, {right:.0} % right");
    }
    let _ = write!(message, ", {speed:.0} tokens/s");
    message
}
