//! The model that is trained.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::{
    example::Example,
    lora::{Lora, Target},
};
use crate::{
    backends::candle::{
        Numbers, Tokenizer,
        training::{Begin, Sequence, Trainable},
    },
    error::{Error, Result},
    model::{Message, Prompt},
    prompt::{PromptTemplate, built_in},
    record::ModelId,
};

/// A model with a low-rank adapter that can be trained, on the CPU, in F32.
///
/// The weights of the file are held twice, laid out for both directions: 8 bytes each, so 1.2 GB for SmolLM2-135M.
///
/// ```no_run
/// use safer_instruct::train::{Lora, Policy, Sft, Trainer};
///
/// # fn tune() -> safer_instruct::Result<()> {
/// let policy = Policy::builder("SmolLM2-135M-Instruct.Q4_1.gguf")
///     .with_lora(Lora::new().with_rank(8))
///     .load()?;
/// let pairs = [("Name a river.", "The Rhine is a river of Europe.")];
/// let prepared = policy.reversed(pairs, 320)?;
/// let report = Trainer::new(Sft).run(&policy, &prepared.examples, &[], "adapter".as_ref())?;
/// println!("{} steps", report.steps);
/// # Ok(())
/// # }
/// ```
pub struct Policy {
    pub(super) model: Trainable,
    pub(super) lora: Lora,
    pub(super) initial: Vec<f32>,
    pub(super) base: String,
    /// The folder of the adapter that training begins with.
    from: Option<PathBuf>,
}

/// Options for loading a [`Policy`].
pub struct PolicyBuilder {
    path: PathBuf,
    lora: Lora,
    adapter: Option<PathBuf>,
    base: Option<String>,
    context: usize,
    seed: u64,
    threads: Option<usize>,
    progress: Box<dyn FnMut(usize, usize)>,
}

/// Examples that were made of texts.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    /// In the order of the texts.
    pub examples: Vec<Example>,
    /// Texts that gave none, by their place among all, and why.
    pub skipped: Vec<(usize, Skip)>,
    /// Examples whose response was cut at its end, so that it fits.
    pub truncated: usize,
}

/// Why a text gave no example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Skip {
    /// A part of it is empty.
    Empty,
    /// It has more tokens than are allowed.
    TooLong,
    /// Both responses are the same.
    NoPreference,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty",
            Self::TooLong => "too long",
            Self::NoPreference => "both responses are the same",
        })
    }
}

/// Fewest tokens that a response is cut to.
const SHORTEST_RESPONSE: usize = 16;

impl Policy {
    /// Options for loading a GGUF file.
    pub fn builder(path: impl AsRef<Path>) -> PolicyBuilder {
        PolicyBuilder {
            path: path.as_ref().to_owned(),
            lora: Lora::new(),
            adapter: None,
            base: None,
            context: PolicyBuilder::DEFAULT_CONTEXT,
            seed: 0,
            threads: None,
            progress: Box::new(|_, _| {}),
        }
    }

    /// The file's name and hash.
    #[must_use]
    pub fn model_id(&self) -> ModelId {
        let mut id = ModelId::new(self.model.name());
        id.hash = Some(self.model.hash().to_owned());
        id
    }

    /// How many numbers are trained.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.initial.len()
    }

    /// The tokenizer of the model.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        self.model.tokenizer()
    }

    /// Examples of reversed instruction tuning (arXiv 2311.08685, section 3.1), from pairs of an instruction and its
    /// response: the prompt is the paper's template with the response in it, the completion is the instruction, with a
    /// space before it and an end token after it.
    ///
    /// An example has at most `max_tokens`; a response that is too long for it keeps its beginning.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn reversed<I, R>(
        &self,
        pairs: impl IntoIterator<Item = (I, R)>,
        max_tokens: usize,
    ) -> Result<Prepared>
    where
        I: AsRef<str>,
        R: AsRef<str>,
    {
        let template = built_in::INDUCE_REVERSED.template();
        let most = max_tokens.min(self.model.positions());
        let around = self.reversed_prompt(&template, "")?.len();
        let mut prepared = Prepared::default();
        for (at, (instruction, response)) in pairs.into_iter().enumerate() {
            let (instruction, response) = (instruction.as_ref().trim(), response.as_ref().trim());
            if instruction.is_empty() || response.is_empty() {
                prepared.skipped.push((at, Skip::Empty));
                continue;
            }
            let completion = self.model.instruction_tokens(instruction)?;
            let mut prompt = self.reversed_prompt(&template, response)?;
            if prompt.len() + completion.len() > most {
                // A few less, because tokens join differently inside the template.
                let room = most.saturating_sub(around + completion.len() + 4);
                let ids = self.tokenizer().encode(response)?;
                if room < SHORTEST_RESPONSE {
                    prepared.skipped.push((at, Skip::TooLong));
                    continue;
                }
                let text = self.tokenizer().decode(ids.get(..room).unwrap_or(&ids));
                // A character that was cut off is left out.
                prompt = self.reversed_prompt(&template, text.trim_end_matches('\u{fffd}'))?;
                if prompt.len() + completion.len() > most {
                    prepared.skipped.push((at, Skip::TooLong));
                    continue;
                }
                prepared.truncated += 1;
            }
            prepared
                .examples
                .push(Example::completion(&prompt, &completion));
        }
        Ok(prepared)
    }

    fn reversed_prompt(&self, template: &PromptTemplate, response: &str) -> Result<Vec<u32>> {
        self.model
            .prompt_tokens(&template.render(&[("source", response)])?)
    }

    /// Examples of supervised tuning, from instructions and their responses, through the model's chat template.
    ///
    /// # Errors
    /// As [`CandleModel::prompt_tokens`](crate::backends::candle::CandleModel::prompt_tokens).
    pub fn responses<I, R>(
        &self,
        pairs: impl IntoIterator<Item = (I, R)>,
        max_tokens: usize,
    ) -> Result<Prepared>
    where
        I: AsRef<str>,
        R: AsRef<str>,
    {
        let pairs = pairs
            .into_iter()
            .map(|(prompt, response)| (prompt, [response]));
        self.chats(pairs, max_tokens, |prompt, [response]| {
            Example::completion(prompt, response)
        })
    }

    /// Examples of preference tuning, from a prompt, its chosen and its rejected response, through the model's chat
    /// template.
    ///
    /// # Errors
    /// As [`responses`](Self::responses).
    pub fn preferences<P, R>(
        &self,
        pairs: impl IntoIterator<Item = (P, R, R)>,
        max_tokens: usize,
    ) -> Result<Prepared>
    where
        P: AsRef<str>,
        R: AsRef<str>,
    {
        let pairs = pairs
            .into_iter()
            .map(|(prompt, chosen, rejected)| (prompt, [chosen, rejected]));
        self.chats(pairs, max_tokens, |prompt, [chosen, rejected]| {
            Example::preference(prompt, chosen, rejected)
        })
    }

    fn chats<I: AsRef<str>, R: AsRef<str>, const N: usize>(
        &self,
        pairs: impl Iterator<Item = (I, [R; N])>,
        max_tokens: usize,
        make: impl Fn(&[u32], [&[u32]; N]) -> Example,
    ) -> Result<Prepared> {
        let most = max_tokens.min(self.model.positions());
        let mut prepared = Prepared::default();
        for (at, (prompt, responses)) in pairs.enumerate() {
            let prompt = prompt.as_ref().trim();
            let responses = responses
                .each_ref()
                .map(|response| response.as_ref().trim());
            if prompt.is_empty() || responses.iter().any(|response| response.is_empty()) {
                prepared.skipped.push((at, Skip::Empty));
                continue;
            }
            if let [chosen, rejected] = responses.as_slice()
                && chosen == rejected
            {
                prepared.skipped.push((at, Skip::NoPreference));
                continue;
            }
            let prompt = Prompt::Chat(vec![Message::user(prompt.to_owned())]);
            let prompt = self.model.prompt_tokens(&prompt)?;
            let mut completions = [const { Vec::new() }; N];
            for (completion, response) in completions.iter_mut().zip(responses) {
                *completion = self.model.answer_tokens(&prompt, response)?;
            }
            let example = make(&prompt, completions.each_ref().map(Vec::as_slice));
            if example.longest() > most {
                prepared.skipped.push((at, Skip::TooLong));
            } else {
                prepared.examples.push(example);
            }
        }
        Ok(prepared)
    }

    /// Whether training begins with the adapter in a folder.
    pub(super) fn begins_in(&self, folder: &Path) -> bool {
        let real = |path: &Path| path.canonicalize().ok();
        let from = self.from.as_deref().and_then(real);
        from.is_some() && from == real(folder)
    }

    /// Log-probabilities of each sequence of the examples, summed over the tokens of its completion, by parameters of
    /// the adapter.
    pub(super) fn logprobs(&self, examples: &[&Example], parameters: &[f32]) -> Result<Vec<f64>> {
        let sequences = sequences(examples);
        let logprobs = self.model.logprobs(&sequences, parameters)?;
        Ok(sums(&sequences, &logprobs))
    }

    /// Writes the adapter with the given parameters as PEFT does.
    pub(super) fn write(&self, parameters: &[f32], folder: &Path, numbers: Numbers) -> Result<()> {
        self.model.write(
            parameters,
            folder,
            (
                self.lora.alpha,
                self.lora.dropout,
                self.lora.rank_stabilised,
            ),
            (&self.base, numbers),
        )
    }
}

/// The sequences of all examples, one after the other.
pub(super) fn sequences<'a>(examples: &[&'a Example]) -> Vec<Sequence<'a>> {
    let tokens = examples.iter().flat_map(|example| &example.sequences);
    let sequences = tokens.map(|tokens| Sequence {
        tokens: &tokens.ids,
        scored: tokens.scored,
    });
    sequences.collect()
}

/// The sum of the log-probabilities of each sequence.
pub(super) fn sums(sequences: &[Sequence<'_>], mut logprobs: &[f64]) -> Vec<f64> {
    let mut sum = |sequence: &Sequence<'_>| {
        let (mine, rest) = logprobs.split_at(sequence.scored.min(logprobs.len()));
        logprobs = rest;
        mine.iter().sum()
    };
    sequences.iter().map(&mut sum).collect()
}

impl PolicyBuilder {
    /// Tokens of the longest example where [`with_context`](Self::with_context) is not used.
    pub const DEFAULT_CONTEXT: usize = 2_048;

    /// Sets what is trained. By default [`Lora::new`]. An adapter that training goes on from brings its own rank, alpha
    /// and targets; then only the dropout counts.
    #[must_use]
    pub fn with_lora(mut self, lora: Lora) -> Self {
        self.lora = lora;
        self
    }

    /// Goes on from an adapter: a folder as PEFT or this crate writes it. By default training begins with one that
    /// changes nothing.
    ///
    /// What the objective calls the reference is then the model with this adapter.
    #[must_use]
    pub fn with_adapter(mut self, folder: impl AsRef<Path>) -> Self {
        self.adapter = Some(folder.as_ref().to_owned());
        self
    }

    /// Sets what the adapter names as its base (`base_model_name_or_path`), such as a repository on Hugging Face that
    /// PEFT and vLLM find. By default the name of the file.
    #[must_use]
    pub fn with_base_name(mut self, name: impl Into<String>) -> Self {
        self.base = Some(name.into());
        self
    }

    /// Sets the longest example, in tokens. By default [`DEFAULT_CONTEXT`](Self::DEFAULT_CONTEXT), or what the model
    /// was trained for if that is less.
    #[must_use]
    pub fn with_context(mut self, tokens: usize) -> Self {
        self.context = tokens;
        self
    }

    /// Sets the seed of the adapter that training begins with. By default 0.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets how many threads compute. By default one for each core. The adapter does not depend on it.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Sets a callback that receives how many layers are read, and how many there are. By default there is none.
    #[must_use]
    pub fn with_progress(mut self, progress: impl FnMut(usize, usize) + 'static) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Reads the file. Blocks meanwhile.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read, [`Error::Model`] if it is damaged or does not fit, [`Error::Config`] if
    /// an option cannot work.
    pub fn load(mut self) -> Result<Policy> {
        if self.context < 2 {
            return Err(Error::config(
                "context",
                "an example has at least two tokens",
            ));
        }
        let read = |folder: &PathBuf| Begin::read(&self.path, folder);
        let begin = self.adapter.as_ref().map(read).transpose()?;
        let mut lora = self.lora;
        if let Some(begin) = &begin {
            (lora.rank, lora.alpha, lora.rank_stabilised) = begin.scale();
            let targets = begin.targets();
            let all = Target::ALL.into_iter();
            lora.targets = all
                .filter(|target| targets.contains(&(*target as usize)))
                .collect();
        }
        let model = Trainable::load(
            &self.path,
            &lora.branches()?,
            self.context,
            self.threads,
            &mut self.progress,
        )?;
        let initial = match &begin {
            None => model.initial(self.seed),
            Some(begin) => model.parameters(begin)?,
        };
        Ok(Policy {
            base: self.base.unwrap_or_else(|| model.name().to_owned()),
            model,
            lora,
            initial,
            from: self.adapter,
        })
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("model", &self.model)
            .field("lora", &self.lora)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PolicyBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyBuilder")
            .field("path", &self.path)
            .field("lora", &self.lora)
            .field("adapter", &self.adapter)
            .field("context", &self.context)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
