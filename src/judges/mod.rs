//! Judges: which of two responses is better.
//!
//! | judge | asks | symmetric |
//! |---|---|---|
//! | [`PairwiseJudge`] | any instruct model for a verdict | only inside [`SwapOrder`]: models favour a place |
//! | [`LikelihoodJudge`] | a scoring model for the probability of `A` and `B`, in both orders | yes |
//! | [`SwapOrder`] | any judge, in both orders | yes |
//!
//! A verdict that cannot be read is asked for again and then is an error, never a default. Identical responses tie
//! without a question to the model.

mod likelihood;
mod pairwise;
mod swap_order;

pub use likelihood::LikelihoodJudge;
pub use pairwise::PairwiseJudge;
pub use swap_order::SwapOrder;
