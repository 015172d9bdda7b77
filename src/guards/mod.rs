//! Guards, which find whether one response is safe, by itself.
//!
//! A guard model wants its input in a form of its own, and answers in one. Both are data here: a [`Dialect`] is a JSON
//! file that says how an exchange is rendered and how the answer is read. One engine, [`DialectGuard`], runs all of
//! them over any [`ChatModel`](crate::ChatModel). [`Dialect::all`] holds those of the crate, and [`Dialect::parse`]
//! reads one of your own. `docs/guards.md` has the table of dialects and describes the file.
//!
//! Reading fails closed. What is not exactly a verdict is [`Unparsed`](crate::Safety::Unparsed), which never counts as
//! safe: an empty or cut answer, prose, two verdicts, fields that contradict each other, an unknown category.
//!
//! A [`Probe`] is a guard and a judge of another kind: a linear function of a model's hidden states, fitted on labels.
//!
//! [`SafeResponse`](crate::filters::SafeResponse) and [`UnsafeSource`](crate::filters::UnsafeSource) make filters of
//! any guard.

mod answer;
mod catalogue;
mod categories;
mod decisive;
mod dialect;
mod frame;
mod guard;
mod mode;
mod probe;

pub use dialect::Dialect;
pub use guard::DialectGuard;
pub use probe::{HeadCard, Probe, ProbeCard, ProbeData, ProbeMeasure, ProbeWeights};
