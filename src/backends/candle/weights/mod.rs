//! From model files to weights in memory, and back to a file.
//!
//! [`read`] takes the tensors of a GGUF file, adds a LoRA [`adapter`] if there is one, and lays them out for the graph.
//! A [`matrix`] is rows that are made only when they are needed, so no second copy of a model is ever held. [`merge`]
//! writes the sum of model and adapter as a new file. Read [`read`] first.

pub(super) mod adapter;
pub(super) mod matrix;
pub(super) mod merge;
pub(super) mod read;
