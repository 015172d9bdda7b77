//! Models on local hardware, through candle.
//!
//! [`CandleModel`] runs a GGUF file in this process:
//!
//! ```text
//!   request ─▶ template, tokenizer ─▶ queue ─▶ worker thread: scheduler ─▶ graph ─▶ sampler or scores ─▶ reply
//! ```
//!
//! The future of a request encodes the prompt and waits. One named thread owns the weights; its scheduler runs whatever
//! sequences there are as one ragged batch a step, and each sequence's result does not depend on the others.
//!
//! [`Merge`] writes a model with a LoRA adapter as a GGUF file, for other programs.

mod adapter;
mod architecture;
mod builder;
mod cache;
mod choices;
mod config;
mod device;
mod gguf;
mod graph;
mod job;
mod kernels;
mod linear;
mod matrix;
mod merge;
mod model;
mod ops;
mod portable;
mod precision;
mod prefixes;
mod reading;
mod rule;
mod sampler;
mod scheduler;
#[cfg(feature = "llguidance")]
mod schema;
mod scoring;
mod sequence;
mod template;
#[cfg(test)]
pub(crate) mod tests;
mod tokenizer;
#[cfg(feature = "train")]
pub(crate) mod training;
mod weights;
mod worker;
mod writer;

#[cfg(feature = "train")]
pub use adapter::Numbers;
pub use builder::CandleModelBuilder;
pub use device::Device;
pub use merge::{Merge, ModelForm};
pub use model::CandleModel;
pub use precision::Precision;
pub use tokenizer::Tokenizer;
