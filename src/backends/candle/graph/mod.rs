//! What a model computes: from the tokens of a step to logits.
//!
//! [`architecture`] says which layers there are and in what order; [`forward`] runs them for inference, on our kernels
//! on a CPU and on candle's operations elsewhere ([`tensor_attention`]). Training runs the same architecture with
//! operations of its own. Read [`architecture`] first, then [`forward`].

pub(super) mod architecture;
pub(super) mod config;
pub(super) mod forward;
pub(super) mod kv_cache;
pub(super) mod linear;
pub(super) mod ops;
pub(super) mod rope;
pub(super) mod state_sums;
pub(super) mod tensor_attention;
mod tensor_cache;

pub(super) use forward::Graph;
