//! The scores of one job while they are being made.

use std::{cell::RefCell, rc::Rc};

use futures::channel::oneshot;

use super::job::ScoreJob;
use crate::{
    backends::candle::graph::kv_cache::KvCache,
    error::{Error, Result},
    model::Continuation,
};

/// A job and the scores that it has so far, shared by the sequences that work on it.
///
/// `log P(c | x)` is the sum over the tokens of `c` of `log softmax(logits before it)[token]`. The first token of every
/// continuation follows the prompt, so the prompt's last logits score all of them; only the others need more reading.
#[derive(Clone, Debug)]
pub(super) struct Scoring(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    continuations: Vec<Vec<u32>>,
    /// `None` once the job is answered.
    reply: Option<oneshot::Sender<Result<Vec<Continuation>>>>,
    scores: Vec<Continuation>,
    /// Continuations that are still being read.
    unfinished: usize,
}

/// A continuation that can begin, after the cache of its prompt.
#[derive(Debug)]
pub(super) struct Fork {
    pub(super) scoring: Scoring,
    pub(super) index: usize,
    pub(super) prompt: Rc<KvCache>,
}

impl Fork {
    /// The most tokens whose keys and values it needs.
    pub(super) fn most_tokens(&self) -> usize {
        let state = self.scoring.0.borrow();
        let own = state.continuations.get(self.index).map_or(0, Vec::len);
        self.prompt.len() + own
    }
}

impl Scoring {
    /// Every continuation at 0.
    pub(super) fn new(job: ScoreJob) -> Self {
        let scores = job.continuations.iter().map(|ids| Continuation {
            logprob: 0.0,
            tokens: ids.len(),
        });
        Self(Rc::new(RefCell::new(State {
            scores: scores.collect(),
            continuations: job.continuations,
            reply: Some(job.reply),
            unfinished: 0,
        })))
    }

    /// The tokens of a continuation.
    pub(super) fn tokens(&self, index: usize) -> Vec<u32> {
        let state = self.0.borrow();
        state.continuations.get(index).cloned().unwrap_or_default()
    }

    /// Whether nobody waits for the scores any more.
    pub(super) fn is_cancelled(&self) -> bool {
        let state = self.0.borrow();
        state
            .reply
            .as_ref()
            .is_none_or(oneshot::Sender::is_canceled)
    }

    /// Scores all first tokens by the prompt's last logits and their `log sum exp`; gives what is to be read on.
    pub(super) fn begin(&self, logits: &[f32], log_sum: f64, prompt: KvCache) -> Vec<Fork> {
        let mut state = self.0.borrow_mut();
        let state = &mut *state;
        let prompt = Rc::new(prompt);
        let mut forks = Vec::new();
        for (index, ids) in state.continuations.iter().enumerate() {
            if let (Some(first), Some(score)) = (ids.first(), state.scores.get_mut(index)) {
                score.logprob += logprob(logits, *first, log_sum);
            }
            if ids.len() > 1 {
                forks.push(Fork {
                    scoring: self.clone(),
                    index,
                    prompt: Rc::clone(&prompt),
                });
            }
        }
        state.unfinished = forks.len();
        forks
    }

    /// Scores the token at `position` of a continuation by the logits before it and their `log sum exp`.
    pub(super) fn add(&self, index: usize, position: usize, logits: &[f32], log_sum: f64) {
        let mut state = self.0.borrow_mut();
        let state = &mut *state;
        let token = state
            .continuations
            .get(index)
            .and_then(|ids| ids.get(position));
        if let (Some(token), Some(score)) = (token, state.scores.get_mut(index)) {
            score.logprob += logprob(logits, *token, log_sum);
        }
    }

    /// Counts one continuation as read.
    pub(super) fn finish_one(&self) {
        self.0.borrow_mut().unfinished -= 1;
    }

    /// Answers the job if all its continuations are read, after a last look at the scores.
    pub(super) fn answer_if_finished(&self, check: impl FnOnce(&[Continuation]) -> Result<()>) {
        let mut state = self.0.borrow_mut();
        if state.unfinished > 0 {
            return;
        }
        let scores = std::mem::take(&mut state.scores);
        if let Some(reply) = state.reply.take() {
            // The caller may be gone, which is no error.
            let _ = reply.send(check(&scores).map(|()| scores));
        }
    }

    /// Answers the job with an error; its other sequences count as cancelled from now on.
    pub(super) fn fail(&self, error: Error) {
        if let Some(reply) = self.0.borrow_mut().reply.take() {
            let _ = reply.send(Err(error));
        }
    }
}

/// The logarithm of a token's probability, in nats, where `log_sum` is the `log sum exp` of all logits.
pub(super) fn logprob(logits: &[f32], token: u32, log_sum: f64) -> f64 {
    let logit = logits.get(token as usize).copied().unwrap_or(f32::NAN);
    f64::from(logit) - log_sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::candle::kernels::logits::log_sum_exp;

    #[test]
    fn probabilities_add_up() {
        let logits = [1000.0, 999.0, -1000.0, f32::NEG_INFINITY];
        let log_sum = log_sum_exp(&logits);
        let sum: f64 = (0..4).map(|id| logprob(&logits, id, log_sum).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        assert!((logprob(&logits, 1, log_sum) - (-1.313_261_687)).abs() < 1e-6);
        assert!(logprob(&logits, 9, log_sum).is_nan());
    }
}
