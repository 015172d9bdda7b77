//! Models on local hardware, through candle.
//!
//! [`CandleModel`] loads a GGUF file of the Llama family (SmolLM2, Llama) or of Qwen 2 and is a
//! [`ChatModel`] and a [`ScoringModel`]. One thread owns the weights; requests of any number of tasks are batched as they come.
//!
//! ```no_run
//! use safer_instruct::{ChatModel, ChatRequest, Message, backends::candle::CandleModel};
//!
//! # async fn example() -> safer_instruct::Result<()> {
//! let model = CandleModel::load("SmolLM2-135M-Instruct.Q4_1.gguf")?;
//! let request = ChatRequest::new(vec![Message::user("How do I say no politely?")]);
//! println!("{}", model.complete(&request).await?.text);
//! # Ok(())
//! # }
//! ```
//!
//! # What can be relied on
//! - **Texts stay texts.** Message contents, raw prompts and continuations are encoded apart from the chat template and without
//!   the table of added tokens: `<|im_end|>` or `<think>` inside a text becomes ordinary characters.
//! - **The same request gives the same answer, bit for bit,** alone or beside others, on the same machine.
//! - **Weights are dequantised to F32** when they are loaded: 4 bytes a parameter of memory (0.5 GB for the
//!   default model of 135 million parameters).

mod cache;
mod config;
mod gguf;
mod graph;
mod sampler;
mod sequence;
mod template;
mod tokenizer;
mod worker;

use std::{
    fmt,
    path::Path,
    sync::{Arc, mpsc},
    thread,
};

use async_lock::Semaphore;
use async_trait::async_trait;
use futures::channel::oneshot;

use self::{
    config::Config,
    gguf::Gguf,
    graph::Graph,
    template::ChatTemplate,
    worker::{Job, Worker},
};
use crate::{
    error::{Error, Result},
    model::{ChatModel, ChatRequest, Completion, ScoreRequest, Scores, ScoringModel},
    record::ModelId,
};

pub use self::tokenizer::Tokenizer;

/// Where the model runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The NVIDIA GPU with this number; needs the feature `cuda`.
    Cuda(usize),
    /// The Apple GPU with this number; needs the feature `metal`.
    Metal(usize),
}

/// A language model on local hardware. Clones are handles to the same model, which ends with the last of them.
#[derive(Clone)]
pub struct CandleModel {
    jobs: mpsc::Sender<Job>,
    places: Arc<Semaphore>,
    tokenizer: Arc<Tokenizer>,
    id: Arc<ModelId>,
    context: usize,
}

impl CandleModel {
    /// Loads a GGUF file with default options. Blocks for a second or more.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::Model`] with the reason if it is damaged or of a kind that is not
    /// supported.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().load(path)
    }

    /// Options before loading.
    #[must_use]
    pub fn builder() -> CandleModelBuilder {
        CandleModelBuilder::default()
    }

    /// File name and hash.
    #[must_use]
    pub fn model_id(&self) -> &Arc<ModelId> {
        &self.id
    }

    /// The tokenizer, to count tokens with.
    #[must_use]
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// How many tokens a text has.
    #[must_use]
    pub fn count_tokens(&self, text: &str) -> usize {
        self.tokenizer.count(text)
    }

    /// The most tokens that a prompt and its answer have together.
    #[must_use]
    pub fn context(&self) -> usize {
        self.context
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<Result<T>>) -> Job) -> Result<T> {
        let _place = self.places.acquire().await;
        let stopped = || Error::Stopped {
            backend: self.id.name.clone(),
            reason: "its thread has ended; load the model again".into(),
        };
        let (reply, answer) = oneshot::channel();
        self.jobs.send(job(reply)).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

#[async_trait]
impl ChatModel for CandleModel {
    async fn complete(&self, request: &ChatRequest) -> Result<Completion> {
        self.ask(|reply| Job::Complete(request.clone(), reply))
            .await
    }
}

#[async_trait]
impl ScoringModel for CandleModel {
    async fn score(&self, request: &ScoreRequest) -> Result<Scores> {
        self.ask(|reply| Job::Score(request.clone(), reply)).await
    }
}

impl fmt::Debug for CandleModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CandleModel")
            .field("id", &self.id)
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

/// Options of a [`CandleModel`]; made by [`CandleModel::builder`].
#[derive(Clone, Debug)]
pub struct CandleModelBuilder {
    device: Device,
    max_batch: usize,
    queue: usize,
    context: usize,
}

impl Default for CandleModelBuilder {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            max_batch: 32,
            queue: 256,
            context: 4096,
        }
    }
}

impl CandleModelBuilder {
    /// Sets where the model runs. By default on the CPU.
    #[must_use]
    pub fn with_device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Sets how many requests are worked on at once. By default 32; 0 counts as 1.
    #[must_use]
    pub fn with_max_batch(mut self, max_batch: usize) -> Self {
        self.max_batch = max_batch.max(1);
        self
    }

    /// Sets how many requests may wait beside those that are worked on; further callers wait outside. By default 256.
    #[must_use]
    pub fn with_queue(mut self, queue: usize) -> Self {
        self.queue = queue;
        self
    }

    /// Sets the most tokens that a prompt and its answer have together; never more than the model was trained for. By
    /// default 4,096; 0 counts as 1.
    #[must_use]
    pub fn with_context(mut self, context: usize) -> Self {
        self.context = context.max(1);
        self
    }

    /// Loads a GGUF file.
    ///
    /// # Errors
    /// As [`CandleModel::load`], and [`Error::Config`] if the device is not there.
    pub fn load(&self, path: impl AsRef<Path>) -> Result<CandleModel> {
        self.load_with_progress(path, |_, _| {})
    }

    /// Loads a GGUF file and tells how many of its layers are done, and of how many.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with_progress(
        &self,
        path: impl AsRef<Path>,
        progress: impl FnMut(usize, usize),
    ) -> Result<CandleModel> {
        let path = path.as_ref();
        let device = self.candle_device()?;
        let mut gguf = Gguf::open(path)?;
        let config = Config::read(&gguf)?;
        let tokenizer = Arc::new(Tokenizer::from_gguf(gguf.name(), gguf.metadata())?);
        let template = ChatTemplate::from_gguf(gguf.name(), gguf.metadata())?;
        let context = self.context.min(config.max_position_embeddings);
        let graph = Graph::load(&mut gguf, config, context, &device, progress)?;
        let id = Arc::new(ModelId::new(gguf.name()).with_hash(gguf::sha256(path)?));

        let (jobs, queue) = mpsc::channel();
        let worker = Worker {
            graph,
            tokenizer: tokenizer.clone(),
            template,
            model: id.clone(),
            context,
            max_batch: self.max_batch,
        };
        thread::Builder::new()
            .name("safer-instruct-model".into())
            .spawn(move || worker.run(&queue))
            .map_err(|error| Error::Other(error.into()))?;
        let places = Arc::new(Semaphore::new(self.max_batch.saturating_add(self.queue)));
        Ok(CandleModel {
            jobs,
            places,
            tokenizer,
            id,
            context,
        })
    }

    fn candle_device(&self) -> Result<candle_core::Device> {
        match self.device {
            Device::Cpu => Ok(candle_core::Device::Cpu),
            Device::Cuda(number) => candle_core::Device::new_cuda(number),
            Device::Metal(number) => candle_core::Device::new_metal(number),
        }
        .map_err(|error| {
            Error::config(
                "device",
                format!("{:?} cannot be used: {error}", self.device),
            )
        })
    }
}
