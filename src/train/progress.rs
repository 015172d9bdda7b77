//! The events of a run, and its report.

use std::{
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::folder::METRICS;
use crate::error::{Error, Result};

/// Something that happened in a run. Steps and evaluations are written to `metrics.jsonl`, a line each.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum TrainingEvent {
    /// A step of training.
    Step(Step),
    /// An evaluation on the held-out examples.
    Evaluation(Evaluation),
    /// A part of the log-probabilities by the reference, which an objective that needs them waits for before the first
    /// step.
    Reference(Reference),
}

/// How many sequences the reference has scored: the model as it was before training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Reference {
    /// Sequences that are scored.
    pub done: usize,
    /// Sequences of all examples, those that are held out included.
    pub total: usize,
}

/// A step of training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Step {
    /// Its number, from 1.
    pub step: usize,
    /// Steps of the whole run.
    pub steps: usize,
    /// The loss of its batch, before the step.
    pub loss: f64,
    /// The length of the gradient before it was clipped.
    pub gradient_norm: f64,
    /// The learning rate that it took.
    pub learning_rate: f64,
    /// Tokens of its batch, prompts and completions.
    pub tokens: usize,
    /// Seconds that it took.
    pub seconds: f64,
    /// Mean implicit reward of the chosen less that of the rejected responses, for objectives that know preferences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward_margin: Option<f64>,
    /// Share of the pairs whose chosen response has the higher reward.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward_accuracy: Option<f64>,
}

/// An evaluation on the held-out examples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Evaluation {
    /// Steps before it.
    pub step: usize,
    /// The loss on all held-out examples.
    pub held_out_loss: f64,
    /// Whether it is the lowest so far, so that the adapter was written.
    pub best: bool,
    /// As of a [`Step`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out_reward_margin: Option<f64>,
    /// As of a [`Step`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out_reward_accuracy: Option<f64>,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TrainingReport {
    /// Steps that were made, with those before it was resumed.
    pub steps: usize,
    /// Tokens that they have seen.
    pub tokens: u64,
    /// A running mean of the loss at the end.
    pub loss: Option<f64>,
    /// Loss on what is held out before the first step.
    pub held_out_before: Option<f64>,
    /// The lowest loss on what is held out: that of the adapter.
    pub held_out_best: Option<f64>,
    /// The step of the adapter.
    pub best_step: usize,
    /// Whether it was stopped before its end; a resumed run goes on from there.
    pub stopped: bool,
}

/// The file of events.
#[derive(Debug)]
pub(super) struct Metrics {
    path: PathBuf,
    file: File,
}

#[derive(Deserialize)]
struct Numbered {
    step: usize,
}

impl Metrics {
    /// Keeps the lines up to a step of the file that was opened in the folder of a run.
    pub(super) fn open(folder: &Path, mut file: File, step: usize) -> Result<Self> {
        let path = folder.join(METRICS);
        let io = |error| Error::io(&path, error);
        let mut kept = 0;
        let mut reader = BufReader::new(&file);
        let mut line = String::new();
        while step > 0 && reader.read_line(&mut line).map_err(io)? > 0 {
            let numbered = serde_json::from_str::<Numbered>(&line);
            if !line.ends_with('\n') || !numbered.is_ok_and(|numbered| numbered.step <= step) {
                break;
            }
            kept += line.len() as u64;
            line.clear();
        }
        file.set_len(kept).map_err(io)?;
        file.seek(SeekFrom::Start(kept)).map_err(io)?;
        Ok(Self { path, file })
    }

    pub(super) fn write(&mut self, event: &TrainingEvent) -> Result<()> {
        let mut line = serde_json::to_vec(event).map_err(|error| Error::Other(error.into()))?;
        line.push(b'\n');
        self.file
            .write_all(&line)
            .map_err(|error| Error::io(&self.path, error))
    }
}
