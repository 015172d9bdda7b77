//! Reads pairs one by one.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::{
    builder::InstructionReaderBuilder, found::Found, pair::InstructionPair, records::Records,
    report::InstructionReport,
};
use crate::{
    dataset::SkipBad,
    error::{Error, Result},
};

/// Pairs of a file or standard input, one by one, in constant memory.
///
/// Records are the lines of JSONL, the elements of a JSON array, however long it is, or the rows of CSV; gzip and zstd
/// are recognised by content and decompressed. In JSON each record may be
/// - columns: `instruction` and `response`, `instruction` and `output`, `prompt` and `completion`, `prompt` and
///   `response`, or `question` and `answer`, the first of these that are there, or [those that are
///   named](InstructionReaderBuilder::with_columns). Alpaca's `input` is put after `instruction` with a blank line
///   between them, unless it is empty.
/// - a conversation: a list `conversations` or `messages` of turns with `from` and `value` (ShareGPT) or `role` and
///   `content` (chat models; `content` may be a list of parts of the type `text`). The pair is the first turn of
///   `human` or `user` and the answer of `gpt` or `assistant` after it, without white space around them. System texts
///   before it are ignored, and so are all later turns, which cannot be understood alone.
///
/// Records that are sound but hold no such pair are counted in the [`report`](Self::report). What cannot be read comes
/// out as an error:
/// - [`Error::Input`] is one bad record, with file, line and reason; reading goes on after it. An array that is cut off
///   ends with such an error, which says where; all records before it have come out, and
///   [`is_cut_off`](Self::is_cut_off) tells it from others.
/// - [`Error::Io`] is the end: the rest of the file cannot be read.
///
/// So `?` stops at the first bad record, and [`skip_bad`](Self::skip_bad) skips them and reports each.
///
/// ```
/// use safer_instruct::dataset::{InstructionPair, InstructionReader};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("talk.json");
/// std::fs::write(&path, r#"[
///     {"conversations": [{"from": "human", "value": "Name a colour."}, {"from": "gpt", "value": "Blue."}]},
///     {"conversations": [{"from": "gpt", "value": "As I said before …"}]},
///     {"instruction": "Translate.", "input": "さようなら", "output": "Goodbye."},
///     {"conversations": [{"from": "hum"#)?;
///
/// let mut bad = Vec::new();
/// let mut reader = InstructionReader::open(&path)?.skip_bad(|error| bad.push(error.to_string()));
/// let pairs = reader.by_ref().collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(
///     pairs,
///     [
///         InstructionPair::new("Name a colour.", "Blue."),
///         InstructionPair::new("Translate.\n\nさようなら", "Goodbye."),
///     ]
/// );
/// assert_eq!(reader.get_ref().report().to_string(), "2 pairs, 1 bad record, 1 passed over: 1 no_exchange");
/// assert!(
///     bad[0].ends_with("talk.json:5: record 4 is cut off after 32 bytes: the file ends before the array does"),
///     "{bad:?}"
/// );
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct InstructionReader {
    path: PathBuf,
    options: InstructionReaderBuilder,
    records: Option<Records>,
    record: Vec<u8>,
    first: Option<Result<InstructionPair>>,
    report: InstructionReport,
    line: Option<u64>,
    cut_off: bool,
}

impl InstructionReaderBuilder {
    /// Opens a file or standard input (`-`), and reads up to the first pair or the first bad record.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened or decompressed; [`Error::Config`] if neither ending nor content says the
    /// format, or it is plain text; [`Error::Input`] if no record holds a pair or a CSV header lacks a column.
    pub fn open(self, path: impl AsRef<Path>) -> Result<InstructionReader> {
        InstructionReader::new(self, path.as_ref())
    }
}

impl InstructionReader {
    /// Opens with the defaults of [`InstructionReaderBuilder`].
    ///
    /// # Errors
    /// As [`InstructionReaderBuilder::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().open(path)
    }

    /// Starts from the defaults.
    pub fn builder() -> InstructionReaderBuilder {
        InstructionReaderBuilder::default()
    }

    /// What came of the records so far.
    #[must_use]
    pub fn report(&self) -> InstructionReport {
        self.report
    }

    /// The line on which the last pair begins, counted from 1. None before the first pair.
    #[must_use]
    pub fn line(&self) -> Option<u64> {
        self.line.filter(|_| self.report.pairs > 0)
    }

    /// Whether the file ended inside its array, which the last error said: nothing can come after it. A record that is
    /// longer than allowed is not a cut: a quote in it is not closed.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.cut_off && self.first.is_none()
    }

    /// Skips bad records and calls `on_bad` with each.
    pub fn skip_bad<F: FnMut(&Error)>(self, on_bad: F) -> SkipBad<Self, F> {
        SkipBad::new(self, on_bad)
    }

    fn new(options: InstructionReaderBuilder, path: &Path) -> Result<Self> {
        let records = Records::open(&options, path)?;
        let none = records.none();
        let mut reader = Self {
            path: path.to_owned(),
            options,
            records: Some(records),
            record: Vec::new(),
            first: None,
            report: InstructionReport::default(),
            line: None,
            cut_off: false,
        };
        match reader.read() {
            None if reader.report.passed_over() == 0 => Err(Error::input(path, None, none)),
            None => {
                let reason = format!(
                    "no record holds an instruction and a response: {}",
                    reader.report
                );
                Err(Error::input(path, None, reason))
            }
            Some(Err(error @ Error::Io { .. })) => Err(error),
            first => {
                reader.first = first;
                Ok(reader)
            }
        }
    }

    /// The next pair or bad record, over records that hold no pair.
    fn read(&mut self) -> Option<Result<InstructionPair>> {
        loop {
            let records = self.records.as_mut()?;
            let next = records.next(&self.options, &mut self.record);
            self.cut_off |= records.is_cut_off();
            match next {
                Ok(None) => return None,
                Ok(Some((line, Ok(Found::Pair(pair))))) => {
                    self.line = Some(line);
                    return Some(Ok(pair));
                }
                Ok(Some((_, Ok(Found::PassedOver(why))))) => self.report.pass_over(why),
                Ok(Some((line, Err(reason)))) => {
                    return Some(Err(Error::input(&self.path, line, reason)));
                }
                Err(error) => return Some(Err(Error::io(&self.path, error))),
            }
        }
    }
}

impl Iterator for InstructionReader {
    type Item = Result<InstructionPair>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.first.take().or_else(|| self.read());
        match &next {
            Some(Ok(_)) => self.report.pairs += 1,
            Some(Err(Error::Input { .. })) => self.report.bad += 1,
            None | Some(Err(_)) => self.records = None,
        }
        next
    }
}

impl std::iter::FusedIterator for InstructionReader {}

impl fmt::Debug for InstructionReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstructionReader")
            .field("path", &self.path)
            .field("options", &self.options)
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}
