//! Test doubles: what the closures of the crate (`judge_fn`, `induce_fn`, …) cannot do.

mod flaky;
mod key;
mod latency;
mod scripted;

pub use flaky::{Fault, Flaky};
pub use latency::Latency;
pub use scripted::ScriptedModel;
