//! Prompted stages: induction and response.
//!
//! | stage | does | model |
//! |---|---|---|
//! | [`ReversedInduction`] | induces with the paper's template | tuned in reverse, P(instruction \| response) |
//! | [`ChatInduction`] | induces by example | any instruct model |
//! | [`BestOf`] | keeps the best of several induced instructions | one that scores |
//! | [`ExpertResponse`] | answers the instruction under a policy | any instruct model, the stronger the better |
//!
//! Each fills in the [`Origin`](crate::Origin) of what it makes. An answer that cannot be read is asked for again with the
//! next seed, and never replaced by a default.

mod best_of;
mod clean;
mod expert;
mod induction;

pub use best_of::BestOf;
pub use expert::ExpertResponse;
pub use induction::{ChatInduction, ReversedInduction};
