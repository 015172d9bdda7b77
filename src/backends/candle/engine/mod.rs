//! Takes requests, runs them at the same time and answers them.
//!
//! [`CandleModel`] is the handle that callers hold; its futures put a [`job`] into the queue of a [`worker`]. On the
//! worker's thread the [`scheduler`] decides which sequences run in the next step, and a [`sequence`] makes a token or
//! a score of its logits. Read [`model`], [`scheduler`] and [`sequence`] first, in that order.

mod builder;
mod job;
mod logits;
mod model;
mod prefix_cache;
mod sampler;
mod scheduler;
mod scoring;
mod sequence;
mod worker;

pub use builder::CandleModelBuilder;
pub use model::CandleModel;
