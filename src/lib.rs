//! Preference data for alignment, from texts that should not be said.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod decorate;
mod error;
mod model;
mod outcome;
mod pipeline;
mod record;
mod stage;
mod text;

pub mod backends;
pub mod dataset;
pub mod filters;
#[cfg(feature = "hub")]
pub mod hub;
pub mod judges;
pub mod prompt;
pub mod stages;
#[cfg(feature = "testkit")]
pub mod testkit;

pub use decorate::{Cache, ConcurrencyLimit, Decorate, RetryPolicy, Sleep, Timeout, WithRetry};
pub use error::{BoxError, Error, Excerpt, Result, Retry};
pub use model::{
    ChatModel, ChatRequest, CompleteFn, Completion, Continuation, FinishReason, Message, Prompt,
    Role, Sampling, ScoreFn, ScoreRequest, Scores, ScoringModel, complete_fn, score_fn,
};
pub use outcome::{Decision, Draft, Outcome, Reason, Stage};
pub use pipeline::{DynPipeline, Event, Observer, Pipeline, Upset};
pub use record::{
    Candidate, Induced, Instruction, Judged, Judgement, Lineage, ModelId, Origin, PreferencePair,
    Provenance, Response, Side, SourceText, Subject, Usage, Verdict,
};
pub use stage::{
    Filter, FilterFn, InduceFn, InstructionGenerator, JudgeFn, OrderedFilter, PreferenceJudge,
    RespondFn, ResponseGenerator, filter_fn, induce_fn, judge_fn, respond_fn,
};
