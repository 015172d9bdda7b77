//! The handle of a local model.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;

#[cfg(feature = "llguidance")]
use super::schema::Grammars;
use super::{
    CandleModelBuilder, Tokenizer,
    choices::{Choices, Spelling},
    job::{CompleteJob, Job, Logprob, ScoreJob},
    kernels::blocks::Gauge,
    rule::Rule,
    sampler::Sampler,
    template::Template,
    worker::Worker,
};
use crate::{
    error::{Error, Result},
    model::{
        ChatModel, ChatRequest, Completion, Constraint, Prompt, ScoreRequest, Scores, ScoringModel,
        TokenLogprob, TopLogprob,
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
/// - `llama`: Llama 2 and 3, Mistral, SmolLM2 and others; rotations may be scaled by `rope_freqs.weight` (Llama 3.1) or by
///   `rope.scaling.type` = "linear"; a sliding window bounds the [context](CandleModelBuilder::with_context).
/// - `qwen2`: Qwen 2 and 2.5.
/// - `qwen3`: Qwen 3. Chat templates that ask whether to reason (`enable_thinking`) are told not to.
///
/// Mixtures of experts, other scalings (YaRN, LongRoPE), and whatever else would be computed wrongly is refused with the reason.
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

#[derive(Debug)]
struct Shared {
    worker: Worker,
    tokenizer: Arc<Tokenizer>,
    template: Option<Template>,
    context: usize,
    id: Arc<ModelId>,
    gauge: Option<Gauge>,
    /// Made when the first choice is asked for.
    spelling: OnceLock<Spelling>,
    /// Made when the first schema is asked for.
    #[cfg(feature = "llguidance")]
    grammars: OnceLock<Grammars>,
}

impl CandleModel {
    pub(super) fn new(
        worker: Worker,
        tokenizer: Arc<Tokenizer>,
        template: Option<Template>,
        context: usize,
        id: Arc<ModelId>,
        gauge: Option<Gauge>,
    ) -> Self {
        Self(Arc::new(Shared {
            worker,
            tokenizer,
            template,
            context,
            id,
            gauge,
            spelling: OnceLock::new(),
            #[cfg(feature = "llguidance")]
            grammars: OnceLock::new(),
        }))
    }

    /// Loads a GGUF file with default options. Blocks while it reads.
    ///
    /// # Errors
    /// As [`CandleModelBuilder::load`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder(path).load()
    }

    /// Options for loading a GGUF file.
    pub fn builder(path: impl AsRef<Path>) -> CandleModelBuilder {
        CandleModelBuilder::new(path.as_ref())
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

    /// Whether the file holds a chat template. One without is a base model, which completes raw text alone.
    #[must_use]
    pub fn has_chat_template(&self) -> bool {
        self.0.template.is_some()
    }

    /// Bytes that keys and values take now, on a CPU: of running sequences, and of prompts that are kept. 0 on other devices, whose
    /// tensors are not counted.
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
        self.0.tokenizer.prompt(prompt, self.0.template.as_ref())
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

    /// What the text of a completion is held to, which may begin with the tokenizer's own space.
    fn rule(&self, request: &ChatRequest, with_space: bool) -> Result<Option<Rule>> {
        let tokenizer = &self.0.tokenizer;
        match &request.constraint {
            None => Ok(None),
            Some(Constraint::Choice(choices)) => {
                let make = || Spelling::new(tokenizer.text_tokens());
                let spelling = self.0.spelling.get_or_init(make);
                let ends = tokenizer.ends().collect();
                // An empty choice stays one, to be refused.
                let space = |choice: &String| match choice.as_str() {
                    "" => String::new(),
                    choice if with_space => format!(" {choice}"),
                    choice => choice.to_owned(),
                };
                let choices: Vec<String> = choices.iter().map(space).collect();
                Choices::new(&choices, &request.stop, request.max_tokens, spelling, ends)
                    .map(|choices| Some(Rule::Choices(choices)))
            }
            Some(Constraint::JsonSchema(schema)) => self.schema(schema, request),
        }
    }

    #[cfg(feature = "llguidance")]
    fn schema(&self, schema: &serde_json::Value, request: &ChatRequest) -> Result<Option<Rule>> {
        if !request.stop.is_empty() {
            let reason =
                "a stop string would cut what a schema asks for; ask without one of the two";
            return Err(Error::config("stop", reason));
        }
        let tokenizer = &self.0.tokenizer;
        // Not kept if it fails; the next request fails in the same way.
        let grammars = match self.0.grammars.get() {
            Some(grammars) => grammars,
            None => {
                let grammars = Grammars::new(tokenizer)?;
                self.0.grammars.get_or_init(|| grammars)
            }
        };
        let schema = grammars.schema(schema, tokenizer.model())?;
        Ok(Some(Rule::Schema(Box::new(schema))))
    }

    #[cfg(not(feature = "llguidance"))]
    #[allow(clippy::unused_self, reason = "as with the feature")]
    fn schema(&self, _: &serde_json::Value, _: &ChatRequest) -> Result<Option<Rule>> {
        Err(Error::config(
            "constraint",
            "JSON schemas need the feature `llguidance`; build with it or ask without a schema",
        ))
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
        let rule = self.rule(request, with_space)?;
        self.check(&prompt, request.max_tokens)?;
        let prompt_tokens = prompt.len() as u64;
        let written = self
            .0
            .worker
            .ask(|reply| {
                Job::Complete(CompleteJob {
                    prompt,
                    sampler,
                    rule,
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
