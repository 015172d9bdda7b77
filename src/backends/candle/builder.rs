//! Options of a local model, and how it is loaded.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    CandleModel, Device, Precision,
    config::Config,
    gguf::{self, Gguf},
    scheduler::Scheduler,
    template::Template,
    tokenizer::Tokenizer,
    weights::{self, Plan},
    worker::Worker,
};
use crate::{
    error::{Error, Result},
    record::ModelId,
};

/// Loads a [`CandleModel`].
///
/// ```no_run
/// use safer_instruct::backends::candle::CandleModel;
///
/// # fn main() -> safer_instruct::Result<()> {
/// let model = CandleModel::builder("SmolLM2-135M-Instruct.Q4_1.gguf")
///     .with_max_batch(16)
///     .with_context(2048)
///     .load()?;
/// # Ok(())
/// # }
/// ```
pub struct CandleModelBuilder {
    path: PathBuf,
    device: Device,
    precision: Option<Precision>,
    threads: Option<usize>,
    max_batch: usize,
    queue_len: usize,
    prefix_cache: usize,
    context: Option<usize>,
    hash: Option<String>,
    progress: Box<dyn FnMut(usize, usize)>,
}

impl CandleModelBuilder {
    /// Sequences that run side by side by default.
    pub const DEFAULT_MAX_BATCH: usize = 32;
    /// Requests that wait for the worker by default.
    pub const DEFAULT_QUEUE_LEN: usize = 256;
    /// Bytes of beginnings of prompts that are kept by default: 128 MiB.
    pub const DEFAULT_PREFIX_CACHE: usize = 128 << 20;
    /// The longest context by default, in tokens.
    pub const DEFAULT_CONTEXT: usize = 4096;

    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            device: Device::default(),
            precision: None,
            threads: None,
            max_batch: Self::DEFAULT_MAX_BATCH,
            queue_len: Self::DEFAULT_QUEUE_LEN,
            prefix_cache: Self::DEFAULT_PREFIX_CACHE,
            context: None,
            hash: None,
            progress: Box::new(|_, _| {}),
        }
    }

    /// Sets where the model runs. By default on the CPU.
    #[must_use]
    pub fn with_device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Sets in what numbers the products are computed. By default [`Precision::Int8`] on a CPU and [`Precision::F32`] elsewhere.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = Some(precision);
        self
    }

    /// Sets how many threads compute on the CPU, at least 1. They are this model's own. By default one for each core, or
    /// as many as the environment variable `RAYON_NUM_THREADS` says. The results do not depend on it.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Sets how many sequences run side by side, at least 1. By default
    /// [`DEFAULT_MAX_BATCH`](Self::DEFAULT_MAX_BATCH).
    #[must_use]
    pub fn with_max_batch(mut self, max_batch: usize) -> Self {
        self.max_batch = max_batch;
        self
    }

    /// Sets how many requests wait for the worker, at least 1; callers beyond that wait in their futures. By default
    /// [`DEFAULT_QUEUE_LEN`](Self::DEFAULT_QUEUE_LEN).
    #[must_use]
    pub fn with_queue_len(mut self, queue_len: usize) -> Self {
        self.queue_len = queue_len;
        self
    }

    /// Sets how many bytes of keys and values are kept of prompts that have been read, on a CPU, so that what begins alike, such as
    /// with the same system text and examples, is read once. It changes the speed, never the result. By default
    /// [`DEFAULT_PREFIX_CACHE`](Self::DEFAULT_PREFIX_CACHE); 0 keeps only what requests share that run at the same time.
    #[must_use]
    pub fn with_prefix_cache(mut self, bytes: usize) -> Self {
        self.prefix_cache = bytes;
        self
    }

    /// Sets the longest context, prompt and answer together, in tokens. By default
    /// [`DEFAULT_CONTEXT`](Self::DEFAULT_CONTEXT), or what the model was trained for if that is less. Of a model with a sliding
    /// window (`attention.sliding_window`, some Mistral files) that is at most the window: up to there every token sees all
    /// before it, as here.
    #[must_use]
    pub fn with_context(mut self, tokens: usize) -> Self {
        self.context = Some(tokens);
        self
    }

    /// Sets the hash of the file, as `sha256:<hex>`, if it is known already. By default the file is read for it once more.
    #[must_use]
    pub fn with_hash(mut self, hash: impl Into<String>) -> Self {
        self.hash = Some(hash.into());
        self
    }

    /// Sets what hears how many layers are read, and how many there are. By default nobody does.
    #[must_use]
    pub fn with_progress(mut self, progress: impl FnMut(usize, usize) + 'static) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Reads the file and starts the worker. Blocks while it reads, which takes seconds.
    ///
    /// Weights are held in the chosen [`Precision`], whatever the file holds.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Model`] if it is damaged or of a kind that is not supported,
    /// [`Error::Config`] if an option cannot work.
    pub fn load(mut self) -> Result<CandleModel> {
        let precision = self
            .precision
            .unwrap_or_else(|| Precision::default_on(self.device));
        if precision == Precision::Int8 && self.device != Device::Cpu {
            return Err(Error::config(
                "precision",
                "Int8 is for CPUs alone; take F32 on this device",
            ));
        }
        let device = self.device.open()?;
        let mut gguf = Gguf::open(&self.path)?;
        let config = Config::read(&gguf)?;
        let context = self.context(&config)?;
        let tokenizer = Arc::new(Tokenizer::read(&gguf)?);
        let template = Template::read(&gguf, &tokenizer)?;
        let plan = Plan {
            device,
            precision,
            kernels: self.device == Device::Cpu,
            positions: context,
        };
        let graph = weights::read(&mut gguf, config, &plan, &mut self.progress)?;

        let name = gguf.name().to_owned();
        let hash = match self.hash {
            Some(hash) => hash,
            None => gguf::sha256(&self.path)?,
        };
        let (shared, max_batch) = (Arc::clone(&tokenizer), self.max_batch);
        let prefix_cache = self.prefix_cache;
        let worker = Worker::start(&name, self.threads, self.queue_len, move |inbox| {
            Scheduler::new(graph, shared, max_batch, prefix_cache).run(inbox);
        })?;
        let id = Arc::new(ModelId::new(name).with_hash(hash));
        Ok(CandleModel::new(worker, tokenizer, template, context, id))
    }

    fn context(&self, config: &Config) -> Result<usize> {
        let window = config.sliding_window.unwrap_or(usize::MAX);
        let longest = config.max_position_embeddings.min(window);
        match self.context {
            None => Ok(longest.min(Self::DEFAULT_CONTEXT)),
            Some(tokens) if tokens > window && tokens <= config.max_position_embeddings => {
                Err(Error::config(
                    "context",
                    format!(
                        "{tokens} is more than the model's sliding window of {window} tokens, beyond which tokens are \
                         out of sight: that is not supported; set {window} at most"
                    ),
                ))
            }
            Some(tokens) if tokens == 0 || tokens > longest => Err(Error::config(
                "context",
                format!("{tokens} cannot be; the model was trained for 1 to {longest} tokens"),
            )),
            Some(tokens) => Ok(tokens),
        }
    }
}

impl fmt::Debug for CandleModelBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CandleModelBuilder")
            .field("path", &self.path)
            .field("device", &self.device)
            .field("precision", &self.precision)
            .field("threads", &self.threads)
            .field("max_batch", &self.max_batch)
            .field("queue_len", &self.queue_len)
            .field("prefix_cache", &self.prefix_cache)
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}
