//! Reads source texts one by one.

use std::{
    collections::HashSet,
    fmt,
    path::{Path, PathBuf},
    vec,
};

use sha2::{Digest, Sha256};

use super::{
    Columns, Format, SkipBad,
    decode::{self, Input},
    files, format,
    parse::Parser,
    split::{Splitter, whole},
};
use crate::{
    error::{Error, Result},
    record::SourceText,
};

/// How to read; made by [`Reader::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ReaderBuilder {
    format: Option<Format>,
    columns: Columns,
    max_record_bytes: usize,
    limit: u64,
    unique_ids: bool,
}

impl ReaderBuilder {
    /// The most bytes that a record may have by default: 4 MiB.
    pub const DEFAULT_MAX_RECORD_BYTES: usize = 4 << 20;

    /// Sets the format. By default the file's ending says it, and standard input is JSONL.
    pub fn with_format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// Sets which columns hold what. By default the text is in `text`.
    pub fn with_columns(mut self, columns: Columns) -> Self {
        self.columns = columns;
        self
    }

    /// Sets the most bytes of a record; a longer one is a bad record and is never held in memory as a whole.
    /// By default [`DEFAULT_MAX_RECORD_BYTES`](Self::DEFAULT_MAX_RECORD_BYTES).
    pub fn with_max_record_bytes(mut self, bytes: usize) -> Self {
        self.max_record_bytes = bytes;
        self
    }

    /// Ends after this many good texts. By default all are read.
    pub fn with_limit(mut self, texts: u64) -> Self {
        self.limit = texts;
        self
    }

    /// Makes the second text with the same id a bad record. By default ids are not checked, because the check keeps 32
    /// bytes of every id in memory. Texts that share an id share the seeds of all their random choices.
    pub fn with_unique_ids(mut self, unique: bool) -> Self {
        self.unique_ids = unique;
        self
    }

    /// Opens a file, a folder of `.txt` files, or standard input (`-`), and reads up to the first record.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened or decompressed; [`Error::Config`] if the ending says no format;
    /// [`Error::Input`] if there is no record at all or a CSV header lacks a column.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Reader> {
        Reader::new(self, path.as_ref())
    }
}

impl Default for ReaderBuilder {
    fn default() -> Self {
        Self {
            format: None,
            columns: Columns::default(),
            max_record_bytes: Self::DEFAULT_MAX_RECORD_BYTES,
            limit: u64::MAX,
            unique_ids: false,
        }
    }
}

/// How many records a [`Reader`] has given out so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// Texts.
    pub read: u64,
    /// Records that cannot be used.
    pub bad: u64,
}

/// Source texts of a file, a folder or standard input, one by one, in constant memory.
///
/// Gzip and zstd are recognised by content, not by name, and decompressed. Blank lines are skipped. Every other record
/// comes out, either as a text or as an error:
/// - [`Error::Input`] is one bad record, with file, line and reason; reading goes on after it.
/// - [`Error::Io`] is the end: the rest of the file cannot be read.
///
/// So `?` stops at the first bad record, and [`skip_bad`](Self::skip_bad) skips them and reports each.
pub struct Reader {
    path: PathBuf,
    stem: String,
    options: ReaderBuilder,
    records: Option<Records>,
    first: Option<Result<SourceText>>,
    seen: HashSet<[u8; 32]>,
    report: ReadReport,
}

enum Records {
    File {
        splitter: Splitter<Input>,
        parser: Parser,
        record: Vec<u8>,
    },
    Folder(vec::IntoIter<PathBuf>),
}

impl Reader {
    /// Opens with the defaults of [`ReaderBuilder`].
    ///
    /// # Errors
    /// As [`ReaderBuilder::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().open(path)
    }

    /// Starts from the defaults.
    pub fn builder() -> ReaderBuilder {
        ReaderBuilder::default()
    }

    /// How many records came out so far.
    #[must_use]
    pub fn report(&self) -> ReadReport {
        self.report
    }

    /// Skips bad records and calls `on_bad` with each.
    pub fn skip_bad<F: FnMut(&Error)>(self, on_bad: F) -> SkipBad<Self, F> {
        SkipBad::new(self, on_bad)
    }

    fn new(options: ReaderBuilder, path: &Path) -> Result<Self> {
        let records = if path.is_dir() {
            Records::Folder(files::list(path)?)
        } else {
            Records::open(&options, path)?
        };
        let mut reader = Self {
            path: path.to_owned(),
            stem: format::stem(path),
            options,
            records: Some(records),
            first: None,
            seen: HashSet::new(),
            report: ReadReport::default(),
        };
        match reader.read() {
            None => return Err(Error::input(path, None, "no records: the file is empty")),
            Some(Err(error @ Error::Io { .. })) => return Err(error),
            first => reader.first = first,
        }
        Ok(reader)
    }

    /// The next record, whatever it is.
    fn read(&mut self) -> Option<Result<SourceText>> {
        let source = match self.records.as_mut()? {
            Records::Folder(files) => {
                let file = files.next()?;
                files::read(&file, self.options.max_record_bytes)
                    .map(|(id, text)| SourceText::new(id, text))
            }
            Records::File {
                splitter,
                parser,
                record,
            } => {
                let (line, fit) = match splitter.next(record) {
                    Ok(next) => next?,
                    Err(error) => return Some(Err(Error::io(&self.path, error))),
                };
                whole(fit, self.options.max_record_bytes)
                    .and_then(|()| parser.parse(record))
                    .and_then(|parsed| {
                        let id = match parsed.id {
                            Some(id) if self.options.unique_ids && !is_new(&mut self.seen, &id) => {
                                return Err("an earlier record has the same id".to_owned());
                            }
                            Some(id) => id,
                            None => format!("{}:{line}", self.stem),
                        };
                        let source = SourceText::new(id, parsed.text);
                        Ok(match parsed.category {
                            Some(category) => source.with_category(category),
                            None => source,
                        })
                    })
                    .map_err(|reason| Error::input(&self.path, line, reason))
            }
        };
        Some(source)
    }
}

impl Records {
    fn open(options: &ReaderBuilder, path: &Path) -> Result<Self> {
        let format = match options.format.or_else(|| Format::of_path(path)) {
            Some(format) => format,
            None if path == Path::new("-") => Format::Jsonl,
            None => {
                let reason = format!(
                    "the ending of {} does not say whether it is JSONL, CSV or text; give the format",
                    path.display()
                );
                return Err(Error::config("format", reason));
            }
        };
        let input = decode::open(path)?;
        let max = options.max_record_bytes;
        let mut record = Vec::new();
        let (splitter, line) = if format == Format::Csv {
            let mut splitter = Splitter::csv(input, max);
            let header = splitter
                .next(&mut record)
                .map_err(|error| Error::io(path, error))?;
            let Some((line, fit)) = header else {
                return Err(Error::input(path, None, "no header: the file is empty"));
            };
            whole(fit, max).map_err(|reason| Error::input(path, line, reason))?;
            (splitter, Some(line))
        } else {
            (Splitter::lines(input, max), None)
        };
        let parser = Parser::new(format, &options.columns, &record)
            .map_err(|reason| Error::input(path, line, reason))?;
        Ok(Self::File {
            splitter,
            parser,
            record,
        })
    }
}

impl Iterator for Reader {
    type Item = Result<SourceText>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.report.read >= self.options.limit {
            self.records = None;
            return None;
        }
        let next = self.first.take().or_else(|| self.read());
        match &next {
            Some(Ok(_)) => self.report.read += 1,
            Some(Err(Error::Input { .. })) => self.report.bad += 1,
            None | Some(Err(_)) => self.records = None,
        }
        next
    }
}

impl std::iter::FusedIterator for Reader {}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("path", &self.path)
            .field("options", &self.options)
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

fn is_new(seen: &mut HashSet<[u8; 32]>, id: &str) -> bool {
    seen.insert(Sha256::digest(id.as_bytes()).into())
}
