//! What the crate does without a model and without a network: data sets, prompts, stages, judges, filters, the
//! pipeline.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod audit;
mod bad_input;
mod dataset;
mod filters;
#[cfg(feature = "train")]
mod fitted_probe;
mod guards;
#[cfg(feature = "hub")]
mod hub;
mod instructions;
mod judges;
mod labels;
mod measure;
#[cfg(feature = "testkit")]
mod pipeline;
mod probe;
mod prompts;
mod stages;
