//! A judge that asks another judge in both orders.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_trait::async_trait;

use crate::{
    error::Result,
    record::{Instruction, Judgement, Origin, Response, Verdict},
    stage::PreferenceJudge,
};

/// Asks a judge in both orders, which removes position bias.
///
/// If both verdicts prefer the same response, that is the verdict. If they differ, the judgement is a tie that is
/// marked as flipped (the protocol of MT-Bench, arXiv 2306.05685, section 3.4). The margin is the mean of both, seen
/// from the first response. Identical responses tie, and the judge is not asked.
///
/// # Errors
/// Fails if the judge fails in one of the two orders.
///
/// ```
/// use safer_instruct::*;
///
/// # futures::executor::block_on(async {
/// let by_length = judge_fn(|_, a: Response, b: Response| async move {
///     Ok(if a.text().len() <= b.text().len() { Judgement::first() } else { Judgement::second() })
/// });
/// let judge = judges::SwapOrder::new(by_length);
/// let (x, a, b) = (Instruction::new("Greet."), Response::new("Hi."), Response::new("Oh."));
/// assert!(judge.judge(&x, &a, &b).await?.flipped(), "equally long: the first place decided");
/// assert_eq!(judge.judge(&x, &a, &Response::new("Hello.")).await?, Judgement::first());
/// assert_eq!((judge.asked(), judge.flipped()), (2, 1));
/// # Ok::<_, Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct SwapOrder<J> {
    judge: J,
    asked: AtomicU64,
    flipped: AtomicU64,
}

impl<J> SwapOrder<J> {
    /// Makes a judge that asks `judge` in both orders.
    pub fn new(judge: J) -> Self {
        Self {
            judge,
            asked: AtomicU64::new(0),
            flipped: AtomicU64::new(0),
        }
    }

    /// How many pairs of responses it has judged. Identical and failed ones do not count.
    pub fn asked(&self) -> u64 {
        self.asked.load(Relaxed)
    }

    /// For how many of them the verdict depended on the order.
    pub fn flipped(&self) -> u64 {
        self.flipped.load(Relaxed)
    }

    /// The share of [`flipped`](Self::flipped) in [`asked`](Self::asked); `None` before the first judgement.
    pub fn flip_rate(&self) -> Option<f64> {
        let asked = self.asked();
        (asked > 0).then(|| self.flipped() as f64 / asked as f64)
    }
}

#[async_trait]
impl<J: PreferenceJudge> PreferenceJudge for SwapOrder<J> {
    async fn judge(
        &self,
        instruction: &Instruction,
        first: &Response,
        second: &Response,
    ) -> Result<Judgement> {
        if first.text() == second.text() {
            return Ok(Judgement::tie());
        }
        let (forward, backward) = futures::join!(
            self.judge.judge(instruction, first, second),
            self.judge.judge(instruction, second, first)
        );
        let judgement = combined(&forward?, &backward?);
        self.asked.fetch_add(1, Relaxed);
        if judgement.flipped() {
            self.flipped.fetch_add(1, Relaxed);
        }
        Ok(judgement)
    }
}

/// Combines the judgements of the two orders. Swapping the two arguments swaps the result exactly.
fn combined(forward: &Judgement, backward: &Judgement) -> Judgement {
    let agreed = forward.verdict() == backward.verdict().swapped();
    let verdict = if agreed {
        forward.verdict()
    } else {
        Verdict::Tie
    };
    let mut judgement =
        Judgement::new(verdict).with_flipped(!agreed || forward.flipped() || backward.flipped());
    if let Some((a, b)) = forward.margin().zip(backward.margin()) {
        judgement = judgement.with_margin((a - b) / 2.0);
    }
    match (forward.origin(), backward.origin()) {
        (Some(a), Some(b)) => judgement.with_origin(both(a, b)),
        _ => judgement,
    }
}

fn both(a: &Origin, b: &Origin) -> Origin {
    let mut origin = a.clone();
    origin.method = format!("{}_both_orders", a.method);
    origin.seed = a.seed.filter(|seed| b.seed == Some(*seed));
    origin.attempts = a.attempts.max(b.attempts);
    origin.truncated = a.truncated || b.truncated;
    origin.usage += b.usage;
    origin
}
