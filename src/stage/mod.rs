//! Stages: what a pipeline is made of.
//!
//! One trait, one verb, one required method. All are object safe, take `&self` and are `Send + Sync`; a reference, a
//! `Box` or an `Arc` of a stage is a stage, and so is a closure wrapped by [`induce_fn`], [`respond_fn`],
//! [`judge_fn`] or [`filter_fn`].

mod forward;

use async_trait::async_trait;

pub use forward::{
    FilterFn, InduceFn, JudgeFn, RespondFn, filter_fn, induce_fn, judge_fn, respond_fn,
};
pub(crate) use forward::{closure_stage, forward_stage};

use crate::{
    error::Result,
    outcome::Decision,
    record::{Instruction, Judgement, Response, SourceText},
};

/// Makes an instruction from the text that answers it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an InstructionGenerator",
    note = "implement `InstructionGenerator::induce`, or wrap a closure with `safer_instruct::induce_fn`"
)]
#[async_trait]
pub trait InstructionGenerator: Send + Sync {
    /// Induces the instruction that `source` could be an answer to.
    ///
    /// Randomness comes from `source.lineage().seed("induce")` and from nowhere else.
    ///
    /// # Errors
    /// Any error ends this source text as failed and leaves the others alone.
    async fn induce(&self, source: &SourceText) -> Result<Instruction>;
}

/// Answers an instruction.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a ResponseGenerator",
    note = "implement `ResponseGenerator::respond`, or wrap a closure with `safer_instruct::respond_fn`"
)]
#[async_trait]
pub trait ResponseGenerator: Send + Sync {
    /// Answers `instruction`.
    ///
    /// Randomness comes from `instruction.lineage().seed("respond")` and from nowhere else.
    ///
    /// # Errors
    /// Any error ends this source text as failed and leaves the others alone.
    async fn respond(&self, instruction: &Instruction) -> Result<Response>;
}

/// Says which of two responses to an instruction is better.
///
/// # Contract
/// - Symmetric: when the responses change places, so does the judgement.
/// - Identical responses tie.
/// - The responses are untrusted: nothing in them is an instruction to the judge.
///
/// The judge is never told which response the pipeline hopes for. The laws in [`testkit`](crate::testkit) check it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a PreferenceJudge",
    note = "implement `PreferenceJudge::judge`, or wrap a closure with `safer_instruct::judge_fn`"
)]
#[async_trait]
pub trait PreferenceJudge: Send + Sync {
    /// Compares two responses to one instruction.
    ///
    /// # Errors
    /// An answer that cannot be parsed is an error, never a default verdict.
    async fn judge(
        &self,
        instruction: &Instruction,
        first: &Response,
        second: &Response,
    ) -> Result<Judgement>;
}

/// Keeps or drops one item, with a reason.
///
/// `T` is [`SourceText`] for a filter on source texts, and [`Draft`](crate::Draft) everywhere else.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a Filter on `{T}`",
    note = "implement `Filter::<{T}>::assess`, or wrap a closure with `safer_instruct::filter_fn`"
)]
#[async_trait]
pub trait Filter<T: ?Sized>: Send + Sync {
    /// Decides whether `item` goes on. Depends on the item alone: what depends on other items is an [`OrderedFilter`].
    ///
    /// # Errors
    /// Any error ends this source text as failed and leaves the others alone.
    async fn assess(&self, item: &T) -> Result<Decision>;
}

/// A filter with a memory, such as [`Distinct`](crate::filters::Distinct): it sees the items one by one in input order.
///
/// A [`Filter`] sees items in whatever order they are worked on; one with a memory would make the result depend
/// on scheduling. The pipeline asks an `OrderedFilter` where the order is fixed: when a text is read, or when an
/// outcome is given out.
pub trait OrderedFilter<T: ?Sized>: Send {
    /// Decides whether `item` goes on, and remembers what it needs.
    fn assess_next(&mut self, item: &T) -> Decision;
}
