//! Options of a local model, and how it is loaded.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    thread,
};

use futures::channel::oneshot;

use super::{CandleModel, model::Shared, scheduler::Scheduler, worker::Worker};
use crate::{
    backends::candle::{
        Device, Precision,
        constraint::Constraints,
        gguf::{Gguf, file_name},
        graph::config::Config,
        kernels::blocks::BLOCK,
        text::{Tokenizer, template::Template},
        threads::thread_pool,
        weights::{
            adapter::Adapter,
            read::{self, Plan},
        },
    },
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
    kv_memory: Option<usize>,
    prefix_cache: usize,
    context: Option<usize>,
    hash: Option<String>,
    adapter: Option<PathBuf>,
    progress: Box<dyn FnMut(usize, usize) + Send>,
}

impl CandleModel {
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
}

impl CandleModelBuilder {
    /// Sequences that run at the same time by default.
    pub const DEFAULT_MAX_BATCH: usize = 32;
    /// Requests that wait for the worker by default.
    pub const DEFAULT_QUEUE_LEN: usize = 256;
    /// Bytes for the keys and values of running sequences by default: 1 GiB.
    pub const DEFAULT_KV_MEMORY: usize = 1 << 30;
    /// Bytes of beginnings of prompts that are kept by default: 128 MiB.
    pub const DEFAULT_PREFIX_CACHE: usize = 128 << 20;
    /// The longest context by default, in tokens.
    pub const DEFAULT_CONTEXT: usize = 4096;

    fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            device: Device::default(),
            precision: None,
            threads: None,
            max_batch: Self::DEFAULT_MAX_BATCH,
            queue_len: Self::DEFAULT_QUEUE_LEN,
            kv_memory: None,
            prefix_cache: Self::DEFAULT_PREFIX_CACHE,
            context: None,
            hash: None,
            adapter: None,
            progress: Box::new(|_, _| {}),
        }
    }

    /// Sets where the model runs. By default on the CPU.
    #[must_use]
    pub fn with_device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Sets in what numbers the products are computed. By default [`Precision::Int8`] on a CPU and [`Precision::F32`]
    /// elsewhere.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = Some(precision);
        self
    }

    /// Sets how many threads compute on the CPU, at least 1. They are this model's own. By default one for each core,
    /// or as many as the environment variable `RAYON_NUM_THREADS` says. The results do not depend on it.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Sets how many sequences run at the same time, at least 1. By default
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

    /// Sets how many bytes the keys and values of running sequences may take, on a CPU. A request waits until there is
    /// room for its prompt and the longest answer that it allows. By default
    /// [`DEFAULT_KV_MEMORY`](Self::DEFAULT_KV_MEMORY), or what one sequence of the longest context takes if that is
    /// more.
    #[must_use]
    pub fn with_kv_memory(mut self, bytes: usize) -> Self {
        self.kv_memory = Some(bytes);
        self
    }

    /// Sets how many bytes of keys and values are kept of prompts that have been read, on a CPU, so that a common
    /// beginning, such as the same system text and examples, is read once. It changes the speed, never the result. By
    /// default [`DEFAULT_PREFIX_CACHE`](Self::DEFAULT_PREFIX_CACHE); 0 keeps only what requests share that run at the
    /// same time.
    #[must_use]
    pub fn with_prefix_cache(mut self, bytes: usize) -> Self {
        self.prefix_cache = bytes;
        self
    }

    /// Sets the longest context, prompt and answer together, in tokens. By default
    /// [`DEFAULT_CONTEXT`](Self::DEFAULT_CONTEXT), or what the model was trained for if that is less. Of a model with a
    /// sliding window (`attention.sliding_window`, some Mistral files) that is at most the window: up to there every
    /// token sees all before it, as here.
    #[must_use]
    pub fn with_context(mut self, tokens: usize) -> Self {
        self.context = Some(tokens);
        self
    }

    /// Sets the hash of the file, as `sha256:<hex>`, if it is known already. By default the file is read for it once
    /// more.
    #[must_use]
    pub fn with_hash(mut self, hash: impl Into<String>) -> Self {
        self.hash = Some(hash.into());
        self
    }

    /// Adds a LoRA adapter to the weights when they are read: a folder with `adapter_config.json` and
    /// `adapter_model.safetensors`, as PEFT saves it. By default there is none.
    ///
    /// The weights become `W + (lora_alpha / r) B A`, or `lora_alpha / sqrt(r)` with `use_rslora` (arXiv 2106.09685 and
    /// 2312.03732), so a request costs what it costs without. The adapter must have been trained on the model of the
    /// file; it may change the projections q, k, v, o, gate, up and down. [`load`](Self::load) refuses what does not
    /// fit the model and what it cannot merge: DoRA, biases, saved modules, ranks that differ between layers. It also
    /// refuses an adapter whose `base_model_name_or_path` is a repository (`owner/name`) of another family or size than
    /// the file says in its metadata. The [`ModelId`] names the adapter by the hash of its two files.
    #[must_use]
    pub fn with_adapter(mut self, folder: impl AsRef<Path>) -> Self {
        self.adapter = Some(folder.as_ref().to_owned());
        self
    }

    /// Sets a callback that receives how many layers are read, and how many there are. By default there is none.
    #[must_use]
    pub fn with_progress(mut self, progress: impl FnMut(usize, usize) + Send + 'static) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Reads the file and starts the worker. Blocks meanwhile: about half a second for 135 million weights.
    ///
    /// Weights are held in the chosen [`Precision`], whatever the file holds. The file is mapped into memory until this
    /// returns; it must not be written to or truncated meanwhile: the operating system kills a process that reads a
    /// truncated part.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Model`] if it is damaged or of a kind that is not supported,
    /// [`Error::Config`] if an option cannot work.
    pub fn load(self) -> Result<CandleModel> {
        self.load_while(&|| true)
    }

    /// Does what [`load`](Self::load) does on a thread of its own, so that the caller can wait for something else
    /// meanwhile, such as Ctrl-C. Dropping the future cancels the load, at the next layer at the latest.
    ///
    /// ```no_run
    /// use futures::future::{Either, select};
    /// use safer_instruct::backends::candle::CandleModel;
    ///
    /// # async fn load(ctrl_c: impl Future<Output = ()> + Unpin) -> safer_instruct::Result<()> {
    /// let loading = Box::pin(CandleModel::builder("SmolLM2-135M-Instruct.Q4_1.gguf").load_async());
    /// let model = match select(loading, ctrl_c).await {
    ///     Either::Left((model, _)) => model?,
    ///     Either::Right(_) => return Ok(()),
    /// };
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn load_async(self) -> Result<CandleModel> {
        let name = file_name(&self.path);
        let (reply, loaded) = oneshot::channel();
        let load = move || {
            let model = self.load_while(&|| !reply.is_canceled());
            let _ = reply.send(model);
        };
        thread::Builder::new()
            .name("safer-instruct-load".to_owned())
            .spawn(load)
            .map_err(|error| {
                let reason = format!("its threads cannot be started: {error}");
                Error::model(name.as_str(), reason)
            })?;
        loaded.await.unwrap_or_else(|_| {
            Err(Error::Stopped {
                backend: name,
                reason: "the thread that loads it has ended".to_owned(),
            })
        })
    }

    /// Loads the model as long as `goes_on` says so; it is asked before each layer.
    fn load_while(mut self, goes_on: &dyn Fn() -> bool) -> Result<CandleModel> {
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
        let gguf = Gguf::open(&self.path)?;
        let config = Config::read(&gguf)?;
        let context = self.context(&config)?;
        let adapter = self
            .adapter
            .map(|folder| Adapter::read(&folder, &gguf, &config));
        let plan = Plan {
            device,
            precision,
            kernels: self.device == Device::Cpu,
            positions: context,
            adapter: adapter.transpose()?,
        };
        let threads = thread_pool(gguf.name(), self.threads)?;
        // One thread hashes the file while the others prepare what is in it.
        let hash = self.hash.map_or_else(OnceLock::new, OnceLock::from);
        let (tokenizer, template, graph) = threads.in_place_scope(|scope| {
            scope.spawn(|_| {
                hash.get_or_init(|| gguf.sha256());
            });
            let tokenizer = threads.install(|| Tokenizer::read(&gguf))?;
            let template = Template::read(&gguf, &tokenizer)?;
            let graph = read::read(&gguf, config, &plan, &threads, &mut |read, all| {
                (self.progress)(read, all);
                if goes_on() {
                    return Ok(());
                }
                Err(Error::Stopped {
                    backend: gguf.name().to_owned(),
                    reason: "its load was given up".to_owned(),
                })
            })?;
            Ok::<_, Error>((Arc::new(tokenizer), template, graph))
        })?;
        let mut id = ModelId::new(gguf.name());
        id.hash = hash.into_inner();
        id.adapter = plan.adapter.map(|adapter| adapter.hash().to_owned());

        let (shared, max_batch) = (Arc::clone(&tokenizer), self.max_batch);
        let (gauge, layers) = (graph.gauge(), graph.weights.layers.len());
        let longest = context.div_ceil(BLOCK) * graph.block_bytes();
        let kv_memory = Self::kv_memory(self.kv_memory, longest)?;
        let prefix_cache = self.prefix_cache;
        let worker = Worker::start(gguf.name(), &threads, self.queue_len, move |inbox| {
            Scheduler::new(graph, shared, max_batch, kv_memory, prefix_cache).run(inbox);
        });
        let constraints = Constraints::start(Arc::clone(&tokenizer))?;
        let id = Arc::new(id);
        Ok(CandleModel::new(Shared {
            worker,
            tokenizer,
            template,
            context,
            layers,
            id,
            gauge,
            constraints,
        }))
    }

    /// The memory for keys and values that is asked for, where the longest context takes `longest` bytes.
    fn kv_memory(asked: Option<usize>, longest: usize) -> Result<usize> {
        match asked {
            None => Ok(longest.max(Self::DEFAULT_KV_MEMORY)),
            Some(bytes) if bytes < longest => Err(Error::config(
                "kv_memory",
                format!(
                    "{bytes} bytes are too few: one sequence of the longest context takes {longest}; allow them or a shorter context"
                ),
            )),
            Some(bytes) => Ok(bytes),
        }
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
            .field("kv_memory", &self.kv_memory)
            .field("prefix_cache", &self.prefix_cache)
            .field("context", &self.context)
            .field("adapter", &self.adapter)
            .finish_non_exhaustive()
    }
}
