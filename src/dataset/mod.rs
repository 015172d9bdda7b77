//! Streaming readers for source texts, and writers for what a run makes.
//!
//! A [`Reader`] gives one [`SourceText`](crate::SourceText) after the other from JSONL, CSV or plain text, in constant
//! memory; a [`RunWriter`] puts [`Outcome`](crate::Outcome)s that are made by hand into a folder, as a
//! [`Runner`](crate::run::Runner) does with those of a pipeline. The file formats are described in
//! `docs/data-format.md`.
//!
//! ```
//! use safer_instruct::{Outcome, Reason, Stage, Draft};
//! use safer_instruct::dataset::{Reader, RunWriter};
//!
//! # let dir = tempfile::tempdir()?;
//! let input = dir.path().join("posts.jsonl");
//! std::fs::write(&input, "{\"text\": \"You will never learn this.\"}\n{\"text\": \"\"}\n")?;
//!
//! let mut writer = RunWriter::create(dir.path().join("run"), serde_json::json!({"seed": 7}))?;
//! let mut bad = Vec::new();
//! for source in Reader::open(&input)?.skip_bad(|error| bad.push(error.to_string())) {
//!     let reason = Reason::new("too_short");
//!     let draft = Box::new(Draft::new(source?));
//!     writer.write(&Outcome::Dropped { stage: Stage::Source, reason, draft })?;
//! }
//! let summary = writer.finish(true)?;
//! assert_eq!((summary.read(), summary.dropped()), (1, 1));
//! assert!(bad[0].ends_with("posts.jsonl:2: the text is empty"), "{bad:?}");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! An [`InstructionReader`] gives one [`InstructionPair`] after the other, to train a model with.

mod appender;
mod checks;
mod decode;
mod existing;
mod files;
mod format;
mod instructions;
mod labels;
mod manifest;
mod outcome_files;
mod pairs;
mod parse;
mod reader;
mod row;
mod skip;
mod split;
mod stream;
mod summary;
mod table;
mod writer;
mod written;

pub(crate) use appender::{Appender, exists};
pub use existing::Existing;
pub use format::{Columns, Format};
pub use instructions::{
    HoldOut, InstructionColumns, InstructionPair, InstructionReader, InstructionReaderBuilder,
    InstructionReport, hold_out,
};
pub use labels::{Label, LabelReader, LabelRecord, read_labels};
pub(crate) use manifest::{differences, sorted};
pub(crate) use outcome_files::OutcomeFiles;
pub use pairs::{PairReader, PairRecord, Preference, read_pairs, read_preferences};
pub use reader::{ReadReport, Reader, ReaderBuilder};
pub(crate) use row::{Counted, Kind, Row};
pub use skip::SkipBad;
pub use stream::{ReadStream, into_stream};
pub use summary::Summary;
pub use writer::RunWriter;
pub use written::WrittenPairs;
