//! Judges, which decide which of two responses is better.
//!
//! | judge | asks | symmetric |
//! |---|---|---|
//! | [`PairwiseJudge`] | any instruct model for a verdict | only inside [`SwapOrder`]: models have position bias |
//! | [`LikelihoodJudge`] | a scoring model for the probabilities of `A` and `B`, in both orders | yes |
//! | [`SwapOrder`] | any judge, in both orders | yes |
//!
//! A verdict that cannot be parsed is asked for again. If that does not help, it is an error, never a default.
//! Identical responses tie, and the model is not asked.

mod likelihood;
mod pairwise;
mod swap_order;

pub use likelihood::LikelihoodJudge;
pub use pairwise::PairwiseJudge;
pub use swap_order::SwapOrder;
