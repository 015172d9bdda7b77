//! A decorator that adds latency, without a clock.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use async_trait::async_trait;

use super::key::{Key, decorate, uniform};
use crate::{
    error::Result,
    model::{ChatModel, ChatRequest, Completion, ScoreRequest, Scores, ScoringModel},
    record::{Instruction, Judgement, Response, SourceText},
    stage::{InstructionGenerator, PreferenceJudge, ResponseGenerator},
};

/// A model or a stage that is ready only after some polls: latency without a clock.
///
/// How many polls depends on the seed and on what is asked alone. The distribution has a heavy tail (Pareto with shape
/// 1, cut at [`MAX_POLLS`](Self::MAX_POLLS)): most calls are ready at once, a few take very long, and concurrent calls
/// overtake each other.
#[derive(Debug)]
pub struct Latency<M> {
    inner: M,
    seed: u64,
}

impl<M> Latency<M> {
    /// The most polls that a call takes before it begins.
    pub const MAX_POLLS: u32 = 500;

    /// Draws latencies from `seed`.
    pub fn new(inner: M, seed: u64) -> Self {
        Self { inner, seed }
    }

    async fn before(&self, key: u64) -> Result<()> {
        let drawn = 1.0 / uniform(self.seed, key, 0) - 1.0;
        Yield(drawn.min(f64::from(Self::MAX_POLLS)) as u32).await;
        Ok(())
    }
}

decorate! { Latency }

/// Ready after so many polls; asks to be polled again each time.
struct Yield(u32);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
