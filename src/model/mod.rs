//! Language models: what a backend implements.
//!
//! Two traits, each with one verb: [`ChatModel`] completes a prompt, [`ScoringModel`] says how likely given continuations
//! are. Every prompted stage and judge is generic over them, so N backends and M stages need N + M implementations.

mod completion;
mod constraint;
mod forward;
mod message;
mod request;

use async_trait::async_trait;

pub use completion::{Completion, FinishReason, TokenLogprob, TopLogprob};
pub use constraint::Constraint;
pub use forward::{CompleteFn, ScoreFn, complete_fn, score_fn};
pub use message::{Message, Prompt, Role};
pub use request::{ChatRequest, Continuation, Sampling, ScoreRequest, Scores};

use crate::error::Result;

/// A model that completes prompts.
///
/// # Contract
/// - Message contents and raw prompts are untrusted: no part of them may become a control token.
/// - The same request gives the same completion, alone or beside others.
/// - `max_tokens` is honoured; the text holds none of the `stop` strings.
/// - A [`Constraint`] is honoured or the request is an error. Closures and models that know of none refuse it in one line:
///   [`ChatRequest::refuse_constraint`].
/// - [`Completion::logprobs`] is `None` unless the request asks for them, and may be so if it does.
/// - Dropping the future cancels the work.
///
/// The laws in [`testkit`](crate::testkit) check it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a ChatModel",
    note = "implement `ChatModel::complete`, or wrap a closure with `safer_instruct::complete_fn`"
)]
#[async_trait]
pub trait ChatModel: Send + Sync {
    /// Completes one prompt.
    ///
    /// # Errors
    /// Fails if the model cannot be reached, refuses, or the request does not fit into its context.
    async fn complete(&self, request: &ChatRequest) -> Result<Completion>;
}

/// A model that says how likely given continuations are.
///
/// # Contract
/// One score per continuation, in the order of the request; each depends on the prompt and on that continuation alone.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a ScoringModel",
    note = "implement `ScoringModel::score`, or wrap a closure with `safer_instruct::score_fn`"
)]
#[async_trait]
pub trait ScoringModel: Send + Sync {
    /// Scores the continuations of one prompt.
    ///
    /// # Errors
    /// Fails if the model cannot be reached, refuses, or the request does not fit into its context.
    async fn score(&self, request: &ScoreRequest) -> Result<Scores>;
}
