//! Tuning of a local model: in reverse, to answers, and to preferences.
//!
//! ```text
//!   pairs ─▶ Policy: examples of tokens ─▶ Trainer<Objective> ─▶ adapter (PEFT), metrics.jsonl
//! ```
//!
//! [`Policy`] is the model with a low-rank adapter, [`Objective`] the loss that it minimises ([`Sft`], [`Dpo`],
//! [`Ipo`], or your own), and [`Trainer`] makes the steps. The adapter loads into
//! [`CandleModel`](crate::backends::candle::CandleModel) by `with_adapter`. `docs/training.md` is the guide.
//!
//! The path of an example, file by file, all but two of them in this folder:
//!
//! 1. `policy.rs`: a pair of texts becomes the tokens of an [`Example`].
//! 2. `run.rs`: an epoch orders the examples, a step takes a batch of them; evaluations and checkpoints.
//! 3. `backends/candle/training/mod.rs`: the batch is packed, and the gradient of its log-probabilities is computed,
//! 4. `backends/candle/training/tape.rs`: forward and backward pass through the layers;
//! 5. `objective.rs`: between the two, the loss, and how much each log-probability weighs in it.
//! 6. `adam.rs`: the gradient updates the parameters of the adapter.

mod adam;
mod checkpoint;
mod example;
mod folder;
mod lora;
mod objective;
mod policy;
pub mod probe;
mod progress;
mod reference;
mod run;
mod schedule;
mod settings;
#[cfg(test)]
mod tests;
mod trainer;

pub use crate::backends::candle::Numbers;
pub use example::Example;
pub use folder::{has_run, remove_run};
pub use lora::{Lora, Target};
pub use objective::{Dpo, Ipo, Loss, Objective, Rewards, Score, Sft, check_slopes};
pub use policy::{Policy, PolicyBuilder, Prepared, Skip};
pub use progress::{Evaluation, Reference, Step, TrainingEvent, TrainingReport};
pub use schedule::Schedule;
pub use trainer::Trainer;
