//! The traits of language models, which a backend implements.
//!
//! [`ChatModel`] completes a prompt. [`ScoringModel`] gives the likelihood of given continuations. [`StateModel`] gives
//! the hidden states over a given continuation. Every prompted stage and judge is generic over them, so N backends and M
//! stages need N + M implementations.

mod completion;
mod constraint;
mod forward;
mod message;
mod request;
mod states;

use async_trait::async_trait;

pub use completion::{Completion, FinishReason, TokenLogprob, TopLogprob};
pub use constraint::Constraint;
pub use forward::{CompleteFn, ScoreFn, StateFn, complete_fn, score_fn, state_fn};
pub use message::{Message, Prompt, Role};
pub use request::{ChatRequest, Continuation, Sampling, ScoreRequest, Scores};
pub use states::{LayerStates, StateRequest, States};

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

/// A model that gives the hidden states over a given continuation.
///
/// The state of a token after layer `k` is its row of the residual stream at the end of the `k`-th block, before any
/// norm: `hidden_states[k]` of Hugging Face's transformers, but for the last layer, which is normed there.
///
/// # Contract
/// - One entry for each layer of the request, in its order; all rows have the hidden size of the model, and are finite.
/// - The states depend on the prompt and on the tokens that are read alone: the same request gives the same states,
///   alone or beside others.
/// - A continuation without tokens, a layer that the model does not have and `max_tokens` of 0 are errors.
///
/// The laws in [`testkit`](crate::testkit) check the contract.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a StateModel",
    note = "only local models are: `backends::candle::CandleModel`. Implement `StateModel::states`, or wrap a closure with `safer_instruct::state_fn`"
)]
#[async_trait]
pub trait StateModel: Send + Sync {
    /// Reads a continuation of a prompt.
    ///
    /// # Errors
    /// Fails as the contract says, or if the request does not fit into the model's context.
    async fn states(&self, request: &StateRequest) -> Result<States>;
}
