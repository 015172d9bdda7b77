//! References, boxes, shared pointers and closures are models too.

use async_trait::async_trait;

use super::{ChatModel, ChatRequest, Completion, ScoreRequest, Scores, ScoringModel};
use crate::{
    error::Result,
    stage::{closure_stage, forward_stage},
};

forward_stage! { ChatModel { complete(request: &ChatRequest) -> Result<Completion> } }
forward_stage! { ScoringModel { score(request: &ScoreRequest) -> Result<Scores> } }

closure_stage! {
    /// Makes a [`ChatModel`] of a closure.
    ///
    /// The closure gets an owned request, so that its future may outlive the call.
    complete_fn, CompleteFn: ChatModel { complete(request: &ChatRequest) -> Result<Completion> }
}
closure_stage! {
    /// Makes a [`ScoringModel`] of a closure.
    ///
    /// The closure gets an owned request, so that its future may outlive the call.
    score_fn, ScoreFn: ScoringModel { score(request: &ScoreRequest) -> Result<Scores> }
}
