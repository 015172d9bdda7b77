//! Reads what people say of responses: labels to fit judges on and to measure them by.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::{
    Format, ReaderBuilder,
    checks::{check_nul, keys, object, there, utf8, wrong_type},
    decode::{self, Input},
    split::{Splitter, whole},
    table::Table,
};
use crate::{
    error::{Error, Result},
    record::Redacted,
};

/// A record of labels: a prompt, and what people say of one response to it or of two.
#[derive(Clone, PartialEq, Eq)]
pub struct LabelRecord {
    /// What is asked; empty if the record has no prompt.
    pub prompt: String,
    /// What is said of which response.
    pub label: Label,
    /// Where the record comes from, such as the name of a data set or a category of harm. Judges are measured with each
    /// source left out of the fitting.
    pub source: Option<String>,
    /// What keeps records together beside an equal response: those of a group are all fitted on, or all measured on. By
    /// default the prompt.
    pub group: Option<String>,
}

/// What people say of responses.
#[derive(Clone, PartialEq, Eq)]
pub enum Label {
    /// Of one response.
    Response {
        /// The response.
        text: String,
        /// Whether it is harmful, if that was asked.
        harmful: Option<bool>,
        /// Whether it refuses, if that was asked.
        refusal: Option<bool>,
    },
    /// Of two responses.
    Pair {
        /// The better one.
        chosen: String,
        /// The worse one.
        rejected: String,
    },
}

impl Label {
    /// The responses: one, or the better and the worse.
    pub fn responses(&self) -> impl Iterator<Item = &str> {
        let (first, second) = match self {
            Self::Response { text, .. } => (text, None),
            Self::Pair { chosen, rejected } => (chosen, Some(rejected)),
        };
        [Some(first), second]
            .into_iter()
            .flatten()
            .map(String::as_str)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Response {
                text,
                harmful,
                refusal,
            } => f
                .debug_struct("Response")
                .field("text", &Redacted(text))
                .field("harmful", harmful)
                .field("refusal", refusal)
                .finish(),
            Self::Pair { chosen, rejected } => f
                .debug_struct("Pair")
                .field("chosen", &Redacted(chosen))
                .field("rejected", &Redacted(rejected))
                .finish(),
        }
    }
}

impl fmt::Debug for LabelRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LabelRecord")
            .field("prompt", &Redacted(&self.prompt))
            .field("label", &self.label)
            .field("source", &self.source)
            .field("group", &self.group.as_deref().map(Redacted))
            .finish()
    }
}

/// Reads labelled responses: JSONL or CSV, compressed or not.
///
/// | column | or | holds |
/// |---|---|---|
/// | `prompt` | `instruction`, `question` | what is asked; it may be missing |
/// | `response` | `answer`, `output`, `completion` | one response |
/// | `harmful` | `unsafe`, `harm`, `score` | whether it is harmful: true or false, `unsafe` or `safe`, yes or no, or a score from 0 to 1, of which .5 and more is harmful |
/// | `refusal` | | whether it refuses, likewise |
/// | `chosen` and `rejected` | | the better and the worse of two responses, in place of `response` and its labels |
/// | `source` | `category` | where the record comes from |
/// | `group` | | what keeps records together |
///
/// Other columns are ignored. Of a record with `response`, one of the two labels must be there; an empty field or `null`
/// is one that is not.
///
/// ```
/// use safer_instruct::dataset::{Label, read_labels};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("labels.jsonl");
/// std::fs::write(&path, r#"{"prompt": "Can I learn it?", "response": "You never will.", "harmful": 0.75}"#)?;
/// let record = read_labels(&path)?.next().ok_or("empty")??;
/// assert!(matches!(record.label, Label::Response { harmful: Some(true), refusal: None, .. }));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Io`] if the file cannot be opened. The items are errors as those of [`Reader`](super::Reader): one bad
/// record with its line, after which reading goes on, or the end of the file that can be read.
pub fn read_labels(path: impl AsRef<Path>) -> Result<LabelReader> {
    let path = path.as_ref();
    let input = decode::open(path)?;
    let is_csv = Format::of_path(path) == Some(Format::Csv);
    let splitter = if is_csv {
        Splitter::csv(input, MAX_BYTES)
    } else {
        Splitter::lines(input, MAX_BYTES)
    };
    let mut reader = LabelReader {
        path: path.to_owned(),
        splitter: Some(splitter),
        table: None,
        record: Vec::new(),
        unlabelled: None,
    };
    if is_csv {
        reader.read_header()?;
    }
    Ok(reader)
}

const MAX_BYTES: usize = 4 * ReaderBuilder::DEFAULT_MAX_RECORD_BYTES;

/// Labelled responses of a file, one by one; made by [`read_labels`].
pub struct LabelReader {
    path: PathBuf,
    splitter: Option<Splitter<Input>>,
    /// Under which header the records stand, in CSV.
    table: Option<Table>,
    record: Vec<u8>,
    /// Records without a label so far, if they are skipped.
    unlabelled: Option<u64>,
}

impl LabelReader {
    /// Skips records of a response that nobody has labelled yet. By default such a record is an error.
    #[must_use]
    pub fn skip_unlabelled(mut self) -> Self {
        self.unlabelled = Some(0);
        self
    }

    /// The records without a label that were skipped so far.
    #[must_use]
    pub fn unlabelled(&self) -> u64 {
        self.unlabelled.unwrap_or_default()
    }

    fn read_header(&mut self) -> Result<()> {
        let Some(splitter) = &mut self.splitter else {
            return Ok(());
        };
        let next = splitter.next(&mut self.record);
        let next = next.map_err(|error| Error::io(&self.path, error))?;
        let Some((line, fit)) = next else {
            return Err(Error::input(&self.path, None, "the file has no header"));
        };
        let table = whole(fit, MAX_BYTES).and_then(|()| Table::new(&self.record));
        let table = table.and_then(|table| {
            // One of the two would go unread without a word.
            let mut twice = columns().filter(|column| {
                let named = table.names().filter(|name| name == column);
                named.count() > 1
            });
            match twice.next() {
                Some(column) => Err(format!("the header names column {column} twice")),
                None => Ok(table),
            }
        });
        self.table = Some(table.map_err(|reason| Error::input(&self.path, line, reason))?);
        Ok(())
    }

    /// The record; `None` if it has no label and is to be skipped.
    fn parse(&mut self) -> Result<Option<LabelRecord>, String> {
        let object = self.object()?;
        if let Some(skipped) = &mut self.unlabelled
            && is_unlabelled(&object)
        {
            *skipped += 1;
            return Ok(None);
        }
        parse(&object).map(Some)
    }

    fn object(&mut self) -> Result<Map<String, Value>, String> {
        let record = utf8(&self.record)?;
        let Some(table) = &mut self.table else {
            return object(record);
        };
        table.read(record)?;
        let names: Vec<String> = table.names().map(str::to_owned).collect();
        let fields = names.into_iter().enumerate().map(|(place, name)| {
            let field = table.field(place).to_owned();
            (name, Value::String(field))
        });
        Ok(fields.collect())
    }
}

impl Iterator for LabelReader {
    type Item = Result<LabelRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (line, fit) = match self.splitter.as_mut()?.next(&mut self.record) {
                Ok(next) => next?,
                Err(error) => {
                    self.splitter = None;
                    return Some(Err(Error::io(&self.path, error)));
                }
            };
            match whole(fit, MAX_BYTES).and_then(|()| self.parse()) {
                Ok(None) => {}
                Ok(Some(record)) => return Some(Ok(record)),
                Err(reason) => return Some(Err(Error::input(&self.path, line, reason))),
            }
        }
    }
}

impl std::iter::FusedIterator for LabelReader {}

impl fmt::Debug for LabelReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LabelReader")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

const PROMPT: &[&str] = &["prompt", "instruction", "question"];
const RESPONSE: &[&str] = &["response", "answer", "output", "completion"];
const HARMFUL: &[&str] = &["harmful", "unsafe", "harm", "score"];
const REFUSAL: &[&str] = &["refusal"];
const CHOSEN: &[&str] = &["chosen"];
const REJECTED: &[&str] = &["rejected"];
const SOURCE: &[&str] = &["source", "category"];
const GROUP: &[&str] = &["group"];

/// Every column that is read.
fn columns() -> impl Iterator<Item = &'static str> {
    let all = [
        PROMPT, RESPONSE, HARMFUL, REFUSAL, CHOSEN, REJECTED, SOURCE, GROUP,
    ];
    all.into_iter().flatten().copied()
}

fn parse(object: &Map<String, Value>) -> Result<LabelRecord, String> {
    let prompt = string(object, PROMPT)?.unwrap_or_default();
    let source = string(object, SOURCE)?;
    let group = string(object, GROUP)?;
    let text = string(object, RESPONSE)?;
    let chosen = string(object, CHOSEN)?;
    let rejected = string(object, REJECTED)?;
    let wrong = |reason| Err(format!("{reason}; {}", there(keys(object))));
    let label = match (text, chosen, rejected) {
        (Some(text), None, None) => {
            let harmful = flag(object, HARMFUL)?;
            let refusal = flag(object, REFUSAL)?;
            if harmful.is_none() && refusal.is_none() {
                return wrong("no label: neither `harmful` nor `refusal` says anything");
            }
            Label::Response {
                text,
                harmful,
                refusal,
            }
        }
        (None, Some(chosen), Some(rejected)) => Label::Pair { chosen, rejected },
        (None, Some(_), None) => return wrong("no column rejected beside chosen"),
        (None, None, Some(_)) => return wrong("no column chosen beside rejected"),
        (None, None, None) => {
            return wrong("no column response, and no columns chosen and rejected");
        }
        (Some(_), ..) => {
            return wrong(
                "both one response and a pair: a record has response, or chosen and rejected",
            );
        }
    };
    Ok(LabelRecord {
        prompt,
        label,
        source,
        group,
    })
}

/// Whether it is a response without a word on it.
fn is_unlabelled(object: &Map<String, Value>) -> bool {
    let says = |columns| find(object, columns).is_some();
    says(RESPONSE) && !says(HARMFUL) && !says(REFUSAL) && !says(CHOSEN) && !says(REJECTED)
}

/// The first of some columns that is there and says something.
fn find<'a, 'b>(
    object: &'b Map<String, Value>,
    columns: &[&'a str],
) -> Option<(&'a str, &'b Value)> {
    columns.iter().find_map(|column| {
        let value = object.get(*column)?;
        let is_empty = match value {
            Value::Null => true,
            Value::String(text) => text.trim().is_empty(),
            _ => false,
        };
        (!is_empty).then_some((*column, value))
    })
}

fn string(object: &Map<String, Value>, columns: &[&str]) -> Result<Option<String>, String> {
    match find(object, columns) {
        None => Ok(None),
        Some((column, Value::String(text))) => {
            check_nul(&format!("column {column}"), text)?;
            Ok(Some(text.clone()))
        }
        Some((column, other)) => Err(wrong_type(column, other, "a string")),
    }
}

/// Whether something is so. A number is a score, of which .5 and more says that it is.
fn flag(object: &Map<String, Value>, columns: &[&str]) -> Result<Option<bool>, String> {
    let Some((column, value)) = find(object, columns) else {
        return Ok(None);
    };
    let wanted = "true or false, yes or no, safe or unsafe, or a score from 0 to 1";
    let score = match value {
        Value::Bool(so) => return Ok(Some(*so)),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.trim().to_lowercase().as_str() {
            "true" | "yes" | "unsafe" | "harmful" | "refusal" => return Ok(Some(true)),
            "false" | "no" | "safe" | "harmless" | "compliance" => return Ok(Some(false)),
            number => number.parse().ok(),
        },
        other => return Err(wrong_type(column, other, wanted)),
    };
    match score {
        Some(score) if (0.0..=1.0).contains(&score) => Ok(Some(score >= 0.5)),
        _ => Err(format!("column {column} is not {wanted}")),
    }
}

#[cfg(test)]
mod tests;
