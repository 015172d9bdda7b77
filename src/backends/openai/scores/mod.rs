//! Log-likelihoods of given continuations, for which the protocol has no request.
//!
//! [`score`] asks each server in the way that it supports. [`labels`] reads a score from the most likely first tokens
//! of an answer, and [`echo`] from the log-probabilities of an echoed prompt.

pub(crate) mod echo;
pub(crate) mod labels;
mod score;
