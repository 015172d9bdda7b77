//! Numbers about judges, guards and data, each with its uncertainty.
//!
//! | question | figures |
//! |---|---|
//! | How well does a score tell two kinds apart, and does another do better? | [`auc`], [`delong`], [`delong_test`] |
//! | How far do judges agree beyond chance? | [`observed_agreement`], [`cohen_kappa`], [`gwet_ac1`], [`krippendorff_alpha`] |
//! | How sure is a figure of texts that come in groups? | [`Bootstrap`] |
//! | What is the rate of something that was counted? | [`Proportion`] |
//! | What is it, if a judge counted that makes mistakes? | [`RoganGladen`], [`ppi_mean`] |
//! | Is a probability worth its name, and how is it made so? | [`brier_score`], [`calibration_error`], [`PlattScaling`], [`IsotonicRegression`], [`TemperatureScaling`] |
//! | How varied are texts? | [`distinct_n`], [`top_share`], [`top_opening_share`], [`vendi_score`], [`cohens_d`] |
//! | What does a jury say, and how good is each judge in it? | [`majority_vote`], [`log_odds_vote`], [`DawidSkene`] |
//!
//! Everything is a function of its arguments alone: no clock, and no randomness but from a seed. A figure that is not
//! defined for the input is `None`, never a number that stands for it. `confidence` is the probability with which an
//! interval is to cover the true figure, such as 0.95; it lies between 0 and 1, both excluded, or the answer is `None`.
//!
//! Agreement depends on how frequent the categories are: state [`observed_agreement`], [`cohen_kappa`], [`gwet_ac1`]
//! and [`krippendorff_alpha`] beside each other. The rate at which a judge says something is not the rate of the thing:
//! state [`ppi_mean`] or [`RoganGladen`].

mod agreement;
mod alpha;
mod bootstrap;
mod calibration;
mod corrected;
mod dawid_skene;
mod diversity;
mod estimate;
mod isotonic;
mod jury;
mod platt;
mod ppi;
mod random;
mod rates;
mod roc;
mod special;
mod temperature;
mod vectors;
mod vendi;

pub use agreement::{cohen_kappa, gwet_ac1, observed_agreement};
pub use alpha::{Scale, krippendorff_alpha};
pub use bootstrap::Bootstrap;
pub use calibration::{Bins, ReliabilityBin, brier_score, calibration_error, reliability};
pub use corrected::RoganGladen;
pub use dawid_skene::DawidSkene;
pub use diversity::{Resampling, cohens_d, distinct_n, top_opening_share, top_share};
pub use estimate::Estimate;
pub use isotonic::IsotonicRegression;
pub use jury::{Consensus, log_odds_vote, majority_vote};
pub use platt::PlattScaling;
pub use ppi::{Ppi, ppi_mean};
pub(crate) use random::SplitMix64;
pub use rates::Proportion;
pub use roc::{AucComparison, auc, delong, delong_test};
pub use temperature::TemperatureScaling;
pub use vendi::vendi_score;
