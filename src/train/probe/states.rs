//! The states of labelled responses, each read once and kept in files.

use std::{
    collections::HashMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use futures::{StreamExt, stream};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sha2::{Digest, Sha256};

use crate::{
    dataset::LabelRecord,
    error::{Error, Result},
    files::{self, replace},
    model::{Message, StateModel, StateRequest, States},
    record::ModelId,
};

/// Responses whose states are in one file.
const CHUNK: usize = 64;
/// Responses that are asked for at once: those that the model reads side by side.
const CONCURRENCY: usize = 16;

type Key = [u8; 32];

/// The states of responses: the mean over the tokens of each of some layers, one after the other.
///
/// They are kept in a folder, in files of 64 responses each, so that reading goes on where it was stopped. The folder
/// belongs to one model, its layers and the most tokens that are read; the texts are not in it, but their hashes.
pub struct StateTable {
    folder: PathBuf,
    layers: Vec<usize>,
    max_tokens: usize,
    model: ModelId,
    hidden: usize,
    files: usize,
    rows: HashMap<Key, Vec<f32>>,
}

impl StateTable {
    /// Opens a folder, which is made if need be, and reads the states that are in it.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read; [`Error::Input`] if one is damaged.
    pub fn open(
        folder: impl AsRef<Path>,
        model: &ModelId,
        layers: impl Into<Vec<usize>>,
        max_tokens: usize,
    ) -> Result<Self> {
        let layers = layers.into();
        let mut hash = Sha256::new();
        // Of a model without a hash, only the name tells it from others.
        let weights = model.hash.as_deref().unwrap_or(&model.name);
        for part in [weights, model.adapter.as_deref().unwrap_or_default()] {
            hash.update(part);
            hash.update([0]);
        }
        hash.update(format!("{layers:?} {max_tokens}"));
        let name: String = files::hex(hash.finalize()).chars().take(16).collect();
        let folder = folder.as_ref().join(name);
        fs::create_dir_all(&folder).map_err(|error| Error::io(&folder, error))?;
        let mut table = Self {
            folder,
            layers,
            max_tokens,
            model: model.clone(),
            hidden: 0,
            files: 0,
            rows: HashMap::new(),
        };
        while table.read_file()? {}
        Ok(table)
    }

    /// The layers that are read.
    #[must_use]
    pub fn layers(&self) -> &[usize] {
        &self.layers
    }

    /// The most tokens of a response that are read.
    #[must_use]
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// The model that reads.
    #[must_use]
    pub fn model(&self) -> &ModelId {
        &self.model
    }

    /// The values in the state of a layer; 0 before the first is read.
    #[must_use]
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// The states of a response to a prompt: `(layers, hidden)`, row after row.
    #[must_use]
    pub fn row(&self, prompt: &str, response: &str) -> Option<&[f32]> {
        self.rows.get(&key(prompt, response)).map(Vec::as_slice)
    }

    /// Reads the responses of some records that are not there yet. After each file that is written `progress` gets how
    /// many of how many are read, and says whether to go on.
    ///
    /// Returns whether all are there.
    ///
    /// # Errors
    /// Those of the model; [`Error::Model`] if a state holds what is no number, or is not what was asked for;
    /// [`Error::Config`] if the model is another one; [`Error::Io`] if a file cannot be written.
    pub async fn read(
        &mut self,
        model: &impl StateModel,
        records: &[LabelRecord],
        mut progress: impl FnMut(usize, usize) -> bool,
    ) -> Result<bool> {
        let mut wanted: Vec<(Key, &str, &str)> = records
            .iter()
            .flat_map(|record| {
                let responses = record.label.responses();
                responses.map(|text| (key(&record.prompt, text), record.prompt.as_str(), text))
            })
            .filter(|(key, ..)| !self.rows.contains_key(key))
            .collect();
        wanted.sort_by_key(|(key, _, text)| (text.len(), *key));
        wanted.dedup_by_key(|(key, ..)| *key);
        let all = wanted.len();
        // Those of one length are read side by side; long ones first, so that the time that is left is not guessed low.
        wanted.reverse();
        let mut done = 0;
        for chunk in wanted.chunks(CHUNK) {
            let asked = chunk.iter().map(|(key, prompt, response)| {
                let prompt = vec![Message::user((*prompt).to_owned())];
                let request = StateRequest::new(prompt, *response, self.layers.clone())
                    .with_max_tokens(self.max_tokens);
                async move { model.states(&request).await.map(|states| (*key, states)) }
            });
            let read: Vec<_> = stream::iter(asked)
                .buffered(CONCURRENCY)
                .collect::<Vec<_>>()
                .await
                .into_iter()
                .collect::<Result<_>>()?;
            self.keep(read)?;
            done += chunk.len();
            if !progress(done, all) && done < all {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes the states of a chunk, and takes them in.
    fn keep(&mut self, read: Vec<(Key, States)>) -> Result<()> {
        let mut rows = Vec::with_capacity(read.len());
        let mut hidden = self.hidden;
        for (key, states) in read {
            let id = &states.model;
            if id.hash != self.model.hash || id.adapter != self.model.adapter {
                let reason = format!(
                    "the folder is for the states of {}, and these are of {}",
                    self.model.name, id.name
                );
                return Err(Error::config("states", reason));
            }
            if rows.is_empty() && hidden == 0 {
                hidden = states.layers.first().map_or(0, |layer| layer.mean.len());
            }
            let layers = states.layers.iter();
            let fits = layers.clone().map(|one| &one.layer).eq(&self.layers)
                && layers.clone().all(|one| one.mean.len() == hidden);
            if !fits {
                let reason =
                    "it gave states of several lengths, or of other layers than it was asked for";
                return Err(Error::model(&self.model.name, reason));
            }
            let row: Vec<f32> = layers.flat_map(|one| &one.mean).copied().collect();
            if !row.iter().all(|value| value.is_finite()) {
                let reason =
                    "the states of a response hold what is no number; its file may be damaged";
                return Err(Error::model(&self.model.name, reason));
            }
            rows.push((key, row));
        }
        let bytes: Vec<(String, Vec<u8>)> = rows
            .iter()
            .map(|(key, row)| {
                let bytes = row.iter().flat_map(|value| value.to_le_bytes());
                (files::hex(key), bytes.collect())
            })
            .collect();
        let other = |error: safetensors::SafeTensorError| Error::Other(error.into());
        let mut tensors = Vec::with_capacity(bytes.len());
        for (name, bytes) in &bytes {
            let view = TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes).map_err(other)?;
            tensors.push((name.as_str(), view));
        }
        let written = safetensors::serialize(tensors, None).map_err(other)?;
        replace(&self.file(), &written)?;
        self.files += 1;
        self.hidden = hidden;
        self.rows.extend(rows);
        Ok(())
    }

    /// The file that is read or written next.
    fn file(&self) -> PathBuf {
        self.folder.join(format!("{:05}.safetensors", self.files))
    }

    fn read_file(&mut self) -> Result<bool> {
        let path = self.file();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Error::io(&path, error)),
        };
        let damaged = || Error::input(&path, None, "the file of states is damaged; remove it");
        let tensors = SafeTensors::deserialize(&bytes).map_err(|_| damaged())?;
        for (name, tensor) in tensors.iter() {
            let key = key_of(name).ok_or_else(damaged)?;
            let (values, rest) = tensor.data().as_chunks::<4>();
            let row: Vec<f32> = values
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect();
            let count = self.layers.len().max(1);
            if self.rows.is_empty() {
                self.hidden = row.len() / count;
            }
            let is_whole = tensor.dtype() == Dtype::F32
                && rest.is_empty()
                && row.len() == count * self.hidden
                && row.iter().all(|value| value.is_finite());
            if !is_whole {
                return Err(damaged());
            }
            self.rows.insert(key, row);
        }
        self.files += 1;
        Ok(true)
    }
}

/// The key that a tensor is named by, in hexadecimal digits.
fn key_of(name: &str) -> Option<Key> {
    let (pairs, rest) = name.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes = pairs.iter().map(|[high, low]| {
        let byte = digit(*high)? * 16 + digit(*low)?;
        u8::try_from(byte).ok()
    });
    let bytes: Vec<u8> = bytes.collect::<Option<_>>()?;
    rest.is_empty().then(|| bytes.try_into().ok()).flatten()
}

fn key(prompt: &str, response: &str) -> Key {
    let mut hash = Sha256::new();
    hash.update((prompt.len() as u64).to_le_bytes());
    hash.update(prompt);
    hash.update(response);
    hash.finalize().into()
}

impl fmt::Debug for StateTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateTable")
            .field("folder", &self.folder)
            .field("layers", &self.layers)
            .field("rows", &self.rows.len())
            .finish_non_exhaustive()
    }
}
