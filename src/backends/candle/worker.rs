//! The thread that owns the model.
//!
//! Each step takes one piece of every sequence that it has room for: the next part of a prompt, or the token written last. New requests join
//! between steps, first come, first served; a request whose future was dropped leaves.

use std::sync::{
    Arc,
    mpsc::{Receiver, TryRecvError},
};

use futures::channel::oneshot;

use super::{
    graph::Graph,
    sampler::Sampler,
    sequence::{Sequence, State, Write},
    template::{ChatTemplate, encode_prompt},
    tokenizer::Tokenizer,
};
use crate::{
    error::{Error, Result},
    model::{ChatRequest, Completion, Prompt, ScoreRequest, Scores},
    record::ModelId,
};

/// Prompt rows that a step takes beside the written tokens: enough for the matrix products to run near their best speed.
const PROMPT_ROWS: usize = 256;

/// A request with the place for its answer.
pub(super) enum Job {
    Complete(ChatRequest, oneshot::Sender<Result<Completion>>),
    Score(ScoreRequest, oneshot::Sender<Result<Scores>>),
}

/// What the thread owns.
pub(super) struct Worker {
    pub(super) graph: Graph,
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) template: ChatTemplate,
    pub(super) model: Arc<ModelId>,
    /// Tokens that a sequence may have.
    pub(super) context: usize,
    /// Sequences that are worked on at once.
    pub(super) max_batch: usize,
}

impl Worker {
    /// Works until all handles are dropped.
    pub(super) fn run(self, jobs: &Receiver<Job>) {
        let mut active: Vec<Sequence> = Vec::new();
        loop {
            while active.len() < self.max_batch {
                let job = if active.is_empty() {
                    jobs.recv().map_err(|_| TryRecvError::Disconnected)
                } else {
                    jobs.try_recv()
                };
                match job {
                    Ok(job) => active.extend(self.admit(job)),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) if active.is_empty() => return,
                    Err(TryRecvError::Disconnected) => break,
                }
            }
            active.retain(|sequence| !sequence.is_cancelled());
            active = self.step(active);
        }
    }

    /// Makes a sequence of a request, or answers it with an error.
    fn admit(&self, job: Job) -> Option<Sequence> {
        match job {
            Job::Complete(request, reply) => match self.prepare(&request) {
                Ok((prompt, sampler)) => {
                    let write = Write::new(sampler, request.max_tokens, request.stop, reply);
                    Some(Sequence::write(self.graph.cache(), prompt, write))
                }
                // Nobody may wait any more; then there is nothing to tell.
                Err(error) => {
                    let _ = reply.send(Err(error));
                    None
                }
            },
            Job::Score(request, reply) => match self.prepare_score(&request) {
                Ok((prompt, continuations)) => Some(Sequence::score(
                    self.graph.cache(),
                    prompt,
                    continuations,
                    reply,
                )),
                Err(error) => {
                    let _ = reply.send(Err(error));
                    None
                }
            },
        }
    }

    fn prepare(&self, request: &ChatRequest) -> Result<(Vec<u32>, Sampler)> {
        if request.max_tokens == 0 {
            return Err(Error::config(
                "max_tokens",
                "is 0; ask for at least one token",
            ));
        }
        if request.stop.iter().any(String::is_empty) {
            return Err(Error::config(
                "stop",
                "holds an empty string, which stands everywhere",
            ));
        }
        let prompt = self.encode(&request.prompt)?;
        self.check_length(prompt.len().saturating_add(request.max_tokens))?;
        let sampler = Sampler::new(&request.sampling, &prompt)?;
        Ok((prompt, sampler))
    }

    fn prepare_score(&self, request: &ScoreRequest) -> Result<(Vec<u32>, Vec<Vec<u32>>)> {
        let prompt = self.encode(&request.prompt)?;
        let continuations = request
            .continuations
            .iter()
            .map(|text| self.tokenizer.encode_text(text))
            .collect::<Result<Vec<_>>>()?;
        let longest = continuations.iter().map(Vec::len).max().unwrap_or_default();
        self.check_length(prompt.len().saturating_add(longest))?;
        Ok((prompt, continuations))
    }

    fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        let prompt = encode_prompt(&self.tokenizer, &self.template, prompt)?;
        if prompt.is_empty() {
            return Err(Error::config(
                "prompt",
                "is empty; the model needs a token to go on from",
            ));
        }
        Ok(prompt)
    }

    fn check_length(&self, needed: usize) -> Result<()> {
        if needed > self.context {
            let model = self.model.name.clone();
            return Err(Error::ContextOverflow {
                model,
                needed,
                limit: self.context,
            });
        }
        Ok(())
    }

    /// Feeds one piece of as many sequences as there is room for; gives back those that go on, in the same order.
    fn step(&self, active: Vec<Sequence>) -> Vec<Sequence> {
        let mut rows = 0;
        let (mut chosen, mut waiting) = (Vec::new(), Vec::new());
        for (place, sequence) in active.into_iter().enumerate() {
            let more = sequence.next_rows();
            if rows == 0 || rows + more <= PROMPT_ROWS + self.max_batch {
                rows += more;
                chosen.push((place, sequence));
            } else {
                waiting.push((place, sequence));
            }
        }
        if chosen.is_empty() {
            return Vec::new();
        }
        let mut pieces: Vec<_> = chosen
            .iter_mut()
            .map(|(_, sequence)| sequence.piece())
            .collect();
        let logits = self.graph.forward(&mut pieces);
        drop(pieces);
        let mut going = waiting;
        match logits {
            Ok(logits) => {
                let mut rest = logits.as_slice();
                for (place, mut sequence) in chosen {
                    let (own, others) = rest.split_at(sequence.next_logits().min(rest.len()));
                    rest = others;
                    match sequence.take(own, &self.tokenizer, &self.model) {
                        Ok(State::Going) => going.push((place, sequence)),
                        Ok(State::Done) => {}
                        Err(error) => sequence.fail(error),
                    }
                }
            }
            Err(error) => {
                for (_, sequence) in chosen {
                    sequence.fail(Error::model(self.model.name.clone(), error.to_string()));
                }
            }
        }
        going.sort_by_key(|(place, _)| *place);
        going.into_iter().map(|(_, sequence)| sequence).collect()
    }
}
