//! Log-likelihoods of given continuations, which no part of the common protocol gives.
//!
//! [`score`] asks each server in the way that it has; [`labels`] reads a score from the likeliest first tokens of an answer,
//! and [`echo`] from the log-probabilities of an echoed prompt.

pub(crate) mod echo;
pub(crate) mod labels;
mod score;
