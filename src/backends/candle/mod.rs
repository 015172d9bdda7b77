//! Models on local hardware, through candle.
//!
//! [`CandleModel`] runs a GGUF file in this process:
//!
//! ```text
//!   request ─▶ template, tokenizer ─▶ queue ─▶ worker thread: scheduler ─▶ graph ─▶ sampler or scores ─▶ reply
//! ```
//!
//! The future of a request encodes the prompt and waits. A worker thread owns the weights. Its scheduler runs all
//! sequences as one ragged batch a step, and the result of a sequence does not depend on the others.
//!
//! [`Merge`] writes a model with a LoRA adapter as a GGUF file, for other programs.

mod constraint;
mod device;
mod engine;
mod gguf;
mod graph;
mod kernels;
mod precision;
#[cfg(test)]
pub(crate) mod tests;
mod text;
mod threads;
#[cfg(feature = "train")]
pub(crate) mod training;
mod weights;

pub use device::Device;
pub use engine::{CandleModel, CandleModelBuilder};
pub use precision::Precision;
pub use text::Tokenizer;
#[cfg(feature = "train")]
pub use weights::adapter::Numbers;
pub use weights::merge::{Merge, ModelForm};
