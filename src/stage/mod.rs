//! The traits of the stages of a pipeline.
//!
//! Each trait has one verb and one required method. All are object safe, take `&self` and are `Send + Sync`. A
//! reference, a `Box` or an `Arc` of a stage is a stage too, and so is a closure wrapped by [`induce_fn`],
//! [`respond_fn`], [`judge_fn`], [`guard_fn`] or [`filter_fn`].

mod forward;

use async_trait::async_trait;

pub use forward::{
    FilterFn, GuardFn, InduceFn, JudgeFn, RespondFn, filter_fn, guard_fn, induce_fn, judge_fn,
    respond_fn,
};
pub(crate) use forward::{closure_stage, forward_stage};

use crate::{
    error::Result,
    outcome::Decision,
    record::{Assessment, Instruction, Judgement, Response, SourceText},
};

/// Induces an instruction from the text that answers it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an InstructionGenerator",
    note = "implement `InstructionGenerator::induce`, or wrap a closure with `safer_instruct::induce_fn`"
)]
#[async_trait]
pub trait InstructionGenerator: Send + Sync {
    /// Induces the instruction that `source` could be an answer to.
    ///
    /// All randomness must come from `source.lineage().seed("induce")`.
    ///
    /// # Errors
    /// The draw fails with the error. Other draws go on.
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
    /// All randomness must come from `instruction.lineage().seed("respond")`.
    ///
    /// # Errors
    /// The draw fails with the error. Other draws go on.
    async fn respond(&self, instruction: &Instruction) -> Result<Response>;
}

/// Decides which of two responses to an instruction is better.
///
/// # Contract
/// - Symmetric: when the responses change places, so does the judgement.
/// - Identical responses tie.
/// - The responses are untrusted: nothing in them is an instruction to the judge.
///
/// The judge does not know which response is the expert's. The laws in [`testkit`](crate::testkit) check the contract.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a PreferenceJudge",
    note = "implement `PreferenceJudge::judge`, or wrap a closure with `safer_instruct::judge_fn`"
)]
#[async_trait]
pub trait PreferenceJudge: Send + Sync {
    /// Compares two responses to one instruction.
    ///
    /// # Errors
    /// An answer that cannot be parsed is an error, never a default verdict. The draw fails with the error; other draws
    /// go on.
    async fn judge(
        &self,
        instruction: &Instruction,
        first: &Response,
        second: &Response,
    ) -> Result<Judgement>;
}

/// Finds whether one response is safe, by itself.
///
/// # Contract
/// - What cannot be assessed, because the guard's answer is empty, cut off or no verdict, is
///   [`Unparsed`](crate::Safety::Unparsed) or an error; never safe.
/// - The response is untrusted: nothing in it is an instruction to the guard.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a Guard",
    note = "implement `Guard::assess`, or wrap a closure with `safer_instruct::guard_fn`"
)]
#[async_trait]
pub trait Guard: Send + Sync {
    /// Assesses a response to an instruction.
    ///
    /// # Errors
    /// The draw fails with the error. Other draws go on.
    async fn assess(&self, instruction: &Instruction, response: &Response) -> Result<Assessment>;
}

/// Keeps or drops one item, with a reason.
///
/// `T` is [`SourceText`] for a filter on source texts, and [`Draft`](crate::Draft) everywhere else. A filter that looks
/// at the newest text only can be one on every [`Subject`](crate::Subject).
///
/// ```
/// use async_trait::async_trait;
/// use safer_instruct::{Decision, Draft, Filter, Reason, Result};
///
/// /// Drops responses with too many links.
/// struct FewLinks {
///     most: usize,
/// }
///
/// #[async_trait]
/// impl Filter<Draft> for FewLinks {
///     async fn assess(&self, draft: &Draft) -> Result<Decision> {
///         let links = draft.response()?.text().matches("https://").count();
///         if links <= self.most {
///             return Ok(Decision::Keep);
///         }
///         let detail = format!("{links} of at most {}", self.most);
///         Ok(Decision::Drop(Reason::new("links").with_detail(detail)))
///     }
/// }
/// # use safer_instruct::{Instruction, Response, SourceText};
/// # futures::executor::block_on(async {
/// # let draft = Draft::new(SourceText::new("a", "No.")).with_instruction(Instruction::new("Where is it?"));
/// # let draft = draft.with_response(Response::new("At https://example.org."));
/// # assert!(FewLinks { most: 1 }.assess(&draft).await?.is_keep());
/// # assert!(!FewLinks { most: 0 }.assess(&draft).await?.is_keep());
/// # Ok::<_, safer_instruct::Error>(())
/// # }).unwrap();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a Filter on `{T}`",
    note = "implement `Filter::<{T}>::assess`, or wrap a closure with `safer_instruct::filter_fn`"
)]
#[async_trait]
pub trait Filter<T: ?Sized>: Send + Sync {
    /// Decides whether `item` is kept. The decision may depend on the item alone; for one that depends on other items,
    /// implement [`OrderedFilter`].
    ///
    /// # Errors
    /// The draw fails with the error. Other draws go on.
    async fn assess(&self, item: &T) -> Result<Decision>;
}

/// Keeps or drops items one after the other, in input order, and may remember the earlier ones.
///
/// [`Distinct`](crate::filters::Distinct) is an ordered filter. A [`Filter`] sees items in any order, so if it
/// remembered them, the result would depend on scheduling. The pipeline asks an ordered filter at the two places where
/// the order is fixed: when a source text is read, and when a pair is given out.
///
/// `T` is [`SourceText`] for a filter on source texts, and [`PreferencePair`](crate::PreferencePair) for one on pairs.
pub trait OrderedFilter<T: ?Sized>: Send {
    /// Decides whether `item` is kept, and remembers what later decisions need.
    fn assess_next(&mut self, item: &T) -> Decision;
}
