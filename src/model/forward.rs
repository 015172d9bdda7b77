//! Implementations of the model traits for references, boxes, shared pointers and closures.

use async_trait::async_trait;

use super::{
    ChatModel, ChatRequest, Completion, ScoreRequest, Scores, ScoringModel, StateModel,
    StateRequest, States,
};
use crate::{
    error::Result,
    stage::{closure_stage, forward_stage},
};

forward_stage! { ChatModel { complete(request: &ChatRequest) -> Result<Completion> } }
forward_stage! { ScoringModel { score(request: &ScoreRequest) -> Result<Scores> } }
forward_stage! { StateModel { states(request: &StateRequest) -> Result<States> } }

closure_stage! {
    /// Makes a [`ChatModel`] from a closure.
    ///
    /// The closure receives an owned request, so that its future may use it.
    complete_fn, CompleteFn: ChatModel { complete(request: &ChatRequest) -> Result<Completion> }
}
closure_stage! {
    /// Makes a [`ScoringModel`] from a closure.
    ///
    /// The closure receives an owned request, so that its future may use it.
    score_fn, ScoreFn: ScoringModel { score(request: &ScoreRequest) -> Result<Scores> }
}
closure_stage! {
    /// Makes a [`StateModel`] from a closure.
    ///
    /// The closure receives an owned request, so that its future may use it.
    state_fn, StateFn: StateModel { states(request: &StateRequest) -> Result<States> }
}
