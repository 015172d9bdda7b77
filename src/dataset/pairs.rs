//! Reads finished pairs back, and those of others.

use std::{
    fmt,
    marker::PhantomData,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    ReaderBuilder,
    checks::{check_nul, json_reason, keys, missing, object, take, utf8, wrong_type},
    decode::{self, Input},
    instructions::HoldOut,
    split::{Splitter, whole},
};
use crate::{
    error::{Error, Result},
    record::{PreferencePair, Redacted},
};

/// Reads the `pairs.jsonl` of a run, compressed or not.
///
/// # Errors
/// [`Error::Io`] if the file cannot be opened. The items are errors as those of [`Reader`](super::Reader).
pub fn read_pairs(path: impl AsRef<Path>) -> Result<PairReader> {
    PairReader::open(path.as_ref())
}

/// Reads the texts of preference pairs, to train on: JSONL, compressed or not, whose records have the strings `prompt`,
/// `chosen` and `rejected`. Other fields are ignored, so that this reads the `pairs.jsonl` of a run and most files of
/// others.
///
/// ```
/// use safer_instruct::dataset::read_preferences;
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("others.jsonl");
/// std::fs::write(&path, r#"{"prompt": "Name a river.", "chosen": "The Rhine.", "rejected": "A river.", "score": 3}"#)?;
/// let preference = read_preferences(&path)?.next().ok_or("empty")??;
/// assert_eq!(preference.chosen, "The Rhine.");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`read_pairs`].
pub fn read_preferences(path: impl AsRef<Path>) -> Result<PairReader<Preference>> {
    PairReader::open(path.as_ref())
}

/// The texts of a preference pair.
#[derive(Clone, PartialEq, Eq)]
pub struct Preference {
    /// What is asked.
    pub prompt: String,
    /// The better response.
    pub chosen: String,
    /// The worse response.
    pub rejected: String,
}

impl HoldOut for Preference {
    fn asks(&self) -> &str {
        &self.prompt
    }

    fn answers(&self) -> [&str; 2] {
        [&self.chosen, &self.rejected]
    }
}

impl fmt::Debug for Preference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preference")
            .field("prompt", &Redacted(&self.prompt))
            .field("chosen", &Redacted(&self.chosen))
            .field("rejected", &Redacted(&self.rejected))
            .finish()
    }
}

/// What a record can be read as.
pub trait PairRecord: sealed::Parse {}

impl<T: sealed::Parse> PairRecord for T {}

mod sealed {
    pub trait Parse: Sized {
        /// Reads a record, or says what is wrong with it without a piece of it.
        fn parse(record: &str) -> Result<Self, String>;
    }
}

impl sealed::Parse for PreferencePair {
    fn parse(record: &str) -> Result<Self, String> {
        serde_json::from_str(record).map_err(|error| match error.classify() {
            // serde's own words for a wrong type show the value.
            serde_json::error::Category::Data => {
                "not a preference pair with prompt, chosen, rejected and provenance".to_owned()
            }
            _ => json_reason(&error, record),
        })
    }
}

impl sealed::Parse for Preference {
    fn parse(record: &str) -> Result<Self, String> {
        let mut object = object(record)?;
        let columns = ["prompt", "chosen", "rejected"];
        if let Some(column) = columns.iter().find(|name| !object.contains_key(**name)) {
            return Err(missing(column, keys(&object)));
        }
        let mut text = |column| match take(&mut object, column)? {
            Value::String(text) => check_nul(column, &text).map(|()| text),
            other => Err(wrong_type(column, &other, "a string")),
        };
        Ok(Self {
            prompt: text("prompt")?,
            chosen: text("chosen")?,
            rejected: text("rejected")?,
        })
    }
}

/// Three texts and their provenance, each escaped at worst.
const MAX_BYTES: usize = 8 * ReaderBuilder::DEFAULT_MAX_RECORD_BYTES;

/// Preference pairs of a file, one by one; made by [`read_pairs`] and [`read_preferences`].
pub struct PairReader<T = PreferencePair> {
    path: PathBuf,
    splitter: Option<Splitter<Input>>,
    record: Vec<u8>,
    line: Option<u64>,
    reads: PhantomData<fn() -> T>,
}

impl<T> PairReader<T> {
    fn open(path: &Path) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            splitter: Some(Splitter::lines(decode::open(path)?, MAX_BYTES)),
            record: Vec::new(),
            line: None,
            reads: PhantomData,
        })
    }

    /// The line of the last record, counted from 1. None before the first.
    #[must_use]
    pub fn line(&self) -> Option<u64> {
        self.line
    }
}

impl<T: PairRecord> Iterator for PairReader<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        let (line, fit) = match self.splitter.as_mut()?.next(&mut self.record) {
            Ok(next) => next?,
            Err(error) => {
                self.splitter = None;
                return Some(Err(Error::io(&self.path, error)));
            }
        };
        self.line = Some(line);
        let pair = whole(fit, MAX_BYTES)
            .and_then(|()| utf8(&self.record))
            .and_then(T::parse)
            .map_err(|reason| Error::input(&self.path, line, reason));
        Some(pair)
    }
}

impl<T: PairRecord> std::iter::FusedIterator for PairReader<T> {}

impl<T> fmt::Debug for PairReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PairReader")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
