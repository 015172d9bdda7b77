//! What callers hand to the worker, and what it hands back.

use async_lock::SemaphoreGuardArc;
use futures::channel::oneshot;

use super::sampler::Sampler;
use crate::{
    backends::candle::constraint::TokenConstraint,
    error::Result,
    model::{Continuation, FinishReason, LayerStates},
};

/// Work for the worker. It carries its reply; a caller that no longer waits has dropped the other end.
#[derive(Debug)]
pub(super) enum Job {
    Complete(CompleteJob),
    Score(ScoreJob),
    States(StateJob),
}

impl Job {
    /// The most tokens whose keys and values it needs at a time.
    pub(super) fn most_tokens(&self) -> usize {
        match self {
            Self::Complete(job) => job.prompt.len() + job.max_tokens,
            Self::Score(job) => job.prompt.len(),
            Self::States(job) => job.prompt.len() + job.continuation.len(),
        }
    }

    /// Whether nobody waits for the answer any more.
    pub(super) fn is_cancelled(&self) -> bool {
        match self {
            Self::Complete(job) => job.reply.is_canceled(),
            Self::Score(job) => job.reply.is_canceled(),
            Self::States(job) => job.reply.is_canceled(),
        }
    }
}

/// A prompt to complete.
#[derive(Debug)]
pub(super) struct CompleteJob {
    pub(super) prompt: Vec<u32>,
    pub(super) sampler: Sampler,
    /// What the text is held to.
    pub(super) constraint: Option<TokenConstraint>,
    pub(super) max_tokens: usize,
    pub(super) stop: Vec<String>,
    /// How many of the likeliest tokens are wanted in each place; `None` if not even the written one's likelihood is.
    pub(super) top_logprobs: Option<usize>,
    pub(super) reply: oneshot::Sender<Result<Written>>,
}

/// Continuations to score.
#[derive(Debug)]
pub(super) struct ScoreJob {
    pub(super) prompt: Vec<u32>,
    pub(super) continuations: Vec<Vec<u32>>,
    pub(super) reply: oneshot::Sender<Result<Vec<Continuation>>>,
}

/// A continuation whose states are wanted.
#[derive(Debug)]
pub(super) struct StateJob {
    pub(super) prompt: Vec<u32>,
    /// At least one token.
    pub(super) continuation: Vec<u32>,
    pub(super) layers: Vec<usize>,
    pub(super) reply: StateReply,
}

pub(super) type StateReply = oneshot::Sender<Result<Vec<LayerStates>>>;

/// What a completion came to.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) text: String,
    pub(super) finish_reason: FinishReason,
    /// Tokens written, the end-of-turn token included.
    pub(super) tokens: usize,
    /// One for each of them, if they were wanted.
    pub(super) logprobs: Vec<Logprob>,
}

/// How likely a token was, in nats, and the likeliest ones in its place.
#[derive(Debug)]
pub(super) struct Logprob {
    pub(super) token: u32,
    pub(super) logprob: f64,
    pub(super) top: Vec<(u32, f64)>,
}

/// A job in the queue. Its place is free as soon as the worker has room for it.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) job: Job,
    pub(super) place: SemaphoreGuardArc,
}
