//! Backends: implementations of [`ChatModel`](crate::ChatModel) and [`ScoringModel`](crate::ScoringModel).

#[cfg(feature = "candle")]
pub mod candle;
