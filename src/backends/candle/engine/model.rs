//! The handle of a local model.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    job::{CompleteJob, Job, Logprob, ScoreJob, StateJob},
    sampler::Sampler,
    worker::Worker,
};
use crate::{
    backends::candle::{
        constraint::Constraints,
        kernels::blocks::Gauge,
        text::{Tokenizer, prompt_tokens, template::Template},
    },
    error::{Error, Result},
    model::{
        ChatModel, ChatRequest, Completion, Prompt, ScoreRequest, Scores, ScoringModel, StateModel,
        StateRequest, States, TokenLogprob, TopLogprob,
    },
    record::{ModelId, Usage},
};

/// A language model on local hardware.
///
/// A handle: clones share one model, which lives on a thread of its own and ends with the last of them. Requests that
/// come at the same time run as one batch; each gives the same result, bit for bit, as it would alone, on a CPU.
/// Dropping the future of a request takes it out of the batch.
///
/// Runs GGUF files of these architectures, with byte-level BPE or SentencePiece's byte-pair tokenizers:
///
/// - `llama`: Llama 2 and 3, Mistral, SmolLM2 and others; rotations may be scaled by `rope_freqs.weight` (Llama 3.1) or
///   by `rope.scaling.type` = "linear"; a sliding window bounds the
///   [context](super::CandleModelBuilder::with_context).
/// - `qwen2`: Qwen 2 and 2.5.
/// - `qwen3`: Qwen 3. Chat templates that ask whether to reason (`enable_thinking`) are told not to.
///
/// Mixtures of experts, other scalings (YaRN, LongRoPE), and whatever else would be computed wrongly is refused with
/// the reason.
///
/// ```no_run
/// use safer_instruct::{ChatModel, ChatRequest, Message, backends::candle::CandleModel};
///
/// # async fn ask() -> safer_instruct::Result<()> {
/// let model = CandleModel::load("SmolLM2-135M-Instruct.Q4_1.gguf")?;
/// let request = ChatRequest::new(vec![Message::user("Name three rivers.")]).with_max_tokens(64);
/// let completion = model.complete(&request).await?;
/// assert!(completion.usage.completion_tokens <= 64);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CandleModel(Arc<Shared>);

/// What the handles of one model share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) worker: Worker,
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) template: Option<Template>,
    pub(super) context: usize,
    pub(super) layers: usize,
    pub(super) id: Arc<ModelId>,
    pub(super) gauge: Option<Gauge>,
    pub(super) constraints: Constraints,
}

impl CandleModel {
    pub(super) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// The file's name and hash.
    #[must_use]
    pub fn model_id(&self) -> &Arc<ModelId> {
        &self.0.id
    }

    /// The longest context, prompt and answer together, in tokens.
    #[must_use]
    pub fn context(&self) -> usize {
        self.0.context
    }

    /// The number of layers.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.0.layers
    }

    /// Whether the file holds a chat template. One without is a base model, which completes raw text alone.
    #[must_use]
    pub fn has_chat_template(&self) -> bool {
        self.0.template.is_some()
    }

    /// Bytes that keys and values take now, on a CPU: of running sequences, and of prompts that are kept. 0 on other
    /// devices, whose tensors are not counted.
    #[must_use]
    pub fn kv_bytes(&self) -> usize {
        self.0.gauge.as_ref().map_or(0, Gauge::bytes)
    }

    /// The tokenizer of the model.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.0.tokenizer
    }

    /// The number of tokens of a text.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn count_tokens(&self, text: &str) -> Result<usize> {
        self.0.tokenizer.encode(text).map(|ids| ids.len())
    }

    /// The tokens that the model reads for a prompt: template and contents, the former alone with control tokens.
    ///
    /// # Errors
    /// Fails if the chat template does, or if the model has none and the prompt is a chat.
    pub fn prompt_tokens(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        prompt_tokens(prompt, &self.0.tokenizer, self.0.template.as_ref())
    }

    /// The tokens of a prompt, and whether an answer begins with the tokenizer's own space.
    fn prompt(&self, prompt: &Prompt) -> Result<(Vec<u32>, bool)> {
        let ids = self.prompt_tokens(prompt)?;
        let with_space = match prompt {
            Prompt::Raw(_) | Prompt::Unfinished(_) => false,
            Prompt::Chat(_) => self.0.tokenizer.answers_with_space(&ids),
        };
        Ok((ids, with_space))
    }

    fn check(&self, ids: &[u32], more: usize) -> Result<()> {
        if ids.is_empty() {
            return Err(Error::config(
                "prompt",
                "it is empty; the model has nothing to go on from",
            ));
        }
        let needed = ids.len().saturating_add(more);
        if needed > self.0.context {
            return Err(Error::ContextOverflow {
                model: self.0.id.name.clone(),
                needed,
                limit: self.0.context,
            });
        }
        Ok(())
    }

    fn logprob(&self, of: Logprob) -> TokenLogprob {
        let tokenizer = &self.0.tokenizer;
        let top = of.top.into_iter();
        let top = top.map(|(token, logprob)| TopLogprob::new(tokenizer.bytes(token), logprob));
        TokenLogprob::new(tokenizer.bytes(of.token), of.logprob).with_top(top.collect())
    }
}

#[async_trait]
impl ChatModel for CandleModel {
    async fn complete(&self, request: &ChatRequest) -> Result<Completion> {
        let sampler = Sampler::new(&request.sampling)?;
        if request.max_tokens == 0 {
            return Err(Error::config(
                "max_tokens",
                "0 leaves no room for an answer",
            ));
        }
        if request.stop.iter().any(String::is_empty) {
            return Err(Error::config(
                "stop",
                "an empty string would end every answer",
            ));
        }
        let (prompt, with_space) = self.prompt(&request.prompt)?;
        self.check(&prompt, request.max_tokens)?;
        let constraint = self.0.constraints.build(request, with_space).await?;
        let prompt_tokens = prompt.len() as u64;
        let written = self
            .0
            .worker
            .ask(|reply| {
                Job::Complete(CompleteJob {
                    prompt,
                    sampler,
                    constraint,
                    max_tokens: request.max_tokens,
                    stop: request.stop.clone(),
                    top_logprobs: request.top_logprobs,
                    reply,
                })
            })
            .await?;
        let text = match written.text.strip_prefix(' ') {
            Some(text) if with_space => text.to_owned(),
            _ => written.text,
        };
        let usage = Usage {
            prompt_tokens,
            completion_tokens: written.tokens as u64,
        };
        let logprobs = request.top_logprobs.map(|_| {
            let tokens = written.logprobs.into_iter();
            tokens.map(|token| self.logprob(token)).collect()
        });
        let model = Arc::clone(&self.0.id);
        Ok(Completion::new(text, written.finish_reason, usage, model).with_logprobs(logprobs))
    }
}

#[async_trait]
impl ScoringModel for CandleModel {
    async fn score(&self, request: &ScoreRequest) -> Result<Scores> {
        let tokenizer = &self.0.tokenizer;
        let (prompt, with_space) = self.prompt(&request.prompt)?;
        let continuations = request
            .continuations
            .iter()
            .map(|text| tokenizer.encode_part(text, with_space))
            .collect::<Result<Vec<_>>>()?;
        let longest = continuations.iter().map(Vec::len).max().unwrap_or(0);
        self.check(&prompt, longest)?;
        let read = prompt.len() + continuations.iter().map(Vec::len).sum::<usize>();
        let continuations = self
            .0
            .worker
            .ask(|reply| {
                Job::Score(ScoreJob {
                    prompt,
                    continuations,
                    reply,
                })
            })
            .await?;
        Ok(Scores {
            continuations,
            usage: Usage {
                prompt_tokens: read as u64,
                completion_tokens: 0,
            },
            model: Arc::clone(&self.0.id),
        })
    }
}

#[async_trait]
impl StateModel for CandleModel {
    async fn states(&self, request: &StateRequest) -> Result<States> {
        let layers = self.0.layers;
        if let Some(wrong) = request.layers.iter().find(|n| !(1..=layers).contains(*n)) {
            let reason = format!(
                "there is no layer {wrong}: {} has 1 to {layers}",
                self.0.id.name
            );
            return Err(Error::config("layers", reason));
        }
        let (prompt, with_space) = self.prompt(&request.prompt)?;
        let tokenizer = &self.0.tokenizer;
        let mut continuation = tokenizer.encode_part(&request.continuation, with_space)?;
        continuation.truncate(request.max_tokens);
        if continuation.is_empty() {
            let reason = "no token of it is read: it is empty, or `max_tokens` is 0";
            return Err(Error::config("continuation", reason));
        }
        self.check(&prompt, continuation.len())?;
        let tokens = continuation.len();
        let read = prompt.len() + tokens;
        let layers = request.layers.clone();
        let layers = self.0.worker.ask(|reply| {
            Job::States(StateJob {
                prompt,
                continuation,
                layers,
                reply,
            })
        });
        Ok(States {
            layers: layers.await?,
            tokens,
            usage: Usage {
                prompt_tokens: read as u64,
                completion_tokens: 0,
            },
            model: Arc::clone(&self.0.id),
        })
    }
}
