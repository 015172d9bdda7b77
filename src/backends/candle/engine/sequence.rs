//! One sequence in the batch, and what becomes of its logits.

use std::rc::Rc;

use super::{
    job::{CompleteJob, Logprob, ScoreJob, StateJob, StateReply, Written},
    logits::{Chosen, Outcome, Reader},
    prefix_cache::{Found, Place, PrefixCache},
    scoring::{Fork, Scoring},
};
use crate::{
    backends::candle::{
        constraint::TokenConstraint,
        graph::{
            kv_cache::{Chunk, KvCache},
            state_sums::StateSums,
        },
        kernels::blocks::BLOCK,
        text::{Tokenizer, writer::Writer},
    },
    error::Error,
    model::{FinishReason, LayerStates},
};

/// Chunks of a sequence end at multiples of this many tokens: so the shapes of a sequence's products follow from its
/// own length alone, never from what else is in the batch.
pub(super) const CHUNK: usize = 128;

/// Tokens that have been or will be run, with their cache and their purpose.
#[derive(Debug)]
pub(super) struct Sequence {
    /// Tokens that are not in the cache yet; at least one.
    pending: Vec<u32>,
    cache: KvCache,
    /// The most tokens that the cache will hold.
    most_tokens: usize,
    /// The first position whose logits are wanted.
    wanted_from: usize,
    /// The prompt while it is read, whose blocks are shared; empty afterwards, and for continuations.
    prompt: Vec<u32>,
    /// Where in the tree of prefixes the blocks up to now are, and how many they are.
    place: (Place, usize),
    goal: Goal,
}

#[allow(
    clippy::large_enum_variant,
    reason = "there are few, and each moves once a step"
)]
#[derive(Debug)]
enum Goal {
    Complete {
        job: CompleteJob,
        writer: Writer,
        /// The prompt and what has been written.
        history: Vec<u32>,
        /// Of what has been written, if they are wanted.
        logprobs: Vec<Logprob>,
    },
    /// The prompt of scores.
    Prompt(Scoring),
    /// One continuation of it, from its second token on.
    Continue { scoring: Scoring, index: usize },
    /// A prompt and a continuation, for the states of the latter.
    States { sums: StateSums, reply: StateReply },
}

/// What follows from a step.
#[allow(
    clippy::large_enum_variant,
    reason = "there are few, and each moves once a step"
)]
#[derive(Debug)]
pub(super) enum Next {
    /// The sequence needs more steps.
    More(Sequence),
    /// The sequence has ended, and these go on from it.
    Ended(Vec<Fork>),
}

impl Sequence {
    /// A prompt, of at least one token, to complete.
    pub(super) fn complete(mut job: CompleteJob, cache: KvCache) -> Self {
        let history = std::mem::take(&mut job.prompt);
        Self {
            most_tokens: history.len() + job.max_tokens,
            wanted_from: history.len().saturating_sub(1),
            pending: history.clone(),
            prompt: history.clone(),
            place: (0, 0),
            cache,
            goal: Goal::Complete {
                writer: Writer::new(std::mem::take(&mut job.stop)),
                job,
                history,
                logprobs: Vec::new(),
            },
        }
    }

    /// A prompt, of at least one token, whose continuations are to be scored.
    pub(super) fn score(mut job: ScoreJob, cache: KvCache) -> Self {
        let pending = std::mem::take(&mut job.prompt);
        Self {
            most_tokens: pending.len(),
            wanted_from: pending.len().saturating_sub(1),
            prompt: pending.clone(),
            place: (0, 0),
            pending,
            cache,
            goal: Goal::Prompt(Scoring::new(job)),
        }
    }

    /// A prompt, of at least one token, and a continuation of it, likewise, whose states are wanted.
    pub(super) fn states(job: StateJob, cache: KvCache) -> Self {
        let prompt = job.prompt;
        let mut pending = prompt.clone();
        pending.extend(job.continuation);
        Self {
            most_tokens: pending.len(),
            wanted_from: pending.len(),
            pending,
            place: (0, 0),
            cache,
            goal: Goal::States {
                sums: StateSums::new(prompt.len(), &job.layers),
                reply: job.reply,
            },
            prompt,
        }
    }

    /// A continuation after its prompt.
    pub(super) fn fork(fork: Fork) -> candle_core::Result<Self> {
        let most_tokens = fork.most_tokens();
        let cache = match Rc::try_unwrap(fork.prompt) {
            Ok(last) => last,
            Err(shared) => shared.fork()?,
        };
        // Nothing is scored by the logits of the last token.
        let mut pending = fork.scoring.tokens(fork.index);
        pending.pop();
        Ok(Self {
            pending,
            most_tokens,
            wanted_from: cache.len(),
            prompt: Vec::new(),
            place: (0, 0),
            cache,
            goal: Goal::Continue {
                scoring: fork.scoring,
                index: fork.index,
            },
        })
    }

    /// The most tokens whose keys and values it needs.
    pub(super) fn most_tokens(&self) -> usize {
        self.most_tokens
    }

    /// Whether nobody waits for the answer any more.
    pub(super) fn is_cancelled(&self) -> bool {
        match &self.goal {
            Goal::Complete { job, .. } => job.reply.is_canceled(),
            Goal::Prompt(scoring) | Goal::Continue { scoring, .. } => scoring.is_cancelled(),
            Goal::States { reply, .. } => reply.is_canceled(),
        }
    }

    /// What is to be read next of the prompt, as far as others may have read it too: the rest of the prompt or a block
    /// of it, at the beginning of a block, without the last token, which must be run for its logits.
    fn beginning(&self) -> Option<(Place, &[u32])> {
        let (place, count) = self.place;
        let start = count * BLOCK;
        let end = (start + BLOCK).min(self.prompt.len().saturating_sub(1));
        (self.cache.is_shared() && self.cache.len() == start && start < end)
            .then(|| self.prompt.get(start..end))
            .flatten()
            .map(|tokens| (place, tokens))
    }

    /// Takes over the whole blocks that others have read already; gives what is to be read next, if it can be shared.
    pub(super) fn skip_blocks(
        &mut self,
        prefix_cache: &mut PrefixCache,
    ) -> Option<(Place, Box<[u32]>)> {
        loop {
            let (place, tokens) = self.beginning()?;
            match prefix_cache.find(place, tokens) {
                Some(found) if found.tokens == BLOCK => self.take_over(found)?,
                _ => return Some((place, tokens.into())),
            }
        }
    }

    /// Takes over what others have read of the block that is to be read next.
    pub(super) fn skip_part(&mut self, prefix_cache: &mut PrefixCache) {
        if let Some((place, tokens)) = self.beginning()
            && let Some(found) = prefix_cache.find(place, tokens)
        {
            self.take_over(found);
        }
    }

    fn take_over(&mut self, found: Found) -> Option<()> {
        let Found {
            tokens,
            block,
            place,
        } = found;
        if !self.cache.take_over(block, tokens) {
            return None;
        }
        self.pending.drain(..tokens.min(self.pending.len()));
        if tokens == BLOCK {
            self.place = (place, self.place.1 + 1);
        }
        Some(())
    }

    /// Shares what has been read of the prompt: its whole blocks, and at its end what is left.
    pub(super) fn share(&mut self, prefix_cache: &mut PrefixCache) {
        let (mut place, mut count) = self.place;
        for tokens in self.prompt.chunks(BLOCK).skip(count) {
            let Some(block) = self.cache.block(count * BLOCK, tokens.len()) else {
                self.place = (place, count);
                return;
            };
            place = prefix_cache.keep(place, tokens, block);
            count += 1;
        }
        self.prompt = Vec::new();
    }

    /// Tokens of the next chunk.
    pub(super) fn chunk_len(&self) -> usize {
        self.pending.len().min(CHUNK - self.cache.len() % CHUNK)
    }

    /// The next chunk.
    pub(super) fn chunk(&mut self) -> Chunk<'_> {
        let len = self.chunk_len();
        let end = self.cache.len() + len;
        Chunk {
            tokens: self.pending.get(..len).unwrap_or_default(),
            wanted: end.saturating_sub(self.wanted_from).min(len),
            cache: &mut self.cache,
            states: match &mut self.goal {
                Goal::States { sums, .. } => Some(sums),
                Goal::Complete { .. } | Goal::Prompt(_) | Goal::Continue { .. } => None,
            },
        }
    }

    /// What the wanted logits of a chunk are to be read for.
    pub(super) fn reader(&mut self) -> Reader<'_> {
        match &mut self.goal {
            Goal::Complete { job, history, .. } => {
                let written = history.len() - 1 - self.wanted_from;
                Reader::Token {
                    left: job.max_tokens.saturating_sub(written),
                    job,
                    history,
                }
            }
            Goal::Prompt(_) | Goal::Continue { .. } | Goal::States { .. } => Reader::Scores,
        }
    }

    /// Goes on after a chunk of `len` tokens whose wanted logits have been read.
    pub(super) fn advance(
        mut self,
        len: usize,
        outcome: Outcome<'_>,
        tokenizer: &Tokenizer,
    ) -> Next {
        self.pending.drain(..len.min(self.pending.len()));
        match (self.goal, outcome) {
            (
                Goal::Complete {
                    mut job,
                    mut writer,
                    mut history,
                    mut logprobs,
                },
                Outcome::Token(chosen),
            ) => {
                let chosen = chosen.and_then(|chosen| chosen.ok_or_else(|| not_numbers(tokenizer)));
                let Chosen { token, logprob } = match chosen {
                    Ok(chosen) => chosen,
                    Err(error) => {
                        let _ = job.reply.send(Err(error));
                        return Next::Ended(Vec::new());
                    }
                };
                history.push(token);
                logprobs.extend(logprob);
                let tokens = history.len() - 1 - self.wanted_from;
                let stops = tokenizer.is_end(token)
                    || writer.push(tokenizer.bytes(token))
                    || job
                        .constraint
                        .as_mut()
                        .is_some_and(TokenConstraint::is_over);
                if stops || tokens >= job.max_tokens {
                    let is_complete = job
                        .constraint
                        .as_mut()
                        .is_none_or(TokenConstraint::is_complete);
                    let written = Written {
                        text: writer.finish(),
                        finish_reason: if stops {
                            FinishReason::Stop
                        } else {
                            FinishReason::Length
                        },
                        tokens,
                        logprobs,
                    };
                    // The caller may be gone, which is no error.
                    let _ = job.reply.send(if is_complete {
                        Ok(written)
                    } else {
                        Err(Error::malformed(
                            "what the constraint asks for within max_tokens",
                        ))
                    });
                    return Next::Ended(Vec::new());
                }
                self.pending.push(token);
                self.goal = Goal::Complete {
                    job,
                    writer,
                    history,
                    logprobs,
                };
                Next::More(self)
            }
            (Goal::Prompt(scoring), Outcome::Scores(rows)) => {
                let (logits, log_sum) = rows.last().copied().unwrap_or((&[], f64::NAN));
                let forks = scoring.begin(logits, log_sum, self.cache);
                answer(&scoring, tokenizer);
                Next::Ended(forks)
            }
            (Goal::Continue { scoring, index }, Outcome::Scores(rows)) => {
                let first = self.cache.len() - rows.len() - self.wanted_from;
                for (row, (logits, log_sum)) in rows.into_iter().enumerate() {
                    scoring.add(index, first + row + 1, logits, log_sum);
                }
                if !self.pending.is_empty() {
                    self.goal = Goal::Continue { scoring, index };
                    return Next::More(self);
                }
                scoring.finish_one();
                answer(&scoring, tokenizer);
                Next::Ended(Vec::new())
            }
            (Goal::States { sums, reply }, _) if self.pending.is_empty() => {
                let layers = sums.finish().map(|layers| {
                    let layers = layers.into_iter();
                    layers
                        .map(|(layer, mean, last)| LayerStates { layer, mean, last })
                        .collect()
                });
                // The caller may be gone, which is no error.
                let _ = reply.send(layers.ok_or_else(|| not_numbers(tokenizer)));
                Next::Ended(Vec::new())
            }
            // Nothing of this chunk was wanted.
            (goal, _) => Next::More(Self { goal, ..self }),
        }
    }

    /// Answers with an error of the computation.
    pub(super) fn fail(self, error: Error) {
        match self.goal {
            Goal::Complete { job, .. } => {
                let _ = job.reply.send(Err(error));
            }
            Goal::Prompt(scoring) | Goal::Continue { scoring, .. } => scoring.fail(error),
            Goal::States { reply, .. } => {
                let _ = reply.send(Err(error));
            }
        }
    }
}

fn answer(scoring: &Scoring, tokenizer: &Tokenizer) {
    scoring.answer_if_finished(|scores| {
        if scores.iter().any(|score| score.logprob.is_nan()) {
            return Err(not_numbers(tokenizer));
        }
        Ok(())
    });
}

fn not_numbers(tokenizer: &Tokenizer) -> Error {
    Error::model(
        tokenizer.model(),
        "what it computes are no numbers: the weights are damaged",
    )
}
