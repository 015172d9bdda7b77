//! Fitting of probes: judges and guards that learn from a few hundred labels.
//!
//! ```text
//!   labels ─▶ StateTable: the model reads each response once ─▶ ProbeTrainer ─▶ ProbeWeights, HeadReport
//! ```
//!
//! [`StateTable`] keeps the hidden states of labelled responses in files; [`ProbeTrainer`] fits a
//! [`Probe`](crate::guards::Probe) on them in seconds, and says how good it is on sources that it has not seen, beside
//! simple baselines.

mod baselines;
mod fit;
mod report;
mod states;
mod task;

pub use fit::{FittedProbe, ProbeTrainer};
pub use report::{Comparison, CurvePoint, HeadReport, SourceFigure};
pub use states::StateTable;

#[cfg(test)]
mod tests;
