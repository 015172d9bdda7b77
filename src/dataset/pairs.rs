//! Reads finished pairs back.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::{
    ReaderBuilder,
    decode::{self, Input},
    parse::{json_reason, utf8},
    reader::whole,
    split::Splitter,
};
use crate::{
    error::{Error, Result},
    record::PreferencePair,
};

/// Reads the `pairs.jsonl` of a run, compressed or not.
///
/// # Errors
/// [`Error::Io`] if the file cannot be opened. The items are errors as those of [`Reader`](super::Reader).
pub fn read_pairs(path: impl AsRef<Path>) -> Result<PairReader> {
    let path = path.as_ref();
    Ok(PairReader {
        path: path.to_owned(),
        splitter: Some(Splitter::lines(decode::open(path)?, MAX_BYTES)),
        record: Vec::new(),
    })
}

/// Three texts and their provenance, each escaped at worst.
const MAX_BYTES: usize = 8 * ReaderBuilder::DEFAULT_MAX_RECORD_BYTES;

/// Preference pairs of a file, one by one; made by [`read_pairs`].
pub struct PairReader {
    path: PathBuf,
    splitter: Option<Splitter<Input>>,
    record: Vec<u8>,
}

impl Iterator for PairReader {
    type Item = Result<PreferencePair>;

    fn next(&mut self) -> Option<Self::Item> {
        let (line, fit) = match self.splitter.as_mut()?.next(&mut self.record) {
            Ok(next) => next?,
            Err(error) => {
                self.splitter = None;
                return Some(Err(Error::io(&self.path, error)));
            }
        };
        let pair = whole(fit, MAX_BYTES)
            .and_then(|()| utf8(&self.record))
            .and_then(|record| {
                serde_json::from_str(record).map_err(|error| match error.classify() {
                    // serde's own words for a wrong type show the value.
                    serde_json::error::Category::Data => {
                        "not a preference pair with prompt, chosen, rejected and provenance"
                            .to_owned()
                    }
                    _ => json_reason(&error, record),
                })
            })
            .map_err(|reason| Error::input(&self.path, line, reason));
        Some(pair)
    }
}

impl std::iter::FusedIterator for PairReader {}

impl fmt::Debug for PairReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PairReader")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
