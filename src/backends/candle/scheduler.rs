//! Continuous batching: which sequences run in the next step.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError},
    },
};

use super::{
    graph::{Chunk, Graph},
    job::{Job, Queued},
    prefixes::Prefixes,
    reading::read_all,
    scoring::Fork,
    sequence::{CHUNK, Next, Sequence},
    tokenizer::Tokenizer,
};
use crate::error::Error;

/// Tokens that one step runs at most: four whole chunks of prompts, or a decode step of many sequences beside some.
const STEP_TOKENS: usize = 4 * CHUNK;

/// The tokens of a chunk, and how many rows of logits are wanted of it.
type Extent = (usize, usize);

/// Runs jobs, first come, first served, up to `max_batch` sequences at a time.
///
/// Every step runs the next chunk of a prompt or the one new token of each sequence, as far as [`STEP_TOKENS`] allow. A
/// sequence that ends makes room for the next at once.
#[derive(Debug)]
pub(super) struct Scheduler {
    graph: Graph,
    tokenizer: Arc<Tokenizer>,
    max_batch: usize,
    active: Vec<Sequence>,
    /// Continuations whose prompt is read: they go before new jobs.
    forks: VecDeque<Fork>,
    prefixes: Prefixes,
}

impl Scheduler {
    /// A scheduler without work.
    pub(super) fn new(
        graph: Graph,
        tokenizer: Arc<Tokenizer>,
        max_batch: usize,
        prefix_bytes: usize,
    ) -> Self {
        Self {
            prefixes: Prefixes::new(prefix_bytes / graph.block_bytes().max(1)),
            graph,
            tokenizer,
            max_batch: max_batch.max(1),
            active: Vec::new(),
            forks: VecDeque::new(),
        }
    }

    /// Works until all callers are gone.
    pub(super) fn run(mut self, inbox: &Receiver<Queued>) {
        loop {
            if self.active.is_empty() && self.forks.is_empty() {
                match inbox.recv() {
                    Ok(queued) => self.admit(queued),
                    Err(_) => return,
                }
            }
            self.fill(inbox);
            self.active.retain(|sequence| !sequence.is_cancelled());
            self.step();
        }
    }

    fn fill(&mut self, inbox: &Receiver<Queued>) {
        while self.active.len() < self.max_batch {
            if let Some(fork) = self.forks.pop_front() {
                if !fork.scoring.is_cancelled() {
                    let scoring = fork.scoring.clone();
                    match Sequence::fork(fork) {
                        Ok(sequence) => self.active.push(sequence),
                        Err(error) => scoring.fail(self.failed(&error)),
                    }
                }
                continue;
            }
            match inbox.try_recv() {
                Ok(queued) => self.admit(queued),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
    }

    fn admit(&mut self, queued: Queued) {
        drop(queued.place);
        let cache = self.graph.new_cache();
        match (queued.job, cache) {
            (Job::Complete(job), Ok(cache)) => self.active.push(Sequence::complete(job, cache)),
            (Job::Score(job), Ok(cache)) => self.active.push(Sequence::score(job, cache)),
            (Job::Complete(job), Err(error)) => {
                let _ = job.reply.send(Err(self.failed(&error)));
            }
            (Job::Score(job), Err(error)) => {
                let _ = job.reply.send(Err(self.failed(&error)));
            }
        }
    }

    fn step(&mut self) {
        let mut budget = STEP_TOKENS;
        let (mut running, mut resting) = (Vec::new(), Vec::new());
        // Blocks that a sequence of this step reads: others with the same beginning wait for it.
        let mut being_read = HashSet::new();
        for mut sequence in self.active.drain(..) {
            let is_first = match sequence.skip_known(&mut self.prefixes) {
                Some(block) => being_read.insert(block),
                None => true,
            };
            let len = sequence.chunk_len();
            if is_first && len <= budget {
                budget -= len;
                running.push(sequence);
            } else {
                resting.push(sequence);
            }
        }
        if running.is_empty() {
            return;
        }
        match self.forward(&mut running) {
            Ok((chunks, mut logits)) => {
                let wanted = chunks.iter().map(|(_, wanted)| *wanted);
                let readers = running.iter_mut().map(Sequence::reader).zip(wanted);
                let outcomes = read_all(readers.collect(), &mut logits);
                for ((mut sequence, (len, _)), outcome) in
                    running.into_iter().zip(chunks).zip(outcomes)
                {
                    sequence.share(&mut self.prefixes);
                    match sequence.advance(len, outcome, &self.tokenizer) {
                        Next::More(sequence) => self.active.push(sequence),
                        Next::Ended(forks) => self.forks.extend(forks),
                    }
                }
            }
            Err(error) => {
                for sequence in running {
                    sequence.fail(self.failed(&error));
                }
            }
        }
        // What did not fit came later than what ran; what waits for a block goes on from it in the next step.
        self.active.append(&mut resting);
        self.prefixes.trim();
    }

    /// The extent of each sequence's chunk, and the wanted rows of logits, one after the other.
    fn forward(&self, sequences: &mut [Sequence]) -> candle_core::Result<(Vec<Extent>, Vec<f32>)> {
        let mut chunks: Vec<Chunk<'_>> = sequences
            .iter_mut()
            .map(|sequence| {
                let (tokens, wanted, cache) = sequence.chunk();
                Chunk {
                    tokens,
                    cache,
                    wanted,
                }
            })
            .collect();
        let logits = self.graph.forward(&mut chunks)?;
        let logits = match logits {
            Some(logits) => logits.flatten_all()?.to_vec1::<f32>()?,
            None => Vec::new(),
        };
        let chunks = chunks
            .iter()
            .map(|chunk| (chunk.tokens.len(), chunk.wanted));
        Ok((chunks.collect(), logits))
    }

    fn failed(&self, error: &candle_core::Error) -> Error {
        Error::model(
            self.tokenizer.model(),
            format!("the computation failed: {error}"),
        )
    }
}
