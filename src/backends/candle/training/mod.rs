//! A model that is trained: the architecture in F32 with branches of low rank, and the gradient of log-probabilities in
//! them.
//!
//! ```text
//!   sequences ─▶ tape: forward ─▶ wanted rows ─▶ head: log-probabilities ─▶ objective: what each weighs ─▶ tape: backward ─▶ gradient
//! ```
//!
//! The frozen weights get no gradient. Sequences are packed without padding and do not see each other; the head looks
//! only at the positions whose next token is scored.

mod head;
mod parameters;
#[cfg(test)]
mod parity;
mod projection;
mod tape;
#[cfg(test)]
mod tests;

use std::path::Path;

use rayon::ThreadPool;

pub(crate) use super::weights::adapter::ADAPTER_FILES;

use self::{
    head::Logprobs,
    parameters::Layout,
    projection::Projection,
    tape::{Input, Tape, Value},
};
use super::{
    Device, Precision,
    gguf::Gguf,
    graph::{architecture::Weights, config::Config, rope::AngleTables},
    kernels::{attention::Angles, blocks::Shape},
    text::{Tokenizer, prompt_tokens, template::Template},
    threads::thread_pool,
    weights::{
        adapter::{self, Adapter, Numbers, Written},
        read::{self, Plan},
    },
};
use crate::{
    error::{Error, Result},
    model::Prompt,
};

/// Which projections are trained, and how.
#[derive(Clone, Debug)]
pub(crate) struct Branches {
    /// Places in the table of targets.
    pub(crate) targets: Vec<usize>,
    pub(crate) rank: usize,
    /// What `B A` is multiplied with.
    pub(crate) scale: f32,
    pub(crate) dropout: f32,
}

/// An adapter that training begins with. It is read once: its files may change meanwhile.
pub(crate) struct Begin(Adapter);

impl Begin {
    /// Reads an adapter of the model of a file.
    ///
    /// # Errors
    /// As [`with_adapter`](super::CandleModelBuilder::with_adapter).
    pub(crate) fn read(path: &Path, adapter: &Path) -> Result<Self> {
        let gguf = Gguf::open(path)?;
        let config = Config::read(&gguf)?;
        Adapter::read(adapter, &gguf, &config).map(Self)
    }

    /// Rank, alpha, and whether it is rank-stabilised.
    pub(crate) fn scale(&self) -> (usize, f64, bool) {
        self.0.scale()
    }

    /// Places in the table of targets.
    pub(crate) fn targets(&self) -> Vec<usize> {
        self.0.targets()
    }
}

/// A sequence whose last tokens are scored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sequence<'a> {
    pub(crate) tokens: &'a [u32],
    /// So many of them, fewer than there are.
    pub(crate) scored: usize,
}

/// A model with branches that can be trained. It runs on a CPU.
pub(crate) struct Trainable {
    name: String,
    hash: String,
    weights: Weights<Projection>,
    shape: Shape,
    angles: AngleTables,
    tokenizer: Tokenizer,
    template: Option<Template>,
    layout: Layout,
    pool: ThreadPool,
}

impl Trainable {
    /// Reads a GGUF file.
    ///
    /// `positions` bounds the sequences; it must not be 0.
    ///
    /// # Errors
    /// As [`CandleModelBuilder::load`](super::CandleModelBuilder::load).
    pub(crate) fn load(
        path: &Path,
        branches: &Branches,
        positions: usize,
        threads: Option<usize>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self> {
        let gguf = Gguf::open(path)?;
        let config = Config::read(&gguf)?;
        let window = config.sliding_window.unwrap_or(usize::MAX);
        let positions = positions.min(config.max_position_embeddings).min(window);
        let pool = thread_pool(gguf.name(), threads)?;
        let plan = Plan {
            device: Device::Cpu.open()?,
            precision: Precision::F32,
            kernels: true,
            positions,
            adapter: None,
        };
        let tokenizer = pool.install(|| Tokenizer::read(&gguf))?;
        let template = Template::read(&gguf, &tokenizer)?;
        let read = read::read_weights(&gguf, config, &plan, &pool, &mut |read, all| {
            progress(read, all);
            Ok(())
        });
        let (mut weights, angles) = read?;
        let Branches {
            targets,
            rank,
            scale,
            dropout,
        } = branches;
        let layout = Layout::attach(&mut weights, targets, *rank, *scale, *dropout);
        Ok(Self {
            name: gguf.name().to_owned(),
            hash: gguf.sha256(),
            shape: weights.config.shape(),
            weights,
            angles,
            tokenizer,
            template,
            layout,
            pool,
        })
    }

    /// The file's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The file's hash, as `sha256:<hex>`.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The tokens of a prompt.
    pub(crate) fn prompt_tokens(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        prompt_tokens(prompt, &self.tokenizer, self.template.as_ref())
    }

    /// The tokens of an answer to a chat prompt, with the end of the turn.
    pub(crate) fn answer_tokens(&self, prompt: &[u32], answer: &str) -> Result<Vec<u32>> {
        let with_space = self.tokenizer.answers_with_space(prompt);
        let mut ids = self.tokenizer.encode_part(answer, with_space)?;
        ids.push(self.end()?);
        Ok(ids)
    }

    /// The tokens of an instruction that goes on after the reversed template, a space before it, with the end.
    pub(crate) fn instruction_tokens(&self, instruction: &str) -> Result<Vec<u32>> {
        let mut ids = self
            .tokenizer
            .encode_part(&format!(" {instruction}"), false)?;
        ids.push(self.end()?);
        Ok(ids)
    }

    /// The token that ends a turn.
    ///
    /// # Errors
    /// Fails if the file names none.
    pub(crate) fn end(&self) -> Result<u32> {
        let reason =
            "its tokenizer names no token that ends a turn; such a model cannot be trained";
        let error = || Error::model(self.name.as_str(), reason);
        self.tokenizer.eos().ok_or_else(error)
    }

    /// The parameters of an adapter with the rank and the targets of this one. Matrices that it leaves out are zero.
    ///
    /// # Errors
    /// [`Error::Model`] if it does not fit.
    pub(crate) fn parameters(&self, begin: &Begin) -> Result<Vec<f32>> {
        let mut parameters = vec![0.0; self.layout.len];
        for matrix in &self.layout.matrices {
            let to = parameters.get_mut(matrix.range.clone());
            let from = begin.0.matrix(matrix.place, matrix.side);
            if let (Some(to), Some(from)) = (to, from) {
                if to.len() != from.len() {
                    let reason = "it does not fit the adapter that training begins with";
                    return Err(Error::model(self.name.as_str(), reason));
                }
                to.copy_from_slice(from);
            }
        }
        Ok(parameters)
    }

    /// Writes parameters as an adapter, made with so much alpha and dropout, perhaps rank-stabilised.
    pub(crate) fn write(
        &self,
        parameters: &[f32],
        folder: &Path,
        (alpha, dropout, rank_stabilised): (f64, f32, bool),
        (base, numbers): (&str, Numbers),
    ) -> Result<()> {
        let matrices = self.layout.matrices.iter().map(|matrix| {
            let values = parameters.get(matrix.range.clone()).unwrap_or_default();
            (matrix.place, matrix.side, matrix.shape, values)
        });
        let mut targets: Vec<usize> = self.layout.matrices.iter().map(|m| m.place.1).collect();
        targets.sort_unstable();
        targets.dedup();
        let about = Written {
            base,
            rank: self.layout.rank(),
            alpha,
            dropout,
            rank_stabilised,
            targets: &targets,
            numbers,
            pairs: self.shape.pairs,
            head_dim: self.shape.head_dim,
        };
        adapter::write(folder, &about, matrices)
    }

    /// Tokens of its vocabulary: the id of each is lower.
    pub(crate) fn vocabulary(&self) -> usize {
        self.weights.config.vocab_size
    }

    /// Tokens of the longest sequence.
    pub(crate) fn positions(&self) -> usize {
        self.angles.0.len() / (self.shape.head_dim / 2).max(1)
    }

    /// Parameters to begin with, which change nothing yet.
    pub(crate) fn initial(&self, seed: u64) -> Vec<f32> {
        self.layout.initial(seed)
    }

    /// Log-probabilities of the scored tokens of all sequences, one sequence after the other.
    pub(crate) fn logprobs(
        &self,
        sequences: &[Sequence<'_>],
        parameters: &[f32],
    ) -> Result<Vec<f64>> {
        self.pool.install(|| {
            let pass = self.pass(sequences, parameters, None, false)?;
            Ok(pass.map_or_else(Vec::new, |(.., logprobs)| logprobs.values))
        })
    }

    /// The same, and adds the gradient of a loss in the parameters to `gradient`. `loss` receives the log-probabilities
    /// and returns its gradient with respect to each.
    pub(crate) fn gradient(
        &self,
        sequences: &[Sequence<'_>],
        parameters: &[f32],
        dropout: Option<u64>,
        gradient: &mut [f32],
        loss: impl FnOnce(&[f64]) -> Vec<f64> + Send,
    ) -> Result<Vec<f64>> {
        self.pool.install(|| {
            let pass = self.pass(sequences, parameters, dropout, true)?;
            let Some((tape, rows, mut logprobs)) = pass else {
                return Ok(Vec::new());
            };
            let weights = loss(&logprobs.values);
            let hidden = self.weights.config.hidden_size;
            for (row, weight) in logprobs.gradient.chunks_exact_mut(hidden).zip(weights) {
                row.iter_mut().for_each(|value| *value *= weight as f32);
            }
            tape.backward(&rows, logprobs.gradient, gradient)
                .map_err(|error| self.failed(&error))?;
            Ok(logprobs.values)
        })
    }

    /// Runs the sequences: the tape, the rows that the head looked at, and the log-probabilities that it gave, with the
    /// backward pass if it is `recorded`; `None` if nothing is scored.
    fn pass<'a>(
        &'a self,
        sequences: &[Sequence<'_>],
        parameters: &'a [f32],
        dropout: Option<u64>,
        recorded: bool,
    ) -> Result<Option<(Tape<'a>, Value, Logprobs)>> {
        let mut tape = Tape::new(self.input(sequences, parameters, dropout), recorded);
        let rows = self.weights.forward(&mut tape);
        let Some(rows) = rows.map_err(|error| self.failed(&error))? else {
            return Ok(None);
        };
        let tokens = scored(sequences);
        let logprobs = head::logprobs(&self.weights.head, &rows.data, &tokens, recorded);
        let logprobs = logprobs.map_err(|error| self.failed(&error))?;
        Ok(Some((tape, rows, logprobs)))
    }

    fn input<'a>(
        &'a self,
        sequences: &[Sequence<'_>],
        parameters: &'a [f32],
        dropout: Option<u64>,
    ) -> Input<'a> {
        // The last token is scored, but nothing comes after it.
        let inputs = sequences.iter().map(|sequence| {
            let (_, inputs) = sequence.tokens.split_last().unwrap_or((&0, &[]));
            inputs
        });
        Input {
            shape: &self.shape,
            angles: Angles {
                cos: &self.angles.0,
                sin: &self.angles.1,
            },
            parameters,
            lengths: inputs.clone().map(<[u32]>::len).collect(),
            tokens: inputs.flatten().copied().collect(),
            wanted: sequences.iter().map(|sequence| sequence.scored).collect(),
            dropout,
        }
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> Error {
        Error::model(self.name.as_str(), format!("it cannot be trained: {error}"))
    }
}

/// The scored tokens of all sequences.
fn scored(sequences: &[Sequence<'_>]) -> Vec<u32> {
    let scored = sequences.iter().flat_map(|sequence| {
        let first = sequence.tokens.len().saturating_sub(sequence.scored);
        sequence.tokens.iter().skip(first)
    });
    scored.copied().collect()
}

impl std::fmt::Debug for Trainable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainable")
            .field("name", &self.name)
            .field("parameters", &self.layout.len)
            .finish_non_exhaustive()
    }
}
