//! The laws that every judge, filter, generator, backend and pipeline must keep, and doubles to test with.
//!
//! A law is a plain async function: it takes the subject and gives [`Checked`] or a [`Violation`]. One macro for each
//! kind of subject, such as [`judge_laws!`], expands to one named `#[test]` for each law:
//!
//! ```
//! use safer_instruct::{Instruction, Judgement, Response, judge_fn, testkit};
//!
//! # #[allow(unused)]
//! fn shorter_is_better() -> impl safer_instruct::PreferenceJudge {
//!     judge_fn(|_: Instruction, first: Response, second: Response| async move {
//!         Ok(match first.text().len().cmp(&second.text().len()) {
//!             std::cmp::Ordering::Less => Judgement::first(),
//!             std::cmp::Ordering::Greater => Judgement::second(),
//!             std::cmp::Ordering::Equal => Judgement::tie(),
//!         })
//!     })
//! }
//!
//! testkit::judge_laws!(shorter_is_better_keeps_the_laws, shorter_is_better());
//!
//! # futures::executor::block_on(async {
//! // Or one law by hand:
//! let checked = testkit::judges::swap(&shorter_is_better()).await.unwrap();
//! assert!(checked.cases > 0 && checked.skipped.is_empty());
//! # });
//! ```
//!
//! A case that cannot be checked, because the subject answers with an error, is listed in [`Checked::skipped`]; a law
//! that could be checked in no case at all is a [`Violation`]. The kit reads no clock and starts no thread.

mod doubles;
mod hostile;
mod injections;
mod law;
mod macros;

pub mod chat;
pub mod filters;
pub mod guards;
pub mod induction;
pub mod judges;
pub mod pipelines;
pub mod response;
pub mod scoring;
pub mod states;

pub use chat::CHAT_LAWS;
pub use doubles::{Fault, Flaky, Latency, ScriptedModel};
pub use filters::{Specimen, filter_laws};
pub use guards::GUARD_LAWS;
pub use hostile::{HOSTILE_TEXTS, Hostile};
pub use induction::INDUCTION_LAWS;
pub use injections::{INJECTIONS, NO_VERDICTS};
pub use judges::JUDGE_LAWS;
pub use law::{Checked, Law, Verified, Violation};
pub use pipelines::{PIPELINE_LAWS, Run, run_fn};
pub use response::RESPONSE_LAWS;
pub use scoring::SCORING_LAWS;
pub use states::STATE_LAWS;

pub use crate::{
    chat_laws, filter_tests, guard_laws, induction_laws, judge_laws, pipeline_laws, response_laws,
    scoring_laws, state_laws,
};

#[doc(hidden)]
pub use macros::{check_named, check_names};
