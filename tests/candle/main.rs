//! The local engine and its training on real models, beside llama.cpp, the package `gguf`, torch, PEFT and TRL.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout
)]

mod batches;
#[path = "../candle_support/mod.rs"]
mod candle_support;
mod families;
mod merge;
#[cfg(feature = "testkit")]
mod model;
mod oracle;
mod parity;
mod precision;
#[cfg(feature = "train")]
mod training;
