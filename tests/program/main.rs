//! The program as its users start it: a process, its files, its exit codes, its output.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod audit;
#[path = "../candle_support/mod.rs"]
mod candle_support;
mod judges;
mod local;
mod process;
mod served;
mod settings;
mod tools;
