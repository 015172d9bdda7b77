//! Small models that are fitted on the spot: logistic regression, and n-grams to fit it on.

#[cfg(any(test, feature = "train"))]
mod dense;
mod grams;
mod logistic;

#[cfg(feature = "train")]
pub(crate) use dense::Dense;
pub(crate) use grams::Grams;
pub(crate) use logistic::Problem;
#[cfg(feature = "train")]
pub(crate) use logistic::{Design, Fit};
