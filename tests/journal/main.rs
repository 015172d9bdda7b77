//! Runs and their stores: what is durable, what is paid for once, and what the files are.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod budget;
mod export;
mod file;
mod folder;
mod fork;
mod killed;
#[cfg(feature = "testkit")]
mod laws;
mod recorded;
mod retry;
mod runner;
mod stores;
mod support;
