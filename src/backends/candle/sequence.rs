//! One request on its way through the model.

use std::sync::Arc;

use futures::channel::oneshot;

use super::{cache::KvCache, graph::Piece, sampler::Sampler, tokenizer::Tokenizer};
use crate::{
    error::Result,
    model::{Completion, Continuation, FinishReason, Scores},
    record::{ModelId, Usage},
};

/// A prompt is read in pieces that end at multiples of this many tokens, so that the shapes of a sequence's products, and with
/// them its bits, do not depend on what else is in the batch.
const PIECE: usize = 128;

/// A request that the model works on.
pub(super) struct Sequence {
    cache: KvCache,
    /// Tokens to feed, of which `fed` have been.
    tokens: Vec<u32>,
    fed: usize,
    prompt_tokens: usize,
    work: Work,
}

enum Work {
    Write(Write),
    Score(Score),
}

/// Writing a completion.
pub(super) struct Write {
    pub(super) sampler: Sampler,
    pub(super) max_tokens: usize,
    pub(super) stop: Vec<String>,
    pub(super) reply: oneshot::Sender<Result<Completion>>,
    written: usize,
    bytes: Vec<u8>,
}

/// Scoring continuations.
pub(super) struct Score {
    continuations: Vec<Vec<u32>>,
    scores: Vec<Continuation>,
    /// Continuations with more than one token, which still have to be fed; the last one is being fed.
    remaining: Vec<usize>,
    prompt_done: bool,
    reply: oneshot::Sender<Result<Scores>>,
}

/// Whether a sequence goes on.
pub(super) enum State {
    Going,
    Done,
}

impl Sequence {
    /// A completion of `prompt`, which is not empty.
    pub(super) fn write(cache: KvCache, prompt: Vec<u32>, write: Write) -> Self {
        let prompt_tokens = prompt.len();
        Self {
            cache,
            tokens: prompt,
            fed: 0,
            prompt_tokens,
            work: Work::Write(write),
        }
    }

    /// The scores of `continuations` after `prompt`, which is not empty.
    pub(super) fn score(
        cache: KvCache,
        prompt: Vec<u32>,
        continuations: Vec<Vec<u32>>,
        reply: oneshot::Sender<Result<Scores>>,
    ) -> Self {
        let prompt_tokens = prompt.len();
        let scores = continuations
            .iter()
            .map(|tokens| Continuation {
                logprob: 0.0,
                tokens: tokens.len(),
            })
            .collect();
        let remaining = (0..continuations.len()).rev().filter(|index| {
            continuations
                .get(*index)
                .is_some_and(|tokens| tokens.len() > 1)
        });
        let remaining = remaining.collect();
        let score = Score {
            continuations,
            scores,
            remaining,
            prompt_done: false,
            reply,
        };
        Self {
            cache,
            tokens: prompt,
            fed: 0,
            prompt_tokens,
            work: Work::Score(score),
        }
    }

    /// Whether nobody waits for the answer any more.
    pub(super) fn is_cancelled(&self) -> bool {
        match &self.work {
            Work::Write(write) => write.reply.is_canceled(),
            Work::Score(score) => score.reply.is_canceled(),
        }
    }

    /// How many rows the next piece has.
    pub(super) fn next_rows(&self) -> usize {
        self.tokens.len().saturating_sub(self.fed).min(PIECE)
    }

    /// The next piece for the model.
    pub(super) fn piece(&mut self) -> Piece<'_> {
        let end = self.fed + self.next_rows();
        let all_logits = matches!(&self.work, Work::Score(score) if score.prompt_done);
        Piece {
            tokens: self.tokens.get(self.fed..end).unwrap_or_default(),
            cache: &mut self.cache,
            all_logits,
        }
    }

    /// How many rows of logits the next piece gives.
    pub(super) fn next_logits(&self) -> usize {
        match &self.work {
            Work::Score(score) if score.prompt_done => self.next_rows(),
            _ => 1,
        }
    }

    /// Takes the logits of the piece that was fed, one row a token of which logits were wanted.
    pub(super) fn take(
        &mut self,
        logits: &[Vec<f32>],
        tokenizer: &Tokenizer,
        model: &Arc<ModelId>,
    ) -> Result<State> {
        let before = self.fed;
        self.fed += self.next_rows();
        let read_all = self.fed == self.tokens.len();
        let prompt_tokens = self.prompt_tokens;
        match &mut self.work {
            Work::Write(_) if !read_all => Ok(State::Going),
            Work::Write(write) => {
                let Some(row) = logits.last() else {
                    return Ok(State::Going);
                };
                let token = write.sampler.sample(row)?;
                match write.add(token, tokenizer) {
                    Some((text, finish_reason)) => {
                        let usage = Usage {
                            prompt_tokens: prompt_tokens as u64,
                            completion_tokens: write.written as u64,
                        };
                        let model = model.clone();
                        self.answer_write(Ok(Completion {
                            text,
                            finish_reason,
                            usage,
                            model,
                        }));
                        Ok(State::Done)
                    }
                    None => {
                        self.tokens.clear();
                        self.tokens.push(token);
                        self.fed = 0;
                        Ok(State::Going)
                    }
                }
            }
            Work::Score(score) => {
                if !score.prompt_done {
                    if !read_all {
                        return Ok(State::Going);
                    }
                    score.prompt_done = true;
                    if let Some(row) = logits.last() {
                        score.add_first_tokens(row);
                    }
                } else {
                    score.add_rows(before, logits);
                    if !read_all {
                        return Ok(State::Going);
                    }
                    score.remaining.pop();
                }
                match score
                    .remaining
                    .last()
                    .and_then(|index| score.continuations.get(*index))
                {
                    Some(next) => {
                        // The last token is never fed: nothing follows it.
                        self.tokens = next
                            .split_last()
                            .map(|(_, rest)| rest.to_vec())
                            .unwrap_or_default();
                        self.fed = 0;
                        self.cache.truncate(prompt_tokens);
                        Ok(State::Going)
                    }
                    None => {
                        let read: usize = score.continuations.iter().map(Vec::len).sum();
                        let scores = Scores {
                            continuations: std::mem::take(&mut score.scores),
                            usage: Usage {
                                prompt_tokens: (prompt_tokens + read) as u64,
                                completion_tokens: 0,
                            },
                            model: model.clone(),
                        };
                        self.answer_score(Ok(scores));
                        Ok(State::Done)
                    }
                }
            }
        }
    }

    /// Ends the sequence with an error.
    pub(super) fn fail(mut self, error: crate::Error) {
        match &self.work {
            Work::Write(_) => self.answer_write(Err(error)),
            Work::Score(_) => self.answer_score(Err(error)),
        }
    }

    /// An answer that nobody waits for is dropped.
    fn answer_write(&mut self, answer: Result<Completion>) {
        if let Work::Write(write) = &mut self.work {
            let (spent, _) = oneshot::channel();
            let _ = std::mem::replace(&mut write.reply, spent).send(answer);
        }
    }

    fn answer_score(&mut self, answer: Result<Scores>) {
        if let Work::Score(score) = &mut self.work {
            let (spent, _) = oneshot::channel();
            let _ = std::mem::replace(&mut score.reply, spent).send(answer);
        }
    }
}

impl Write {
    pub(super) fn new(
        sampler: Sampler,
        max_tokens: usize,
        stop: Vec<String>,
        reply: oneshot::Sender<Result<Completion>>,
    ) -> Self {
        Self {
            sampler,
            max_tokens,
            stop,
            reply,
            written: 0,
            bytes: Vec::new(),
        }
    }

    /// Adds a token; gives text and reason if it was the last one.
    fn add(&mut self, token: u32, tokenizer: &Tokenizer) -> Option<(String, FinishReason)> {
        self.written += 1;
        // A control token ends the turn, whichever it is: none of them is ever text.
        if tokenizer.is_end(token) || tokenizer.is_control(token) {
            return Some((lossless_prefix(&self.bytes), FinishReason::Stop));
        }
        let before = self.bytes.len();
        self.bytes.extend_from_slice(tokenizer.token_bytes(token));
        let found = self.stop.iter().filter_map(|stop| {
            let from = before.saturating_sub(stop.len());
            let tail = self.bytes.get(from..)?;
            let place = tail
                .windows(stop.len())
                .position(|window| window == stop.as_bytes())?;
            Some(from + place)
        });
        if let Some(end) = found.min() {
            self.bytes.truncate(end);
            return Some((lossless_prefix(&self.bytes), FinishReason::Stop));
        }
        (self.written >= self.max_tokens)
            .then(|| (lossless_prefix(&self.bytes), FinishReason::Length))
    }
}

impl Score {
    /// The first token of every continuation, from the row behind the prompt.
    fn add_first_tokens(&mut self, row: &[f32]) {
        let normalizer = log_sum_exp(row);
        for (tokens, score) in self.continuations.iter().zip(&mut self.scores) {
            if let Some(token) = tokens.first() {
                score.logprob += log_probability(row, *token, normalizer);
            }
        }
    }

    /// Later tokens of the continuation that is being fed; the first row belongs to its token `before`.
    fn add_rows(&mut self, before: usize, rows: &[Vec<f32>]) {
        let Some(index) = self.remaining.last() else {
            return;
        };
        let (Some(tokens), Some(score)) =
            (self.continuations.get(*index), self.scores.get_mut(*index))
        else {
            return;
        };
        for (row, token) in rows.iter().zip(tokens.iter().skip(before + 1)) {
            score.logprob += log_probability(row, *token, log_sum_exp(row));
        }
    }
}

/// log sum exp in f64, summed in the order of the vocabulary.
fn log_sum_exp(row: &[f32]) -> f64 {
    let max = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    max + row
        .iter()
        .map(|logit| (f64::from(*logit) - max).exp())
        .sum::<f64>()
        .ln()
}

fn log_probability(row: &[f32], token: u32, normalizer: f64) -> f64 {
    row.get(token as usize)
        .map_or(f64::NEG_INFINITY, |logit| f64::from(*logit) - normalizer)
}

/// The bytes as text: a character that is cut off at the end is left out, other bytes that are no UTF-8 become U+FFFD.
fn lossless_prefix(bytes: &[u8]) -> String {
    let end = match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    };
    // A cut character may stand behind bytes that are no UTF-8; `valid_up_to` then ends before those.
    let end = if end < bytes.len() && bytes.len() - end > 3 {
        bytes.len()
    } else {
        end
    };
    String::from_utf8_lossy(bytes.get(..end).unwrap_or(bytes)).into_owned()
}
