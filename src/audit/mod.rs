//! Figures of a set of preference pairs: is it worth training on?
//!
//! ```text
//!   pairs.jsonl ──▶ PairAudit ──▶ PairFigures ──▶ warnings in words
//!                       ▲
//!   labels of people ───┘ of a random sample, which correct the rates of the guard
//! ```
//!
//! [`PairAudit`] takes pairs one by one, of a run or of others, and [`PairFigures`] says how varied the texts are, how
//! easily `chosen` is told from `rejected` by what has nothing to do with being better, and how often the sides are
//! what they should be. [`Unlabelled`] draws the responses that people are asked to label for that.

mod collect;
mod figures;
mod guarded;
mod sample;
mod texts;
mod told_apart;
mod unlabelled;
mod warnings;

pub use collect::PairAudit;
pub use figures::{LengthFigures, OrderFigures, PairFigures};
pub use guarded::SideFigures;
pub use texts::{TextFigures, WordCounts};
pub use told_apart::ToldApart;
pub use unlabelled::Unlabelled;
