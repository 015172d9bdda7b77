//! How pairs are read.

use super::columns::InstructionColumns;
use crate::dataset::{Format, ReaderBuilder};

/// How to read pairs; made by [`InstructionReader::builder`](super::InstructionReader::builder).
#[derive(Clone, Debug)]
#[must_use]
pub struct InstructionReaderBuilder {
    pub(super) format: Option<Format>,
    pub(super) columns: Option<InstructionColumns>,
    pub(super) max_record_bytes: usize,
}

impl InstructionReaderBuilder {
    /// Sets the format: [`Format::Jsonl`], which includes JSON arrays, or [`Format::Csv`]. By default `.csv` is CSV,
    /// and everything else that begins with a brace or a square bracket is JSON.
    pub fn with_format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// Sets which columns hold what, and reads no conversations. By default the columns are found by the names that
    /// data sets use: see [`InstructionReader`](super::InstructionReader).
    pub fn with_columns(mut self, columns: InstructionColumns) -> Self {
        self.columns = Some(columns);
        self
    }

    /// Sets the most bytes of a record; a longer one is a bad record and is never held in memory as a whole.
    /// By default [`ReaderBuilder::DEFAULT_MAX_RECORD_BYTES`].
    pub fn with_max_record_bytes(mut self, bytes: usize) -> Self {
        self.max_record_bytes = bytes;
        self
    }
}

impl Default for InstructionReaderBuilder {
    fn default() -> Self {
        Self {
            format: None,
            columns: None,
            max_record_bytes: ReaderBuilder::DEFAULT_MAX_RECORD_BYTES,
        }
    }
}
