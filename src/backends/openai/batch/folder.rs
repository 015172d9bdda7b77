//! The folder that stores batches.
//!
//! | file | content |
//! |---|---|
//! | `folder.json` | a name of the folder, and the address of the server |
//! | `lock` | nothing; the process that uses the folder locks it |
//! | `000001.requests.jsonl` | the requests of the first batch, as they are uploaded |
//! | `000001.batch.json` | its [`Record`] |
//! | `000001.output.jsonl`, `000001.errors.jsonl` | its results, as the server returned them |
//!
//! Each file is written under another name, synced, and then renamed. None is changed later, except that the record is
//! replaced.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs::{self, File},
    hash::{BuildHasher, RandomState},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{BatchReader, BatchRow};
use crate::{
    backends::openai::OpenAiModel,
    error::{Error, Result},
    files::{Lock, remove, remove_partial, replace, sha256},
};

const FORMAT: u32 = 1;
const HEAD: &str = "folder.json";
const LOCK: &str = "lock";

/// What identifies a folder.
#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    /// Random, so that two folders never take each other's batches.
    id: String,
    base_url: String,
}

/// The state of a batch.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// The path that its requests are for.
    pub(super) endpoint: String,
    /// SHA-256 of the file of requests.
    requests: String,
    /// The server's name for it, once known.
    #[serde(default)]
    pub(super) remote: Option<String>,
    /// SHA-256 of the files of results, once they are written.
    #[serde(default)]
    results: Option<Results>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Results {
    output: Option<String>,
    errors: Option<String>,
}

/// A file of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Output,
    Errors,
}

/// The position of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    number: u64,
    kind: Kind,
    begin: u64,
    end: u64,
}

/// What a row means for its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is answered for good: by the model, or by an error that the request itself causes.
    Kept,
    /// It failed, but may be sent again once something else is corrected, such as the key.
    Failed,
    /// It may succeed at the next attempt.
    Transient,
}

/// The content of the results of a batch.
pub(super) struct Finished {
    pub(super) rows: Vec<(String, Place, Verdict)>,
    /// The number of lines that cannot be used, and the error of the first.
    pub(super) bad: Option<(usize, Error)>,
}

/// A batch without results.
pub(super) struct Pending {
    pub(super) number: u64,
    pub(super) record: Record,
    pub(super) ids: Vec<String>,
}

/// The content of a folder when it is opened.
pub(super) struct Contents {
    pub(super) pending: Vec<Pending>,
    pub(super) done: HashMap<String, Place>,
    /// The number of the next batch.
    pub(super) next: u64,
}

pub(super) struct Folder {
    path: PathBuf,
    id: String,
    model: OpenAiModel,
    _lock: Lock,
}

impl Folder {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a folder, and creates it if there is none.
    pub(super) fn open(path: &Path, model: &OpenAiModel, base: &str) -> Result<(Self, Contents)> {
        fs::create_dir_all(path).map_err(|error| Error::io(path, error))?;
        let head = path.join(HEAD);
        let names = names(path)?;
        if !names.contains(HEAD)
            && names
                .iter()
                .any(|name| name != LOCK && !name.starts_with('.'))
        {
            let reason =
                "it holds other files; give an empty folder, or one that batches were in before";
            return Err(Error::input(path, None, reason));
        }
        let lock = Lock::take(&path.join(LOCK))?;
        remove_partial(path)?;
        // Another process may have made it meanwhile.
        let names = self::names(path)?;
        let known = if names.contains(HEAD) {
            read_json::<Head>(
                &head,
                "it is no head of a folder of batches; put back the one that was there, or give an empty folder",
            )?
        } else {
            let known = Head {
                format: FORMAT,
                id: format!("{:016x}", RandomState::new().hash_one(path)),
                base_url: base.to_owned(),
            };
            replace(&head, &json(&known)?)?;
            known
        };
        if known.format != FORMAT {
            let reason = format!(
                "its format is {}, and this version of the crate knows {FORMAT}; give another folder",
                known.format
            );
            return Err(Error::input(head, None, reason));
        }
        if known.base_url != base {
            let reason = format!(
                "its batches are at {}, not at {base}; give that address, or another folder",
                known.base_url
            );
            return Err(Error::input(head, None, reason));
        }
        let folder = Self {
            path: path.to_owned(),
            id: known.id,
            model: model.clone(),
            _lock: lock,
        };
        let contents = folder.contents(&names)?;
        Ok((folder, contents))
    }

    fn contents(&self, names: &BTreeSet<String>) -> Result<Contents> {
        let mut contents = Contents {
            pending: Vec::new(),
            done: HashMap::new(),
            next: 1,
        };
        for name in names {
            let path = self.path.join(name);
            let Some((number, kind)) = numbered(name) else {
                if name == HEAD || name == LOCK || name.starts_with('.') {
                    continue;
                }
                let reason = "it is none of the files of batches; move it to another folder";
                return Err(Error::input(path, None, reason));
            };
            contents.next = contents.next.max(number + 1);
            let record = self.record_path(number);
            let has_record = names.contains(&file_name(number, "batch.json"));
            match kind {
                "batch.json" => self.add(number, &record, &mut contents)?,
                // It was not uploaded yet.
                "requests.jsonl" if !has_record => {
                    remove(&path)?;
                }
                _ if !has_record => {
                    let reason = format!(
                        "there is no {} beside it; put it back, or move this file away",
                        record.display()
                    );
                    return Err(Error::input(path, None, reason));
                }
                _ => {}
            }
        }
        Ok(contents)
    }

    fn add(&self, number: u64, path: &Path, contents: &mut Contents) -> Result<()> {
        let record: Record = read_json(
            path,
            &format!("it is no record of a batch; {}", again(number)),
        )?;
        let ids = self.ids(number, &record)?;
        let Some(results) = &record.results else {
            contents.pending.push(Pending {
                number,
                record,
                ids,
            });
            return Ok(());
        };
        let output = self.results(number, Kind::Output, results.output.as_deref())?;
        let errors = self.results(number, Kind::Errors, results.errors.as_deref())?;
        let rows = self
            .rows(number, &ids, output.as_deref(), errors.as_deref())
            .rows;
        let kept = rows
            .into_iter()
            .filter(|(.., verdict)| *verdict == Verdict::Kept);
        contents.done.extend(kept.map(|(id, place, _)| (id, place)));
        Ok(())
    }

    /// Writes a new batch. Only then it may be uploaded.
    pub(super) fn begin(
        &self,
        number: u64,
        endpoint: &str,
        lines: &[impl AsRef<[u8]>],
    ) -> Result<Record> {
        let requests: Vec<u8> = lines.iter().flat_map(AsRef::as_ref).copied().collect();
        let record = Record {
            endpoint: endpoint.to_owned(),
            requests: sha256(&requests),
            remote: None,
            results: None,
        };
        replace(&self.requests_path(number), &requests)?;
        self.save(number, &record)?;
        Ok(record)
    }

    /// The file of requests.
    pub(super) fn requests(&self, number: u64, record: &Record) -> Result<Vec<u8>> {
        checked(&self.requests_path(number), &record.requests, number)
    }

    pub(super) fn save(&self, number: u64, record: &Record) -> Result<()> {
        replace(&self.record_path(number), &json(record)?)
    }

    /// Deletes a batch that the server has not created.
    pub(super) fn remove(&self, number: u64) -> Result<()> {
        // The record first: requests without one count as not uploaded.
        for path in [self.record_path(number), self.requests_path(number)] {
            remove(&path)?;
        }
        Ok(())
    }

    /// Writes the results of a batch, and reads their rows.
    pub(super) fn finish(
        &self,
        number: u64,
        record: &Record,
        output: Option<&[u8]>,
        errors: Option<&[u8]>,
    ) -> Result<Finished> {
        let ids = self.ids(number, record)?;
        for (kind, bytes) in [(Kind::Output, output), (Kind::Errors, errors)] {
            if let Some(bytes) = bytes {
                replace(&self.results_path(number, kind), bytes)?;
            }
        }
        let results = Results {
            output: output.map(sha256),
            errors: errors.map(sha256),
        };
        let record = Record {
            results: Some(results),
            ..record.clone()
        };
        self.save(number, &record)?;
        Ok(self.rows(number, &ids, output, errors))
    }

    /// Reads a row of a finished batch.
    pub(super) fn row(&self, place: Place) -> Result<BatchRow> {
        let path = self.results_path(place.number, place.kind);
        let io = |error| Error::io(&path, error);
        let mut file = File::open(&path).map_err(io)?;
        file.seek(SeekFrom::Start(place.begin)).map_err(io)?;
        let mut line = Vec::new();
        file.take(place.end.saturating_sub(place.begin))
            .read_to_end(&mut line)
            .map_err(io)?;
        BatchReader::new(&path, line.as_slice())
            .next()
            .unwrap_or_else(|| Err(changed(&path, place.number)))
    }

    /// The name that is stored in the metadata, so that the batch can be found again.
    pub(super) fn name(&self, number: u64) -> String {
        format!("{}-{number:06}", self.id)
    }

    fn record_path(&self, number: u64) -> PathBuf {
        self.path.join(file_name(number, "batch.json"))
    }

    fn requests_path(&self, number: u64) -> PathBuf {
        self.path.join(file_name(number, "requests.jsonl"))
    }

    fn results_path(&self, number: u64, kind: Kind) -> PathBuf {
        self.path.join(file_name(number, kind.ending()))
    }

    fn ids(&self, number: u64, record: &Record) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Named {
            custom_id: String,
        }
        let path = self.requests_path(number);
        let lines = self.requests(number, record)?;
        let lines = lines
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        lines
            .map(|line| {
                let named: Named =
                    serde_json::from_slice(line).map_err(|_| changed(&path, number))?;
                Ok(named.custom_id)
            })
            .collect()
    }

    fn results(&self, number: u64, kind: Kind, hash: Option<&str>) -> Result<Option<Vec<u8>>> {
        hash.map(|hash| checked(&self.results_path(number, kind), hash, number))
            .transpose()
    }

    fn rows(
        &self,
        number: u64,
        ids: &[String],
        output: Option<&[u8]>,
        errors: Option<&[u8]>,
    ) -> Finished {
        let mut finished = Finished {
            rows: Vec::new(),
            bad: None,
        };
        let mut left: HashSet<&str> = ids.iter().map(String::as_str).collect();
        for (kind, bytes) in [(Kind::Output, output), (Kind::Errors, errors)] {
            let path = self.results_path(number, kind);
            let mut reader = BatchReader::new(path, bytes.unwrap_or_default())
                .with_expected(left.iter().copied());
            while let Some(row) = reader.next() {
                match row {
                    Ok(row) => {
                        let (begin, end) = reader.span();
                        let place = Place {
                            number,
                            kind,
                            begin,
                            end,
                        };
                        left.remove(row.custom_id());
                        let verdict = verdict(row.failure(&self.model).as_ref());
                        finished
                            .rows
                            .push((row.custom_id().to_owned(), place, verdict));
                    }
                    Err(error) => {
                        tracing::warn!(error = error.report(), "a result cannot be used");
                        let (count, first) = finished.bad.take().unwrap_or((0, error));
                        finished.bad = Some((count + 1, first));
                    }
                }
            }
        }
        finished
    }
}

impl Kind {
    fn ending(self) -> &'static str {
        match self {
            Self::Output => "output.jsonl",
            Self::Errors => "errors.jsonl",
        }
    }
}

fn verdict(failure: Option<&Error>) -> Verdict {
    match failure {
        None => Verdict::Kept,
        Some(error) if error.is_transient() => Verdict::Transient,
        // Of the key, the account or the name of the model.
        Some(Error::Refused {
            status: Some(401..=404 | 429),
            ..
        }) => Verdict::Failed,
        Some(_) => Verdict::Kept,
    }
}

fn names(path: &Path) -> Result<BTreeSet<String>> {
    let io = |error| Error::io(path, error);
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(path).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        names.insert(name.to_string_lossy().into_owned());
    }
    Ok(names)
}

pub(super) fn file_name(number: u64, kind: &str) -> String {
    format!("{number:06}.{kind}")
}

fn numbered(name: &str) -> Option<(u64, &'static str)> {
    const KINDS: [&str; 4] = [
        "batch.json",
        "requests.jsonl",
        "output.jsonl",
        "errors.jsonl",
    ];
    let (number, rest) = name.split_once('.')?;
    let kind = KINDS.into_iter().find(|kind| *kind == rest)?;
    let number: u64 = number.parse().ok()?;
    (file_name(number, kind) == name).then_some((number, kind))
}

fn read_json<T: DeserializeOwned>(path: &Path, reason: &str) -> Result<T> {
    let bytes = fs::read(path).map_err(|error| Error::io(path, error))?;
    serde_json::from_slice(&bytes).map_err(|_| Error::input(path, None, reason))
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::Other(error.into()))
}

/// Reads a file and checks its hash.
fn checked(path: &Path, hash: &str, number: u64) -> Result<Vec<u8>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read.map_err(|error| Error::io(path, error))?,
    };
    if sha256(&bytes) == hash {
        Ok(bytes)
    } else {
        Err(changed(path, number))
    }
}

fn changed(path: &Path, number: u64) -> Error {
    let reason = format!(
        "it is not as it was written; put it back, or {}",
        again(number)
    );
    Error::input(path, None, reason)
}

/// The advice that always works.
pub(super) fn again(number: u64) -> String {
    format!(
        "to give the batch up, and ask and pay for its requests again, move the files {number:06}.* away"
    )
}
