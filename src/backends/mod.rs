//! Backends: implementations of [`ChatModel`](crate::ChatModel) and [`ScoringModel`](crate::ScoringModel).

#[cfg(feature = "candle")]
pub mod candle;
#[cfg(feature = "openai")]
#[cfg_attr(docsrs, doc(cfg(feature = "openai")))]
pub mod openai;
