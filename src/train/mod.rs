//! Tuning of a local model: in reverse, to answers, and to preferences.
//!
//! ```text
//!   pairs ─▶ Policy: examples of tokens ─▶ Trainer<Objective> ─▶ adapter (PEFT), metrics.jsonl
//! ```
//!
//! [`Policy`] is the model with a low-rank adapter, [`Objective`] what becomes smaller ([`Sft`], [`Dpo`], [`Ipo`], or your own), and
//! [`Trainer`] makes the steps. What comes out loads into [`CandleModel`](crate::backends::candle::CandleModel) by `with_adapter`.
//! `docs/training.md` is the guide.

mod adam;
mod checkpoint;
mod example;
mod folder;
#[cfg(test)]
mod killed;
mod lora;
mod objective;
mod policy;
mod progress;
mod reference;
mod run;
mod schedule;
mod settings;
#[cfg(test)]
mod tests;
mod trainer;
#[cfg(test)]
mod trouble;

pub use crate::backends::candle::Numbers;
pub use example::Example;
pub use folder::{has_run, remove_run};
pub use lora::{Lora, Target};
pub use objective::{Dpo, Ipo, Loss, Objective, Rewards, Score, Sft, check_slopes};
pub use policy::{Policy, PolicyBuilder, Prepared, Skip};
pub use progress::{Evaluation, Step, TrainingEvent, TrainingReport};
pub use schedule::Schedule;
pub use trainer::Trainer;
