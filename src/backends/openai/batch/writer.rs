//! Files of requests.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use super::RequestLine;
use crate::{
    backends::openai::OpenAiModel,
    error::{Error, Result},
    model::ChatRequest,
};

/// The largest size of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// The most requests. By default 50,000, the limit of OpenAI.
    pub requests: usize,
    /// The most bytes. By default 200,000,000, the limit of OpenAI.
    pub bytes: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            requests: 50_000,
            bytes: 200_000_000,
        }
    }
}

/// The size of a file so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Filling {
    requests: usize,
    bytes: usize,
}

impl Filling {
    /// Adds a line; false if it needs another file.
    pub(super) fn takes(&mut self, limits: BatchLimits, line: &[u8]) -> bool {
        let bytes = self.bytes.saturating_add(line.len());
        let fits = self.requests < limits.requests && bytes <= limits.bytes;
        if fits {
            self.requests += 1;
            self.bytes = bytes;
        }
        fits
    }
}

/// Rejects a line that is too large for any file.
pub(super) fn check(limits: BatchLimits, line: &[u8]) -> Result<()> {
    if Filling::default().takes(limits, line) {
        return Ok(());
    }
    let reason = format!(
        "it takes {} bytes, and a batch file may have {} requests and {} bytes; shorten the text or raise the limits",
        line.len(),
        limits.requests,
        limits.bytes
    );
    Err(Error::config("request", reason))
}

/// Writes requests into files for batch endpoints and for programs such as `vllm run-batch`.
///
/// A file holds requests of one path, and no more than the [`BatchLimits`]: `river.jsonl` is continued in
/// `river-2.jsonl`. Equal requests are written once.
///
/// ```
/// use safer_instruct::{ChatRequest, Message, backends::openai::{OpenAiModel, batch::{BatchReader, BatchWriter}}};
/// # use safer_instruct::backends::openai::{HttpRequest, HttpResponse, HttpTransport, TransportError};
/// # struct Offline;
/// # #[async_trait::async_trait]
/// # impl HttpTransport for Offline {
/// #     async fn send(&self, _: HttpRequest) -> Result<HttpResponse, TransportError> { Err(TransportError::TooLarge(0)) }
/// # }
/// # let dir = tempfile::tempdir()?;
/// # let (requests, results) = (dir.path().join("requests.jsonl"), dir.path().join("results.jsonl"));
///
/// let model = OpenAiModel::builder("http://localhost:8000/v1", "Qwen/Qwen3-8B");
/// # let model = model.with_transport(Offline);
/// let model = model.build()?;
/// let request = ChatRequest::new(vec![Message::user("Name a river.")]);
/// let mut writer = BatchWriter::create(&model, &requests)?;
/// let id = writer.write(&request)?;
/// writer.finish()?;
///
/// // vllm run-batch -i requests.jsonl -o results.jsonl --model Qwen/Qwen3-8B
/// # let body = r#"{"choices":[{"message":{"content":"The Loire."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":4}}"#;
/// # std::fs::write(&results, format!(r#"{{"id":"1","custom_id":"{id}","response":{{"status_code":200,"body":{body}}},"error":null}}"#))?;
/// for row in BatchReader::open(&results)? {
///     let row = row?;
///     assert_eq!(row.custom_id(), id);
///     assert_eq!(row.completion(&model, &request)?.text, "The Loire.");
/// }
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BatchWriter {
    model: OpenAiModel,
    path: PathBuf,
    limits: BatchLimits,
    written: HashSet<String>,
    /// The file that is being written of each path.
    open: HashMap<String, Part>,
    paths: Vec<PathBuf>,
}

#[derive(Debug)]
struct Part {
    path: PathBuf,
    filling: Filling,
    file: BufWriter<File>,
}

impl BatchWriter {
    /// Begins at a path. A file is created with its first request; one that already exists is an error.
    ///
    /// # Errors
    /// [`Error::Input`] if the path names no file.
    pub fn create(model: &OpenAiModel, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        if path.file_name().is_none() {
            let reason = "it names no file; give one such as requests.jsonl";
            return Err(Error::input(path, None, reason));
        }
        Ok(Self {
            model: model.clone(),
            path,
            limits: BatchLimits::default(),
            written: HashSet::new(),
            open: HashMap::new(),
            paths: Vec::new(),
        })
    }

    /// Sets how large one file may be. By default as large as OpenAI takes.
    #[must_use]
    pub fn with_limits(mut self, limits: BatchLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Writes a request, unless it is already written, and returns its `custom_id`.
    ///
    /// # Errors
    /// [`Error::Config`] if the server does not support such a request, or it is too large for any file. [`Error::Io`]
    /// if a file cannot be written or already exists. What was written before stays.
    pub fn write(&mut self, request: &ChatRequest) -> Result<String> {
        let line = RequestLine::new(&self.model, request)?;
        if self.written.contains(line.custom_id()) {
            return Ok(line.custom_id);
        }
        let json = line.to_json()?;
        check(self.limits, &json)?;
        let fits = self
            .open
            .get_mut(&line.url)
            .is_some_and(|part| part.filling.takes(self.limits, &json));
        if !fits {
            let mut part = self.next()?;
            part.filling.takes(self.limits, &json);
            self.paths.push(part.path.clone());
            if let Some(full) = self.open.insert(line.url.clone(), part) {
                full.finish()?;
            }
        }
        if let Some(part) = self.open.get_mut(&line.url) {
            let path = &part.path;
            part.file
                .write_all(&json)
                .map_err(|error| Error::io(path, error))?;
        }
        self.written.insert(line.custom_id.clone());
        Ok(line.custom_id)
    }

    /// Syncs all files and returns their paths, in the order in which they were begun.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be written.
    pub fn finish(self) -> Result<Vec<PathBuf>> {
        for part in self.open.into_values() {
            part.finish()?;
        }
        Ok(self.paths)
    }

    fn next(&self) -> Result<Part> {
        let path = match self.paths.len() {
            0 => self.path.clone(),
            before => {
                let mut name = self.path.file_stem().unwrap_or_default().to_owned();
                name.push(format!("-{}", before + 1));
                if let Some(ending) = self.path.extension() {
                    name.push(".");
                    name.push(ending);
                }
                self.path.with_file_name(name)
            }
        };
        let file = File::create_new(&path).map_err(|error| Error::io(&path, error))?;
        Ok(Part {
            path,
            filling: Filling::default(),
            file: BufWriter::new(file),
        })
    }
}

impl Part {
    fn finish(self) -> Result<()> {
        let Self { path, file, .. } = self;
        let file = file
            .into_inner()
            .map_err(|error| Error::io(&path, error.into_error()))?;
        file.sync_all().map_err(|error| Error::io(&path, error))
    }
}
