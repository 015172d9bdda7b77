//! The traits of language models, which a backend implements.
//!
//! [`ChatModel`] completes a prompt. [`ScoringModel`] gives the likelihood of given continuations. Every prompted stage
//! and judge is generic over them, so N backends and M stages need N + M implementations.

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
/// - The completion has at most `max_tokens` tokens, and its text holds none of the `stop` strings.
/// - A [`Constraint`] is met, or the request is an error. A model that supports none refuses it with
///   [`ChatRequest::refuse_constraint`].
/// - [`Completion::logprobs`] is `None` unless the request asks for them. It may be `None` then too.
/// - Dropping the future cancels the work.
///
/// The laws in [`testkit`](crate::testkit) check the contract.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a ChatModel",
    note = "implement `ChatModel::complete`, or wrap a closure with `safer_instruct::complete_fn`"
)]
#[async_trait]
pub trait ChatModel: Send + Sync {
    /// Completes one prompt.
    ///
    /// # Errors
    /// Fails if the model cannot be reached or refuses, or if the request does not fit into its context.
    async fn complete(&self, request: &ChatRequest) -> Result<Completion>;
}

/// A model that gives the likelihood of given continuations.
///
/// # Contract
/// One score for each continuation, in the order of the request. Each score depends on the prompt and on its
/// continuation alone.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a ScoringModel",
    note = "implement `ScoringModel::score`, or wrap a closure with `safer_instruct::score_fn`"
)]
#[async_trait]
pub trait ScoringModel: Send + Sync {
    /// Scores the continuations of one prompt.
    ///
    /// # Errors
    /// Fails if the model cannot be reached or refuses, or if the request does not fit into its context.
    async fn score(&self, request: &ScoreRequest) -> Result<Scores>;
}
