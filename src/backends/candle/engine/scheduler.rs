//! Continuous batching: which sequences run in the next step.

use std::{
    collections::{HashSet, VecDeque},
    rc::Rc,
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError},
    },
};

use super::{
    job::{Job, Queued},
    logits::read_all,
    prefix_cache::PrefixCache,
    scoring::Fork,
    sequence::{CHUNK, Next, Sequence},
};
use crate::{
    backends::candle::{graph::Graph, kernels::blocks::BLOCK, text::Tokenizer},
    error::Error,
};

/// Tokens that one step runs at most: four whole chunks of prompts, or a decode step of many sequences beside some.
const STEP_TOKENS: usize = 4 * CHUNK;

/// The tokens of a chunk, and how many rows of logits are wanted of it.
type Extent = (usize, usize);

/// Runs jobs, first come, first served: up to `max_batch` sequences at a time, and no more than there is room for the
/// keys and values of all of them, however long they become.
///
/// Every step runs the next chunk of a prompt or the one new token of each sequence, as far as [`STEP_TOKENS`] allow. A
/// sequence that ends makes room for the next at once.
#[derive(Debug)]
pub(super) struct Scheduler {
    graph: Graph,
    tokenizer: Arc<Tokenizer>,
    max_batch: usize,
    /// Blocks that all sequences may fill.
    most_blocks: usize,
    active: Vec<Sequence>,
    /// Continuations whose prompt is read: they go before new jobs.
    forks: VecDeque<Fork>,
    /// The job that waits for room.
    next: Option<Queued>,
    prefix_cache: PrefixCache,
}

impl Scheduler {
    /// A scheduler without work, with memory in bytes for the keys and values of running sequences, and of prompts read
    /// before.
    pub(super) fn new(
        graph: Graph,
        tokenizer: Arc<Tokenizer>,
        max_batch: usize,
        kv_bytes: usize,
        prefix_bytes: usize,
    ) -> Self {
        let block_bytes = graph.block_bytes().max(1);
        Self {
            prefix_cache: PrefixCache::new(prefix_bytes / block_bytes),
            most_blocks: kv_bytes / block_bytes,
            graph,
            tokenizer,
            max_batch: max_batch.max(1),
            active: Vec::new(),
            forks: VecDeque::new(),
            next: None,
        }
    }

    /// Works until no caller is left.
    pub(super) fn run(mut self, inbox: &Receiver<Queued>) {
        loop {
            if self.active.is_empty() && self.forks.is_empty() && self.next.is_none() {
                match inbox.recv() {
                    Ok(queued) => self.next = Some(queued),
                    Err(_) => return,
                }
            }
            self.active.retain(|sequence| !sequence.is_cancelled());
            self.fill(inbox);
            self.step();
        }
    }

    fn fill(&mut self, inbox: &Receiver<Queued>) {
        while self.active.len() < self.max_batch {
            if let Some(fork) = self.forks.front() {
                if !self.has_room(fork.most_tokens()) {
                    return;
                }
                if let Some(fork) = self.forks.pop_front()
                    && !fork.scoring.is_cancelled()
                {
                    let scoring = fork.scoring.clone();
                    match Sequence::fork(fork) {
                        Ok(sequence) => self.active.push(sequence),
                        Err(error) => scoring.fail(self.failed(&error)),
                    }
                }
                continue;
            }
            let next = match self.next.take() {
                Some(queued) => queued,
                None => match inbox.try_recv() {
                    Ok(queued) => queued,
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
                },
            };
            if next.job.is_cancelled() {
                continue;
            }
            if !self.has_room(next.job.most_tokens()) {
                self.next = Some(next);
                return;
            }
            self.admit(next);
        }
    }

    /// Whether the keys and values of so many tokens fit beside those of all that runs. One sequence always may run.
    fn has_room(&self, tokens: usize) -> bool {
        let running = self.active.iter().map(Sequence::most_tokens);
        // Continuations of one prompt wait side by side and hold it together.
        let mut prompts: Vec<_> = self.forks.iter().map(|fork| &fork.prompt).collect();
        prompts.dedup_by(|a, b| Rc::ptr_eq(a, b));
        let waiting = prompts.into_iter().map(|prompt| prompt.len());
        let tokens = running.chain(waiting).chain([tokens]);
        let blocks = tokens.map(|n| n.div_ceil(BLOCK));
        self.active.is_empty() || blocks.sum::<usize>() <= self.most_blocks
    }

    fn admit(&mut self, queued: Queued) {
        drop(queued.place);
        let cache = self.graph.new_cache();
        match (queued.job, cache) {
            (Job::Complete(job), Ok(cache)) => self.active.push(Sequence::complete(job, cache)),
            (Job::Score(job), Ok(cache)) => self.active.push(Sequence::score(job, cache)),
            (Job::States(job), Ok(cache)) => self.active.push(Sequence::states(job, cache)),
            (Job::States(job), Err(error)) => {
                let _ = job.reply.send(Err(self.failed(&error)));
            }
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
        // What a sequence of this step reads: others that read the same wait for it.
        let mut being_read = HashSet::new();
        for mut sequence in self.active.drain(..) {
            let is_first = match sequence.skip_blocks(&mut self.prefix_cache) {
                Some(beginning) => being_read.insert(beginning),
                None => true,
            };
            if is_first {
                sequence.skip_part(&mut self.prefix_cache);
            }
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
                    sequence.share(&mut self.prefix_cache);
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
        // What did not fit came later than what ran; a sequence that waits for a block continues from it in the next
        // step.
        self.active.append(&mut resting);
        self.prefix_cache.trim();
    }

    /// The extent of each sequence's chunk, and the wanted rows of logits, one after the other.
    fn forward(&self, sequences: &mut [Sequence]) -> candle_core::Result<(Vec<Extent>, Vec<f32>)> {
        let mut chunks: Vec<_> = sequences.iter_mut().map(Sequence::chunk).collect();
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
