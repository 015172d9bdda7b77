//! A decorator that fails by a schedule.

use async_trait::async_trait;

use super::key::{Key, Turns, decorate, uniform};
use crate::{
    error::{Error, Result},
    model::{ChatModel, ChatRequest, Completion, ScoreRequest, Scores, ScoringModel},
    record::{Instruction, Judgement, Response, SourceText},
    stage::{InstructionGenerator, PreferenceJudge, ResponseGenerator},
};

/// A kind of failure that [`Flaky`] makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// [`Error::Transport`]: a retry may succeed.
    Transient,
    /// [`Error::Refused`]: a retry cannot succeed.
    Permanent,
    /// [`Error::Malformed`]: another seed may succeed.
    Malformed,
}

impl Fault {
    fn error(self) -> Error {
        match self {
            Self::Transient => Error::Transport {
                backend: "flaky".to_owned(),
                source: "scheduled failure".into(),
            },
            Self::Permanent => Error::Refused {
                backend: "flaky".to_owned(),
                status: None,
                message: "scheduled failure".to_owned(),
            },
            Self::Malformed => Error::malformed("an answer without a scheduled failure"),
        }
    }
}

/// A model or a stage that fails by a schedule drawn from a seed.
///
/// Whether a call fails depends on the seed, on what is asked and on how often it was asked before; not on what is
/// asked in between. A schedule is thus the same at any concurrency.
#[derive(Debug)]
pub struct Flaky<M> {
    inner: M,
    seed: u64,
    rate: f64,
    faults: Vec<Fault>,
    turns: Turns,
}

impl<M> Flaky<M> {
    /// Fails in half of the calls, with [`Fault::Transient`], [`Fault::Permanent`] and [`Fault::Malformed`] in equal
    /// parts.
    pub fn new(inner: M, seed: u64) -> Self {
        Self {
            inner,
            seed,
            rate: 0.5,
            faults: vec![Fault::Transient, Fault::Permanent, Fault::Malformed],
            turns: Turns::default(),
        }
    }

    /// Sets the share of calls that fail, from 0 to 1. By default 0.5.
    #[must_use]
    pub fn with_rate(mut self, rate: f64) -> Self {
        self.rate = rate;
        self
    }

    /// Sets the kinds of failure, each as likely as the others; without any, nothing fails. By default all.
    #[must_use]
    pub fn with_faults(mut self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.faults = faults.into_iter().collect();
        self
    }

    async fn before(&self, key: u64) -> Result<()> {
        let drawn = uniform(self.seed, key, self.turns.next(key));
        if drawn > self.rate {
            return Ok(());
        }
        // Below the rate the draw is uniform in (0, rate]: it picks the kind, too.
        let place = (drawn / self.rate * self.faults.len() as f64).ceil() as usize;
        match self.faults.get(place.saturating_sub(1)) {
            Some(fault) => Err(fault.error()),
            None => Ok(()),
        }
    }
}

decorate! { Flaky }
