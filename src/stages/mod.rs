//! Prompted stages: induction and response.
//!
//! | stage | does | model |
//! |---|---|---|
//! | [`ReversedInduction`] | induces with the paper's template | tuned in reverse, P(instruction \| response) |
//! | [`ChatInduction`] | induces by example | any instruct model |
//! | [`BestOf`] | keeps the best of several induced instructions | one that scores |
//! | [`ExpertResponse`] | answers the instruction under a policy | any instruct model, the stronger the better |
//! | [`BestResponse`] | keeps the one of several responses that a judge prefers | that of the judge |
//!
//! Two more make and choose pairs to tune a model with:
//!
//! | stage | does | model |
//! |---|---|---|
//! | [`SelfInstruct`] | writes instructions and its responses to them | one tuned on conversations |
//! | [`Grounding`] | keeps the pairs whose response decides their instruction | one that scores |
//!
//! Each of the first five fills in the [`Origin`](crate::Origin) of what it makes. An answer that cannot be read is
//! asked for again with the next seed, and never replaced by a default.

mod best_of;
mod best_response;
mod clean;
mod expert;
mod grounding;
mod induction;
mod self_instruct;

pub use best_of::BestOf;
pub use best_response::BestResponse;
pub use expert::ExpertResponse;
pub use grounding::Grounding;
pub use induction::{ChatInduction, ReversedInduction};
pub use self_instruct::{SelfInstruct, distinct_instructions};
